//! Hands out connections, and decides when they are no longer handed out.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use sea_orm::{DatabaseConnection, DbErr, RuntimeErr, SqlxPostgresConnector, SqlxSqliteConnector};
use sqlx::Connection;
use sqlx::pool::PoolOptions;
use sqlx::postgres::PgConnection;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqliteSynchronous};
use sqlx::{ConnectOptions as _, Error};
use tokio::time::Instant;

use super::Timeouts;
use super::address;
use super::failure;
use super::file_identity::OpenFile;
use super::interrupt::Interrupt;
use super::postgres_options::postgres_options;
use super::sign_in_budget::note_signed_in;
use crate::clock::ticks;
use crate::database_url::DatabaseUrl;

/// Maximum number of connections to one database that are in use at a time.
pub(super) const MAX_WORKING: u32 = 8;
/// Maximum number of connections to one database: one is reserved for the check whether changes can
/// be stored, and one for reads that others depend on. Neither waits for other calls.
const MAX_CONNECTIONS: u32 = MAX_WORKING + 2;

/// Connections to one database, or to one SQLite file.
pub(super) struct Pool {
    connection: DatabaseConnection,
    health: Arc<Health>,
    /// How a PostgreSQL database is connected to, by its name.
    postgres: Option<DatabaseUrl>,
    file: Option<Arc<OpenFile>>,
    interrupt: Interrupt,
    allows_user_timeout: OnceLock<bool>,
    is_abandoned: AtomicBool,
    /// The SQLite file could not be written. Its connections share open files (`-shm`), so only
    /// closing all of them reopens it.
    is_read_only: AtomicBool,
}

/// What is known about the connections from their results.
pub(super) struct Health(Mutex<State>);

struct State {
    /// When a connection was last handed out; initially, when the pool was created.
    handed_out_at: Instant,
    /// Older connections are no longer used.
    renewed_at: Option<Instant>,
    /// A connection failed after the address was chosen.
    is_doubtful: bool,
}

impl Pool {
    /// Creates the pool; the first statement connects.
    pub(super) fn new(url: &DatabaseUrl, timeouts: &Timeouts) -> Result<Self, DbErr> {
        match url.sqlite_file() {
            Some(file) => Ok(Self::of_file(file, timeouts)),
            None => Self::of_server(url, timeouts),
        }
    }

    fn of_file(file: &Path, timeouts: &Timeouts) -> Self {
        let (open, health) = (Arc::new(OpenFile::at(file)), Arc::new(Health::new()));
        let interrupt = Interrupt::default();
        let options = pool_options::<sqlx::Sqlite>(timeouts, &health, None)
            .after_connect({
                let (opened, health) = (open.clone(), health.clone());
                let interrupt = interrupt.clone();
                move |connection: &mut SqliteConnection, _| {
                    let (opened, health) = (opened.clone(), health.clone());
                    let interrupt = interrupt.clone();
                    Box::pin(async move {
                        interrupt.limit(connection).await?;
                        // The log of an SQLite file is opened with the first read.
                        let read = sqlx::query("SELECT count(*) FROM sqlite_schema")
                            .execute(&mut *connection)
                            .await;
                        if read.is_ok() {
                            opened.note_log();
                        }
                        health.note_handed_out();
                        Ok(())
                    })
                }
            })
            .before_acquire({
                let (health, interrupt) = (health.clone(), interrupt.clone());
                let ping = timeouts.ping;
                move |connection, metadata| {
                    let (health, interrupt) = (health.clone(), interrupt.clone());
                    Box::pin(async move {
                        let is_usable =
                            is_usable(connection, &health, metadata.age, None, ping).await?;
                        if is_usable {
                            interrupt.limit(connection).await?;
                        }
                        Ok(is_usable)
                    })
                }
            })
            .after_release({
                let ping = timeouts.ping;
                move |connection, _| Box::pin(is_sqlite_clean(connection, ping))
            });
        let sqlite = SqliteConnectOptions::new()
            .filename(file)
            .create_if_missing(false)
            .foreign_keys(true)
            .journal_mode(SqliteJournalMode::Wal)
            // Acknowledged changes survive a power failure.
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(timeouts.wait)
            .disable_statement_logging();
        let pool = options.connect_lazy_with(sqlite);
        Self {
            file: Some(open),
            interrupt,
            ..Self::with(SqlxSqliteConnector::from_sqlx_sqlite_pool(pool), health)
        }
    }

