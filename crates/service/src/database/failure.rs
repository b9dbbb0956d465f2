//! Classifies the errors of the database library.

mod connection_limit;
mod login;
mod ownership;
mod sqlite;
mod sqlstate;
mod trouble;

use std::io::ErrorKind;
use std::path::Path;
use std::time::Duration;

use sea_orm::{DbErr, RuntimeErr};

use super::sign_in_budget::EXHAUSTED;
use super::writes;
use crate::dangling_link::DanglingLink;
use crate::presentable_url::presentable_path;
use crate::telemetry::is_refused_thread;
pub use connection_limit::ConnectionLimit;
pub(super) use ownership::{
    file_of_others, no_access, no_connect, obstructed, of_others, schemas_of_others,
};
pub(super) use sqlite::{is_locked, of_file};
pub use trouble::{Trouble, words};

/// The message about a pooler that mixes up prepared statements.
const POOLER: &str = "DATABASE_URL points to a connection pooler in transaction mode that does not \
    keep prepared statements";
pub(super) const UNREADABLE: &str =
    "a row contains an unreadable value, such as the time 'infinity'; correct it";
const READ_ONLY: &str = "the database is read-only";
const FILE_GONE: &str = "the SQLite file was moved, deleted or replaced while it was in use";
const FILE_MISSING: &str = "the SQLite file does not exist";
/// If SQLite could open a file only for reading, it keeps it read-only, even if the owner changes
/// later.
const FILE_READ_ONLY: &str = "the SQLite file, its directory, or its -wal or -shm file is \
    read-only for the user of this service";
const TIMED_OUT: &str = "the database has not answered within";
const BUSY: &str = "the database is busy: too many calls are waiting for a connection; try again";
const CHANGED: &str = "others have changed the same data at the same time; try again";
const NOT_REGULAR: &str = "the SQLite database cannot be opened:";
const REPLACED: &str = "the tables of this program are being replaced; try again";
const INCOMPLETE: &str =
    "part of the transaction could not be started; the whole transaction was rolled back";
const PANICKED: &str = "internal error in a database call";
const NO_TLS: &str = "no TLS connection to the database:";
const WRONG_ENCODING: &str = "the database has the encoding";
const UNCERTAIN: &str = "the change may have been stored";
const NOT_MADE: &str = "the SQLite file could not be created:";
const NOT_CREATED: &str = "the tables have not been created yet; try again";
const UNFIT: &str = "the tables do not match this program:";
/// PostgreSQL's code for `sequence_generator_limit_exceeded`.
const SEQUENCE_END: &str = "2200H";
const CONTINUE_SEQUENCE: &str = "let it continue after the largest id of its table: SELECT \
    setval('SEQUENCE', (SELECT max(id) FROM TABLE)), with a MAXVALUE that is large enough";
/// What failed. [`Self::advice`] says what to do about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The statement failed for its own reason, such as a duplicate row. The database works.
    Refused,
    /// The database user may not do this. The database works.
    Rights,
    /// A row-level security policy forbids it to the database user. The database works.
    RowPolicy,
    /// Others did not release a connection or a row in time. The database works.
    Busy,
    /// The transaction was rolled back because of a conflict with another one: a retry succeeds.
    /// The database works.
    Conflict,
    /// The id that a sequence issued for a new row already exists. Nothing was done; the sequence
    /// is advanced before the retry.
    Sequence,
    /// The database no longer accepts the connection's prepared statements, for example after a
    /// change of a table. Nothing was done; a new connection prepares them again.
    Stale,
    /// The connection failed, and probably all older connections. With `true` it leads to a
    /// read-only server; another server may accept changes.
    Connection(bool),
    /// A commit was sent, and the connection failed before the response arrived.
    Uncertain,
    /// A library panicked. The connection is not used again.
    Panicked,
    /// The system refused to create a thread.
    Threads,
    /// The SQLite file is no longer at its path.
    File,
    /// The path of the SQLite file leads through a link to something that does not exist.
    DanglingLink,
    /// The SQLite file was opened read-only; it may be writable now.
    FileReadOnly,
    /// The SQLite file cannot be opened.
    CannotOpen,
    /// The SQLite file does not respond.
    FileUnavailable,
    /// The disk of the SQLite file returns errors.
    Disk,
    /// The file system of the SQLite file does not support the locks or the shared memory that
    /// SQLite needs.
    FileSystem,
    /// The disk is full.
    Full,
    /// The memory that PostgreSQL shares between the processes of a query is full.
    SharedMemory,
    /// The data is damaged, or the file is not a database.
    Damaged,
    /// PostgreSQL cannot use one of its files, or its disk.
    ServerFiles,
    /// A table does not exist.
    NoTable,
    /// The tables do not fit this program's statements: an index or a column is missing, or a
    /// column has another type or needs a value that this program does not know.
    Schema,
    /// The database does not exist.
    NoDatabase,
    /// The user or the password was rejected.
    Login,
    /// All connections are in use that the server allows, or that it allows this user.
    TooManyConnections(ConnectionLimit),
    /// TLS with the server failed.
    Tls,
    /// PostgreSQL refused the connection with a message that cannot be read, because it is in
    /// another encoding. The text of the error says what to do. It may be temporary.
    ForeignEncoding,
    /// The database cannot be used, and the text of the error says what to do.
    Explained,
    /// The database cannot store every text.
    Encoding,
    /// A connection pooler mixes up prepared statements.
    Pooler,
    /// The database returned an error that is not known here.
    Unknown,
    /// The database cannot do what was requested.
    Unavailable,
}

