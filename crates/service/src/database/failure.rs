//! What an error of the database library says about the database.

use std::time::Duration;

use sea_orm::{DbErr, RuntimeErr};

use super::sequences;

/// What is said of a pooler that mixes prepared statements up.
pub(super) const POOLER: &str = "DATABASE_URL points to a connection pooler in transaction mode \
    that does not keep prepared statements; set pool_mode = session for this database in \
    pgbouncer.ini, or use pgBouncer 1.21 or newer with max_prepared_statements = 200";
pub(super) const UNREADABLE: &str =
    "a row contains an unreadable value, such as the time 'infinity'; correct it";
const READ_ONLY: &str = "the database is read-only";
const FILE_GONE: &str = "the SQLite file was moved, deleted or replaced while it was in use; \
    restore it; to use another file, stop the service and remove the old file's -wal and -shm \
    files";
/// SQLite keeps a file that it could open only for reading so, whoever owns it later.
const FILE_READ_ONLY: &str = "the SQLite file, its directory, or its -wal or -shm file is \
    read-only for the user of this service; change their owner or mode";
const TIMED_OUT: &str = "the database has not answered within";
const BUSY: &str = "the database is busy, too many calls are waiting for a connection; try again";
const INCOMPLETE: &str =
    "a part of the transaction could not be begun, and all of it is taken back";
/// What PostgreSQL says of a statement that was prepared before its table was changed,
/// with a code that it uses for much else (plancache.c).
const STALE_PLAN: &str = "cached plan must not change result type";

