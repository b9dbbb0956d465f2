//! Checks whether an open SQLite file is still the one at its path.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::fs::{Access, access};
use rustix::io::Errno;
use sea_orm::DbErr;

use super::failure;
use crate::file_access::is_writable_by_others;

/// The identity of a file, independent of its name: device and inode.
type Identity = (u64, u64);

/// An SQLite file and its write-ahead log, as they were when they were opened.
pub(super) struct OpenFile {
    path: PathBuf,
    log: PathBuf,
    identity: Option<Identity>,
    /// `None` until there is one; some file systems do not allow one.
    log_identity: Mutex<Option<Identity>>,
}

impl OpenFile {
    /// The file that is at the path now, before it is opened.
    pub(super) fn at(path: &Path) -> Self {
        let mut log = path.as_os_str().to_owned();
        log.push("-wal");
        Self {
            path: path.to_owned(),
            log: log.into(),
            identity: identity(path),
            log_identity: Mutex::default(),
        }
    }

    /// Why the file at the path cannot be used, if [`Self::is_in_place`] or
    /// [`Self::may_be_reopened`] says so.
    pub(super) fn why_not(&self) -> DbErr {
        match self.identity {
            Some(_) => failure::file_gone(),
            None => failure::file_missing(&self.path),
        }
    }

    /// A connection has opened the log.
    pub(super) fn note_log(&self) {
        *self.lock() = identity(&self.log);
    }

    /// Whether the file at the path is the one that was opened: writing to a moved or deleted
    /// file succeeds, but the data would be lost.
    pub(super) fn is_in_place(&self) -> bool {
        let log = *self.lock();
        self.identity.is_some()
            && identity(&self.path) == self.identity
            && (log.is_none() || identity(&self.log) == log)
    }

    /// Whether the file at the path may be opened. The log of a moved file remains, and would be
    /// used as the log of its replacement.
    pub(super) fn may_be_reopened(&self) -> bool {
        let log = *self.lock();
        match identity(&self.path) {
            None => false,
            file if file == self.identity => true,
            Some(_) => log.is_none() || identity(&self.log) != log,
        }
    }

    /// Refuses pipes and devices in the place of the file, and of those that SQLite keeps beside
    /// it: opening one may never end. Also refuses files that other users can write: views and
    /// triggers are run in this process, and its memory is mapped from one of the files.
    pub(super) fn check_safety(&self) -> Result<(), DbErr> {
        for path in ["", "-journal", "-wal", "-shm"].map(|suffix| self.beside(suffix)) {
            let Ok(found) = fs::metadata(&path) else {
                continue;
            };
            if !found.is_file() && !found.is_dir() {
                return Err(failure::not_regular(&path));
            }
            if found.is_file() && is_writable_by_others(&path).unwrap_or(true) {
                return Err(failure::file_of_others(&path));
            }
        }
        Ok(())
    }

    fn beside(&self, suffix: &str) -> PathBuf {
        let mut path = self.path.as_os_str().to_owned();
        path.push(suffix);
        path.into()
    }

    /// Whether this process may write the file, its directory, and the files that SQLite keeps
    /// beside it.
    pub(super) fn is_writable(&self) -> bool {
        let directory = self
            .path
            .parent()
            .filter(|path| !path.as_os_str().is_empty());
        let directory = directory.unwrap_or(Path::new("."));
        access(&self.path, Access::WRITE_OK).is_ok()
            && access(directory, Access::WRITE_OK | Access::EXEC_OK).is_ok()
            && ["-wal", "-shm"]
                .map(|suffix| self.beside(suffix))
                .iter()
                .all(|path| matches!(access(path, Access::WRITE_OK), Ok(()) | Err(Errno::NOENT)))
    }