impl Failure {
    /// Classifies an error.
    #[must_use]
    pub fn of(error: &DbErr) -> Self {
        if let DbErr::Custom(text) = error {
            return match text.as_str() {
                READ_ONLY => Self::Connection(true),
                FILE_GONE | FILE_MISSING => Self::File,
                FILE_READ_ONLY => Self::FileReadOnly,
                POOLER => Self::Pooler,
                UNREADABLE | INCOMPLETE => Self::Refused,
                BUSY | REPLACED => Self::Busy,
                CHANGED => Self::Conflict,
                EXHAUSTED | NOT_CREATED => Self::Explained,
                text if login::is_explained(text) || sqlite::is_limited(text) => Self::Explained,
                text if login::is_in_foreign_encoding(text) => Self::ForeignEncoding,
                text if login::is_about_credentials(text) => Self::Login,
                text if text.ends_with(DanglingLink::ADVICE) => Self::DanglingLink,
                text if [NO_TLS, NOT_MADE, NOT_REGULAR]
                    .iter()
                    .any(|it| text.starts_with(it)) =>
                {
                    Self::Explained
                }
                text if ownership::is_explained(text) => Self::Explained,
                text if text.starts_with(UNCERTAIN) => Self::Uncertain,
                text if text.starts_with(UNFIT) => Self::Schema,
                text if text.starts_with(writes::NOT_STORED) => Self::Refused,
                text if text.starts_with(sqlite::UNAVAILABLE) => Self::FileUnavailable,
                text if text.starts_with(TIMED_OUT) => Self::Connection(false),
                text if text.starts_with(WRONG_ENCODING) => Self::Encoding,
                text if text.starts_with(PANICKED) => match is_refused_thread(text) {
                    true => Self::Threads,
                    false => Self::Panicked,
                },
                _ => Self::Unavailable,
            };
        }
        match library_error(error) {
            Some(error) => Self::of_library(error),
            None if matches!(error, DbErr::ConnectionAcquire(_) | DbErr::Conn(_)) => {
                Self::Unavailable
            }
            None => Self::Refused,
        }
    }

    /// Whether the whole database fails, and not just one call.
    #[must_use]
    pub fn is_outage(self) -> bool {
        !matches!(
            self,
            Self::Refused
                | Self::Rights
                | Self::RowPolicy
                | Self::Busy
                | Self::Conflict
                | Self::Sequence
                | Self::Stale
        )
    }

    /// Whether it counts until a change of the same size is stored: a smaller one may still fit.
    pub(super) fn is_remembered(self) -> bool {
        self.is_outage()
            && !self.is_of_connection()
            && !matches!(
                self,
                Self::File | Self::DanglingLink | Self::FileReadOnly | Self::SharedMemory
            )
    }

    /// Whether another connection may succeed.
    pub(super) fn is_of_connection(self) -> bool {
        matches!(
            self,
            Self::Connection(_)
                | Self::ForeignEncoding
                | Self::FileUnavailable
                | Self::Uncertain
                | Self::Panicked
                | Self::Threads
        )
    }

