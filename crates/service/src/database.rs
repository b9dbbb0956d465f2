//! The one door to a database, SQLite or PostgreSQL, for both services.
//!
//! Connections are private. Every statement has its own deadline, because the database library
//! sets no socket options and waits on a dead connection for hours; a connection that may be bad
//! is replaced, and if that does not help, all are; a change is acknowledged only if it can be
//! found again. A caller sees a `ConnectionTrait` and a [`Transaction`], and errors.

mod failure;
mod file_identity;
mod outage;
mod pool;
mod rows;
mod sequences;
mod sign_in_budget;
mod transaction;

use std::error::Error;
use std::fmt;
use std::fs::OpenOptions;
use std::io::ErrorKind;
use std::os::unix::fs::OpenOptionsExt as _;
use std::panic::AssertUnwindSafe;
use std::path::Path;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex as StdMutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use futures_util::{FutureExt as _, Stream, StreamExt as _, TryFutureExt as _, stream};
use rustix::fs::{Access, access};
use sea_orm::{
    ConnectionTrait, DatabaseConnection, DatabaseTransaction, DbBackend, DbErr, ExecResult,
    IsolationLevel, QueryResult, QueryStream, SqliteTransactionMode, Statement, StreamTrait,
    TransactionOptions, TransactionTrait as _,
};
use sqlx::postgres::{PgConnectOptions, PgListener};
use sqlx::{ConnectOptions as _, Connection as _};
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::clock::ticks;
use crate::database_url::DatabaseUrl;
use crate::jobs;
use crate::state_dir::{NotWritable, check_writable, give_to_owner};
use crate::tls_explanation;
use crate::turns::{QueueBounds, Turn, Turns};
use crate::unattended::finish_even_if_disconnected;
pub use failure::{Failure, Trouble, words};
use outage::Outage;
use pool::Pool;
use sequences::Sequences;
use sign_in_budget::SignInBudget;
pub use transaction::Transaction;

/// How long what is done on a database may take. Only tests use other values than
/// the defaults.
#[derive(Clone, Debug)]
pub struct Timeouts {
    /// A caller's wait for a connection, and a statement's for a lock that others
    /// hold.
    pub wait: Duration,
    /// A connection's answer to a ping, before it is used and after.
    pub ping: Duration,
    /// One statement, with the wait for a connection.
    pub statement: Duration,
    /// A whole transaction.
    pub transaction: Duration,
    /// A transaction that has not asked for anything: the database ends it, so that
    /// a process that is frozen or cut off blocks no other one.
    pub idle_transaction: Duration,
    /// The check whether changes can be stored.
    pub check: Duration,
    /// A pool that has not handed out a connection for so long is replaced; and for so
    /// long a change that failed counts as a sign that others would.
    pub starved: Duration,
    /// Age at which a PostgreSQL connection is replaced: after a failover, none
    /// stays at the former primary.
    pub max_age: Duration,
    /// Processor time for signing in that may be used without a pause.
    pub sign_in: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            wait: Duration::from_secs(5),
            ping: Duration::from_secs(2),
            statement: Duration::from_secs(7),
            transaction: Duration::from_secs(10),
            idle_transaction: Duration::from_secs(5),
            check: Duration::from_secs(2),
            starved: Duration::from_secs(10),
            max_age: Duration::from_secs(10 * 60),
            sign_in: sign_in_budget::DEFAULT_BURST,
        }
    }
}

/// Between two tries to open an SQLite file that another process has.
const RETRY_INTERVAL: Duration = Duration::from_millis(20);
/// How long all callers share one answer to whether changes can be stored.
const SHARED_CHECK_MAX_AGE: Duration = Duration::from_secs(1);
/// Databases that are like PostgreSQL may not know the setting.
const ASK_ENCODING: &str = "SELECT current_setting('server_encoding', true)";
/// Maximum number of calls that wait for a connection.
const MAX_WAITING: usize = 1000;
/// How often work is done that each time loses against other work.
const MAX_TRIES: u32 = 3;
/// How long a change of the tables may take.
pub const MIGRATION_TIMEOUT: Duration = Duration::from_secs(15 * 60);

