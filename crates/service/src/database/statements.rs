//! Single statements. On PostgreSQL each one is a transaction, in which the search path is empty:
//! a setting of the session would reach other programs through a pooler.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{Stream, StreamExt as _, stream};
use sea_orm::{
    ConnectionTrait, DatabaseExecutor, DatabaseTransaction, DbBackend, DbErr, ExecResult,
    QueryResult, Statement, StreamTrait, TransactionTrait as _,
};
use tokio::sync::mpsc;

use super::failure::{self, Failure};
use super::pool::Pool;
use super::table_names::EMPTY_PATH;
use super::table_names::identity::AskIdentities;
use super::transaction::{MAX_LOOK_UPS, Names, qualified};
use super::work::{note_committing, uninterrupted, within};
use super::{Database, rows};
use crate::clock::ticks;

/// Runs a statement on a connection.
type Run<T> = for<'a> fn(
    &'a DatabaseExecutor<'a>,
    Statement,
) -> Pin<Box<dyn Future<Output = Result<T, DbErr>> + Send + 'a>>;

/// Rows of a query that are read in a separate task.
type Rows = mpsc::Receiver<Result<QueryResult, DbErr>>;

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
        match self.try_single(&pool, statement.clone(), run).await {
            Err(error) if failure::may_be_repeated(&error) => {}
            done => return done,
        }
        let again = self.try_single(&pool, statement, run).await;
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
        statement: Statement,
        run: Run<T>,
    ) -> Result<T, DbErr> {
        let running = async {
            pool.before_use().await?;
            if self.0.url.sqlite_file().is_none() {
                return self.run_alone(pool, statement, run).await;
            }
            let connection = DatabaseExecutor::Connection(pool.connection());
            let answer = run(&connection, statement).await?;
            // The statement may have been a change.
            pool.check_file()?;
            Ok(answer)
        };
        let answer = self.connecting(self.0.timeouts.statement, running).await;
        self.judge(pool, Some(&self.0.reading), answer)
    }

    /// Runs one statement in a transaction on PostgreSQL.
    async fn run_alone<T>(
        &self,
        pool: &Pool,
        statement: Statement,
        run: Run<T>,
    ) -> Result<T, DbErr> {
        let statement_timeout = Some(self.0.timeouts.statement);
        let (transaction, names) = self.begin_alone(pool, statement_timeout).await?;
        self.0.sequences.advance(&transaction).await?;
        let statement = qualified(statement, &names);
        let only_reads = statement.sql.trim_start().starts_with("SELECT");
        let answer = {
            let transaction = DatabaseExecutor::Transaction(&transaction);
            run(&transaction, statement).await?
        };
        note_committing(!only_reads);
        let committed = transaction.commit().await;
        note_committing(false);
        match only_reads {
            true => committed?,
            false => committed.map_err(failure::of_commit)?,
        }
        Ok(answer)
    }

    /// Starts the transaction of one statement on PostgreSQL, which ends it if this process is
    /// frozen, or others hold a lock that it needs. The tables are the ones that were looked up.
    async fn begin_alone(
        &self,
        pool: &Pool,
        statement_timeout: Option<Duration>,
    ) -> Result<(DatabaseTransaction, Names), DbErr> {
        let timeouts = &self.0.timeouts;
        let timeouts = timeouts.settings(timeouts.wait, statement_timeout);
        for _ in 0..MAX_LOOK_UPS {
            let transaction = pool.connection().begin().await?;
            let names = self.0.tables.find(&transaction).await?;
            let AskIdentities { expression, values } = names.ask_identities();
            let settings = format!("SELECT {expression}, {EMPTY_PATH}, {timeouts}");
            let settings = Statement::from_sql_and_values(DbBackend::Postgres, settings, values);
            let row = transaction.query_one_raw(settings).await?;
            let identities = row.map(|row| row.try_get_by_index::<Option<String>>(0));
            if names.are_same(identities.transpose()?.flatten().as_deref()) {
                return Ok((transaction, Some(names)));
            }
            transaction.rollback().await?;
            self.0.tables.forget();
        }
        Err(failure::replaced())
    }

    /// Starts a query, and reads its first row: an outdated statement is rejected only there.
    async fn start_stream(
        &self,
        pool: &Arc<Pool>,
        statement: Statement,
    ) -> Result<(Option<QueryResult>, Rows), DbErr> {
        let starting = async {
            pool.before_use().await?;
            let (sender, mut rows) = mpsc::channel(1);
            if self.0.url.sqlite_file().is_none() {
                // Its rows are read as fast as their reader takes them.
                let (transaction, names) = self.begin_alone(pool, None).await?;
                let statement = qualified(statement, &names);
                tokio::spawn(async move {
                    match transaction.stream_raw(statement).await {
                        Ok(rows) => pass_on(rows, sender).await,
                        // The query has ended if no one waits for it.
                        Err(error) => drop(sender.send(Err(error)).await),
                    }
                });
            } else {
                let read = pool.connection().stream_raw(statement).await?;
                tokio::spawn(pass_on(read, sender));
            }
            let first = rows.recv().await.transpose()?;
            first.iter().try_for_each(rows::check)?;
            Ok((first, rows))
        };
        let started = self.connecting(self.0.timeouts.statement, starting).await;
        self.judge(pool, Some(&self.0.reading), started)
    }
}

/// Sends the rows of a query until no one waits for them.
async fn pass_on(
    mut rows: impl Stream<Item = Result<QueryResult, DbErr>> + Unpin,
    sender: mpsc::Sender<Result<QueryResult, DbErr>>,
) {
    while let Some(row) = rows.next().await {
        if sender.send(row).await.is_err() {
            return;
        }
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
                        let row = rows.recv().await.transpose()?;
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
