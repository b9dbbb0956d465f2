//! The four tables, on SQLite or PostgreSQL, with one set of queries.
//!
//! One file a table, named as the table is named. Rows become domain values
//! here and go no further up. The database is a cache, never an authority: a
//! signed document is stored as it came and verified each time it is read.

pub mod left_behind;
pub mod local_feature_flags;
pub mod local_license_cache;
pub mod local_license_validation_attempts;
mod schema;
pub mod system_config;
pub mod vms;

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use chrono::{DateTime, Utc};
use futures_util::FutureExt as _;
use license_service::database::{self, ConnectError, Listener};
use license_service::database_url::DatabaseUrl;
use sea_orm::{
    ConnectionTrait as _, DatabaseBackend, DatabaseConnection, DatabaseTransaction, DbErr,
    TransactionTrait as _,
};
use uuid::Uuid;

/// How long anything may take that a request waits for.
const PATIENCE: Duration = Duration::from_secs(7);
/// How long a database may take to say that it is well.
const PING_PATIENCE: Duration = Duration::from_secs(2);
/// How long the connections of a database that hangs get to end by themselves.
const CLOSING_PATIENCE: Duration = Duration::from_secs(30);
/// Where changes are announced on PostgreSQL.
const CHANNEL: &str = "license_client";

/// The database with the four tables. It may be away at any time, also at the
/// start: every statement may fail, and nothing else does.
#[derive(Debug)]
pub struct Store {
    url: DatabaseUrl,
    db: ArcSwap<DatabaseConnection>,
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
    /// The database does not answer in time.
    #[error("the database has not answered within {seconds} s")]
    TooSlow {
        /// How long was waited.
        seconds: u64,
    },
    /// A row holds a value that is no value of ours, such as an infinite time.
    #[error("a row holds a value that cannot be read, such as the time 'infinity'; mend it")]
    Unreadable,
    /// The database answers, but can only be read.
    #[error("the database can only be read")]
    ReadOnly,
    /// The database has not been reached since the start, so that the service
    /// does not know which installation it is.
    #[error("the database has not been reached yet")]
    NotReached,
}

impl Store {
    /// Names the database; it is connected to when it is used.
    ///
    /// # Errors
    /// When the URL cannot be used at all.
    pub async fn new(url: &DatabaseUrl) -> Result<Self, StoreError> {
        let db = database::connect_lazily(url).await?;
        Ok(Self {
            url: url.clone(),
            db: ArcSwap::from_pointee(db),
        })
    }

    /// Makes the tables that are missing. Existing tables are never altered.
    ///
    /// # Errors
    /// When the database cannot be reached or refuses to make a table.
    pub async fn prepare(&self, now: DateTime<Utc>) -> Result<(), StoreError> {
        if let Some(file) = self.url.sqlite_file() {
            database::make_directory(file)?;
        }
        let db = self.db();
        schema::create_missing_tables(&db).await?;
        system_config::insert_if_missing(&db, system_config::REVISION, &new_revision(), now).await
    }

    /// Waits for `work` on the database, but not for ever: a database that
    /// hangs gets new connections the next time.
    ///
    /// # Errors
    /// Those of `work`, and [`StoreError::TooSlow`].
    pub async fn within<T>(
        &self,
        work: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        // A value that the database library cannot represent makes it panic.
        let work = AssertUnwindSafe(work).catch_unwind();
        match tokio::time::timeout(PATIENCE, work).await {
            Ok(Ok(worked)) => return worked,
            Ok(Err(_)) => return Err(StoreError::Unreadable),
            Err(_) => {}
        }
        self.reconnect().await?;
        Err(StoreError::TooSlow {
            seconds: PATIENCE.as_secs(),
        })
    }

    /// Whether changes can be stored.
    ///
    /// # Errors
    /// When they cannot: the database does not answer, or can only be read.
    pub async fn ping(&self) -> Result<(), StoreError> {
        let asked = tokio::time::timeout(PING_PATIENCE, self.check_writable()).await;
        asked.unwrap_or(Err(StoreError::TooSlow {
            seconds: PING_PATIENCE.as_secs(),
        }))
    }

    async fn check_writable(&self) -> Result<(), StoreError> {
        let db = self.db();
        self.revision().await?.ok_or(StoreError::NotReached)?;
        if db.get_database_backend() != DatabaseBackend::Postgres {
            return Ok(());
        }
        let sql = "SELECT current_setting('transaction_read_only')";
        let statement = sea_orm::Statement::from_string(DatabaseBackend::Postgres, sql);
        let row = db.query_one_raw(statement).await?;
        match row
            .map(|row| row.try_get_by_index::<String>(0))
            .transpose()?
        {
            Some(answer) if answer == "on" => Err(StoreError::ReadOnly),
            _ => Ok(()),
        }
    }

    /// Why the database cannot be connected to, in its own words. A pool of
    /// connections knows only that it has waited in vain.
    pub async fn why_not(&self) -> Option<String> {
        database::why_not(&self.url).await
    }

    /// A text that changes with every [`Store::begin`] that is committed, by
    /// whichever process.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn revision(&self) -> Result<Option<String>, StoreError> {
        system_config::get(&self.db(), system_config::REVISION).await
    }

    /// Starts a transaction that changes things. Changes take turns, also
    /// between processes: the first statement changes the revision's row, and
    /// both engines let only one transaction at a time do that. Other
    /// processes on PostgreSQL are told when it is committed.
    ///
    /// # Errors
    /// When the database refuses, or others have not finished in 5 s.
    pub async fn begin(&self, now: DateTime<Utc>) -> Result<DatabaseTransaction, StoreError> {
        let db = self.db();
        let transaction = db.begin().await?;
        system_config::set(&transaction, system_config::REVISION, &new_revision(), now).await?;
        if db.get_database_backend() == DatabaseBackend::Postgres {
            let announce = format!("NOTIFY {CHANNEL}");
            transaction.execute_unprepared(&announce).await?;
        }
        Ok(transaction)
    }

    /// Hears the changes of other processes; `None` where they are not
    /// announced.
    ///
    /// # Errors
    /// When the database cannot be reached.
    pub async fn listen(&self) -> Result<Option<Listener>, StoreError> {
        Ok(Listener::start(&self.db(), CHANNEL).await?)
    }

    /// The connections, for single statements.
    #[must_use]
    pub fn db(&self) -> DatabaseConnection {
        DatabaseConnection::clone(&self.db.load())
    }

    /// Closes all connections.
    pub async fn close(&self) {
        let closing = database::close(self.db());
        if tokio::time::timeout(PING_PATIENCE, closing).await.is_err() {
            tracing::warn!("the database hangs; its connections are left to themselves");
        }
    }

    /// Connections that hang would be waited for again and again: the next
    /// statement gets new ones.
    async fn reconnect(&self) -> Result<(), StoreError> {
        let new = database::connect_lazily(&self.url).await?;
        let old = self.db.swap(Arc::new(new));
        let closing = async move { database::close(DatabaseConnection::clone(&old)).await };
        tokio::spawn(tokio::time::timeout(CLOSING_PATIENCE, closing));
        Ok(())
    }
}

fn new_revision() -> String {
    Uuid::new_v4().to_string()
}
