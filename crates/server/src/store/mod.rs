//! Licenses, seats and what has become of them, on SQLite or PostgreSQL, with one set of queries.
//!
//! One file a table. Rows become domain values here and go no further up.

pub mod audit_log;
pub mod callers;
pub mod calls;
pub mod installations;
pub mod licenses;
mod migrations;
pub mod seat_moves;
pub mod seats;
pub mod signing_clock;
pub mod site_entries;
pub mod suspicions;
pub mod usage_days;

use license_service::database::{self, ConnectError};
use license_service::database_url::DatabaseUrl;
use sea_orm::{
    ConnectionTrait, DatabaseConnection, DatabaseTransaction, DbErr, SqlErr, SqliteTransactionMode,
    StreamTrait, TransactionOptions, TransactionTrait as _,
};

pub use migrations::Migrator;

/// More rows than any table has: what the databases take as a number of rows ends
/// there.
const MAX_ROWS: u64 = i32::MAX as u64;

/// A database with the newest tables.
#[derive(Clone, Debug)]
pub struct Store {
    db: DatabaseConnection,
}

/// What can go wrong with a database.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database cannot be connected to.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The database refuses a statement.
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

impl StoreError {
    /// Whether a row was refused because there is one like it.
    #[must_use]
    pub fn is_taken(&self) -> bool {
        let Self::Database(error) = self else {
            return false;
        };
        matches!(error.sql_err(), Some(SqlErr::UniqueConstraintViolation(_)))
    }
}

impl Store {
    /// Connects, and brings the tables up to date.
    ///
    /// # Errors
    /// When the database cannot be reached or changed.
    pub async fn open(url: &DatabaseUrl) -> Result<Self, StoreError> {
        let db = database::connect(url).await?;
        let store = Self { db };
        migrations::bring_up_to_date(&store).await?;
        Ok(store)
    }

    /// Starts a transaction that changes things. On SQLite it has the file
    /// for itself; on PostgreSQL [`licenses::hold`] lets the changes of one
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
    pub fn reader(&self) -> &(impl ConnectionTrait + StreamTrait + use<>) {
        &self.db
    }

    /// Whether the database answers.
    ///
    /// # Errors
    /// When it does not.
    pub async fn ping(&self) -> Result<(), StoreError> {
        Ok(self.db.ping().await?)
    }

    /// Closes all connections.
    pub async fn close(self) {
        database::close(self.db).await;
    }
}
