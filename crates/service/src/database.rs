//! Connections to SQLite or PostgreSQL.

use std::path::Path;
use std::time::Duration;

use sea_orm::{ConnectOptions, Database, DatabaseConnection, DbErr};
use sqlx::sqlite::{SqliteJournalMode, SqliteSynchronous};

use crate::database_url::DatabaseUrl;

/// How long a statement waits for others to finish, and a caller for a
/// connection.
const PATIENCE: Duration = Duration::from_secs(5);

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
    let mut options = ConnectOptions::new(url.expose());
    options
        .max_connections(10)
        .acquire_timeout(PATIENCE)
        .connect_timeout(PATIENCE)
        .sqlx_logging(false);
    if let Some(file) = url.sqlite_file() {
        make_directory(file)?;
        options.map_sqlx_sqlite_opts(|sqlite| {
            // FULL: what was acknowledged survives a power cut.
            sqlite
                .create_if_missing(true)
                .foreign_keys(true)
                .journal_mode(SqliteJournalMode::Wal)
                .synchronous(SqliteSynchronous::Full)
                .busy_timeout(PATIENCE)
        });
    }
    Ok(Database::connect(options).await?)
}

/// Closes all connections; SQLite folds its log into the file.
pub async fn close(db: DatabaseConnection) {
    if let Err(error) = db.close().await {
        tracing::warn!(%error, "the database was not closed cleanly");
    }
}

fn make_directory(file: &Path) -> Result<(), ConnectError> {
    let Some(directory) = file.parent().filter(|path| !path.as_os_str().is_empty()) else {
        return Ok(());
    };
    std::fs::create_dir_all(directory).map_err(|error| ConnectError::Directory {
        directory: directory.display().to_string(),
        error,
    })
}
