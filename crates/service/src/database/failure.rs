//! What an error of the database library says about the database.

use std::fmt;
use std::io::ErrorKind;
use std::time::Duration;

use sea_orm::{DbErr, RuntimeErr};

use super::sequences;
use super::sign_in_budget::EXHAUSTED;
use crate::runtime::RAISE_THREADS;
use crate::telemetry::is_refused_thread;

/// What is said of a pooler that mixes prepared statements up.
const POOLER: &str = "DATABASE_URL points to a connection pooler in transaction mode that does not \
    keep prepared statements";
pub(super) const UNREADABLE: &str =
    "a row contains an unreadable value, such as the time 'infinity'; correct it";
const READ_ONLY: &str = "the database is read-only";
const FILE_GONE: &str = "the SQLite file was moved, deleted or replaced while it was in use";
/// SQLite keeps a file that it could open only for reading so, whoever owns it later.
const FILE_READ_ONLY: &str = "the SQLite file, its directory, or its -wal or -shm file is \
    read-only for the user of this service";
const TIMED_OUT: &str = "the database has not answered within";
const BUSY: &str = "the database is busy, too many calls are waiting for a connection; try again";
const INCOMPLETE: &str =
    "a part of the transaction could not be begun, and all of it is taken back";
const PANICKED: &str = "a database call failed in this program";
const NO_TLS: &str = "no TLS connection to the database:";
const WRONG_ENCODING: &str = "the database has the encoding";
const UNCERTAIN: &str = "the change may have been stored";
/// What PostgreSQL says of a statement that was prepared before its table was changed,
/// with a code that it uses for much else (plancache.c).
const STALE_PLAN: &str = "cached plan must not change result type";