/// Why a database cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The SQLite file or its directory cannot be made or changed.
    #[error(transparent)]
    NotWritable(#[from] NotWritable),
    /// The database is not there now: it is starting, or cannot be reached.
    #[error("cannot reach the database: {0}")]
    NotReached(Trouble),
    /// The database does not answer, or not to us.
    #[error("{0}")]
    Refused(Trouble),
}

impl ConnectError {
    /// What is wrong.
    #[must_use]
    pub fn trouble(&self) -> Trouble {
        match self {
            // It says itself what to do.
            Self::NotWritable(error) => Trouble {
                what: error.to_string(),
                failure: Failure::Refused,
            },
            Self::NotReached(trouble) | Self::Refused(trouble) => trouble.clone(),
        }
    }
}

impl From<DbErr> for ConnectError {
    fn from(error: DbErr) -> Self {
        Self::Refused(Trouble::of(&error))
    }
}

/// A database. Clones share their connections.
///
/// As a `ConnectionTrait` it runs single statements, each within
/// [`Timeouts::statement`]. Statements that belong together are a [`Transaction`].
#[derive(Clone)]
pub struct Database(Arc<Inner>);

struct Inner {
    url: DatabaseUrl,
    timeouts: Timeouts,
    pool: ArcSwap<Pool>,
    reading: Outage,
    writing: Outage,
    last_check: Arc<Mutex<Option<Check>>>,
    /// When a change was stored last.
    stored_at: StdMutex<Option<Instant>>,
    /// Who may use a connection. Callers wait here and not in the pool, where waiting too
    /// long and a database that is away look alike.
    working: Turns,
    /// Who may change an SQLite file: SQLite lets one do it, and others try again and
    /// again, in no order, each with a connection.
    changing_file: Turns,
    sequences: Sequences,
    sign_in: SignInBudget,
    /// Held while another SQLite file is opened.
    reopening: Mutex<()>,
}

/// What a transaction is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Purpose {
    Read,
    Change,
    /// To find out whether changes can be stored.
    Check,
}

/// Runs a statement on a connection.
type Run<T> = for<'a> fn(
    &'a DatabaseConnection,
    Statement,
) -> Pin<Box<dyn Future<Output = Result<T, DbErr>> + Send + 'a>>;

/// What the last check has found.
#[derive(Clone)]
struct Check {
    at: Instant,
    failure: Option<DbErr>,
}

impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Database").field(&self.0.url).finish()
    }
}

impl Database {
    /// Prepares a database for a service that keeps running while it is unavailable: the first
    /// statement connects. The file of an SQLite database must exist by then ([`make_file`]); a
    /// file that disappears later is never recreated.
    ///
    /// # Errors
    /// When the URL cannot be used at all.
    pub fn new(url: &DatabaseUrl, timeouts: Timeouts) -> Result<Self, DbErr> {
        let bounds = QueueBounds {
            at_a_time: pool::MAX_WORKING as usize,
            max_waiting: MAX_WAITING,
            timeout: timeouts.wait,
        };
        Ok(Self(Arc::new(Inner {
            working: Turns::new(bounds),
            changing_file: Turns::new(QueueBounds {
                at_a_time: 1,
                ..bounds
            }),
            stored_at: StdMutex::default(),
            pool: ArcSwap::from_pointee(Pool::new(url, &timeouts)?),
            url: url.clone(),
            sign_in: SignInBudget::new(timeouts.sign_in),
            timeouts,
            reading: Outage::new("read"),
            writing: Outage::new("write"),
            last_check: Arc::default(),
            sequences: Sequences::default(),
            reopening: Mutex::default(),
        })))
    }