    fn of_server(url: &DatabaseUrl, timeouts: &Timeouts) -> Result<Self, DbErr> {
        let options = postgres_options(url)
            .map_err(|error| DbErr::Conn(RuntimeErr::SqlxError(error.into())))?;
        let health = Arc::new(Health::new());
        let pool = pool_options::<sqlx::Postgres>(timeouts, &health, Some(timeouts.max_age))
            .after_connect({
                let health = health.clone();
                move |_, _| {
                    health.note_handed_out();
                    Box::pin(async { Ok(()) })
                }
            })
            .after_release({
                let ping = timeouts.ping;
                move |connection, _| Box::pin(is_postgres_clean(connection, ping))
            })
            .connect_lazy_with(options);
        Ok(Self {
            postgres: Some(url.clone()),
            ..Self::with(SqlxPostgresConnector::from_sqlx_postgres_pool(pool), health)
        })
    }

    fn with(connection: DatabaseConnection, health: Arc<Health>) -> Self {
        Self {
            connection,
            health,
            postgres: None,
            file: None,
            interrupt: Interrupt::default(),
            allows_user_timeout: OnceLock::new(),
            is_abandoned: AtomicBool::new(false),
            is_read_only: AtomicBool::new(false),
        }
    }

    /// A connection for a single statement, or for the start of a transaction.
    pub(super) fn connection(&self) -> &DatabaseConnection {
        &self.connection
    }

    /// Chooses the address, and reads the password again, for the next new connection, where one is
    /// likely to be made; refuses SQLite files that are not regular files.
    pub(super) async fn before_use(&self) -> Result<(), DbErr> {
        if let Some(file) = &self.file {
            file.check_safety()?;
        }
        let Some(url) = &self.postgres else {
            return Ok(());
        };
        let pool = self.connection.get_postgres_connection_pool();
        if pool.num_idle() == 0 || self.health.take_is_doubtful() {
            url.reread().await;
            let options = postgres_options(url).map_err(failure::db_error)?;
            let chosen = address::choose(&options).await;
            let chosen = chosen.map_err(failure::db_error)?;
            pool.set_connect_options(chosen);
        }
        Ok(())
    }

    pub(super) fn health(&self) -> &Health {
        &self.health
    }

    /// Ends endless statements on an SQLite file.
    pub(super) fn interrupt(&self) -> &Interrupt {
        &self.interrupt
    }

    /// Whether the server knows `tcp_user_timeout`; not set until the server was asked.
    pub(super) fn allows_user_timeout(&self) -> &OnceLock<bool> {
        &self.allows_user_timeout
    }

    /// Whether the SQLite file that is open is the one at the path.
    pub(super) fn check_file(&self) -> Result<(), DbErr> {
        match &self.file {
            Some(file) if !file.is_in_place() => Err(file.why_not()),
            _ => Ok(()),
        }
    }

    /// Whether a different SQLite file at the path may be opened.
    pub(super) fn check_reopening(&self) -> Result<(), DbErr> {
        match &self.file {
            Some(file) if !file.may_be_reopened() => Err(file.why_not()),
            _ => Ok(()),
        }
    }

    /// A change was refused because the SQLite file was opened read-only.
    pub(super) fn note_read_only(&self) {
        self.is_read_only.store(true, Ordering::Relaxed);
    }

    /// Whether the SQLite file was read-only, and no longer is.
    pub(super) fn may_change_now(&self) -> bool {
        self.is_read_only.load(Ordering::Relaxed)
            && self.file.as_ref().is_some_and(|file| file.is_writable())
    }

    /// Whether [`Self::abandon`] has started: no connections are handed out.
    pub(super) fn is_abandoned(&self) -> bool {
        self.is_abandoned.load(Ordering::Relaxed)
    }

    /// Closes all connections, because another pool will be used.
    pub(super) async fn abandon(&self) -> Result<(), DbErr> {
        self.is_abandoned.store(true, Ordering::Relaxed);
        self.close().await
    }

    /// Waits until all connections are returned, and closes them.
    pub(super) async fn close(&self) -> Result<(), DbErr> {
        self.connection.close_by_ref().await
    }
}

impl Health {
    fn new() -> Self {
        Self(Mutex::new(State {
            handed_out_at: ticks(),
            renewed_at: None,
            is_doubtful: false,
        }))
    }

