//! Statements that are executed together or not at all.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sea_orm::{
    AccessMode, ConnectionTrait, DatabaseTransaction, DbBackend, DbErr, ExecResult, IsolationLevel,
    QueryResult, SqliteTransactionMode, Statement, TransactionOptions, TransactionTrait as _,
};
use tokio::time::Instant;

use super::pool::Pool;
use super::sequences::Sequences;
use super::table_names::{EMPTY_PATH, Schemas, TableNames};
use super::timeouts::local_timeout;
use super::work::{note_committing, uninterrupted, within};
use super::{Database, Purpose, Timeouts, failure, rows};
use crate::clock::ticks;
use crate::turns::Turn;

/// A transaction. It is rolled back if it is dropped without a commit.
pub struct Transaction {
    database: Database,
    pool: Arc<Pool>,
    transaction: Arc<DatabaseTransaction>,
    purpose: Purpose,
    names: Names,
    deadline: Instant,
    /// It is a part of another transaction, with which it is stored.
    is_part: bool,
    /// A part is being started, or could not be started; applies to the transaction and all its
    /// parts.
    is_incomplete: Arc<AtomicBool>,
    /// Turns that are kept until the transaction ends.
    turns: Arc<Vec<Turn>>,
}

/// How the statements of a transaction name their tables: with the schemas that were found;
/// `None` if they are found with the search path of the site, and on SQLite.
pub(super) type Names = Option<Arc<Schemas>>;

/// A transaction that has started.
pub(super) struct Begun {
    transaction: DatabaseTransaction,
    names: Names,
    /// When the PostgreSQL server was started.
    server_started: Option<String>,
}

impl Begun {
    /// When the PostgreSQL server was started, in its own words.
    pub(super) fn server_started(&self) -> Option<&str> {
        self.server_started.as_deref()
    }
}

/// How often a transaction is started again because the tables were replaced.
pub(super) const MAX_LOOK_UPS: u32 = 3;

/// Starts a transaction on a connection that is suitable for its purpose. The tables are the ones
/// that were looked up.
pub(super) async fn begin(
    pool: &Pool,
    tables: &TableNames,
    sequences: &Sequences,
    purpose: Purpose,
    timeouts: &Timeouts,
) -> Result<Begun, DbErr> {
    for _ in 0..MAX_LOOK_UPS {
        if let Some(begun) = begin_one(pool, tables, purpose, timeouts).await? {
            if purpose == Purpose::Change && begun.names.is_some() {
                sequences.advance(&begun.transaction).await?;
            }
            return Ok(begun);
        }
        tables.forget();
    }
    Err(failure::replaced())
}

/// The same; `None` if the tables are no longer the ones that were looked up.
async fn begin_one(
    pool: &Pool,
    tables: &TableNames,
    purpose: Purpose,
    timeouts: &Timeouts,
) -> Result<Option<Begun>, DbErr> {
    let is_postgres = pool.connection().get_database_backend() == DbBackend::Postgres;
    let options = TransactionOptions {
        // Reads see a consistent snapshot; SQLite offers nothing else. Changes lock the rows that
        // they change. The default of a database or a user may be an isolation level at which
        // concurrent changes abort them.
        isolation_level: is_postgres.then_some(match purpose {
            Purpose::Read | Purpose::ReadOthers => IsolationLevel::RepeatableRead,
            Purpose::Check | Purpose::Change => IsolationLevel::ReadCommitted,
        }),
        // SQLite has no read-only mode, and needs none.
        access_mode: (is_postgres && purpose.is_read()).then_some(AccessMode::ReadOnly),
        sqlite_transaction_mode: (!purpose.is_read()).then_some(SqliteTransactionMode::Immediate),
    };
    pool.before_use().await?;
    let transaction = pool.connection().begin_with_options(options).await?;
    if !is_postgres {
        return Ok(Some(Begun {
            transaction,
            names: None,
            server_started: None,
        }));
    }
    let names = match purpose {
        Purpose::ReadOthers => None,
        Purpose::Read | Purpose::Change | Purpose::Check => Some(tables.find(&transaction).await?),
    };
    let set_up = set_up(pool, &transaction, purpose, timeouts, &names).await?;
    if !set_up.are_tables_same {
        transaction.rollback().await?;
        return Ok(None);
    }
    Ok(Some(Begun {
        transaction,
        names,
        server_started: set_up.server_started,
    }))
}

/// What is known about a transaction that has been set up.
struct SetUp {
    server_started: Option<String>,
    are_tables_same: bool,
}