    /// Connects. A missing SQLite file is created, with its directory.
    ///
    /// # Errors
    /// [`ConnectError::NotReached`] where the database may be back soon; otherwise when the
    /// file cannot be made, or the database refuses, has another encoding than UTF8, or is
    /// behind a pooler that this program cannot work with.
    pub async fn connect(url: &DatabaseUrl, timeouts: Timeouts) -> Result<Self, ConnectError> {
        if let Some(file) = url.sqlite_file() {
            make_file(file)?;
        }
        let database = Self::new(url, timeouts)?;
        match database.why_not().await {
            Some(trouble) if trouble.failure.is_temporary() => {
                return Err(ConnectError::NotReached(trouble));
            }
            Some(trouble) => return Err(ConnectError::Refused(trouble)),
            None => {}
        }
        let deadline = ticks() + database.0.timeouts.wait;
        loop {
            match database.execute_unprepared("SELECT 1").await {
                Ok(_) => return Ok(database),
                // Another process has the file for itself. When a file is changed to write-ahead
                // logging, SQLite fails immediately, regardless of its busy timeout
                // (sqlite.org/wal.html, section 8).
                Err(error) if failure::is_locked(&error) && ticks() < deadline => {
                    tokio::time::sleep(RETRY_INTERVAL).await;
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Starts a transaction that changes things. On SQLite it has the file for itself.
    /// On PostgreSQL the server ends it when this process is frozen or cut off.
    ///
    /// # Errors
    /// When the database refuses, can only be read, or others have not finished within
    /// [`Timeouts::wait`].
    pub async fn begin(&self) -> Result<Transaction, DbErr> {
        self.begin_keeping(Vec::new()).await
    }

    /// The same, and keeps `turn` until the transaction ends.
    ///
    /// # Errors
    /// As [`Self::begin`].
    pub async fn begin_in(&self, turn: Turn) -> Result<Transaction, DbErr> {
        self.begin_keeping(vec![turn]).await
    }

    async fn begin_keeping(&self, mut turns: Vec<Turn>) -> Result<Transaction, DbErr> {
        turns.extend(self.turn_to_change_file().await?);
        turns.push(self.turn().await?);
        self.begin_for(Purpose::Change, turns).await
    }

    /// Waits for a turn to use a connection.
    async fn turn(&self) -> Result<Turn, DbErr> {
        let turn = self.0.working.take(&()).await;
        turn.map_err(|_| failure::busy())
    }

    /// Waits for a turn to change an SQLite file.
    async fn turn_to_change_file(&self) -> Result<Option<Turn>, DbErr> {
        if self.0.url.sqlite_file().is_none() {
            return Ok(None);
        }
        let turn = self.0.changing_file.take(&()).await;
        turn.map(Some).map_err(|_| failure::busy())
    }

    /// The transaction keeps the turns, and so does its beginning when the caller is gone.
    async fn begin_for(&self, purpose: Purpose, turns: Vec<Turn>) -> Result<Transaction, DbErr> {
        let database = self.clone();
        uninterrupted(async move {
            let begun = match database.try_begin(purpose).await {
                // After a failover the pool still has sessions of the former primary. They
                // are marked now, and nothing has been done yet: a new one may do better.
                // So it is with one whose prepared statements are outdated.
                Err(error)
                    if matches!(
                        Failure::of(&error),
                        Failure::Connection(true) | Failure::FileReadOnly
                    ) || failure::may_be_repeated(&error) =>
                {
                    database.try_begin(purpose).await
                }
                begun => begun,
            };
            Ok(begun?.keeping(turns))
        })
        .await
    }

    /// Starts a transaction that can only read, for queries of others.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn begin_reading(&self) -> Result<Transaction, DbErr> {
        let turn = self.turn().await?;
        self.begin_for(Purpose::Read, vec![turn]).await
    }

    async fn try_begin(&self, purpose: Purpose) -> Result<Transaction, DbErr> {
        let timeouts = &self.0.timeouts;
        let deadline = ticks() + timeouts.transaction;
        let pool = self.pool().await?;
        let beginning = transaction::begin(&pool, &self.0.sequences, purpose, timeouts);
        let limit = match purpose {
            // No caller waits longer than this, and the check continues after the caller has left.
            Purpose::Check => timeouts.check.min(timeouts.statement),
            Purpose::Read | Purpose::Change => timeouts.statement,
        };
        let begun = self.connecting(limit, beginning).await;
        let begun = match begun {
            // Only a commit says that changes can be stored.
            Ok(begun) => begun,
            failed => self.judge(&pool, self.outage(purpose), failed)?,
        };
        Ok(Transaction::new(
            self.clone(),
            pool,
            begun,
            purpose,
            deadline,
        ))
    }

    /// Starts a change of the tables. Only this provides a plain connection, which the migrations
    /// need; they may take [`MIGRATION_TIMEOUT`].
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn begin_migration(&self) -> Result<Migration, DbErr> {
        let pool = self.pool().await?;
        let is_postgres = self.0.url.sqlite_file().is_none();
        let options = TransactionOptions {
            isolation_level: is_postgres.then_some(IsolationLevel::ReadCommitted),
            sqlite_transaction_mode: Some(SqliteTransactionMode::Immediate),
            ..TransactionOptions::default()
        };
        let database = self.clone();
        uninterrupted(async move {
            let beginning = pool.connection().begin_with_options(options);
            let timeout = database.0.timeouts.statement;
            let transaction = database.connecting(timeout, beginning).await?;
            Ok(Migration { pool, transaction })
        })
        .await
    }

    /// Whether changes can be stored: `statement` changes a row to what it is already,
    /// and is committed. Answers within [`Timeouts::check`]; all callers within a
    /// second share one answer, so that anyone may ask.
    ///
    /// # Errors
    /// When they cannot, and when the row does not exist.
    pub async fn check_writable(&self, statement: &'static str) -> Result<(), DbErr> {
        let mut last = self.0.last_check.clone().lock_owned().await;
        if let Some(check) = &*last
            && ticks() - check.at < SHARED_CHECK_MAX_AGE
        {
            return check.failure.clone().map_or(Ok(()), Err);
        }
        let database = self.clone();
        // A caller who hangs up must not start another check.
        uninterrupted(async move {
            let failure = database.write_unchanged(statement).await.err();
            let at = ticks();
            *last = Some(Check {
                at,
                failure: failure.clone(),
            });
            failure.map_or(Ok(()), Err)
        })
        .await
    }

    async fn write_unchanged(&self, statement: &str) -> Result<(), DbErr> {
        let began_at = ticks();
        let writing = async {
            // On PostgreSQL it does not wait for a turn, because it has its own connection.
            let turn = self.turn_to_change_file().await?;
            let transaction = self.begin_for(Purpose::Check, Vec::from_iter(turn)).await?;
            let result = transaction.execute_unprepared(statement).await?;
            if result.rows_affected() == 0 {
                return Err(DbErr::RecordNotUpdated);
            }
            transaction.commit().await?;
            // On a disk that is nearly full, a small change finds room.
            self.0
                .writing
                .check_recent(self.0.timeouts.starved, ticks())
        };
        let timeout = self.0.timeouts.check;
        let written = tokio::time::timeout(timeout, writing).await;
        let is_held_up = match &written {
            Ok(Ok(())) => false,
            Ok(Err(error)) => Failure::of(error) == Failure::Busy,
            Err(_) => true,
        };
        // Others were in front, and what they changed is stored; or PostgreSQL, which takes
        // changes, answers that others hold the row.
        let is_answered = self.0.url.sqlite_file().is_none() && written.is_ok();
        if is_held_up && (is_answered || self.has_stored_since(began_at)) {
            return self
                .0
                .writing
                .check_recent(self.0.timeouts.starved, ticks());
        }
        written.unwrap_or_else(|_| {
            let error = failure::timed_out(timeout);
            self.0.writing.failed(&error, ticks());
            self.0.pool.load().health().renew();
            Err(error)
        })
    }

    /// Why a PostgreSQL database cannot be used, in its own words; `None` when it can,
    /// and for SQLite. A pool waits and says only that it has waited too long.
    ///
    /// Statements are always prepared by name. A pooler that gives each transaction
    /// another session, and does not keep prepared statements, mixes the names up: the
    /// second of two connections meets the statement of the first.
    pub async fn why_not(&self) -> Option<Trouble> {
        if self.0.url.sqlite_file().is_some() {
            return None;
        }
        let connecting = async {
            let options = pool::postgres_options(&self.0.url)?;
            let mut first = options.connect().await?;
            let mut second = options.connect().await?;
            for connection in [&mut first, &mut second] {
                sqlx::query("SELECT 1").execute(connection).await?;
            }
            let asking = sqlx::query_scalar(ASK_ENCODING).fetch_one(&mut first);
            let encoding: Option<String> = asking.await?;
            first.close().await?;
            second.close().await?;
            Ok::<_, sqlx::Error>(encoding)
        };
        let connecting = async { connecting.await.map_err(db_error) };
        let error = match self.connecting(self.0.timeouts.wait, connecting).await {
            Ok(encoding) => {
                let other = encoding.filter(|encoding| !is_utf8(encoding))?;
                failure::wrong_encoding(&other)
            }
            Err(error) => self.tls_explained(error),
        };
        Some(Trouble::of(&error))
    }

    /// Why a database that can be connected to cannot hold every text; `None` when it can.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn wrong_encoding(&self) -> Result<Option<String>, DbErr> {
        if self.0.url.sqlite_file().is_some() {
            return Ok(None);
        }
        let ask = Statement::from_string(DbBackend::Postgres, ASK_ENCODING);
        let row = self.query_one_raw(ask).await?;
        let encoding = match row {
            Some(row) => row.try_get_by_index::<Option<String>>(0)?,
            None => None,
        };
        let other = encoding.filter(|encoding| !is_utf8(encoding));
        Ok(other.map(|other| words(&failure::wrong_encoding(&other))))
    }

    /// Closes all connections, within [`Timeouts::check`]; SQLite folds its log into
    /// the file.
    pub async fn close(&self) {
        let pool = self.0.pool.load_full();
        let closing = tokio::time::timeout(self.0.timeouts.check, pool.close());
        match closing.await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "the database was not closed cleanly"),
            Err(_) => {
                tracing::warn!("the database hangs, abandoning its connections");
            }
        }
    }