    /// Whether the database may be back soon: it is starting, stopping or disconnected, or has no
    /// free connections.
    pub(super) fn is_temporary(self) -> bool {
        self.is_of_connection() || matches!(self, Self::TooManyConnections(_))
    }

    fn of_library(error: &sqlx::Error) -> Self {
        let Some(code) = database_code(error) else {
            return match error {
                sqlx::Error::Io(error) if error.kind() == ErrorKind::WouldBlock => Self::Threads,
                error if login::message(error).is_some_and(login::is_in_foreign_encoding) => {
                    Self::ForeignEncoding
                }
                error if login::message(error).is_some() => Self::Login,
                sqlx::Error::Io(_) | sqlx::Error::Protocol(_) | sqlx::Error::BeginFailed => {
                    Self::Connection(false)
                }
                sqlx::Error::Tls(_) => Self::Tls,
                _ => Self::Unavailable,
            };
        };
        if let Some(code) = sqlite_code(error, &code) {
            return sqlite::failure(error, code);
        }
        sqlstate::failure(error, &code)
    }
}

/// Why no TLS connection could be established, and what to do about it.
pub(super) fn no_tls(why: &str) -> DbErr {
    DbErr::Custom(format!("{NO_TLS} {why}"))
}

/// Why a database with this encoding cannot be used. PostgreSQL converts to encodings such as
/// LATIN1, and rejects characters that do not exist there; with `SQL_ASCII` it counts bytes instead
/// of characters.
pub(super) fn wrong_encoding(encoding: &str) -> DbErr {
    DbErr::Custom(format!("{WRONG_ENCODING} {encoding}, but UTF8 is required"))
}

/// A table does not exist, and this process has not seen that it ever did.
pub(super) fn not_created() -> DbErr {
    DbErr::Custom(NOT_CREATED.to_owned())
}

/// Why the tables cannot be used.
pub(super) fn unfit(why: &str) -> DbErr {
    DbErr::Custom(format!("{UNFIT} {why}"))
}

/// The error with our own message, if there is a better one.
pub(super) fn in_words(error: DbErr) -> DbErr {
    match library_error(&error) {
        // duplicate_prepared_statement
        Some(it) if database_code(it).as_deref() == Some("42P05") => pooler(),
        Some(it) if database_code(it).as_deref() == Some("25006") => read_only(),
        Some(it) if Failure::of_library(it) == Failure::FileReadOnly => {
            DbErr::Custom(FILE_READ_ONLY.to_owned())
        }
        Some(it) if database_code(it).as_deref() == Some(SEQUENCE_END) => {
            let said = it.as_database_error().map(|it| it.message().to_owned());
            unfit(&format!(
                "{}; {CONTINUE_SEQUENCE}",
                said.unwrap_or_default()
            ))
        }
        Some(it) => match login::message(it) {
            Some(message) => DbErr::Custom(message.to_owned()),
            None => error,
        },
        None => error,
    }
}

/// The error if a new connection has not helped with [`Failure::Stale`].
pub(super) fn still_stale(error: DbErr) -> DbErr {
    match library_error(&error) {
        Some(it) if is_mixed_up(it) => pooler(),
        _ => error,
    }
}

/// Whether a statement, or a whole transaction, that failed in this way can be retried: nothing was
/// done.
pub(super) fn may_be_repeated(error: &DbErr) -> bool {
    matches!(
        Failure::of(error),
        Failure::Conflict | Failure::Sequence | Failure::Stale
    )
}

/// The error of a commit that failed in this way: only a response from the database proves that
/// nothing was stored.
pub(super) fn of_commit(error: DbErr) -> DbErr {
    let is_answered = match library_error(&error) {
        Some(it) => match database_code(it).as_deref() {
            // statement_completion_unknown
            None | Some("40003") => false,
            Some(_) => !Failure::of_library(it).is_of_connection(),
        },
        None => !Failure::of(&error).is_of_connection(),
    };
    match is_answered {
        true => error,
        false => uncertain(&error),
    }
}

/// A commit failed in this way after it was sent.
pub(super) fn uncertain(error: &DbErr) -> DbErr {
    let what = Trouble::of(error).what;
    DbErr::Custom(format!("{UNCERTAIN}: {what}"))
}

