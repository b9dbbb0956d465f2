//! Licenses, seats and their history, on SQLite or PostgreSQL, with one set of queries.
//!
//! One file per table. Rows are converted to domain values here, and are not used in upper layers.

pub mod add_ons;
pub mod admin_tokens;
pub mod amendments;
pub mod audit_log;
pub mod bulk_lines;
pub mod callers;
pub mod calls;
pub mod catalogue;
pub mod commit_proofs;
pub mod console_sessions;
pub mod coverage;
pub mod customers;
pub mod idempotency_keys;
pub mod installations;
pub mod key_record;
pub mod licenses;
pub mod locks;
pub mod lost_numbers;
mod migrations;
pub mod page;
mod page_bytes;
mod parts;
pub mod plans;
pub mod seat_moves;
pub mod seats;
pub mod signing_clock;
pub mod site_entries;
pub mod suspicions;
pub mod trial_codes;
pub mod trials;
pub mod usage_days;

use std::io::ErrorKind;
use std::path::Path;
use std::time::Duration;

use license_service::dangling_link::DanglingLink;
use license_service::database::{
    self, ConnectError, Database, ExpectedTable, Failure, Timeouts, Transaction,
};
use license_service::database_url::DatabaseUrl;
use license_service::presence::Unreadable;
use license_service::state_dir::NotWritable;
use license_service::turns::{QueueBounds, Turn, Turns};
use sea_orm::{DbErr, SqlErr};

use crate::evaluation_queues::Evaluations;
use licenses::License;
pub use migrations::{INDEXES, Migrator};

/// More rows than any table has; the databases limit row counts to this range.
const MAX_ROWS: u64 = i32::MAX as u64;

/// A database with the latest tables.
#[derive(Clone, Debug)]
pub struct Store {
    db: Database,
    /// Limits who may change a license.
    holding: Turns,
    /// Limits who may prepare an amendment of a license.
    amending: Turns,
    /// Limits who may evaluate amendments.
    evaluations: Evaluations,
}

/// Changes of one license.
const HOLD_BOUNDS: QueueBounds = QueueBounds {
    at_a_time: 1,
    max_waiting: 256,
    timeout: Duration::from_secs(5),
};

/// Amendments of one license: each is evaluated before it is stored.
const AMEND_BOUNDS: QueueBounds = QueueBounds {
    at_a_time: 1,
    max_waiting: 64,
    timeout: Duration::from_secs(10),
};

