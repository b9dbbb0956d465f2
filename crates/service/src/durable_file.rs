//! Puts a complete file in its place, so that it survives a power failure.
//!
//! After the rename, the change has happened: every process sees it. Whether the directory could be
//! synchronized afterwards only decides whether the change survives a power failure, so a failure
//! of that is a warning and never an error. Some file systems do not support it at all (SMB, 9p,
//! FUSE).

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::io::Errno;
use tempfile::{NamedTempFile, PersistError};

use crate::presentable_url::{presentable_path, reason_without_path};

/// Puts a file at `path`, in place of another one.
///
/// # Errors
/// If its content cannot be written to the disk, or it cannot be renamed; it is not at `path` then.
pub fn replace(new: NamedTempFile, path: &Path) -> Result<(), PersistError> {
    let new = synchronized(new)?;
    new.persist(path)?;
    synchronize_directory(path);
    Ok(())
}

/// Puts a file at `path`, never in place of another one.
///
/// # Errors
/// As [`replace`], and if something is at `path`.
pub fn create(new: NamedTempFile, path: &Path) -> Result<(), PersistError> {
    let new = synchronized(new)?;
    new.persist_noclobber(path)?;
    synchronize_directory(path);
    Ok(())
}

fn synchronized(new: NamedTempFile) -> Result<NamedTempFile, PersistError> {
    match new.as_file().sync_all() {
        Ok(()) => Ok(new),
        Err(error) => Err(PersistError { error, file: new }),
    }
}

/// Synchronizes the directory of a file that was renamed, and warns once if that fails.
fn synchronize_directory(path: &Path) {
    static IS_REPORTED: AtomicBool = AtomicBool::new(false);
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let synchronized = File::open(directory).and_then(|directory| directory.sync_all());
    let Some(error) = failure(synchronized) else {
        return;
    };
    if !IS_REPORTED.swap(true, Ordering::Relaxed) {
        tracing::warn!(
            file = presentable_path(path),
            error = reason_without_path(&error),
            "a file was written, but may not survive a power failure: its directory cannot be \
             synchronized"
        );
    }
}

/// The failure of synchronizing a directory, unless its file system does not support it.
fn failure(synchronized: io::Result<()>) -> Option<io::Error> {
    const UNSUPPORTED: [Errno; 4] = [Errno::INVAL, Errno::NOTSUP, Errno::OPNOTSUPP, Errno::NOSYS];
    let error = synchronized.err()?;
    let errno = Errno::from_io_error(&error);
    let is_unsupported = errno.is_some_and(|errno| UNSUPPORTED.contains(&errno));
    (!is_unsupported).then_some(error)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn a_file_system_that_cannot_synchronize_directories_is_no_failure() {
        let failed = |errno: Errno| failure(Err(errno.into())).is_some();
        for unsupported in [Errno::INVAL, Errno::NOTSUP, Errno::OPNOTSUPP, Errno::NOSYS] {
            assert!(!failed(unsupported), "{unsupported}");
        }
        assert!(failed(Errno::IO) && failed(Errno::ACCESS));
        assert!(failure(Ok(())).is_none());
    }

    #[test]
    fn only_a_file_that_replaces_nothing_is_created() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        let new = |text: &str| {
            let mut new = NamedTempFile::new_in(directory.path()).unwrap();
            new.write_all(text.as_bytes()).unwrap();
            new
        };
        create(new("one"), &path).unwrap();
        let error = create(new("two"), &path).unwrap_err().error;
        assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "one");
        replace(new("two"), &path).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "two");
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1);
    }
}
