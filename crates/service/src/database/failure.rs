//! What an error of the database library says about the database.

use std::time::Duration;

use sea_orm::{DbErr, RuntimeErr};

/// What is said of a pooler that mixes prepared statements up.
pub(super) const POOLER: &str = "DATABASE_URL leads to a connection pooler in transaction mode that does not keep prepared statements; set pool_mode = session for this database in pgbouncer.ini, or use pgBouncer 1.21 or newer with max_prepared_statements = 200";
pub(super) const UNREADABLE: &str =
    "a row holds a value that cannot be read, such as the time 'infinity'; correct it";
const READ_ONLY: &str = "the database can only be read";
const FILE_GONE: &str = "the SQLite file was moved, deleted or replaced while it was in use; put it back; to use another file, stop the service, and remove what ends with -wal and -shm beside it";
const TIMED_OUT: &str = "the database has not answered within";

/// What failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The statement, for a reason of its own: such as a row that there is already, or
    /// others who have not finished in time. The database is well.
    Refused,
    /// The connection, and probably all that were made before now. With `true` it
    /// leads to a server that takes no changes; another one may.
    Connection(bool),
    /// The SQLite file is not at its path any more.
    File,
    /// The database cannot do what it is asked.
    Unavailable,
}

impl Failure {
    /// What an error says.
    #[must_use]
    pub fn of(error: &DbErr) -> Self {
        if let DbErr::Custom(text) = error {
            return match text.as_str() {
                READ_ONLY => Self::Connection(true),
                FILE_GONE => Self::File,
                UNREADABLE => Self::Refused,
                text if text.starts_with(TIMED_OUT) => Self::Connection(false),
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

    fn of_library(error: &sqlx::Error) -> Self {
        let Some(code) = database_code(error) else {
            return match error {
                sqlx::Error::Io(_) | sqlx::Error::Protocol(_) | sqlx::Error::BeginFailed => {
                    Self::Connection(false)
                }
                _ => Self::Unavailable,
            };
        };
        if let Some(code) = sqlite_code(error, &code) {
            // PERM, READONLY, IOERR, CORRUPT, FULL, CANTOPEN, PROTOCOL,
            // NOTADB
            return match code {
                3 | 8 | 10 | 11 | 13 | 14 | 15 | 26 => Self::Unavailable,
                _ => Self::Refused,
            };
        }
        match code.as_str() {
            // read_only_sql_transaction
            "25006" => Self::Connection(true),
            // admin_shutdown, crash_shutdown, cannot_connect_now, database_dropped,
            // idle_in_transaction_session_timeout
            "57P01" | "57P02" | "57P03" | "57P04" | "25P03" => Self::Connection(false),
            code if code.starts_with("08") => Self::Connection(false),
            // Other transactions hold the rows: lock_not_available, query_canceled by
            // statement_timeout, serialization_failure, deadlock_detected.
            "55P03" | "57014" => Self::Refused,
            // Syntax, names and rights; values; constraints; conflicts with others.
            code if ["42", "22", "23", "40"]
                .iter()
                .any(|class| code.starts_with(class)) =>
            {
                Self::Refused
            }
            _ => Self::Unavailable,
        }
    }
}

/// The error for people: what the database says, or what we say of it.
#[must_use]
pub fn words(error: &DbErr) -> String {
    match error {
        DbErr::Custom(text) => text.clone(),
        error => format!("the database refuses: {error}"),
    }
}

/// The error in words of ours, where there are better ones.
pub(super) fn in_words(error: DbErr) -> DbErr {
    match library_error(&error) {
        Some(it) if is_mixed_up(it) => DbErr::Custom(POOLER.to_owned()),
        Some(it) if database_code(it).as_deref() == Some("25006") => read_only(),
        _ => error,
    }
}

/// A prepared statement that another session has, or that this one has lost. We
/// prepare each once, under a name that is ours.
pub(super) fn is_mixed_up(error: &sqlx::Error) -> bool {
    // duplicate_prepared_statement, invalid_sql_statement_name
    matches!(database_code(error).as_deref(), Some("42P05" | "26000"))
}

/// Whether another process has an SQLite file for itself.
pub(super) fn is_locked(error: &DbErr) -> bool {
    const SQLITE_BUSY: u32 = 5;
    let code = library_error(error).and_then(|it| sqlite_code(it, &database_code(it)?));
    code == Some(SQLITE_BUSY)
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

fn library_error(error: &DbErr) -> Option<&sqlx::Error> {
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