    /// The pool that is used now. Where an SQLite file was moved, deleted or replaced,
    /// what is at the path is opened instead, if that is safe.
    async fn pool(&self) -> Result<Arc<Pool>, DbErr> {
        let pool = self.0.pool.load_full();
        if pool.check_file().is_ok() && !pool.is_abandoned() && !pool.may_change_now() {
            return Ok(pool);
        }
        let _turn = self.0.reopening.lock().await;
        let pool = self.0.pool.load_full();
        if pool.check_file().is_ok() {
            if pool.may_change_now() {
                self.abandon(&pool).await?;
            }
            // Put back while its connections were being closed, or no longer read-only.
            if pool.is_abandoned() {
                self.replace(&pool)?;
            }
        } else {
            pool.check_reopening()
                .inspect_err(|error| self.0.writing.failed(error, ticks()))?;
            // Closed first, SQLite writes what is left in the log to its file.
            self.abandon(&pool).await?;
            self.replace(&pool)?;
        }
        Ok(self.0.pool.load_full())
    }

    async fn abandon(&self, pool: &Pool) -> Result<(), DbErr> {
        let closing = tokio::time::timeout(self.0.timeouts.wait, pool.abandon()).await;
        closing.map_err(|_| failure::file_gone())?
    }

    /// Replaces all connections.
    fn replace(&self, old: &Arc<Pool>) -> Result<(), DbErr> {
        let new = Arc::new(Pool::new(&self.0.url, &self.0.timeouts)?);
        let was = self.0.pool.compare_and_swap(old, new);
        if Arc::ptr_eq(&was, old) {
            tracing::debug!("replaced all connections to the database");
            let (old, timeout) = (old.clone(), self.0.timeouts.starved);
            tokio::spawn(async move { tokio::time::timeout(timeout, old.close()).await });
        }
        Ok(())
    }