/// Errors of the database.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database cannot be connected to.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// There is no database of a License Server yet.
    #[error(
        "no License Server database found; check DATABASE_URL, STATE_DIR and the current \
         directory, or create one with 'license-server init'"
    )]
    Missing,
    /// The database has tables of these names that this program has not created.
    #[error(
        "the database already has tables that have the names of this program's tables, but were \
         not created by this program: {0}. Nothing was changed. Use a separate database for the \
         License Server, or a separate schema with options=-csearch_path=NAME in DATABASE_URL; if \
         the tables come from an incomplete restore, restore the whole backup"
    )]
    OthersTables(String),
    /// It is not known whether there is a database.
    #[error(transparent)]
    Unreadable(#[from] Unreadable),
    /// The database rejected a statement.
    #[error("{}", database::words(.0))]
    Database(#[from] DbErr),
    /// Others have not finished changing the license in time.
    #[error("too many concurrent changes to the license; try again")]
    Held,
    /// Others have not finished evaluating amendments in time.
    #[error("too many concurrent evaluations of amendments; try again")]
    Evaluating,
    /// A license has no amendments, so it is not known what it consists of.
    #[error("the license {0} has no rows in the table 'amendments'; restore them from a backup")]
    NoAmendments(String),
    /// A license belongs to a customer that there is no record of.
    #[error("there is no customer {0} in the table 'customers'; restore the row from a backup")]
    NoCustomer(String),
    /// The token of the author of a change was revoked.
    #[error("the token '{0}' was revoked; nothing was changed")]
    TokenRevoked(String),
    /// The token of the author of a change has expired.
    #[error("the token '{0}' has expired; nothing was changed")]
    TokenExpired(String),
    /// A call repeats another one, by its `Idempotency-Key`, and changes nothing.
    #[error("the Idempotency-Key was used before; nothing was changed")]
    RepeatedCall,
    /// A row contains a value that this program never writes.
    #[error("the column '{column}' contains the unexpected value '{value}'")]
    Value {
        /// The column.
        column: &'static str,
        /// The value.
        value: String,
    },
}

impl StoreError {
    /// Others have changed what a transaction was prepared from: [`repeated`](database::repeated)
    /// prepares it again.
    #[must_use]
    pub fn changed() -> Self {
        Self::Database(database::changed())
    }

    /// Whether a row was rejected because of a duplicate.
    #[must_use]
    pub fn is_taken(&self) -> bool {
        let Self::Database(error) = self else {
            return false;
        };
        matches!(error.sql_err(), Some(SqlErr::UniqueConstraintViolation(_)))
    }

    /// Whether others have not finished in time, or changed the same data again and again.
    #[must_use]
    pub fn is_busy(&self) -> bool {
        match self {
            Self::Database(error) => {
                matches!(Failure::of(error), Failure::Busy | Failure::Conflict)
            }
            Self::Held | Self::Evaluating => true,
            Self::Connect(_)
            | Self::Missing
            | Self::OthersTables(_)
            | Self::Unreadable(_)
            | Self::NoAmendments(_)
            | Self::NoCustomer(_)
            | Self::TokenRevoked(_)
            | Self::TokenExpired(_)
            | Self::RepeatedCall
            | Self::Value { .. } => false,
        }
    }

    /// Whether a change may have been stored although it was not acknowledged.
    #[must_use]
    pub fn is_uncertain(&self) -> bool {
        matches!(self, Self::Database(error) if Failure::of(error) == Failure::Uncertain)
    }

    /// Whether the database works, but refuses what this program asks of it, and will again.
    #[must_use]
    pub fn is_refusal(&self) -> bool {
        match self {
            Self::Database(error) => matches!(
                Failure::of(error),
                Failure::Refused
                    | Failure::Rights
                    | Failure::RowPolicy
                    | Failure::NoTable
                    | Failure::Schema
            ),
            Self::NoAmendments(_) | Self::NoCustomer(_) | Self::Value { .. } => true,
            Self::Connect(_)
            | Self::Missing
            | Self::OthersTables(_)
            | Self::Unreadable(_)
            | Self::TokenRevoked(_)
            | Self::TokenExpired(_)
            | Self::RepeatedCall
            | Self::Evaluating
            | Self::Held => false,
        }
    }

    /// Whether the whole database fails, which the database module has logged.
    #[must_use]
    pub fn is_outage(&self) -> bool {
        match self {
            Self::Database(error) => Failure::of(error).is_outage(),
            Self::Connect(_) => true,
            Self::Missing
            | Self::OthersTables(_)
            | Self::Unreadable(_)
            | Self::NoAmendments(_)
            | Self::NoCustomer(_)
            | Self::TokenRevoked(_)
            | Self::TokenExpired(_)
            | Self::RepeatedCall
            | Self::Value { .. }
            | Self::Evaluating
            | Self::Held => false,
        }
    }
}

/// What this program needs of its tables.
fn expected_tables() -> Vec<ExpectedTable> {
    vec![
        add_ons::expected(),
        admin_tokens::expected(),
        amendments::expected(),
        audit_log::expected(),
        bulk_lines::expected(),
        locks::expected(),
        calls::expected(),
        catalogue::expected(),
        commit_proofs::expected(),
        console_sessions::expected(),
        coverage::expected(),
        customers::expected(),
        idempotency_keys::expected(),
        key_record::expected(),
        licenses::expected(),
        lost_numbers::expected(),
        plans::expected(),
        seat_moves::expected(),
        seats::expected(),
        signing_clock::expected(),
        site_entries::expected(),
        suspicions::expected(),
        trial_codes::expected(),
        trials::expected(),
        usage_days::expected(),
    ]
}

impl Store {
    fn of(db: Database) -> Self {
        db.expect(expected_tables(), &migrations::TABLES);
        db.expect_indexes(INDEXES.map(str::to_owned).to_vec());
        let holding = Turns::new(HOLD_BOUNDS);
        let amending = Turns::new(AMEND_BOUNDS);
        let evaluations = Evaluations::default();
        Self {
            db,
            holding,
            amending,
            evaluations,
        }
    }

    /// Connects, and applies missing migrations.
    ///
    /// # Errors
    /// If the database cannot be reached or changed.
    pub async fn open(url: &DatabaseUrl) -> Result<Self, StoreError> {
        Self::open_within(url, Timeouts::default()).await
    }

    /// The same with other timeouts.
    ///
    /// # Errors
    /// The same.
    pub async fn open_within(url: &DatabaseUrl, timeouts: Timeouts) -> Result<Self, StoreError> {
        let db = Database::connect(url, timeouts).await?;
        let store = Self::of(db);
        migrations::bring_up_to_date(&store).await?;
        store.db.note_schema().await?;
        store.warn_of_open_schemas().await;
        Ok(store)
    }

    /// Logs in which schemas other database users may create objects.
    async fn warn_of_open_schemas(&self) {
        match self.db.open_schemas().await {
            Ok(open) => {
                for open in open {
                    tracing::warn!(advice = open.advice(), "{}", open.found());
                }
            }
            Err(error) => {
                let error = database::words(&error);
                tracing::debug!(error, "cannot check the permissions of the schemas");
            }
        }
    }

    /// The same for an existing database: creates neither the file nor tables.
    ///
    /// # Errors
    /// [`StoreError::Missing`] if it does not exist, and as [`Store::open`].
    pub async fn open_existing(url: &DatabaseUrl) -> Result<Self, StoreError> {
        let is_empty = |file: &Path| match std::fs::metadata(file) {
            Ok(found) => Ok(found.len() == 0),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(true),
            Err(error) => Err(Unreadable::new(file, &error)),
        };
        if let Some(file) = url.sqlite_file()
            && is_empty(file)?
        {
            return Err(match DanglingLink::on(file) {
                Some(link) => ConnectError::from(NotWritable::from(link)).into(),
                None => StoreError::Missing,
            });
        }
        let db = Database::connect(url, Timeouts::default()).await?;
        let store = Self::of(db);
        if !migrations::are_there_any(&store).await? {
            store.close().await;
            return Err(StoreError::Missing);
        }
        migrations::bring_up_to_date(&store).await?;
        store.db.note_schema().await?;
        Ok(store)
    }

    /// Starts a transaction that changes data. On SQLite it has exclusive access to the file.
    ///
    /// # Errors
    /// If the database returns an error, or others have not finished in 5 s.
    pub async fn begin(&self) -> Result<Transaction, StoreError> {
        Ok(self.db.begin().await?)
    }

    /// Starts a transaction that changes a license or its seats, and returns the license's current
    /// state: other changes to it wait until the transaction ends. In this process they wait
    /// without a connection. Callers with a share of the connections wait for it first, so that they
    /// do not make the license's sites wait.
    ///
    /// # Errors
    /// As [`Self::begin`].
    pub async fn hold(&self, known: License) -> Result<(Transaction, License), StoreError> {
        let transaction = self.begin_for(&known).await?;
        let license = licenses::hold(&transaction, known).await?;
        Ok((transaction, license))
    }

    /// The same without locking the license yet, for what is locked before a license
    /// ([`locks`]); [`licenses::hold`] follows.
    ///
    /// # Errors
    /// As [`Self::begin`].
    pub async fn begin_for(&self, known: &License) -> Result<Transaction, StoreError> {
        let mut turns = self.db.share().await?;
        let turn = self.holding.take(&known.license_key).await;
        turns.push(turn.map_err(|_| StoreError::Held)?);
        Ok(self.db.begin_in(turns).await?)
    }

    /// Waits for a turn to prepare and store an amendment of a license, and returns the license's
    /// current row, which is not locked. So callers of this process do not prepare what others of
    /// them are about to change.
    ///
    /// # Errors
    /// [`StoreError::Held`] if too many others wait, or if the database returns an error.
    pub async fn turn_to_amend(&self, known: License) -> Result<(Turn, License), StoreError> {
        let turn = self.amending.take(&known.id).await;
        let turn = turn.map_err(|_| StoreError::Held)?;
        let license = licenses::find_by_id(self.reader(), &known.id).await?;
        Ok((turn, license.unwrap_or(known)))
    }

    /// For reading, and for single statements.
    #[must_use]
    pub fn reader(&self) -> &Database {
        &self.db
    }

    /// Reads a list in one turn of the caller, so that no rows are held while waiting for a turn. The
    /// work must not evaluate amendments: an evaluation may wait for the same turn.
    ///
    /// # Errors
    /// If too many others wait, and those of the work.
    pub async fn in_share<T, E: From<StoreError>>(
        &self,
        work: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        self.db.in_share(work).await.map_err(StoreError::from)?
    }

    /// The queues for evaluations of amendments.
    #[must_use]
    pub(crate) fn evaluations(&self) -> &Evaluations {
        &self.evaluations
    }

    /// Whether changes can be stored, and the tables fit, within 2 s. Anyone may ask.
    ///
    /// # Errors
    /// If not.
    pub async fn check_writable(&self) -> Result<(), StoreError> {
        Ok(self.db.check_writable(migrations::CHECKED_ROW).await?)
    }

    /// Whether no statement has failed within the last 5 minutes because files of the database are
    /// damaged. Anyone may ask.
    ///
    /// # Errors
    /// The last such failure.
    pub fn check_damage(&self) -> Result<(), StoreError> {
        Ok(self.db.check_damage()?)
    }

    /// Closes all connections.
    pub async fn close(self) {
        self.db.close().await;
    }
}
