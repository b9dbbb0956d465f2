//! Single statements, outside of a transaction.

use std::pin::Pin;
use std::sync::Arc;

use futures_util::{Stream, StreamExt as _, stream};
use sea_orm::{
    ConnectionTrait, DatabaseConnection, DbBackend, DbErr, ExecResult, QueryResult, QueryStream,
    Statement, StreamTrait,
};

use super::failure::{self, Failure};
use super::pool::Pool;
use super::work::{uninterrupted, within};
use super::{Database, rows};
use crate::clock::ticks;

/// Runs a statement on a connection.
type Run<T> = for<'a> fn(
    &'a DatabaseConnection,
    Statement,
) -> Pin<Box<dyn Future<Output = Result<T, DbErr>> + Send + 'a>>;

impl Database {
    /// Runs one statement outside of a transaction. It is retried if nothing was done and another
    /// connection may succeed. If the caller disconnects, the statement ends before its turn is
    /// released: otherwise the library would clean up the connection without a turn.
    async fn single<T: Send + 'static>(
        &self,
        statement: Statement,
        run: Run<T>,
    ) -> Result<T, DbErr> {
        let turn = self.turn().await?;
        let database = self.clone();
        uninterrupted(async move {
            let answered = database.run(statement, run).await;
            drop(turn);
            answered
        })
        .await
    }

    async fn run<T>(&self, statement: Statement, run: Run<T>) -> Result<T, DbErr> {
        let pool = self.pool().await?;
        let first = run(pool.connection(), statement.clone());
        match self.try_single(&pool, first).await {
            Err(error) if failure::may_be_repeated(&error) => {}
            done => return done,
        }
        if ConnectionTrait::get_database_backend(self) == DbBackend::Postgres {
            let advancing = self.0.sequences.advance(pool.connection());
            self.connecting(self.0.timeouts.statement, advancing)
                .await?;
        }
        let again = run(pool.connection(), statement);
        let again = self.try_single(&pool, again).await;
        again.map_err(|error| self.not_helped(error))
    }

    /// The error if another connection has not helped.
    fn not_helped(&self, error: DbErr) -> DbErr {
        let is_stale = Failure::of(&error) == Failure::Stale;
        let error = failure::still_stale(error);
        if is_stale && Failure::of(&error).is_outage() {
            self.0.reading.failed(&error, ticks());
        }
        error
    }

    async fn try_single<T>(
        &self,
        pool: &Arc<Pool>,
        run: impl Future<Output = Result<T, DbErr>>,
    ) -> Result<T, DbErr> {
        let running = async {
            pool.choose_address().await?;
            let answer = run.await?;
            // The statement may have been a change.
            pool.check_file()?;
            Ok(answer)
        };
        let answer = self.connecting(self.0.timeouts.statement, running).await;
        self.judge(pool, Some(&self.0.reading), answer)
    }

    /// Starts a query, and reads its first row: an outdated statement is rejected only there.
    async fn start_stream(
        &self,
        pool: &Arc<Pool>,
        statement: Statement,
    ) -> Result<(Option<QueryResult>, QueryStream), DbErr> {
        let starting = async {
            pool.choose_address().await?;
            let mut rows = pool.connection().stream_raw(statement).await?;
            let first = rows.next().await.transpose()?;
            first.iter().try_for_each(rows::check)?;
            Ok((first, rows))
        };
        let started = self.connecting(self.0.timeouts.statement, starting).await;
        self.judge(pool, Some(&self.0.reading), started)
    }
}

#[async_trait::async_trait]
impl ConnectionTrait for Database {
    fn get_database_backend(&self) -> DbBackend {
        match self.0.url.sqlite_file() {
            Some(_) => DbBackend::Sqlite,
            None => DbBackend::Postgres,
        }
    }

    async fn execute_raw(&self, statement: Statement) -> Result<ExecResult, DbErr> {
        self.single(statement, |connection, statement| {
            connection.execute_raw(statement)
        })
        .await
    }

    async fn execute_unprepared(&self, sql: &str) -> Result<ExecResult, DbErr> {
        let backend = ConnectionTrait::get_database_backend(self);
        let statement = Statement::from_string(backend, sql);
        self.single(statement, |connection, statement| {
            Box::pin(async move { connection.execute_unprepared(&statement.sql).await })
        })
        .await
    }

    async fn query_one_raw(&self, statement: Statement) -> Result<Option<QueryResult>, DbErr> {
        self.single(statement, |connection, statement| {
            Box::pin(rows::checked_one(connection, statement))
        })
        .await
    }

    async fn query_all_raw(&self, statement: Statement) -> Result<Vec<QueryResult>, DbErr> {
        self.single(statement, |connection, statement| {
            Box::pin(rows::checked_all(connection, statement))
        })
        .await
    }
}

/// Returns rows one after the other, each within [`statement`](super::Timeouts::statement).
impl StreamTrait for Database {
    type Stream<'a> = Pin<Box<dyn Stream<Item = Result<QueryResult, DbErr>> + Send + 'a>>;

    fn get_database_backend(&self) -> DbBackend {
        ConnectionTrait::get_database_backend(self)
    }

    fn stream_raw<'a>(
        &'a self,
        statement: Statement,
    ) -> Pin<Box<dyn Future<Output = Result<Self::Stream<'a>, DbErr>> + 'a + Send>> {
        Box::pin(async move {
            let turn = self.turn().await?;
            let pool = self.pool().await?;
            let timeout = self.0.timeouts.statement;
            let (first, rows) = match self.start_stream(&pool, statement.clone()).await {
                Err(error) if failure::may_be_repeated(&error) => {
                    let again = self.start_stream(&pool, statement).await;
                    again.map_err(|error| self.not_helped(error))?
                }
                started => started?,
            };
            let rest = first.is_some().then_some((rows, turn));
            let rest = stream::unfold(rest, move |rest| {
                let pool = pool.clone();
                async move {
                    let (mut rows, turn) = rest?;
                    let next = async {
                        let row = rows.next().await.transpose()?;
                        row.iter().try_for_each(rows::check)?;
                        Ok(row)
                    };
                    let next = within(timeout, next).await;
                    let next = self.judge(&pool, Some(&self.0.reading), next);
                    match next.transpose()? {
                        Ok(row) => Some((Ok(row), Some((rows, turn)))),
                        Err(error) => Some((Err(error), None)),
                    }
                }
            });
            let judged = stream::iter(first.map(Ok)).chain(rest);
            Ok(Box::pin(judged) as Self::Stream<'a>)
        })
    }
}