    /// The present connections are not handed out again: one of them is broken, or leads to a
    /// server that has become read-only, and it is rarely the only one.
    pub(super) fn renew(&self) {
        let mut state = self.lock();
        state.renewed_at = Some(ticks());
        state.is_doubtful = true;
    }

    /// A login failed: the password may be another one now. The present connections stay.
    pub(super) fn note_refused_login(&self) {
        self.lock().is_doubtful = true;
    }

    /// Whether a connection has failed since the last call.
    fn take_is_doubtful(&self) -> bool {
        std::mem::take(&mut self.lock().is_doubtful)
    }

    /// Whether no connection has been provided for that long, although a caller has just waited
    /// for one.
    pub(super) fn is_starved(&self, limit: Duration) -> bool {
        ticks() - self.lock().handed_out_at >= limit
    }

    fn note_handed_out(&self) {
        note_signed_in();
        self.lock().handed_out_at = ticks();
    }

    /// Whether a connection of this age is handed out.
    fn is_usable(&self, age: Duration) -> bool {
        let renewed_at = self.lock().renewed_at;
        renewed_at.is_none_or(|at| age < ticks() - at)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The library's maintenance of idle connections has been seen to count below zero and never end
/// (sqlx-core 0.9.0, `spawn_maintenance_tasks`). The library is therefore not given lifetimes to
/// manage: a connection's age and state are checked when it is requested.
fn pool_options<DB: sqlx::Database>(
    timeouts: &Timeouts,
    health: &Arc<Health>,
    max_age: Option<Duration>,
) -> PoolOptions<DB> {
    let (health, ping) = (health.clone(), timeouts.ping);
    PoolOptions::new()
        .max_connections(MAX_CONNECTIONS)
        .acquire_timeout(timeouts.wait)
        .idle_timeout(None)
        .max_lifetime(None)
        // Without its own timeout, the library's ping would use up the caller's time.
        .test_before_acquire(false)
        .before_acquire(move |connection, metadata| {
            let health = health.clone();
            let age = metadata.age;
            Box::pin(async move { is_usable(connection, &health, age, max_age, ping).await })
        })
}

/// Whether a connection of this age is handed out.
async fn is_usable<C: Connection>(
    connection: &mut C,
    health: &Health,
    age: Duration,
    max_age: Option<Duration>,
    ping: Duration,
) -> Result<bool, Error> {
    if max_age.is_some_and(|max| age > max) || !health.is_usable(age) {
        return Ok(false);
    }
    if let Err(error) = answer_to_ping(connection, ping).await {
        health.renew();
        return Err(error);
    }
    health.note_handed_out();
    Ok(true)
}

/// A connection that is returned in the middle of an operation must answer a ping in time, or is
/// closed immediately. A connection whose transaction has not ended is closed. If the disk is full,
/// SQLite ends a transaction itself, and the library, whose own ROLLBACK then fails, would treat
/// everything that follows as part of that transaction (`sqlx-sqlite` 0.9.0, `transaction_depth`):
/// acknowledged, and never written.
async fn is_sqlite_clean(connection: &mut SqliteConnection, ping: Duration) -> Result<bool, Error> {
    // A rollback that is still pending is executed before the response to this.
    answer_to_ping(connection, ping).await?;
    Ok(!connection.is_in_transaction())
}

/// The same. The library counts only transactions whose BEGIN was answered while the caller
/// waited, and does not expose the status that PostgreSQL sends with each answer. It checks that
/// status where a transaction begins: with a statement that begins none, it reports that there
/// is none.
async fn is_postgres_clean(connection: &mut PgConnection, ping: Duration) -> Result<bool, Error> {
    match within(ping, connection.begin_with("SELECT 1")).await {
        Err(Error::BeginFailed) => Ok(true),
        Ok(_) | Err(Error::InvalidSavePointStatement) => Ok(false),
        // A transaction that has failed and not ended rejects the statement.
        Err(error) => Err(error),
    }
}

async fn answer_to_ping<C: Connection>(connection: &mut C, limit: Duration) -> Result<(), Error> {
    within(limit, connection.ping()).await
}

async fn within<T>(
    limit: Duration,
    asking: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    match tokio::time::timeout(limit, asking).await {
        Ok(answer) => answer,
        Err(_) => Err(Error::Io(std::io::ErrorKind::TimedOut.into())),
    }
}
