//! The four tables, on SQLite or PostgreSQL, with one set of queries.
//!
//! One file a table, named as the table is named. Rows become domain values
//! here and go no further up. The database is a cache, never an authority: a
//! signed document is stored as it came and verified each time it is read.

pub mod local_feature_flags;
pub mod local_license_cache;
pub mod local_license_validation_attempts;
mod schema;
pub mod system_config;

use chrono::{DateTime, Utc};
use license_service::database::{self, ConnectError};
use license_service::database_url::DatabaseUrl;
use sea_orm::{
    ConnectionTrait, DatabaseConnection, DatabaseTransaction, DbErr, TransactionTrait as _,
};
use uuid::Uuid;

/// A database with the four tables in it.
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
}

impl Store {
    /// Connects, and makes the tables that are missing. Existing tables are
    /// never altered.
    ///
    /// # Errors
    /// When the database cannot be reached or refuses to make a table.
    pub async fn open(url: &DatabaseUrl, now: DateTime<Utc>) -> Result<Self, StoreError> {
        let db = database::connect(url).await?;
        schema::create_missing_tables(&db).await?;
        system_config::insert_if_missing(&db, system_config::REVISION, &new_revision(), now)
            .await?;
        Ok(Self { db })
    }

    /// Whether the database answers.
    ///
    /// # Errors
    /// When it does not.
    pub async fn ping(&self) -> Result<(), StoreError> {
        self.revision().await.map(|_| ())
    }

    /// A text that changes with every [`Store::begin`] that is committed, by
    /// whichever process.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn revision(&self) -> Result<Option<String>, StoreError> {
        system_config::get(&self.db, system_config::REVISION).await
    }

    /// Starts a transaction that changes things. Changes take turns, also
    /// between processes: the first statement changes the revision's row, and
    /// both engines let only one transaction at a time do that.
    ///
    /// # Errors
    /// When the database refuses, or others have not finished in 5 s.
    pub async fn begin(&self, now: DateTime<Utc>) -> Result<DatabaseTransaction, StoreError> {
        let transaction = self.db.begin().await?;
        system_config::set(&transaction, system_config::REVISION, &new_revision(), now).await?;
        Ok(transaction)
    }

    /// The connection for reading.
    #[must_use]
    pub fn reader(&self) -> &impl ConnectionTrait {
        &self.db
    }

    /// Closes all connections.
    pub async fn close(self) {
        database::close(self.db).await;
    }
}

fn new_revision() -> String {
    Uuid::new_v4().to_string()
}