/// What failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The statement failed for a reason of its own, such as a duplicate row. The database works.
    Refused,
    /// Others have not finished in time with a connection or a row. The database is well.
    Busy,
    /// The transaction lost against another one, and nothing of it is done: it succeeds
    /// when it is done again. The database is well.
    Conflict,
    /// The id that a sequence gave to a new row exists already. Nothing is done; the
    /// sequence is advanced before the next try.
    Sequence,
    /// The connection's prepared statements, which the database no longer accepts, such as
    /// after a change of a table. Nothing is done; a new connection prepares them again.
    Stale,
    /// The connection, and probably all that were made before now. With `true` it
    /// leads to a server that takes no changes; another one may.
    Connection(bool),
    /// The SQLite file is not at its path any more.
    File,
    /// The SQLite file could not be opened for changes; it may be possible now.
    FileReadOnly,
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
                FILE_READ_ONLY => Self::FileReadOnly,
                UNREADABLE | INCOMPLETE => Self::Refused,
                BUSY => Self::Busy,
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

    /// Whether the database as a whole fails, and not one call.
    #[must_use]
    pub fn is_outage(self) -> bool {
        match self {
            Self::Refused | Self::Busy | Self::Conflict | Self::Sequence | Self::Stale => false,
            Self::Connection(_) | Self::File | Self::FileReadOnly | Self::Unavailable => true,
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
            return match code {
                // BUSY, LOCKED
                5 | 6 => Self::Busy,
                // READONLY
                8 => Self::FileReadOnly,
                // PERM, IOERR, CORRUPT, FULL, CANTOPEN, PROTOCOL, NOTADB
                3 | 10 | 11 | 13 | 14 | 15 | 26 => Self::Unavailable,
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
            // lock_not_available, query_canceled by statement_timeout
            "55P03" | "57014" => Self::Busy,
            // serialization_failure, deadlock_detected
            "40001" | "40P01" => Self::Conflict,
            // invalid_sql_statement_name
            "26000" => Self::Stale,
            // feature_not_supported
            "0A000" if error.to_string().contains(STALE_PLAN) => Self::Stale,
            _ if sequences::duplicate_id(error).is_some() => Self::Sequence,
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

/// Whether the database may be back soon: it is starting, stopping or cut off, or has no
/// connection to spare.
pub(super) fn is_temporary(error: &sqlx::Error) -> bool {
    match database_code(error) {
        // too_many_connections
        Some(code) if code == "53300" => true,
        _ => matches!(Failure::of_library(error), Failure::Connection(_)),
    }
}

/// Why a database with this encoding cannot be used. PostgreSQL converts to LATIN1 and
/// the like, and refuses what does not exist there; with `SQL_ASCII` it counts bytes for
/// characters.
pub(super) fn wrong_encoding(encoding: &str) -> String {
    format!(
        "the database has the encoding {encoding}, but UTF8 is required; create another database \
         with \
         \"CREATE DATABASE name ENCODING 'UTF8' TEMPLATE template0\""
    )
}

/// The error for people: what the database says, or what we say of it.
#[must_use]
pub fn words(error: &DbErr) -> String {
    match error {
        DbErr::Custom(text) => text.clone(),
        // A transaction that has lost a statement; a new one would prepare it again if it had its
        // own session.
        error if library_error(error).is_some_and(is_mixed_up) => POOLER.to_owned(),
        error => format!("the database returned an error: {error}"),
    }
}

/// The error in words of ours, where there are better ones.
pub(super) fn in_words(error: DbErr) -> DbErr {
    match library_error(&error) {
        // duplicate_prepared_statement
        Some(it) if database_code(it).as_deref() == Some("42P05") => pooler(),
        Some(it) if database_code(it).as_deref() == Some("25006") => read_only(),
        Some(it) if Failure::of_library(it) == Failure::FileReadOnly => {
            DbErr::Custom(FILE_READ_ONLY.to_owned())
        }
        _ => error,
    }
}

/// The error where a new connection has not helped against [`Failure::Stale`].
pub(super) fn still_stale(error: DbErr) -> DbErr {
    match library_error(&error) {
        Some(it) if is_mixed_up(it) => pooler(),
        _ => error,
    }
}

/// Whether a statement, or a whole transaction, that failed so is worth another try:
/// nothing of it is done.
pub(super) fn may_be_repeated(error: &DbErr) -> bool {
    matches!(
        Failure::of(error),
        Failure::Conflict | Failure::Sequence | Failure::Stale
    )
}

fn pooler() -> DbErr {
    DbErr::Custom(POOLER.to_owned())
}

/// Why a transaction that has lost a part cannot continue.
pub(super) fn incomplete() -> DbErr {
    DbErr::Custom(INCOMPLETE.to_owned())
}

/// Others wait for a connection already.
pub(super) fn busy() -> DbErr {
    DbErr::Custom(BUSY.to_owned())
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

#[cfg(test)]
mod tests {
    use std::borrow::Cow;
    use std::error::Error;
    use std::fmt;

    use sqlx::error::{DatabaseError, ErrorKind};

    use super::*;

    /// An error as PostgreSQL sends it.
    #[derive(Debug)]
    struct Sent {
        code: &'static str,
        message: &'static str,
    }

    impl fmt::Display for Sent {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(self.message)
        }
    }

    impl Error for Sent {}

    impl DatabaseError for Sent {
        fn message(&self) -> &str {
            self.message
        }

        fn code(&self) -> Option<Cow<'_, str>> {
            Some(self.code.into())
        }

        fn as_error(&self) -> &(dyn Error + Send + Sync + 'static) {
            self
        }

        fn as_error_mut(&mut self) -> &mut (dyn Error + Send + Sync + 'static) {
            self
        }

        fn into_error(self: Box<Self>) -> Box<dyn Error + Send + Sync + 'static> {
            self
        }

        fn kind(&self) -> ErrorKind {
            ErrorKind::Other
        }
    }

    fn sent(code: &'static str, message: &'static str) -> DbErr {
        let sent = sqlx::Error::Database(Box::new(Sent { code, message }));
        DbErr::Query(RuntimeErr::SqlxError(sent.into()))
    }

    #[test]
    fn waiting_for_others_is_no_outage_and_only_what_was_not_done_is_done_again() {
        let stale = "cached plan must not change result type";
        for (code, message, failure, is_repeated) in [
            ("55P03", "", Failure::Busy, false),
            ("57014", "", Failure::Busy, false),
            ("40001", "", Failure::Conflict, true),
            ("40P01", "", Failure::Conflict, true),
            // transaction_integrity_constraint_violation, statement_completion_unknown
            ("40002", "", Failure::Refused, false),
            ("40003", "", Failure::Refused, false),
            ("0A000", stale, Failure::Stale, true),
            ("0A000", "not implemented", Failure::Unavailable, false),
            ("26000", "", Failure::Stale, true),
            ("23505", "", Failure::Refused, false),
            ("22P05", "", Failure::Refused, false),
            ("53100", "", Failure::Unavailable, false),
            ("57P01", "", Failure::Connection(false), false),
            ("25006", "", Failure::Connection(true), false),
        ] {
            let error = sent(code, message);
            assert_eq!(Failure::of(&error), failure, "{code}");
            assert_eq!(may_be_repeated(&error), is_repeated, "{code}");
        }
        assert_eq!(Failure::of(&busy()), Failure::Busy);
        let timed_out = timed_out(Duration::from_secs(7));
        assert_eq!(Failure::of(&timed_out), Failure::Connection(false));
    }

    #[test]
    fn a_statement_that_is_missing_again_says_that_a_pooler_is_in_between() {
        let error = still_stale(sent("26000", ""));
        assert_eq!(words(&error), POOLER);
        assert_eq!(Failure::of(&error), Failure::Unavailable);
        let error = still_stale(sent("0A000", STALE_PLAN));
        assert_eq!(Failure::of(&error), Failure::Stale);
    }

    #[test]
    fn a_database_that_is_starting_is_waited_for_and_one_that_refuses_us_is_not() {
        let is_temporary = |code| {
            let sent = Sent { code, message: "" };
            is_temporary(&sqlx::Error::Database(Box::new(sent)))
        };
        for code in ["57P03", "53300", "08006"] {
            assert!(is_temporary(code), "{code}");
        }
        // invalid_password, invalid_catalog_name
        for code in ["28P01", "3D000", "42501"] {
            assert!(!is_temporary(code), "{code}");
        }
        let refused = std::io::Error::from(std::io::ErrorKind::ConnectionRefused);
        assert!(super::is_temporary(&sqlx::Error::Io(refused)));
    }
}
