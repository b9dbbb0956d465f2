//! Licenses and seats, on SQLite or PostgreSQL, with one set of queries.
//!
//! One file a table. Rows become domain values here and go no further up.

pub mod licenses;
mod migrations;
pub mod seats;

use std::path::Path;
use std::time::Duration;

use sea_orm::{
    ConnectOptions, ConnectionTrait, Database, DatabaseConnection, DatabaseTransaction, DbErr,
    SqliteTransactionMode, TransactionOptions, TransactionTrait as _,
};

use crate::database_url::DatabaseUrl;
pub use migrations::Migrator;

/// A database with the newest tables.
#[derive(Clone, Debug)]
pub struct Store {
    db: DatabaseConnection,
}

/// What can go wrong with a database.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The directory of the SQLite file cannot be made.
    #[error("the directory '{directory}' cannot be made: {error}")]
    Directory {
        /// Which one.
        directory: String,
        /// Why.
        error: std::io::Error,
    },
    /// The database cannot be reached or refuses a statement.
    #[error("the database refuses: {0}")]
    Database(#[from] DbErr),
    /// A row holds something that this program never writes.
    #[error("the column '{column}' holds '{value}', which is none of its values")]
    Value {
        /// Which column.
        column: &'static str,
        /// What it holds.
        value: String,
    },
}

impl Store {
    /// Connects, and brings the tables up to date.
    ///
    /// # Errors
    /// When the database cannot be reached or changed.
    pub async fn open(url: &DatabaseUrl) -> Result<Self, StoreError> {
        let mut options = ConnectOptions::new(url.expose());
        options
            .max_connections(10)
            .acquire_timeout(Duration::from_secs(10))
            .connect_timeout(Duration::from_secs(5))
            .sqlx_logging(false);
        if let Some(file) = url.sqlite_file() {
            make_directory(file)?;
            options.map_sqlx_sqlite_opts(|sqlite| {
                // FULL: an issued license survives a power cut.
                sqlite
                    .create_if_missing(true)
                    .foreign_keys(true)
                    .journal_mode(sqlx::sqlite::SqliteJournalMode::Wal)
                    .synchronous(sqlx::sqlite::SqliteSynchronous::Full)
                    .busy_timeout(Duration::from_secs(5))
            });
        }
        let store = Self {
            db: Database::connect(options).await?,
        };
        migrations::bring_up_to_date(&store).await?;
        Ok(store)
    }

    /// Starts a transaction that changes things. On SQLite it has the file
    /// for itself; on PostgreSQL [`licenses::lock`] lets the changes of one
    /// license take turns.
    ///
    /// # Errors
    /// When the database refuses, or others have not finished in 5 s.
    pub async fn begin(&self) -> Result<DatabaseTransaction, StoreError> {
        let options = TransactionOptions {
            sqlite_transaction_mode: Some(SqliteTransactionMode::Immediate),
            ..TransactionOptions::default()
        };
        Ok(self.db.begin_with_options(options).await?)
    }

    /// The connection for reading.
    #[must_use]
    pub fn reader(&self) -> &impl ConnectionTrait {
        &self.db
    }

    /// Whether the database answers.
    ///
    /// # Errors
    /// When it does not.
    pub async fn ping(&self) -> Result<(), StoreError> {
        Ok(self.db.ping().await?)
    }

    /// Closes all connections; SQLite folds its log into the file.
    pub async fn close(self) {
        if let Err(error) = self.db.close().await {
            tracing::warn!(%error, "the database was not closed cleanly");
        }
    }
}

fn make_directory(file: &Path) -> Result<(), StoreError> {
    let Some(directory) = file.parent().filter(|path| !path.as_os_str().is_empty()) else {
        return Ok(());
    };
    std::fs::create_dir_all(directory).map_err(|error| StoreError::Directory {
        directory: directory.display().to_string(),
        error,
    })
}