    /// Waits for work that may begin with a new connection, but not for ever.
    async fn connecting<T>(
        &self,
        timeout: Duration,
        work: impl Future<Output = Result<T, DbErr>>,
    ) -> Result<T, DbErr> {
        within(timeout, self.0.sign_in.within(work)).await
    }

    /// What an answer says about the connections, and about the database.
    fn judge<T>(
        &self,
        pool: &Arc<Pool>,
        outage: Option<&Outage>,
        answer: Result<T, DbErr>,
    ) -> Result<T, DbErr> {
        let error = match answer {
            Ok(answer) => {
                outage.inspect(|outage| outage.is_over(ticks()));
                return Ok(answer);
            }
            Err(error) => self.tls_explained(failure::in_words(error)),
        };
        let failure = Failure::of(&error);
        match failure {
            Failure::Stale => pool.health().renew(),
            Failure::FileReadOnly => pool.note_read_only(),
            Failure::Sequence => {
                let error = failure::library_error(&error);
                error.inspect(|error| self.0.sequences.note(error));
            }
            failure if failure.is_of_connection() => pool.health().renew(),
            _ => {}
        }
        if !failure.is_outage() {
            return Err(error);
        }
        if let Some(outage) = outage {
            outage.failed(&error, ticks());
        }
        let is_postgres = self.0.url.sqlite_file().is_none();
        if is_postgres && pool.health().is_starved(self.0.timeouts.starved) {
            self.replace(pool)?;
        }
        Err(error)
    }

