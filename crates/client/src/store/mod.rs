//! The four tables, on SQLite or PostgreSQL, with one set of queries.
//!
//! One file per table, with the name of the table. Rows are converted to domain values here, and
//! are not used in upper layers. The database is a cache, never an authority: a signed document is
//! stored unmodified, and verified each time it is read.

pub mod left_behind;
pub mod local_feature_flags;
pub mod local_license_cache;
pub mod local_license_validation_attempts;
mod schema;
mod shallow_json;
pub mod system_config;
pub mod vms;

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use chrono::{DateTime, Utc};
use license_service::database::{
    self, CheckedRow, ConnectError, Database, Failure, Listener, OpenSchema, Timeouts, Transaction,
    Trouble,
};
use license_service::database_url::DatabaseUrl;
use sea_orm::sea_query::{CaseStatement, Expr, ExprTrait as _, Func};
use sea_orm::{
    ColumnTrait, ColumnType, ConnectionTrait, DatabaseBackend, DbErr, EntityTrait, IdenStatic as _,
    Iterable as _, QuerySelect as _, Select,
};
use uuid::Uuid;

/// The channel for notifications on PostgreSQL.
const CHANNEL: &str = "license_client";

/// A row that exists in every database of this program, and that no change waits for.
const CHECKED_ROW: CheckedRow = CheckedRow {
    table: "system_config",
    row: "key = 'license_client.secret'",
    unchanged: "updated_at = updated_at",
    changed: "value = value || ' '",
};

/// Maximum length of a document that is read from a row: 4 MiB. This program writes at most a signed
/// document of 1 MiB with a copy of its content.
const MAX_DOCUMENT_CHARS: i32 = 4 * 1024 * 1024;
/// Maximum length of another text that is read from a row.
const MAX_TEXT_CHARS: i32 = 16 * 1024;

/// Maximum length of the text of a number, a boolean or an instant that is read from a row.
const MAX_VALUE_CHARS: i32 = 64;

/// Rows with every column truncated, texts to `max_chars` of their column: other users of the
/// database may write longer texts, and reading them would take as much memory. No other function
/// reads untruncated columns of the four tables.
#[expect(
    clippy::disallowed_methods,
    reason = "replaces all columns with truncated ones"
)]
fn find<E: EntityTrait>(
    db: &impl ConnectionTrait,
    max_chars: impl Fn(&E::Column) -> i32,
) -> Select<E> {
    let backend = db.get_database_backend();
    let rows = E::find().select_only();
    E::Column::iter().fold(rows, |rows, column| {
        let value = cut(backend, &column, max_chars(&column));
        rows.column_as(value, column.as_str())
    })
}

/// The value of a column, regardless of the type that another user of the database has given it. On
/// PostgreSQL, function names include their schema, because such a user may define others that
/// would be found first.
fn cut(backend: DatabaseBackend, column: &impl ColumnTrait, max_chars: i32) -> Expr {
    let is_postgres = backend == DatabaseBackend::Postgres;
    let (substr, text) = match is_postgres {
        true => ("pg_catalog.substr", "pg_catalog.text"),
        false => ("substr", "text"),
    };
    let cut = |max_chars: i32| {
        let text = Expr::col(column.as_column_ref()).cast_as(text);
        Expr::from(Func::cust(substr).args([text, Expr::val(1), Expr::val(max_chars)]))
    };
    match column.def().get_column_type() {
        ColumnType::Integer => cut(MAX_VALUE_CHARS).cast_as("integer"),
        ColumnType::Boolean => cut(MAX_VALUE_CHARS).cast_as("boolean"),
        // SQLite stores instants as texts.
        ColumnType::DateTime if is_postgres => readable(cut(MAX_VALUE_CHARS)),
        ColumnType::DateTime => cut(MAX_VALUE_CHARS),
        _ => cut(max_chars),
    }
}

/// An instant of PostgreSQL, from the years 1 to 9999: the library panics on later ones, and on
/// infinite ones.
fn readable(text: Expr) -> Expr {
    let [first, last] = ["0001-01-01", "9999-12-31"].map(|day| format!("timestamp '{day}'"));
    let at = text.clone().cast_as("timestamp");
    let not_before = Func::greatest([at, Expr::cust(first)]);
    let bounded = Func::least([Expr::from(not_before), Expr::cust(last)]);
    // For a null, both functions return the bound.
    CaseStatement::new()
        .case(text.is_not_null(), bounded)
        .into()
}

