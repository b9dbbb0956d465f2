//! Describes what is wrong with a database and what to do about it.

use std::fmt::{self, Write as _};

use license_core::foreign_text;
use sea_orm::DbErr;
use sqlx::error::DatabaseError;
use sqlx::postgres::PgDatabaseError;

use super::{Failure, is_mixed_up, library_error, login, pooler};
use crate::runtime::RAISE_THREADS;

/// What to do when no connection is made.
const CHECK_CONNECTION: &str = "check DATABASE_URL, and that the database is running, can be \
    reached from this machine, and has a free connection for this user";
/// What to do when the database is damaged.
const RECOVER: &str = "restore the database from a backup, or recover an SQLite file as \
    'Recovering a damaged SQLite file' in docs/operations.md describes; on a License Client you \
    may also move the file away, restart, and activate again";
/// What to do when the user in `DATABASE_URL` may not use its tables.
const GRANT: &str = "grant the user in DATABASE_URL what the message names: USAGE ON SCHEMA for a \
    schema, SELECT, INSERT, UPDATE and DELETE for a table, USAGE ON SEQUENCE for a sequence, CREATE \
    ON TABLESPACE for a tablespace (or reset the user's default_tablespace); \
    /readyz has the statements for the tables of this program";
/// What to do when a file system cannot hold an SQLite database.
const MOVE_FILE: &str = "this file system cannot hold an SQLite database: put the file on a local \
    file system, or use PostgreSQL; if it is on a local one, check the kernel log";
/// What to do when PostgreSQL has no shared memory left.
const RAISE_SHARED_MEMORY: &str = "PostgreSQL's shared memory (/dev/shm) is full, not its disk: \
    raise shm_size of its container, which is 64 MB by default, or set \
    max_parallel_workers_per_gather = 0";
/// What to do when PostgreSQL refuses the login.
const CHECK_LOGIN: &str = "check the user and the password in DATABASE_URL, and that pg_hba.conf \
    allows this user from this machine; a new password in the file named by DATABASE_URL_FILE \
    takes effect without a restart";
/// What to do when `pg_hba.conf` has no entry for the connection.
const CHECK_ACCESS: &str = "check that pg_hba.conf allows this user from this machine. If its entry \
    is for connections without TLS (hostnossl), set sslmode=disable in DATABASE_URL; if it is for \
    connections with TLS (hostssl), set sslmode=require: 'prefer' and 'allow' do not try both";
/// The file that decides who may connect. PostgreSQL's messages name it in every language.
const ACCESS_FILE: &str = "pg_hba.conf";
/// What to do when the database does not exist.
const CREATE_DATABASE: &str = "check the database name in DATABASE_URL, restore the database, or \
    create it with \"CREATE DATABASE name ENCODING 'UTF8' TEMPLATE template0\"";

/// A problem with a database, described for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// What the database says, cut and made safe to display, or what we say of it.
    pub what: String,
    /// Its kind.
    pub failure: Failure,
}

impl Trouble {
    /// Describes an error. All errors of databases are shown and logged through this. Users of the
    /// database decide what it says, for example in a trigger.
    #[must_use]
    pub fn of(error: &DbErr) -> Self {
        let failure = Failure::of(error);
        let what = match (error, library_error(error)) {
            (DbErr::Custom(text), _) => text.clone(),
            // A transaction that has lost a statement; a new transaction would prepare it again if
            // it had its own session.
            (_, Some(error)) if is_mixed_up(error) => return Self::of(&pooler()),
            (_, Some(error)) => match (error.as_database_error(), login::message(error)) {
                (Some(said), _) => format!("the database returned an error: {}", whole(said)),
                (None, Some(message)) => message.to_owned(),
                (None, None) => error.to_string(),
            },
            (error, None) => format!("the database returned an error: {error}"),
        };
        let what = foreign_text::message(&what);
        Self { what, failure }
    }

    /// What to do.
    #[must_use]
    pub fn advice(&self) -> Option<&'static str> {
        match self.failure {
            Failure::Login if self.what.contains(ACCESS_FILE) => Some(CHECK_ACCESS),
            failure => failure.advice(),
        }
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

/// What the database says, with details and a hint. The library's own words end with the line
/// of PostgreSQL's source at which the error was raised.
fn whole(said: &dyn DatabaseError) -> String {
    let Some(said) = said.try_downcast_ref::<PgDatabaseError>() else {
        return said.to_string();
    };
    let mut text = said.message().to_owned();
    // not_null_violation, check_violation: the detail is the whole row, with license keys.
    if matches!(said.code(), "23502" | "23514") {
        return text;
    }
    for (label, more) in [("detail", said.detail()), ("hint", said.hint())] {
        // Writing to a String cannot fail.
        let _ = more.map(|more| write!(text, "; {label}: {more}"));
    }
    text
}

/// The error for people, with what to do.
#[must_use]
pub fn words(error: &DbErr) -> String {
    Trouble::of(error).to_string()
}

impl Failure {
    /// What to do, if more can be said than the error message contains.
    #[must_use]
    pub fn advice(self) -> Option<&'static str> {
        Some(match self {
            Self::Refused
            | Self::Busy
            | Self::Conflict
            | Self::Sequence
            | Self::Stale
            | Self::ForeignEncoding
            | Self::Explained
            | Self::DanglingLink => return None,
            Self::Rights => GRANT,
            Self::RowPolicy => {
                "make the user in DATABASE_URL the owner of the tables, add a policy for it, or \
                 give it BYPASSRLS"
            }
            Self::Unknown => {
                "the database answered with an unrecognized error; see PostgreSQL's log, or that of \
                 the connection pooler in front of it"
            }
            Self::Connection(false) | Self::Unavailable => CHECK_CONNECTION,
            Self::Connection(true) => {
                "connect to the primary server, not to a standby, and check \
                 default_transaction_read_only"
            }
            Self::Uncertain => "check whether it was stored before you repeat it",
            Self::Panicked => "see the log for details, and report the error to the vendor",
            Self::Threads => RAISE_THREADS,
            Self::File => {
                "restore the file; to use another file, stop the service and remove the old file's \
                 -wal and -shm files"
            }
            Self::FileReadOnly => "change their owner or mode",
            Self::CannotOpen => {
                "check that the SQLite file and its directory exist, and that the user of this \
                 service may write to both"
            }
            Self::FileUnavailable => {
                "check that the disk or network file system of the file responds, and that no \
                 other program keeps the file locked"
            }
            Self::Disk => "check the disk that holds the SQLite file, and the kernel log",
            Self::FileSystem => MOVE_FILE,
            Self::SharedMemory => RAISE_SHARED_MEMORY,
            Self::Full => "free space on the disk of the database",
            Self::Damaged => RECOVER,
            Self::ServerFiles => {
                "see PostgreSQL's log, and restore the database from a backup if a file is lost"
            }
            Self::NoTable => {
                "the tables are gone: restore the database, or restart the service to create them"
            }
            Self::Schema => {
                "restore the database from a backup with its indexes, defaults and constraints, \
                 or repair the object that the message names"
            }
            Self::NoDatabase => CREATE_DATABASE,
            Self::Login => CHECK_LOGIN,
            Self::TooManyConnections(limit) => limit.advice(),
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
}