    /// The error with an explanation where no TLS connection was made.
    fn tls_explained(&self, error: DbErr) -> DbErr {
        let library_error = failure::library_error(&error);
        let why = library_error.and_then(|it| tls_explanation::of_postgres(it, &self.0.url));
        why.map_or(error, |why| failure::no_tls(&why))
    }

    /// A transaction that can only read is for queries of others, which may be wrong.
    fn outage(&self, purpose: Purpose) -> Option<&Outage> {
        match purpose {
            Purpose::Read => None,
            Purpose::Change | Purpose::Check => Some(&self.0.writing),
        }
    }

    /// A change was stored.
    fn note_stored(&self) {
        let stored_at = &self.0.stored_at;
        let mut stored_at = stored_at.lock().unwrap_or_else(PoisonError::into_inner);
        *stored_at = Some(ticks());
    }

    /// Whether a change was stored after this instant.
    fn has_stored_since(&self, instant: Instant) -> bool {
        let stored_at = &self.0.stored_at;
        let stored_at = stored_at.lock().unwrap_or_else(PoisonError::into_inner);
        stored_at.is_some_and(|at| at >= instant)
    }

    /// Runs one statement outside of a transaction. It is run again where nothing was
    /// done and another connection may do better.
    /// It ends with its turn when the caller is gone: the library would clean the connection
    /// without one.
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

    /// What is said when another connection has not helped.
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
            let answer = run.await?;
            // It may have been a change.
            pool.check_file()?;
            Ok(answer)
        };
        let answer = self.connecting(self.0.timeouts.statement, running).await;
        self.judge(pool, Some(&self.0.reading), answer)
    }

    /// Starts a query, with its first row: an outdated statement is refused only there.
    async fn start_stream(
        &self,
        pool: &Arc<Pool>,
        statement: Statement,
    ) -> Result<(Option<QueryResult>, QueryStream), DbErr> {
        let starting = async {
            let mut rows = pool.connection().stream_raw(statement).await?;
            let first = rows.next().await.transpose()?;
            first.iter().try_for_each(rows::check)?;
            Ok((first, rows))
        };
        let started = self.connecting(self.0.timeouts.statement, starting).await;
        self.judge(pool, Some(&self.0.reading), started)
    }
}

tokio::task_local! {
    /// Whether a commit was sent whose answer has not arrived.
    static IS_COMMITTING: Arc<AtomicBool>;
}

/// Notes for [`within`] whether a commit is being made.
fn note_committing(is_committing: bool) {
    // Without a timeout around it, the commit's own answer says it.
    let _ = IS_COMMITTING.try_with(|it| it.store(is_committing, Ordering::Relaxed));
}