/// The database with the four tables. It may be unavailable at any time, even at the start: every
/// statement may fail, but nothing else does.
#[derive(Debug)]
pub struct Store {
    db: Database,
    /// Timeout of everything that a request waits for.
    timeout: Duration,
    /// The database did not allow the last [`Self::ping`] to change its row, which has been logged.
    is_refused: AtomicBool,
}

/// Errors of the database.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database cannot be connected to.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The database rejected a statement.
    #[error("{}", database::words(.0))]
    Database(#[from] DbErr),
    /// A query from the settings, which counts usage, failed.
    #[error("{0}")]
    UsageQuery(String),
    /// The database has not been read since the start, for this reason, so the service does not
    /// know the identity of its installation.
    #[error("{0}")]
    NotRead(Trouble),
    /// The row that every database of this program has cannot be changed.
    #[error(
        "the row 'license_client.secret' of the table system_config is missing or hidden; restore \
         the database, or if row-level security hides the row, make the user in DATABASE_URL the \
         owner of the tables, add a policy for this user, or give it BYPASSRLS"
    )]
    NoRow,
    /// The database is that of another installation.
    #[error(transparent)]
    OtherInstallation(#[from] OtherInstallation),
}

/// The ids and the signed license in the database are those of another installation than the local
/// copy, which has had a license. Neither overwrites the other.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the database holds the ids and the license of the installation {database}, but STATE_DIR \
     belongs to the installation {local}, which stays in use; check DATABASE_URL, or \
     restore the database; to use the installation in the database instead, stop the service, move \
     local-copy.json out of STATE_DIR, and start the service again"
)]
pub struct OtherInstallation {
    /// The installation id in the local copy.
    pub local: String,
    /// The installation id in the database.
    pub database: String,
}

impl StoreError {
    /// The problem.
    #[must_use]
    pub fn trouble(&self) -> Trouble {
        match self {
            Self::Connect(error) => error.trouble(),
            Self::Database(error) => Trouble::of(error),
            Self::NotRead(trouble) => trouble.clone(),
            Self::UsageQuery(_) | Self::NoRow | Self::OtherInstallation(_) => Trouble {
                what: self.to_string(),
                failure: Failure::Refused,
            },
        }
    }

    /// Whether a change may have been stored although it was not acknowledged.
    #[must_use]
    pub fn is_uncertain(&self) -> bool {
        self.trouble().failure == Failure::Uncertain
    }

    /// The message for a change that failed in this way: this text and the reason, if it is certain
    /// that nothing was stored.
    pub(crate) fn of_change(&self, not_stored: &str) -> String {
        match self.is_uncertain() {
            true => {
                let words = self.to_string();
                let mut chars = words.chars();
                let first = chars.next().map(|first| first.to_ascii_uppercase());
                first.into_iter().chain(chars).collect()
            }
            false => format!("{not_stored}: {self}"),
        }
    }
}

impl Store {
    /// Creates a handle; the connection is established on first use.
    ///
    /// # Errors
    /// If the URL cannot be used at all.
    pub fn new(url: &DatabaseUrl, timeouts: Timeouts) -> Result<Self, StoreError> {
        let timeout = timeouts.statement;
        let db = Database::new(url, timeouts)?;
        let tables = vec![
            local_license_cache::expected(),
            local_license_validation_attempts::expected(),
            local_feature_flags::expected(),
            system_config::expected(),
        ];
        db.expect(tables, &[]);
        db.expect_indexes(schema::index_names());
        Ok(Self {
            timeout,
            db,
            is_refused: AtomicBool::new(false),
        })
    }

    /// Creates missing tables. Existing tables are never altered; if they do not fit, [`Self::ping`]
    /// reports it, and what works is used. A database that cannot store
    /// every text is used, and reported in the log, because version 1.0.0 used it.
    ///
    /// # Errors
    /// If the database cannot be reached, or does not allow creating a table.
    pub async fn prepare(&self, now: DateTime<Utc>) -> Result<(), StoreError> {
        let db = &self.db;
        db.make_file()?;
        if let Some(why) = db.wrong_encoding().await? {
            tracing::error!(why, "some text cannot be stored");
        }
        schema::create_missing_tables(db).await?;
        db.note_schema().await?;
        system_config::insert_if_missing(db, system_config::REVISION, &new_revision(), now).await
    }

