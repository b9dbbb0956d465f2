//! Connections to SQLite or PostgreSQL.

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::time::Duration;

use sea_orm::{
    ConnectOptions, Database, DatabaseBackend, DatabaseConnection, DbErr, RuntimeErr,
    SqlxSqliteConnector,
};
use sqlx::postgres::PgListener;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{ConnectOptions as _, Connection as _};

use crate::database_url::DatabaseUrl;
use crate::presentable_url::presentable_path;

/// How long a statement waits for others to finish, and a caller for a
/// connection.
const PATIENCE: Duration = Duration::from_secs(5);
/// Between two tries to open an SQLite file that another process has.
const PAUSE: Duration = Duration::from_millis(20);
/// Most connections to one database.
const CONNECTIONS: u32 = 10;

/// Why a database cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The directory of the SQLite file cannot be made.
    #[error("the directory '{directory}' cannot be made: {error}")]
    Directory {
        /// Which one.
        directory: String,
        /// Why.
        error: std::io::Error,
    },
    /// The database does not answer, or not to us.
    #[error("the database refuses: {0}")]
    Refused(#[from] DbErr),
}

/// Connects. An SQLite file is made where there is none, with its directory.
///
/// # Errors
/// When the directory cannot be made or the database cannot be reached.
pub async fn connect(url: &DatabaseUrl) -> Result<DatabaseConnection, ConnectError> {
    if let Some(file) = url.sqlite_file() {
        make_directory(file)?;
    }
    let until_free = async {
        loop {
            match Database::connect(options(url)).await {
                Err(error) if is_locked(&error) => tokio::time::sleep(PAUSE).await,
                answer => return answer,
            }
        }
    };
    match tokio::time::timeout(PATIENCE, until_free).await {
        Ok(answer) => Ok(answer?),
        Err(_) => Ok(Database::connect(options(url)).await?),
    }
}

/// Whether another process has an SQLite file for itself. Where a file is
/// changed to write-ahead logging, SQLite says so at once, however long it has
/// been told to wait (sqlite.org/wal.html, section 8).
fn is_locked(error: &DbErr) -> bool {
    const SQLITE_BUSY: &str = "5";
    let DbErr::Conn(RuntimeErr::SqlxError(error)) = error else {
        return false;
    };
    let code = error.as_database_error();
    let code = code.and_then(sqlx::error::DatabaseError::code);
    code.is_some_and(|it| it == SQLITE_BUSY)
}

/// Makes a pool that connects with its first statement, for a service that
/// goes on while its database is away. The directory of an SQLite file has to
/// be made by [`make_directory`].
///
/// # Errors
/// When the URL cannot be used at all.
pub async fn connect_lazily(url: &DatabaseUrl) -> Result<DatabaseConnection, DbErr> {
    if let Some(file) = url.sqlite_file() {
        // The library would open the file at once.
        let pool = sqlite_pool(SqlitePoolOptions::new())
            .max_connections(CONNECTIONS)
            .acquire_timeout(PATIENCE)
            .idle_timeout(None)
            .max_lifetime(None)
            .connect_lazy_with(sqlite_options(SqliteConnectOptions::new().filename(file)));
        return Ok(SqlxSqliteConnector::from_sqlx_sqlite_pool(pool));
    }
    Database::connect(options(url).connect_lazy(true).to_owned()).await
}

/// Why a PostgreSQL database cannot be connected to; `None` when it can, and
/// for SQLite. A pool waits and says only that it has waited too long.
pub async fn why_not(url: &DatabaseUrl) -> Option<String> {
    if url.sqlite_file().is_some() {
        return None;
    }
    let connecting = async {
        let options: sqlx::postgres::PgConnectOptions = url.expose().parse()?;
        options.connect().await?.close().await
    };
    match tokio::time::timeout(PATIENCE, connecting).await {
        Ok(Ok(())) => None,
        Ok(Err(error)) => Some(error.to_string()),
        Err(_) => Some(format!("no answer within {} s", PATIENCE.as_secs())),
    }
}

