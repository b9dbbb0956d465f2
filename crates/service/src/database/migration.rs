//! Changes to the tables.

use std::sync::Arc;
use std::time::Duration;

use sea_orm::{
    DatabaseTransaction, DbErr, IsolationLevel, SqliteTransactionMode, TransactionOptions,
    TransactionTrait as _,
};

use super::Database;
use super::pool::Pool;
use super::work::uninterrupted;

/// Timeout of a change to the tables.
pub const MIGRATION_TIMEOUT: Duration = Duration::from_secs(15 * 60);

/// A change to the tables. It is rolled back if it is dropped without a commit.
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

    /// Commits the change.
    ///
    /// # Errors
    /// If the database returns an error.
    pub async fn commit(self) -> Result<(), DbErr> {
        self.pool.check_file()?;
        self.transaction.commit().await?;
        self.pool.check_file()
    }
}

impl Database {
    /// Starts a change to the tables. Only this function provides a plain connection, which the
    /// migrations need; they may take [`MIGRATION_TIMEOUT`].
    ///
    /// # Errors
    /// If the database returns an error.
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
}