/// Waits for work on a database, up to `timeout`, and survives its panics.
///
/// # Errors
/// Those of the work. If it has not ended in time or panicked, an error that says so:
/// [`Failure::Uncertain`] if it was waiting for the answer to a commit.
pub async fn within<T, E: From<DbErr>>(
    timeout: Duration,
    work: impl Future<Output = Result<T, E>>,
) -> Result<T, E> {
    let is_committing = Arc::new(AtomicBool::new(false));
    let work = AssertUnwindSafe(work).catch_unwind();
    let work = IS_COMMITTING.scope(is_committing.clone(), work);
    let error = match tokio::time::timeout(timeout, work).await {
        Ok(Ok(done)) => return done,
        Ok(Err(panic)) => failure::panicked(jobs::text(&*panic)),
        Err(_) => failure::timed_out(timeout),
    };
    Err(match is_committing.load(Ordering::Relaxed) {
        true => failure::uncertain(&error).into(),
        false => error.into(),
    })
}

/// Does work that continues when the caller is gone, such as one that hangs up: what it would
/// answer is dropped then. Interrupted while it begins a transaction, the library would take
/// the connection for one outside of a transaction (`sqlx-postgres` 0.9.0,
/// `PgTransactionManager::begin`). The work bounds its own time.
fn uninterrupted<T: Send + 'static>(
    work: impl Future<Output = Result<T, DbErr>> + Send + 'static,
) -> impl Future<Output = Result<T, DbErr>> + Send {
    let done = finish_even_if_disconnected(work);
    async move {
        let done = done.await;
        done.unwrap_or_else(|panicked| Err(failure::panicked(&panicked.what)))
    }
}

/// Does work with transactions, and does it again where nothing of it is done because
/// it lost against other work, or because of the connection alone. What it waits for is
/// waited for again.
///
/// # Errors
/// Those of the last try.
pub async fn repeated<T, E, F>(work: impl Fn() -> F) -> Result<T, E>
where
    E: Error + 'static,
    F: Future<Output = Result<T, E>>,
{
    let mut tries = 1;
    loop {
        match work().await {
            Err(error) if tries < MAX_TRIES && is_for_another_try(&error) => tries += 1,
            done => return done,
        }
    }
}

