//! The only access to a database, SQLite or PostgreSQL, for both services.
//!
//! Connections are private. Every statement has its own deadline, because the database library
//! sets no socket options and waits on a dead connection for hours; a connection that may be bad
//! is replaced, and if that does not help, all are; a change is acknowledged only if it can be
//! found again. A caller sees a `ConnectionTrait` and a [`Transaction`], and errors.

mod address;
mod connect;
mod damage;
mod failure;
mod file_identity;
mod hidden_schemas;
mod interrupt;
mod listener;
mod migration;
mod open_schemas;
mod ordinary_table;
mod outage;
mod pool;
mod postgres_options;
mod purpose;
mod quoted;
mod rows;
mod schema;
mod sequences;
mod share;
mod sign_in_budget;
mod statements;
mod table_names;
mod timeouts;
mod transaction;
mod work;
mod writable;
pub mod writes;

use std::fmt;
use std::sync::{Arc, Mutex as StdMutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use sea_orm::DbErr;
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::clock::ticks;
use crate::database_url::DatabaseUrl;
use crate::tls_explanation;
use crate::turns::{QueueBounds, Turn, Turns};
pub use connect::{ConnectError, make_file};
use damage::Damage;
pub use failure::{ConnectionLimit, Failure, Trouble, changed, words};
pub use listener::Listener;
pub use migration::{MIGRATION_TIMEOUT, MigratedRows, Migration};
pub use open_schemas::OpenSchema;
use outage::Outage;
use pool::Pool;
use purpose::Purpose;
pub use schema::ExpectedTable;
use schema::Schema;
use sequences::Sequences;
use sign_in_budget::SignInBudget;
use table_names::TableNames;
pub use timeouts::Timeouts;
pub use transaction::Transaction;
use work::uninterrupted;
pub use work::{is_for_another_try, repeated, within};
use writable::Check;
pub use writable::CheckedRow;

/// Maximum number of calls that wait for a connection.
const MAX_WAITING: usize = 1000;

/// A database. Clones share their connections.
///
/// As a `ConnectionTrait` it runs single statements, each within
/// [`Timeouts::statement`]. Statements that belong together are a [`Transaction`].
#[derive(Clone)]
pub struct Database(Arc<Inner>);

struct Inner {
    url: DatabaseUrl,
    timeouts: Timeouts,
    pool: ArcSwap<Pool>,
    reading: Outage,
    writing: Outage,
    damage: Damage,
    schema: Schema,
    tables: TableNames,
    /// Why the SQLite file could not be created.
    not_made: StdMutex<Option<String>>,
    last_check: Arc<Mutex<Option<Check>>>,
    /// When a change was last stored.
    stored_at: StdMutex<Option<Instant>>,
    /// Limits the users of connections.
    queues: share::Queues,
    /// Limits the writers of an SQLite file: SQLite allows only one, and the others would retry in
    /// no particular order, each with a connection.
    changing_file: Turns,
    sequences: Sequences,
    sign_in: SignInBudget,
    /// Held while another SQLite file is opened.
    reopening: Mutex<()>,
}

impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Database").field(&self.0.url).finish()
    }
}

impl Database {
    /// Prepares a database for a service that keeps running while it is unavailable: the first
    /// statement connects. The file of an SQLite database must exist by then ([`make_file`]); a
    /// file that disappears later is never recreated.
    ///
    /// # Errors
    /// If the URL cannot be used at all.
    pub fn new(url: &DatabaseUrl, timeouts: Timeouts) -> Result<Self, DbErr> {
        if let Some(warning) = url.warning() {
            tracing::warn!("{warning}");
        }
        let bounds = QueueBounds {
            at_a_time: pool::MAX_WORKING as usize,
            max_waiting: MAX_WAITING,
            timeout: timeouts.wait,
        };
        Ok(Self(Arc::new(Inner {
            queues: share::Queues::new(bounds),
            changing_file: Turns::new(QueueBounds {
                at_a_time: 1,
                ..bounds
            }),
            stored_at: StdMutex::default(),
            pool: ArcSwap::from_pointee(Pool::new(url, &timeouts)?),
            url: url.clone(),
            sign_in: SignInBudget::new(timeouts.sign_in),
            timeouts,
            reading: Outage::new("read"),
            writing: Outage::new("write"),
            damage: Damage::default(),
            schema: Schema::default(),
            tables: TableNames::default(),
            not_made: StdMutex::default(),
            last_check: Arc::default(),
            sequences: Sequences::default(),
            reopening: Mutex::default(),
        })))
    }

    /// Starts a transaction that changes data. On SQLite it has exclusive access to the file. On
    /// PostgreSQL the server ends it if this process is frozen or loses its connection.
    ///
    /// # Errors
    /// If the database returns an error, is read-only, or other transactions have not finished
    /// within [`Timeouts::wait`].
    pub async fn begin(&self) -> Result<Transaction, DbErr> {
        let turns = self.share().await?;
        self.begin_in(turns).await
    }