/// The tables were replaced while they were looked up.
pub(super) fn replaced() -> DbErr {
    DbErr::Custom(REPLACED.to_owned())
}

/// A library panicked.
pub(super) fn panicked(what: &str) -> DbErr {
    DbErr::Custom(format!("{PANICKED}: {what}"))
}

pub(super) fn pooler() -> DbErr {
    DbErr::Custom(POOLER.to_owned())
}

/// Why a transaction that has lost a part cannot continue.
pub(super) fn incomplete() -> DbErr {
    DbErr::Custom(INCOMPLETE.to_owned())
}

/// Others are already waiting for a connection.
pub(super) fn busy() -> DbErr {
    DbErr::Custom(BUSY.to_owned())
}

/// Others have changed what a transaction was prepared from. Nothing was done;
/// [`repeated`](super::repeated) prepares it again.
#[must_use]
pub fn changed() -> DbErr {
    DbErr::Custom(CHANGED.to_owned())
}

/// A prepared statement that exists in another session, or that this session has lost. We prepare
/// each statement once, under a unique name.
pub(super) fn is_mixed_up(error: &sqlx::Error) -> bool {
    // duplicate_prepared_statement, invalid_sql_statement_name
    matches!(database_code(error).as_deref(), Some("42P05" | "26000"))
}

/// Whether the database does not know, or does not allow, a setting.
pub(super) fn is_unknown_setting(error: &DbErr) -> bool {
    let state = library_error(error).and_then(database_code);
    // undefined_object, invalid_parameter_value, cant_change_runtime_param,
    // insufficient_privilege, feature_not_supported
    matches!(
        state.as_deref(),
        Some("42704" | "22023" | "55P02" | "42501" | "0A000")
    )
}

pub(super) fn timed_out(timeout: Duration) -> DbErr {
    DbErr::Custom(format!("{TIMED_OUT} {} s", timeout.as_secs_f64()))
}

pub(super) fn read_only() -> DbErr {
    DbErr::Custom(READ_ONLY.to_owned())
}

pub(super) fn file_gone() -> DbErr {
    DbErr::Custom(FILE_GONE.to_owned())
}

/// Why an SQLite file that this process has never opened cannot be opened: it does not exist.
pub(super) fn file_missing(file: &Path) -> DbErr {
    DbErr::Custom(match DanglingLink::on(file) {
        Some(link) => link.to_string(),
        None => FILE_MISSING.to_owned(),
    })
}

/// Something other than a file is where SQLite keeps a file.
pub(super) fn not_regular(path: &Path) -> DbErr {
    let path = presentable_path(path);
    DbErr::Custom(format!(
        "{NOT_REGULAR} '{path}' is not a regular file; remove it"
    ))
}

/// The error of a missing SQLite file, with the reason for which it could not be created.
pub(super) fn not_made(error: DbErr, why: &str) -> DbErr {
    match error {
        DbErr::Custom(text) if text == FILE_MISSING => DbErr::Custom(format!("{NOT_MADE} {why}")),
        other => other,
    }
}

pub(super) fn library_error(error: &DbErr) -> Option<&sqlx::Error> {
    match error {
        DbErr::Conn(RuntimeErr::SqlxError(error))
        | DbErr::Exec(RuntimeErr::SqlxError(error))
        | DbErr::Query(RuntimeErr::SqlxError(error)) => Some(error),
        _ => None,
    }
}

/// A SQLSTATE of PostgreSQL, or an extended result code of SQLite.
fn database_code(error: &sqlx::Error) -> Option<String> {
    let code = error.as_database_error()?.code()?;
    Some(code.into_owned())
}

/// The primary result code of SQLite.
fn sqlite_code(error: &sqlx::Error, code: &str) -> Option<u32> {
    let error = error.as_database_error()?;
    error.try_downcast_ref::<sqlx::sqlite::SqliteError>()?;
    Some(code.parse::<u32>().ok()? & 0xff)
}

/// An error that the library raises outside of its own pool.
pub(super) fn db_error(error: sqlx::Error) -> DbErr {
    DbErr::Conn(RuntimeErr::SqlxError(error.into()))
}

#[cfg(test)]
pub(super) mod tests;
