//! What the errors of SQLite mean (sqlite.org/rescode.html).

use sea_orm::DbErr;
use sqlx::error::DatabaseError;

use super::{Failure, Trouble, database_code, library_error, sqlite_code};

pub(super) const UNAVAILABLE: &str = "the SQLite file cannot be used:";

/// An error of an SQLite file, without the advice for servers.
pub(in crate::database) fn of_file(error: DbErr) -> DbErr {
    match Failure::of(&error) {
        Failure::Connection(false) | Failure::Unavailable => {
            let what = Trouble::of(&error).what;
            DbErr::Custom(format!("{UNAVAILABLE} {what}"))
        }
        _ => error,
    }
}

/// What an error with this primary result code means.
pub(super) fn failure(error: &sqlx::Error, code: u32) -> Failure {
    let said = error.as_database_error().map(DatabaseError::message);
    match code {
        // ERROR
        1 if said.is_some_and(|said| said.starts_with("no such table")) => Failure::NoTable,
        // ERROR, CONSTRAINT
        1 | 19 if said.is_some_and(is_about_schema) => Failure::Schema,
        // BUSY, LOCKED
        5 | 6 => Failure::Busy,
        // READONLY
        8 => Failure::FileReadOnly,
        // IOERR
        10 => Failure::Disk,
        // CORRUPT, NOTADB
        11 | 26 => Failure::Damaged,
        // FULL
        13 => Failure::Full,
        // PERM, CANTOPEN
        3 | 14 => Failure::CannotOpen,
        // PROTOCOL
        15 => Failure::Unavailable,
        _ => Failure::Refused,
    }
}

/// Whether another process has locked an SQLite file.
pub(in crate::database) fn is_locked(error: &DbErr) -> bool {
    const SQLITE_BUSY: u32 = 5;
    let code = library_error(error).and_then(|it| sqlite_code(it, &database_code(it)?));
    code == Some(SQLITE_BUSY)
}

/// SQLite has one code for all mistakes in a statement, and one for all constraints.
fn is_about_schema(said: &str) -> bool {
    said.starts_with("no such column")
        || said.contains(" has no column named ")
        || said.starts_with("ON CONFLICT clause does not match")
        || said.starts_with("NOT NULL constraint failed")
}