    /// The same, and keeps `turns` until the transaction ends. The caller has taken its
    /// [`Self::share`] first, which is among them.
    ///
    /// # Errors
    /// As [`Self::begin`].
    pub async fn begin_in(&self, mut turns: Vec<Turn>) -> Result<Transaction, DbErr> {
        turns.extend(self.turn_to_change_file().await?);
        turns.push(self.turn_in_share().await?);
        self.begin_for(Purpose::Change, turns).await
    }

    /// Waits for a turn to change an SQLite file.
    async fn turn_to_change_file(&self) -> Result<Option<Turn>, DbErr> {
        if self.0.url.sqlite_file().is_none() {
            return Ok(None);
        }
        let turn = self.0.changing_file.take(&()).await;
        turn.map(Some).map_err(|_| failure::busy())
    }

    /// The transaction keeps the turns, and so does its start if the caller disconnects.
    async fn begin_for(&self, purpose: Purpose, turns: Vec<Turn>) -> Result<Transaction, DbErr> {
        let database = self.clone();
        uninterrupted(async move {
            let begun = match database.try_begin(purpose).await {
                // After a failover the pool still has sessions of the former primary. They are now
                // marked, and nothing has been done yet, so a new connection may succeed. The same
                // applies to a session with outdated prepared statements.
                Err(error)
                    if matches!(
                        Failure::of(&error),
                        Failure::Connection(true) | Failure::FileReadOnly
                    ) || failure::may_be_repeated(&error) =>
                {
                    database.try_begin(purpose).await
                }
                begun => begun,
            };
            Ok(begun?.keeping(turns))
        })
        .await
    }

    /// Starts a read-only transaction.
    ///
    /// # Errors
    /// If the database returns an error.
    pub async fn begin_reading(&self) -> Result<Transaction, DbErr> {
        let turns = self.turn().await?;
        self.begin_for(Purpose::Read, turns).await
    }

    /// Starts a read-only transaction for tables of others. On PostgreSQL it has a connection of
    /// its own, which is closed with it, and the search path of the site applies, so users who may
    /// create objects in one of its schemas can define operators that its statements call.
    ///
    /// # Errors
    /// If the database returns an error.
    pub async fn begin_reading_others(&self) -> Result<Transaction, DbErr> {
        let turns = self.turn().await?;
        self.begin_for(Purpose::ReadOthers, turns).await
    }

    async fn try_begin(&self, purpose: Purpose) -> Result<Transaction, DbErr> {
        let timeouts = &self.0.timeouts;
        let deadline = ticks() + timeouts.transaction;
        let pool = match purpose {
            // What others have created may leave something behind in the session, such as prepared
            // statements, which the next statement of this program would execute.
            Purpose::ReadOthers if self.0.url.sqlite_file().is_none() => {
                Arc::new(Pool::new(&self.0.url, timeouts)?)
            }
            _ => self.pool().await?,
        };
        let Inner {
            tables, sequences, ..
        } = &*self.0;
        let beginning = transaction::begin(&pool, tables, sequences, purpose, timeouts);
        let limit = match purpose {
            // No caller waits longer than this, and the check continues after the caller has
            // disconnected.
            Purpose::Check => timeouts.check.min(timeouts.statement),
            Purpose::Read | Purpose::ReadOthers | Purpose::Change => timeouts.statement,
        };
        let begun = self.connecting(limit, beginning).await;
        let begun = match begun {
            // Only a commit proves that changes can be stored.
            Ok(begun) => begun,
            failed => self.judge(&pool, self.outage(purpose), failed)?,
        };
        if let Some(started) = begun.server_started() {
            self.0.damage.note_server(started);
        }
        Ok(Transaction::new(
            self.clone(),
            pool,
            begun,
            purpose,
            deadline,
        ))
    }