    /// Whether missing tables can be created.
    ///
    /// # Errors
    /// If the database user may not create them, or something else has one of their names.
    pub async fn check_creation(&self) -> Result<(), StoreError> {
        let reading = self.db.begin_reading().await?;
        Ok(reading.check_creation()?)
    }

    /// Which of the four tables are missing.
    ///
    /// # Errors
    /// If one cannot be read for another reason.
    pub async fn missing_tables(&self) -> Result<Vec<&'static str>, StoreError> {
        Ok(schema::missing_tables(&self.db).await?)
    }

    /// Checks whether the four tables fit this program.
    ///
    /// # Errors
    /// If they do not, with what is missing, or if they cannot be read.
    pub async fn check_schema(&self) -> Result<(), StoreError> {
        Ok(self.db.check_schema().await?)
    }

    /// The schemas in which other database users may create objects.
    ///
    /// # Errors
    /// If they cannot be read.
    pub async fn open_schemas(&self) -> Result<Vec<OpenSchema>, StoreError> {
        Ok(self.db.open_schemas().await?)
    }

    /// Waits for `work` on the database, with a timeout.
    ///
    /// # Errors
    /// Those of `work`, and as [`database::within`].
    pub async fn within<T>(
        &self,
        work: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        let done = database::within(self.timeout, work).await;
        done.map_err(|error| match error {
            StoreError::Database(error) => self.db.explained(error).into(),
            other => other,
        })
    }

    /// Whether changes can be stored, within 2 s. Anyone may ask.
    ///
    /// # Errors
    /// When they cannot: the database does not answer, can only be read, or is full, or its tables
    /// do not fit this program.
    pub async fn ping(&self) -> Result<(), StoreError> {
        let checked = match self.db.check_writable(CHECKED_ROW).await {
            Err(DbErr::RecordNotUpdated) => Err(StoreError::NoRow),
            checked => checked.map_err(StoreError::from),
        };
        // The database module logs outages.
        let refusal = checked.as_ref().err();
        let refusal = refusal.filter(|it| it.trouble().failure == Failure::Refused);
        let was_refused = self.is_refused.swap(refusal.is_some(), Ordering::Relaxed);
        if let Some(error) = refusal.filter(|_| !was_refused) {
            tracing::error!("{error}");
        }
        checked
    }

    /// Why connecting to the database fails, in its own words. A connection pool only reports a
    /// timeout.
    pub async fn why_not(&self) -> Option<Trouble> {
        self.db.why_not().await
    }

    /// A text that changes with every committed [`Store::begin`], in any process.
    ///
    /// # Errors
    /// If the database does not answer.
    pub async fn revision(&self) -> Result<Option<String>, StoreError> {
        system_config::get(&self.db, system_config::REVISION).await
    }

    /// Starts a transaction that changes data. Changes are serialized, also between processes: the
    /// first statement changes the revision's row, and both engines let only one transaction at a
    /// time do that. Other processes on PostgreSQL are notified when it is committed.
    ///
    /// # Errors
    /// If the database returns an error, or others have not finished in 5 s.
    pub async fn begin(&self, now: DateTime<Utc>) -> Result<Transaction, StoreError> {
        database::repeated(|| self.try_begin(now)).await
    }

    async fn try_begin(&self, now: DateTime<Utc>) -> Result<Transaction, StoreError> {
        let transaction = self.db.begin().await?;
        system_config::set(&transaction, system_config::REVISION, &new_revision(), now).await?;
        if transaction.get_database_backend() == DatabaseBackend::Postgres {
            let announce = format!("NOTIFY {CHANNEL}");
            transaction.execute_unprepared(&announce).await?;
        }
        Ok(transaction)
    }

    /// Subscribes to changes made by other processes; `None` if they are not announced.
    ///
    /// # Errors
    /// If the database cannot be reached.
    pub async fn listen(&self) -> Result<Option<Listener>, StoreError> {
        Ok(Listener::start(&self.db, CHANNEL).await?)
    }

    /// For single statements.
    #[must_use]
    pub fn db(&self) -> Database {
        self.db.clone()
    }

    /// Closes all connections.
    pub async fn close(&self) {
        self.db.close().await;
    }
}

fn new_revision() -> String {
    Uuid::new_v4().to_string()
}