/// Lets PostgreSQL end a transaction that this process can no longer end, and asks whether it
/// accepts changes. The settings apply only to this transaction, as with SET LOCAL: poolers reject
/// them at the start of a connection, and would pass on those of others.
async fn set_up(
    pool: &Pool,
    transaction: &DatabaseTransaction,
    purpose: Purpose,
    timeouts: &Timeouts,
    names: &Names,
) -> Result<SetUp, DbErr> {
    let user_timeout = local_timeout("tcp_user_timeout", timeouts.idle_transaction);
    // A check that is delayed by others has to end in time to report that.
    let wait = match purpose {
        Purpose::Check => timeouts.wait.min(timeouts.check / 2),
        Purpose::Read | Purpose::ReadOthers | Purpose::Change => timeouts.wait,
    };
    let allows_user_timeout = allows_user_timeout(pool, transaction, &user_timeout).await?;
    let mut settings = format!(
        "SELECT pg_catalog.current_setting('transaction_read_only'), \
         pg_catalog.pg_postmaster_start_time()::pg_catalog.text, {}",
        timeouts.settings(wait, Some(timeouts.statement)),
    );
    if purpose != Purpose::ReadOthers {
        settings = format!("{settings}, {EMPTY_PATH}");
    }
    if allows_user_timeout {
        // Data sent to a host that has vanished is given up after the same time.
        settings = format!("{settings}, {user_timeout}");
    }
    let mut values = Vec::new();
    if let Some(names) = names {
        let ask = names.ask_identities();
        settings = format!("{settings}, {}", ask.expression);
        values = ask.values;
    }
    let settings = Statement::from_sql_and_values(DbBackend::Postgres, settings, values);
    let Some(row) = transaction.query_one_raw(settings).await? else {
        return Err(failure::replaced());
    };
    let is_read_only = row.try_get_by_index::<String>(0)? == "on";
    if is_read_only && !purpose.is_read() {
        return Err(failure::read_only());
    }
    let are_tables_same = match names {
        Some(names) => {
            let last = row.column_names().len().saturating_sub(1);
            names.are_same(row.try_get_by_index::<Option<String>>(last)?.as_deref())
        }
        None => true,
    };
    Ok(SetUp {
        server_started: row.try_get_by_index(1)?,
        are_tables_same,
    })
}

/// Whether the server knows `tcp_user_timeout`.
async fn allows_user_timeout(
    pool: &Pool,
    transaction: &DatabaseTransaction,
    user_timeout: &str,
) -> Result<bool, DbErr> {
    if let Some(allows) = pool.allows_user_timeout().get() {
        return Ok(*allows);
    }
    // Unknown to some PostgreSQL-compatible servers; an error must not end the transaction.
    let savepoint = transaction.begin().await?;
    let set = Statement::from_string(DbBackend::Postgres, format!("SELECT {user_timeout}"));
    let allows = match savepoint.query_one_raw(set).await {
        Ok(_) => true,
        Err(error) if failure::is_unknown_setting(&error) => false,
        Err(error) => return Err(error),
    };
    savepoint.rollback().await?;
    Ok(*pool.allows_user_timeout().get_or_init(|| allows))
}

impl Transaction {
    /// Refuses to create missing tables without permission.
    ///
    /// # Errors
    /// If the database user does not have it, with what to do.
    pub fn check_creation(&self) -> Result<(), DbErr> {
        let checked = self.names.iter().try_for_each(|it| it.refuse_creation());
        checked.inspect_err(|_| self.database.0.tables.forget())
    }

    /// Whether a table may exist: on PostgreSQL, whether it was found.
    #[must_use]
    pub fn may_have(&self, table: &str) -> bool {
        self.names.as_ref().is_none_or(|names| names.has(table))
    }

    /// The schemas of the tables; `None` with SQLite.
    pub(super) fn names(&self) -> &Names {
        &self.names
    }

    pub(super) fn new(
        database: Database,
        pool: Arc<Pool>,
        begun: Begun,
        purpose: Purpose,
        deadline: Instant,
    ) -> Self {
        Self {
            database,
            pool,
            transaction: Arc::new(begun.transaction),
            purpose,
            names: begun.names,
            deadline,
            is_part: false,
            is_incomplete: Arc::default(),
            turns: Arc::default(),
        }
    }

    /// Keeps these turns until the transaction ends.
    #[must_use]
    pub(super) fn keeping(self, turns: Vec<Turn>) -> Self {
        let turns = Arc::new(turns);
        Self { turns, ..self }
    }

    /// Starts a part that can be rolled back separately. If a requested part cannot be started, the
    /// transaction executes nothing more.
    ///
    /// # Errors
    /// If the database returns an error.
    pub async fn begin(&self) -> Result<Self, DbErr> {
        self.check_complete()?;
        // If this fails, the library rolls back the whole transaction, and later statements would
        // be written immediately (`sqlx-postgres` 0.9.0, `Rollback`).
        self.is_incomplete.store(true, Ordering::Relaxed);
        let (transaction, turns) = (self.transaction.clone(), self.turns.clone());
        let (database, left) = (self.database.clone(), left(&self.database, self.deadline));
        let is_change = self.purpose == Purpose::Change;
        let beginning = uninterrupted(async move {
            let begun = within(left, async {
                let begun = transaction.begin().await?;
                if is_change {
                    database.0.sequences.advance(&begun).await?;
                }
                Ok(begun)
            });
            let begun = begun.await;
            drop(turns);
            begun
        });
        let begun = self.judged(beginning.await)?;
        self.is_incomplete.store(false, Ordering::Relaxed);
        let (database, pool) = (self.database.clone(), self.pool.clone());
        let begun = Begun {
            transaction: begun,
            names: self.names.clone(),
            server_started: None,
        };
        let part = Self::new(database, pool, begun, self.purpose, self.deadline);
        Ok(Self {
            is_part: true,
            is_incomplete: self.is_incomplete.clone(),
            ..part
        })
    }