    /// Closes all connections, within [`Timeouts::check`]; SQLite writes its log to the file.
    pub async fn close(&self) {
        let pool = self.0.pool.load_full();
        let closing = tokio::time::timeout(self.0.timeouts.check, pool.close());
        match closing.await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                tracing::warn!(error = words(&error), "the database was not closed cleanly");
            }
            Err(_) => {
                tracing::warn!("the database is not responding; its connections are abandoned");
            }
        }
    }

    /// The current pool. If an SQLite file was moved, deleted or replaced, the file at the path is
    /// opened instead, if that is safe.
    async fn pool(&self) -> Result<Arc<Pool>, DbErr> {
        let pool = self.0.pool.load_full();
        if pool.check_file().is_ok() && !pool.is_abandoned() && !pool.may_change_now() {
            return Ok(pool);
        }
        let _turn = self.0.reopening.lock().await;
        let pool = self.0.pool.load_full();
        if pool.check_file().is_ok() {
            if pool.may_change_now() {
                self.abandon(&pool).await?;
            }
            // The file was put back while its connections were being closed, or is no longer
            // read-only.
            if pool.is_abandoned() {
                self.replace(&pool)?;
            }
        } else {
            pool.check_reopening()
                .map_err(|error| self.not_made(error))
                .inspect_err(|error| self.0.writing.failed(error, ticks()))?;
            // If closed first, SQLite writes the rest of the log to its file.
            self.abandon(&pool).await?;
            self.replace(&pool)?;
            self.0.damage.forget();
        }
        Ok(self.0.pool.load_full())
    }

    async fn abandon(&self, pool: &Pool) -> Result<(), DbErr> {
        let closing = tokio::time::timeout(self.0.timeouts.wait, pool.abandon()).await;
        closing.map_err(|_| failure::file_gone())?
    }

    /// Replaces all connections.
    fn replace(&self, old: &Arc<Pool>) -> Result<(), DbErr> {
        let new = Arc::new(Pool::new(&self.0.url, &self.0.timeouts)?);
        let was = self.0.pool.compare_and_swap(old, new);
        if Arc::ptr_eq(&was, old) {
            tracing::debug!("replaced all connections to the database");
            let (old, timeout) = (old.clone(), self.0.timeouts.starved);
            tokio::spawn(async move { tokio::time::timeout(timeout, old.close()).await });
        }
        Ok(())
    }

    /// Waits for work that may start with a new connection, for a limited time.
    async fn connecting<T>(
        &self,
        timeout: Duration,
        work: impl Future<Output = Result<T, DbErr>>,
    ) -> Result<T, DbErr> {
        within(timeout, self.0.sign_in.within(work)).await
    }

    /// Evaluates what a result says about the connections, and about the database.
    fn judge<T>(
        &self,
        pool: &Arc<Pool>,
        outage: Option<&Outage>,
        answer: Result<T, DbErr>,
    ) -> Result<T, DbErr> {
        let error = match answer {
            Ok(answer) => {
                outage.inspect(|outage| outage.is_over(ticks()));
                return Ok(answer);
            }
            Err(error) => {
                let error = failure::in_words(error);
                self.explained(self.not_made(self.connecting_explained(error)))
            }
        };
        let failure = Failure::of(&error);
        match failure {
            Failure::Stale => pool.health().renew(),
            Failure::FileReadOnly => pool.note_read_only(),
            Failure::Login => pool.health().note_refused_login(),
            Failure::Sequence => {
                let error = failure::library_error(&error);
                error.inspect(|error| self.0.sequences.note(error));
            }
            // A table may be in another schema now, or in one that the user has no access to.
            Failure::NoTable | Failure::Rights => self.0.tables.forget(),
            failure if failure.is_of_connection() => pool.health().renew(),
            _ => {}
        }
        if !failure.is_outage() {
            return Err(error);
        }
        if let Some(outage) = outage {
            if failure == Failure::Schema {
                return Err(self.0.schema.failed(error));
            }
            if failure == Failure::NoTable && self.0.schema.is_unseen() {
                return Err(failure::not_created());
            }
            outage.failed(&error, ticks());
            self.0.damage.note(&error, ticks());
        }
        let is_postgres = self.0.url.sqlite_file().is_none();
        if is_postgres && pool.health().is_starved(self.0.timeouts.starved) {
            self.replace(pool)?;
        }
        Err(error)
    }

    /// The error of work on this database: that of an SQLite file is not about a server.
    #[must_use]
    pub fn explained(&self, error: DbErr) -> DbErr {
        match self.0.url.sqlite_file() {
            Some(file) => failure::of_file(error, file),
            None => error,
        }
    }

    /// The error, with the reason if the SQLite file could not be created.
    fn not_made(&self, error: DbErr) -> DbErr {
        let why = self.0.not_made.lock();
        match why.unwrap_or_else(PoisonError::into_inner).as_deref() {
            Some(why) => failure::not_made(error, why),
            None => error,
        }
    }

    /// The error, with an explanation if no TLS connection was established, or the user may not
    /// connect.
    fn connecting_explained(&self, error: DbErr) -> DbErr {
        let Some(library_error) = failure::library_error(&error) else {
            return error;
        };
        if let Some(why) = tls_explanation::of_postgres(library_error, &self.0.url) {
            return failure::no_tls(&why);
        }
        failure::no_connect(library_error, &self.0.url).unwrap_or(error)
    }

    /// A read-only transaction is for queries of others, which may be wrong.
    fn outage(&self, purpose: Purpose) -> Option<&Outage> {
        match purpose {
            Purpose::Read | Purpose::ReadOthers => None,
            Purpose::Change | Purpose::Check => Some(&self.0.writing),
        }
    }

    /// Records that a change was stored.
    fn note_stored(&self) {
        let stored_at = &self.0.stored_at;
        let mut stored_at = stored_at.lock().unwrap_or_else(PoisonError::into_inner);
        *stored_at = Some(ticks());
    }

    /// Whether a change was stored after this instant.
    fn has_stored_since(&self, instant: Instant) -> bool {
        let stored_at = &self.0.stored_at;
        let stored_at = stored_at.lock().unwrap_or_else(PoisonError::into_inner);
        stored_at.is_some_and(|at| at >= instant)
    }
}
