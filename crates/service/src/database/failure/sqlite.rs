//! What the errors of SQLite mean (sqlite.org/rescode.html).

use sqlx::error::DatabaseError;

use super::Failure;

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

/// SQLite has one code for all mistakes in a statement, and one for all constraints.
fn is_about_schema(said: &str) -> bool {
    said.starts_with("no such column")
        || said.contains(" has no column named ")
        || said.starts_with("ON CONFLICT clause does not match")
        || said.starts_with("NOT NULL constraint failed")
}