/// What failed. [`Self::advice`] says what to do about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The statement failed for a reason of its own, such as a duplicate row. The database works.
    Refused,
    /// The database user may not do this. The database works.
    Rights,
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
    /// A commit was sent, and the connection failed before its answer arrived.
    Uncertain,
    /// A library panicked. The connection is not used again.
    Panicked,
    /// The system refused a thread.
    Threads,
    /// The SQLite file is not at its path any more.
    File,
    /// The SQLite file could not be opened for changes; it may be possible now.
    FileReadOnly,
    /// The SQLite file cannot be opened.
    CannotOpen,
    /// The disk of the SQLite file returns errors.
    Disk,
    /// The disk is full.
    Full,
    /// The data is damaged, or the file is not a database.
    Damaged,
    /// A table does not exist.
    NoTable,
    /// The database does not exist.
    NoDatabase,
    /// The user or the password is refused.
    Login,
    /// All connections of the server are in use.
    TooManyConnections,
    /// TLS with the server failed.
    Tls,
    /// The database cannot be used, and the text of the error says what to do.
    Explained,
    /// The database cannot hold every text.
    Encoding,
    /// A connection pooler mixes prepared statements up.
    Pooler,
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
                POOLER => Self::Pooler,
                UNREADABLE | INCOMPLETE => Self::Refused,
                BUSY => Self::Busy,
                EXHAUSTED => Self::Explained,
                text if text.starts_with(NO_TLS) => Self::Explained,
                text if text.starts_with(UNCERTAIN) => Self::Uncertain,
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

    /// What to do, where more can be said than the error says.
    #[must_use]
    pub fn advice(self) -> Option<&'static str> {
        Some(match self {
            Self::Refused
            | Self::Busy
            | Self::Conflict
            | Self::Sequence
            | Self::Stale
            | Self::Explained => {
                return None;
            }
            Self::Rights => {
                "GRANT SELECT, INSERT, UPDATE, DELETE on the tables and USAGE on their sequences \
                 to the user in DATABASE_URL, or make it their owner"
            }
            Self::Connection(false) | Self::Unavailable => {
                "check DATABASE_URL, that the database is running, and that it can be reached \
                 from this machine"
            }
            Self::Connection(true) => {
                "connect to the primary server, not to a standby, and check \
                 default_transaction_read_only"
            }
            Self::Uncertain => "check whether it was stored before you repeat it",
            Self::Panicked => "the log line of the panic says where; report it to the vendor",
            Self::Threads => RAISE_THREADS,
            Self::File => {
                "restore it; to use another file, stop the service and remove the old file's -wal \
                 and -shm files"
            }
            Self::FileReadOnly => "change their owner or mode",
            Self::CannotOpen => {
                "check that the SQLite file and its directory exist, and that the user of this \
                 service may write to both"
            }
            Self::Disk => "check the disk of the SQLite file and the kernel's log",
            Self::Full => "free space on the disk of the database",
            Self::Damaged => {
                "restore the database from a backup, or recover an SQLite file with the \
                 '.recover' command of sqlite3; on a License Client you may also move the file \
                 away, restart, and activate again"
            }
            Self::NoTable => {
                "the tables are gone: restore the database, or restart the service to create them"
            }
            Self::NoDatabase => {
                "check the database name in DATABASE_URL, restore the database, or create it with \
                 \"CREATE DATABASE name ENCODING 'UTF8' TEMPLATE template0\""
            }
            Self::Login => {
                "check the user and the password in DATABASE_URL, and that pg_hba.conf allows \
                 this user from this machine"
            }
            Self::TooManyConnections => {
                "raise max_connections of the server, or close connections of other programs; \
                 allow 10 for each License Server and 11 for each License Client"
            }
            Self::Tls => {
                "check sslmode, sslrootcert, sslcert and sslkey in DATABASE_URL, and the server's \
                 certificate"
            }
            Self::Encoding => {
                "create another database with \
                 \"CREATE DATABASE name ENCODING 'UTF8' TEMPLATE template0\""
            }
            Self::Pooler => {
                "set pool_mode = session for this database in pgbouncer.ini, or use pgBouncer \
                 1.21 or newer with max_prepared_statements = 200"
            }
        })
    }

    /// Whether the database as a whole fails, and not one call.
    #[must_use]
    pub fn is_outage(self) -> bool {
        !matches!(
            self,
            Self::Refused
                | Self::Rights
                | Self::Busy
                | Self::Conflict
                | Self::Sequence
                | Self::Stale
        )
    }

    /// Whether it counts until a change is stored that is as large: a smaller one may find room.
    pub(super) fn is_remembered(self) -> bool {
        self.is_outage()
            && !self.is_of_connection()
            && !matches!(self, Self::File | Self::FileReadOnly)
    }

    /// Whether another connection may do better.
    pub(super) fn is_of_connection(self) -> bool {
        matches!(
            self,
            Self::Connection(_) | Self::Uncertain | Self::Panicked | Self::Threads
        )
    }

    /// Whether the database may be back soon: it is starting, stopping or cut off, or has no
    /// connection to spare.
    pub(super) fn is_temporary(self) -> bool {
        self.is_of_connection() || self == Self::TooManyConnections
    }

    fn of_library(error: &sqlx::Error) -> Self {
        let Some(code) = database_code(error) else {
            return match error {
                sqlx::Error::Io(error) if error.kind() == ErrorKind::WouldBlock => Self::Threads,
                sqlx::Error::Io(_) | sqlx::Error::Protocol(_) | sqlx::Error::BeginFailed => {
                    Self::Connection(false)
                }
                sqlx::Error::Tls(_) => Self::Tls,
                _ => Self::Unavailable,
            };
        };
        if let Some(code) = sqlite_code(error, &code) {
            return match code {
                // ERROR
                1 if is_missing_table(error) => Self::NoTable,
                // BUSY, LOCKED
                5 | 6 => Self::Busy,
                // READONLY
                8 => Self::FileReadOnly,
                // IOERR
                10 => Self::Disk,
                // CORRUPT, NOTADB
                11 | 26 => Self::Damaged,
                // FULL
                13 => Self::Full,
                // PERM, CANTOPEN
                3 | 14 => Self::CannotOpen,
                // PROTOCOL
                15 => Self::Unavailable,
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
            // undefined_table
            "42P01" => Self::NoTable,
            // insufficient_privilege
            "42501" => Self::Rights,
            // invalid_catalog_name
            "3D000" => Self::NoDatabase,
            code if code.starts_with("28") => Self::Login,
            // disk_full
            "53100" => Self::Full,
            // too_many_connections
            "53300" => Self::TooManyConnections,
            // data_corrupted, index_corrupted
            "XX001" | "XX002" => Self::Damaged,
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

/// What is wrong with a database, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// What the database says, or what we say of it.
    pub what: String,
    /// Its kind.
    pub failure: Failure,
}

impl Trouble {
    /// What an error says.
    #[must_use]
    pub fn of(error: &DbErr) -> Self {
        let failure = Failure::of(error);
        let what = match (error, library_error(error)) {
            (DbErr::Custom(text), _) => text.clone(),
            // A transaction that has lost a statement; a new one would prepare it again if it
            // had its own session.
            (_, Some(error)) if is_mixed_up(error) => return Self::of(&pooler()),
            (_, Some(error)) => match error.as_database_error() {
                Some(said) => format!("the database returned an error: {said}"),
                None => error.to_string(),
            },
            (error, None) => format!("the database returned an error: {error}"),
        };
        Self { what, failure }
    }

    /// What to do.
    #[must_use]
    pub fn advice(&self) -> Option<&'static str> {
        self.failure.advice()
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)?;
        match self.advice() {
            Some(advice) => write!(f, "; {advice}"),
            None => Ok(()),
        }
    }
}

/// Why no TLS connection could be made, with what to do about it.
pub(super) fn no_tls(why: &str) -> DbErr {
    DbErr::Custom(format!("{NO_TLS} {why}"))
}

/// Why a database with this encoding cannot be used. PostgreSQL converts to LATIN1 and
/// the like, and refuses what does not exist there; with `SQL_ASCII` it counts bytes for
/// characters.
pub(super) fn wrong_encoding(encoding: &str) -> DbErr {
    DbErr::Custom(format!("{WRONG_ENCODING} {encoding}, but UTF8 is required"))
}