/// Hears the notifications of other processes on a PostgreSQL database.
pub struct Listener(PgListener);

impl Listener {
    /// Listens to `channel`, with a connection of its own; `None` on SQLite,
    /// which has no notifications.
    ///
    /// # Errors
    /// When the database cannot be reached.
    pub async fn start(db: &DatabaseConnection, channel: &str) -> Result<Option<Self>, DbErr> {
        if db.get_database_backend() != DatabaseBackend::Postgres {
            return Ok(None);
        }
        let listening = async {
            let mut listener = PgListener::connect_with(db.get_postgres_connection_pool()).await?;
            listener.listen(channel).await?;
            Ok(listener)
        };
        listening.await.map(|it| Some(Self(it))).map_err(db_error)
    }

    /// Waits for the next notification, or for the moment at which the
    /// connection is back after it was lost: something may have been missed
    /// then.
    ///
    /// # Errors
    /// When the connection is lost and cannot be made again.
    pub async fn heard(&mut self) -> Result<(), DbErr> {
        self.0.try_recv().await.map(|_| ()).map_err(db_error)
    }
}

fn db_error(error: sqlx::Error) -> DbErr {
    DbErr::Conn(RuntimeErr::SqlxError(error.into()))
}

fn options(url: &DatabaseUrl) -> ConnectOptions {
    let mut options = ConnectOptions::new(url.expose());
    options
        .max_connections(CONNECTIONS)
        .acquire_timeout(PATIENCE)
        .connect_timeout(PATIENCE)
        // What looks after idle connections has been seen to count below zero
        // and never to end (sqlx-core 0.9.0, `spawn_maintenance_tasks`); ten
        // connections may as well stay. A dead one is noticed before it is used.
        .idle_timeout(None)
        .max_lifetime(None)
        .sqlx_logging(false);
    if url.sqlite_file().is_some() {
        options
            .map_sqlx_sqlite_opts(sqlite_options)
            .map_sqlx_sqlite_pool_opts(sqlite_pool);
    }
    options
}

/// A connection whose transaction has not ended is closed. Where the disk is full,
/// SQLite ends a transaction by itself, and the library, whose own ROLLBACK then
/// fails, would take everything that comes later for a part of that transaction
/// (`sqlx-sqlite` 0.9.0, `transaction_depth`): acknowledged, and never written.
fn sqlite_pool(pool: SqlitePoolOptions) -> SqlitePoolOptions {
    pool.after_release(|connection, _| {
        Box::pin(async move {
            // A rollback that is still to come comes before the answer to this.
            connection.ping().await?;
            Ok(!connection.is_in_transaction())
        })
    })
}

/// FULL: what was acknowledged survives a power cut.
fn sqlite_options(sqlite: SqliteConnectOptions) -> SqliteConnectOptions {
    sqlite
        .create_if_missing(true)
        .foreign_keys(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .busy_timeout(PATIENCE)
        .disable_statement_logging()
}

/// Closes all connections; SQLite folds its log into the file.
pub async fn close(db: DatabaseConnection) {
    if let Err(error) = db.close().await {
        tracing::warn!(%error, "the database was not closed cleanly");
    }
}

/// Makes the directory of an SQLite file, if need be.
///
/// # Errors
/// When it cannot be made.
pub fn make_directory(file: &Path) -> Result<(), ConnectError> {
    let Some(directory) = file.parent().filter(|path| !path.as_os_str().is_empty()) else {
        return Ok(());
    };
    std::fs::create_dir_all(directory).map_err(|error| ConnectError::Directory {
        directory: presentable_path(directory),
        error,
    })?;
    // License keys are in it: only its owner may read a file that is made here.
    // One that cannot be made is reported by the library that opens it.
    let _ = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(file);
    Ok(())
}