    fn lock(&self) -> MutexGuard<'_, Option<Identity>> {
        self.log_identity
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

fn identity(path: &Path) -> Option<Identity> {
    let metadata = fs::metadata(path).ok()?;
    Some((metadata.dev(), metadata.ino()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::super::Failure;
    use super::*;

    #[test]
    fn a_file_is_in_place_until_it_is_moved_deleted_or_replaced() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("db");
        let other = directory.path().join("other");
        fs::write(&path, "").unwrap();
        fs::write(&other, "").unwrap();
        let open = OpenFile::at(&path);
        assert!(open.is_in_place());
        fs::rename(&path, directory.path().join("moved")).unwrap();
        assert!(!open.is_in_place(), "moved");
        fs::rename(directory.path().join("moved"), &path).unwrap();
        assert!(open.is_in_place(), "moved back");
        fs::rename(&other, &path).unwrap();
        assert!(!open.is_in_place(), "replaced");
        fs::remove_file(&path).unwrap();
        assert!(!open.is_in_place(), "deleted");
        assert!(open.why_not().to_string().contains("was moved, deleted"));
        let never = OpenFile::at(&path);
        assert!(!never.is_in_place(), "never there");
        assert!(never.why_not().to_string().contains("does not exist"));
        symlink("volume/db", &path).unwrap();
        let error = OpenFile::at(&path).why_not();
        assert!(error.to_string().contains("is a link to 'volume/db'"));
        assert_eq!(Failure::of(&error), Failure::DanglingLink);
    }

    #[test]
    fn a_pipe_beside_the_file_is_named_and_not_opened() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("db");
        fs::write(&path, "").unwrap();
        let open = OpenFile::at(&path);
        for suffix in ["-journal", "-wal", "-shm"] {
            assert!(open.check_safety().is_ok());
            let pipe = open.beside(suffix);
            let made = std::process::Command::new("mkfifo").arg(&pipe).status();
            assert!(made.unwrap().success());
            let error = open.check_safety().unwrap_err();
            assert_eq!(Failure::of(&error), Failure::Explained);
            let named = format!("'{}' is not a regular file", pipe.display());
            assert!(error.to_string().contains(&named), "{error}");
            fs::remove_file(&pipe).unwrap();
        }
    }

    #[test]
    fn a_file_that_others_can_write_is_named_and_not_opened() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("db");
        fs::write(&path, "").unwrap();
        let open = OpenFile::at(&path);
        for suffix in ["", "-journal", "-wal", "-shm"] {
            let file = open.beside(suffix);
            fs::write(&file, "").unwrap();
            for (mode, is_refused) in [(0o666, true), (0o602, true), (0o660, false), (0o644, false)]
            {
                fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
                let checked = open.check_safety();
                assert_eq!(checked.is_err(), is_refused, "{suffix} {mode:o}");
                if let Err(error) = checked {
                    assert_eq!(Failure::of(&error), Failure::Explained);
                    let named = format!("'{}': make it writable only", file.display());
                    assert!(error.to_string().contains(&named), "{error}");
                }
            }
        }
    }

    #[test]
    fn a_file_that_an_access_list_lets_others_write_is_not_opened() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("db");
        fs::write(&path, "").unwrap();
        let open = OpenFile::at(&path);
        // The entries of an access list: the owner, user 61235, the group, the mask, all others.
        let list = |user: u8, mask: u8| {
            let entries = [(1, 6, u32::MAX), (2, user, 61_235), (4, 4, u32::MAX)];
            let entries = entries
                .into_iter()
                .chain([(16, mask, u32::MAX), (32, 4, u32::MAX)]);
            let entry = |(kind, permissions, id): (u8, u8, u32)| {
                [[kind, 0, permissions, 0], id.to_le_bytes()].concat()
            };
            [vec![2, 0, 0, 0], entries.flat_map(entry).collect()].concat()
        };
        for suffix in ["", "-journal", "-wal", "-shm"] {
            let file = open.beside(suffix);
            fs::write(&file, "").unwrap();
            for (user, mask, is_refused) in [(6, 6, true), (6, 4, false), (4, 6, false)] {
                let list = list(user, mask);
                let flags = rustix::fs::XattrFlags::empty();
                rustix::fs::setxattr(&file, "system.posix_acl_access", &list, flags).unwrap();
                let checked = open.check_safety();
                assert_eq!(checked.is_err(), is_refused, "{suffix} {user} {mask}");
            }
        }
    }

    #[test]
    fn the_log_belongs_to_the_file() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("db");
        let log = directory.path().join("db-wal");
        fs::write(&path, "").unwrap();
        let open = OpenFile::at(&path);
        open.note_log();
        assert!(open.is_in_place(), "a file system without logs");
        fs::write(&log, "").unwrap();
        open.note_log();
        assert!(open.is_in_place());
        fs::remove_file(&log).unwrap();
        assert!(!open.is_in_place(), "what was written to it is gone");
        assert!(open.may_be_reopened());
    }

    #[test]
    fn a_file_is_not_opened_with_the_log_of_another_one() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        fs::write(at("db"), "").unwrap();
        fs::write(at("db-wal"), "").unwrap();
        let open = OpenFile::at(&at("db"));
        open.note_log();
        fs::rename(at("db"), at("aside")).unwrap();
        assert!(!open.may_be_reopened(), "there is none");
        fs::write(at("db"), "").unwrap();
        assert!(
            !open.may_be_reopened(),
            "its log is that of the one that was moved"
        );
        fs::rename(at("db-wal"), at("aside-wal")).unwrap();
        assert!(open.may_be_reopened());
        fs::rename(at("aside"), at("db")).unwrap();
        fs::rename(at("aside-wal"), at("db-wal")).unwrap();
        assert!(open.may_be_reopened() && open.is_in_place());
    }
}