/// The error for people, with what to do.
#[must_use]
pub fn words(error: &DbErr) -> String {
    Trouble::of(error).to_string()
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

/// The error of a commit that failed so: only an answer of the database says that nothing was
/// stored.
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

/// A commit failed so after it was sent.
pub(super) fn uncertain(error: &DbErr) -> DbErr {
    let what = Trouble::of(error).what;
    DbErr::Custom(format!("{UNCERTAIN}: {what}"))
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

/// SQLite has one code for this and for mistakes in a statement.
fn is_missing_table(error: &sqlx::Error) -> bool {
    let said = error.as_database_error();
    said.is_some_and(|it| it.message().starts_with("no such table"))
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
            ("53100", "", Failure::Full, false),
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
        assert!(words(&error).starts_with(POOLER));
        assert!(words(&error).contains("set pool_mode = session"));
        assert_eq!(Failure::of(&error), Failure::Pooler);
        let error = still_stale(sent("0A000", STALE_PLAN));
        assert_eq!(Failure::of(&error), Failure::Stale);
    }

    #[test]
    fn a_database_that_is_starting_is_waited_for_and_one_that_refuses_us_is_not() {
        let is_temporary = |code| Failure::of(&sent(code, "")).is_temporary();
        for code in ["57P03", "53300", "08006"] {
            assert!(is_temporary(code), "{code}");
        }
        // invalid_password, invalid_catalog_name
        for code in ["28P01", "3D000", "42501"] {
            assert!(!is_temporary(code), "{code}");
        }
        let refused = std::io::Error::from(std::io::ErrorKind::ConnectionRefused);
        assert!(Failure::of_library(&sqlx::Error::Io(refused)).is_temporary());
    }

    #[test]
    fn every_kind_of_outage_says_what_to_do() {
        for (code, failure, advice) in [
            (
                "42P01",
                Failure::NoTable,
                "restore the database, or restart",
            ),
            ("42501", Failure::Rights, "GRANT SELECT"),
            ("3D000", Failure::NoDatabase, "check the database name"),
            ("28P01", Failure::Login, "check the user and the password"),
            ("28000", Failure::Login, "pg_hba.conf"),
            ("53100", Failure::Full, "free space"),
            (
                "53300",
                Failure::TooManyConnections,
                "raise max_connections",
            ),
            (
                "XX001",
                Failure::Damaged,
                "restore the database from a backup",
            ),
            ("25006", Failure::Connection(true), "connect to the primary"),
            ("57P01", Failure::Connection(false), "is running"),
            ("58030", Failure::Unavailable, "check DATABASE_URL"),
        ] {
            let trouble = Trouble::of(&sent(code, "said"));
            assert_eq!(trouble.failure, failure, "{code}");
            assert!(trouble.advice().unwrap().contains(advice), "{trouble}");
            let start = "the database returned an error: said; ";
            assert!(trouble.to_string().starts_with(start), "{trouble}");
        }
        assert_eq!(Trouble::of(&sent("23505", "")).advice(), None);
        // Statements with mistakes are not missing tables.
        for code in ["42703", "42601", "3F000"] {
            assert_ne!(Failure::of(&sent(code, "")), Failure::NoTable, "{code}");
        }
    }

    #[test]
    fn only_an_answer_of_the_database_says_that_a_commit_has_stored_nothing() {
        let lost = sqlx::Error::Io(std::io::ErrorKind::ConnectionReset.into());
        for error in [
            timed_out(Duration::from_secs(7)),
            DbErr::Exec(RuntimeErr::SqlxError(lost.into())),
            sent("57P01", "terminating connection"),
            sent("08007", ""),
            sent("40003", ""),
            panicked("a bug"),
        ] {
            let error = of_commit(error);
            assert_eq!(Failure::of(&error), Failure::Uncertain);
            assert!(Failure::Uncertain.is_outage() && !may_be_repeated(&error));
            assert!(words(&error).starts_with("the change may have been stored: "));
            assert!(words(&error).ends_with("; check whether it was stored before you repeat it"));
        }
        for error in [
            sent("40001", ""),
            sent("23503", ""),
            sent("53100", ""),
            sent("57014", ""),
            file_gone(),
            incomplete(),
        ] {
            assert_eq!(of_commit(error.clone()), error);
        }
    }

    #[test]
    fn a_panic_keeps_its_text_and_is_no_unreadable_row() {
        let error = panicked("index out of bounds");
        assert_eq!(Failure::of(&error), Failure::Panicked);
        assert!(words(&error).contains("index out of bounds"));
        let text = "OS can't spawn worker thread: Resource temporarily unavailable (os error 11)";
        let error = panicked(text);
        assert_eq!(Failure::of(&error), Failure::Threads);
        assert!(words(&error).contains("TasksMax"), "{}", words(&error));
    }
}