/// Whether work that failed so has done nothing, and may succeed when it is done again.
#[must_use]
pub fn is_for_another_try(error: &(dyn Error + 'static)) -> bool {
    std::iter::successors(Some(error), |&error| error.source())
        .find_map(|error| error.downcast_ref::<DbErr>())
        .is_some_and(failure::may_be_repeated)
}

/// Spellings of databases that are like PostgreSQL included.
fn is_utf8(encoding: &str) -> bool {
    ["UTF8", "UTF-8", "UNICODE"]
        .iter()
        .any(|name| encoding.eq_ignore_ascii_case(name))
}

/// A change of the tables. Dropped without a commit it is taken back.
pub struct Migration {
    pool: Arc<Pool>,
    transaction: DatabaseTransaction,
}

impl Migration {
    /// Its connection.
    #[must_use]
    pub fn connection(&self) -> &DatabaseTransaction {
        &self.transaction
    }

    /// Makes the change last.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn commit(self) -> Result<(), DbErr> {
        self.pool.check_file()?;
        self.transaction.commit().await?;
        self.pool.check_file()
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

/// Rows one after the other, each within [`Timeouts::statement`].
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

/// Hears the notifications of other processes on a PostgreSQL database.
pub struct Listener {
    listener: PgListener,
    database: Database,
    max_silence: Duration,
}

impl Listener {
    /// Listens to `channel` on a separate connection; `None` on SQLite, which has no
    /// notifications.
    ///
    /// # Errors
    /// When the database cannot be reached.
    pub async fn start(database: &Database, channel: &str) -> Result<Option<Self>, DbErr> {
        if ConnectionTrait::get_database_backend(database) != DbBackend::Postgres {
            return Ok(None);
        }
        let url = &database.0.url;
        let listening = async {
            // Its pool must not be the one that may be replaced.
            let options: PgConnectOptions = pool::postgres_options(url)?;
            let own = sqlx::postgres::PgPoolOptions::new()
                .max_connections(1)
                .acquire_timeout(database.0.timeouts.wait)
                .idle_timeout(None)
                .max_lifetime(None)
                .connect_lazy_with(options);
            let mut listener = PgListener::connect_with(&own).await?;
            listener.listen(channel).await?;
            Ok(listener)
        };
        let listening = listening.map_err(db_error);
        let listening = database.0.sign_in.within(listening);
        match tokio::time::timeout(database.0.timeouts.statement, listening).await {
            Ok(listener) => {
                let listener = listener?;
                let max_silence = database.0.timeouts.max_age;
                Ok(Some(Self {
                    listener,
                    database: database.clone(),
                    max_silence,
                }))
            }
            Err(_) => Err(failure::timed_out(database.0.timeouts.statement)),
        }
    }

    /// Waits for the next notification, or for the moment at which the
    /// connection is back after it was lost: something may have been missed
    /// then.
    ///
    /// # Errors
    /// When the connection is lost and cannot be made again, or is silent for
    /// [`Timeouts::max_age`].
    pub async fn heard(&mut self) -> Result<(), DbErr> {
        // It may connect again.
        let hearing = self.listener.try_recv().map_err(db_error);
        let hearing = self.database.0.sign_in.within(hearing);
        match tokio::time::timeout(self.max_silence, hearing).await {
            Ok(heard) => heard.map(|_| ()),
            // A dead connection is as silent as a database that does not change.
            Err(_) => Err(failure::timed_out(self.max_silence)),
        }
    }
}

fn db_error(error: sqlx::Error) -> DbErr {
    DbErr::Conn(sea_orm::RuntimeErr::SqlxError(error.into()))
}

/// Makes the file of an SQLite database and its directory, if need be.
///
/// # Errors
/// When one cannot be made or changed. SQLite itself would not say which.
pub fn make_file(file: &Path) -> Result<(), ConnectError> {
    const SETTING: &str = "STATE_DIR or DATABASE_URL";
    let directory = file.parent().filter(|path| !path.as_os_str().is_empty());
    let directory = directory.unwrap_or(Path::new("."));
    check_writable(SETTING, directory)?;
    // License keys are in it: only its owner may read a file that is made here.
    let made = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(file);
    let is_writable = match made {
        Ok(made) => give_to_owner(&made, file),
        // It is not opened: closing it would free the locks of SQLite (fcntl(2)).
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            access(file, Access::READ_OK | Access::WRITE_OK).map_err(Into::into)
        }
        Err(error) => Err(error),
    };
    is_writable.map_err(|error| NotWritable::new(SETTING, file, &error).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_keeps_its_text_and_within_a_commit_the_outcome_is_unknown() {
        const TIMEOUT: Duration = Duration::from_secs(60);
        let bug = async || -> Result<(), DbErr> { panic!("index out of bounds") };
        let error = within(TIMEOUT, bug()).await.unwrap_err();
        assert_eq!(Failure::of(&error), Failure::Panicked);
        let error = uninterrupted(async { panic!("index out of bounds") });
        let error: Result<(), DbErr> = error.await;
        let error = error.unwrap_err();
        assert_eq!(Failure::of(&error), Failure::Panicked);
        assert!(words(&error).contains("index out of bounds"), "{error}");
        let committing = async {
            note_committing(true);
            bug().await
        };
        let error = within(TIMEOUT, committing).await.unwrap_err();
        assert_eq!(Failure::of(&error), Failure::Uncertain);
        // Around a part of the work, it does not hide what happens inside.
        let nested = within(TIMEOUT, async {
            note_committing(true);
            let _ = within(TIMEOUT, bug()).await;
            note_committing(false);
            bug().await
        });
        let error = nested.await.unwrap_err();
        assert_eq!(Failure::of(&error), Failure::Panicked);
    }
}
