//! What the errors of SQLite mean (sqlite.org/rescode.html).

use std::fs::{self, OpenOptions};
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process;

use rustix::process::{Resource, getrlimit};
use sea_orm::DbErr;
use sqlx::error::DatabaseError;

use super::{Failure, Trouble, database_code, library_error, sqlite_code};

pub(super) const UNAVAILABLE: &str = "the SQLite file cannot be used:";

const OVER_QUOTA: &str = "the SQLite file cannot grow: the disk quota of its directory is used up; \
    raise the quota, or free space in the directory";
const OVER_FILE_SIZE: &str = "the SQLite file cannot grow: the limit on the size of files is";
/// `IOERR_WRITE`, `IOERR_FSYNC`, `IOERR_TRUNCATE`, `IOERR_SHMSIZE`: for SQLite, only ENOSPC is a full disk.
const WRITE_CODES: [&str; 4] = ["778", "1034", "1546", "4874"];
/// The size of what is written to find out why SQLite could not write: that of its `-shm` file.
const PROBE_BYTES: usize = 32 * 1024;

/// An error of an SQLite file, without the advice for servers, and with the cause that SQLite does
/// not report.
pub(in crate::database) fn of_file(error: DbErr, file: &Path) -> DbErr {
    match Failure::of(&error) {
        Failure::Connection(false) | Failure::Unavailable => {
            let what = Trouble::of(&error).what;
            DbErr::Custom(format!("{UNAVAILABLE} {what}"))
        }
        Failure::Disk if is_of_write(&error) => {
            let limit = getrlimit(Resource::Fsize).current;
            let why = limited(size(file), limit, probe(file));
            why.map_or(error, DbErr::Custom)
        }
        _ => error,
    }
}

fn is_of_write(error: &DbErr) -> bool {
    let code = library_error(error).and_then(database_code);
    code.is_some_and(|code| WRITE_CODES.contains(&&*code))
}

/// Whether a message of ours is about a limit on what may be written.
pub(super) fn is_limited(message: &str) -> bool {
    message == OVER_QUOTA || message.starts_with(OVER_FILE_SIZE)
}

/// Which limit a file of this size has reached, or a new file at the probe.
fn limited(size: u64, limit: Option<u64>, probed: io::Result<()>) -> Option<String> {
    let is_reached = limit.is_some_and(|limit| size.saturating_add(PROBE_BYTES as u64) > limit);
    match probed.map_err(|error| error.kind()) {
        Err(ErrorKind::QuotaExceeded) => Some(OVER_QUOTA.to_owned()),
        Ok(()) | Err(ErrorKind::FileTooLarge) if is_reached => {
            let limit = limit.unwrap_or_default();
            Some(format!(
                "{OVER_FILE_SIZE} {limit} bytes; raise the limit: 'ulimit -f' of the user, or \
                 LimitFSIZE of the systemd unit"
            ))
        }
        _ => None,
    }
}

/// The size of the largest of SQLite's files.
fn size(file: &Path) -> u64 {
    let sizes = ["", "-wal", "-shm"].map(|end| {
        let found = fs::metadata(beside(file, end));
        found.map_or(0, |found| found.len())
    });
    sizes.into_iter().max().unwrap_or_default()
}

/// Writes a small file beside the SQLite file, and removes it.
fn probe(file: &Path) -> io::Result<()> {
    let path = beside(file, &format!("-probe-{}", process::id()));
    let made = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&path);
    let mut made = made?;
    let written = made.write_all(&[0; PROBE_BYTES]);
    let written = written.and_then(|()| made.sync_all());
    fs::remove_file(&path)?;
    written
}

fn beside(file: &Path, end: &str) -> PathBuf {
    let mut path = file.as_os_str().to_owned();
    path.push(end);
    path.into()
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
        10 if is_of_file_system(error) => Failure::FileSystem,
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

/// Whether locks or shared memory failed, which some file systems do not support.
fn is_of_file_system(error: &sqlx::Error) -> bool {
    // IOERR_UNLOCK, IOERR_RDLOCK, IOERR_CHECKRESERVEDLOCK, IOERR_LOCK, IOERR_SHMOPEN,
    // IOERR_SHMLOCK, IOERR_SHMMAP
    const CODES: [&str; 7] = ["2058", "2314", "3594", "3850", "4618", "5130", "5386"];
    database_code(error).is_some_and(|code| CODES.contains(&&*code))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_write_that_failed_is_explained_with_the_limit_that_was_reached() {
        let failed = |kind: ErrorKind| Err(kind.into());
        let mib = 1024 * 1024;
        for (size, limit, probed, said) in [
            (mib, None, failed(ErrorKind::QuotaExceeded), Some("quota")),
            (
                mib,
                Some(mib),
                Ok(()),
                Some("1048576 bytes; raise the limit: 'ulimit -f'"),
            ),
            (
                mib,
                Some(mib),
                failed(ErrorKind::FileTooLarge),
                Some("ulimit"),
            ),
            (mib, Some(2 * mib), Ok(()), None),
            (mib, None, Ok(()), None),
            (mib, None, failed(ErrorKind::StorageFull), None),
        ] {
            let found = limited(size, limit, probed);
            assert_eq!(found.is_some(), said.is_some(), "{found:?}");
            let Some((found, said)) = found.zip(said) else {
                continue;
            };
            assert!(found.contains(said), "{found}");
            assert_eq!(Failure::of(&DbErr::Custom(found)), Failure::Explained);
        }
    }

    #[test]
    fn locks_and_shared_memory_that_fail_are_about_the_file_system() {
        let is_of_file_system = |code| {
            let error = super::super::tests::sent(code, "disk I/O error");
            library_error(&error).is_some_and(is_of_file_system)
        };
        // IOERR_SHMMAP, IOERR_LOCK; IOERR_READ, IOERR_SHMSIZE
        assert!(is_of_file_system("5386") && is_of_file_system("3850"));
        assert!(!is_of_file_system("266") && !is_of_file_system("4874"));
        let advice = Failure::FileSystem.advice().unwrap();
        assert!(advice.contains("a local file"), "{advice}");
        assert!(Failure::FileSystem.is_outage());
    }

    #[test]
    fn the_probe_leaves_nothing_behind() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("a.db");
        fs::write(&file, [0; 10]).unwrap();
        fs::write(beside(&file, "-wal"), [0; 30]).unwrap();
        assert_eq!(size(&file), 30);
        probe(&file).unwrap();
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 2);
    }
}