    fn check_complete(&self) -> Result<(), DbErr> {
        match self.is_incomplete.load(Ordering::Relaxed) {
            true => Err(failure::incomplete()),
            false => Ok(()),
        }
    }

    /// Commits the changes. If there is no error, they are in the database that `DATABASE_URL`
    /// names.
    ///
    /// # Errors
    /// If the database returns an error, or an SQLite file is no longer at its path.
    /// [`Failure::Uncertain`](super::Failure::Uncertain) if it is unknown whether the changes were
    /// stored.
    pub async fn commit(self) -> Result<(), DbErr> {
        self.check_complete()?;
        let Self {
            database,
            pool,
            transaction,
            purpose,
            deadline,
            is_part,
            turns: _turns,
            ..
        } = self;
        let transaction = Arc::into_inner(transaction).ok_or_else(failure::incomplete)?;
        let committing = async {
            pool.check_file()?;
            transaction.commit().await?;
            // The file may have been moved in between, and back again later.
            let checked = pool.check_file();
            checked.map_err(|error| failure::uncertain(&error))
        };
        let left = left(&database, deadline);
        let may_store = !is_part && purpose == Purpose::Change;
        note_committing(may_store);
        let committed = within(left, committing).await;
        note_committing(false);
        let committed = match may_store {
            true => committed.map_err(failure::of_commit),
            false => committed,
        };
        match committed {
            // The check may write less than others want to write.
            Ok(()) if is_part || purpose == Purpose::Check => Ok(()),
            Ok(()) => {
                database.note_stored();
                database.judge(&pool, database.outage(purpose), Ok(()))
            }
            failed => database.judge(&pool, database.outage(purpose), failed),
        }
    }

    /// Rolls the changes back.
    ///
    /// # Errors
    /// If the database does not respond; the changes are rolled back nevertheless.
    pub async fn rollback(self) -> Result<(), DbErr> {
        let Self {
            database,
            pool,
            transaction,
            purpose,
            deadline,
            turns: _turns,
            ..
        } = self;
        let transaction = Arc::into_inner(transaction).ok_or_else(failure::incomplete)?;
        let left = left(&database, deadline);
        match within(left, transaction.rollback()).await {
            Ok(()) => Ok(()),
            failed => database.judge(&pool, database.outage(purpose), failed),
        }
    }

    async fn run<T>(&self, work: impl Future<Output = Result<T, DbErr>>) -> Result<T, DbErr> {
        self.check_complete()?;
        let left = left(&self.database, self.deadline);
        self.judged(within(left, work).await)
    }

    fn judged<T>(&self, answer: Result<T, DbErr>) -> Result<T, DbErr> {
        match answer {
            // Only a commit proves that changes can be stored.
            Ok(answer) => Ok(answer),
            failed => {
                let outage = self.database.outage(self.purpose);
                self.database.judge(&self.pool, outage, failed)
            }
        }
    }
}

/// The statement with the schemas of its tables.
pub(super) fn qualified(mut statement: Statement, names: &Names) -> Statement {
    if let Some(names) = names {
        statement.sql = names.qualified(&statement.sql).into_owned();
    }
    statement
}

/// The timeout of the next statement.
fn left(database: &Database, deadline: Instant) -> Duration {
    let left = deadline.saturating_duration_since(ticks());
    left.min(database.0.timeouts.statement)
}

#[async_trait::async_trait]
impl ConnectionTrait for Transaction {
    fn get_database_backend(&self) -> DbBackend {
        self.transaction.get_database_backend()
    }

    async fn execute_raw(&self, statement: Statement) -> Result<ExecResult, DbErr> {
        let statement = qualified(statement, &self.names);
        self.run(self.transaction.execute_raw(statement)).await
    }

    async fn execute_unprepared(&self, sql: &str) -> Result<ExecResult, DbErr> {
        let sql = match &self.names {
            Some(names) => names.qualified(sql),
            None => sql.into(),
        };
        self.run(self.transaction.execute_unprepared(&sql)).await
    }

    async fn query_one_raw(&self, statement: Statement) -> Result<Option<QueryResult>, DbErr> {
        let statement = qualified(statement, &self.names);
        self.run(rows::checked_one(&*self.transaction, statement))
            .await
    }

    async fn query_all_raw(&self, statement: Statement) -> Result<Vec<QueryResult>, DbErr> {
        let statement = qualified(statement, &self.names);
        self.run(rows::checked_all(&*self.transaction, statement))
            .await
    }
}
