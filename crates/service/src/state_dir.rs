//! The directory of what has to survive a restart: whether it can be written, and
//! the temporary files in it.
//!
//! A file that is replaced is written beside itself first. A process that is
//! killed leaves such a file behind; [`remove_left_over`] finds it by its name.
//!
//! A new file or directory gets the owner of the directory that it is in
//! ([`give_to_owner`]): a command that root runs leaves nothing that the service
//! cannot read.

use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use chrono::{DateTime, TimeDelta, Utc};
use rustix::fs::{FlockOperation, Gid, Uid, fchown, flock};
use tempfile::NamedTempFile;

use crate::presentable_url::{presentable_path, reason_without_path};

/// What the names of temporary files begin with.
const PREFIX: &str = ".foxsight-tmp-";
/// What earlier versions called them: `.tmp` and six letters and digits.
const OLD_PREFIX: &str = ".tmp";
const OLD_SUFFIX_CHARS: usize = 6;
/// Earlier versions did not lock them: one that is older belongs to no process.
const OLD_AGE: TimeDelta = TimeDelta::minutes(10);

/// A file cannot be changed, or none be made in a directory.
#[derive(Debug, thiserror::Error)]
#[error(
    "'{path}' is not writable by user {user}: {reason}. Give this user write permission, or \
     choose another path with {setting}"
)]
pub struct NotWritable {
    setting: &'static str,
    path: String,
    user: u32,
    reason: String,
}

/// Makes the directory that `setting` names, if need be, and a file in it.
///
/// # Errors
/// When that is not possible, with what to do about it.
pub fn check_writable(setting: &'static str, directory: &Path) -> Result<(), NotWritable> {
    let made = make_directory(directory, 0o777).and_then(|()| temporary_file(directory));
    made.map(drop)
        .map_err(|error| NotWritable::new(setting, directory, &error))
}

impl NotWritable {
    pub(crate) fn new(setting: &'static str, path: &Path, error: &io::Error) -> Self {
        Self {
            setting,
            path: presentable_path(path),
            user: rustix::process::geteuid().as_raw(),
            reason: reason_without_path(error),
        }
    }
}

/// Creates a missing directory and its parents, with this mode minus the umask. Each new one gets
/// the owner of its parent directory.
///
/// # Errors
/// When one cannot be created, or its owner cannot be set.
pub fn make_directory(directory: &Path, mode: u32) -> io::Result<()> {
    if named(directory).is_dir() {
        return Ok(());
    }
    let parent = parent(directory);
    if parent == named(directory) {
        return Err(io::ErrorKind::NotFound.into());
    }
    make_directory(parent, mode)?;
    match fs::DirBuilder::new().mode(mode).create(directory) {
        Ok(()) => {}
        // Another process was faster.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && directory.is_dir() => {
            return Ok(());
        }
        Err(error) => return Err(error),
    }
    let given = File::open(directory).and_then(|made| give_to_owner(&made, parent));
    if given.is_err() {
        fs::remove_dir(directory).ok();
    }
    given
}

/// Gives a new file to the owner of the directory that it is in, if it belongs to
/// another user. Only root can do that. A directory of root says nothing about who uses
/// its files: Kubernetes gives a volume to a group, and leaves root its owner.
///
/// # Errors
/// When this process may not: the owner of the directory, which the service runs as,
/// could not read the file. The caller removes the file then, before anything is in it.
pub fn give_to_owner(file: &File, directory: &Path) -> io::Result<()> {
    const ROOT: u32 = 0;
    let owner = fs::metadata(named(directory))?;
    let user = file.metadata()?.uid();
    if owner.uid() == ROOT || owner.uid() == user {
        return Ok(());
    }
    let (uid, gid) = (Uid::from_raw(owner.uid()), Gid::from_raw(owner.gid()));
    fchown(file, Some(uid), Some(gid)).map_err(|error| {
        let error = io::Error::from(error);
        let why = format!(
            "the directory '{}' belongs to user {}, who could not read a new file of user {user} \
             ({}); run this command as user {} or as root",
            presentable_path(directory),
            owner.uid(),
            reason_without_path(&error),
            owner.uid()
        );
        io::Error::new(error.kind(), why)
    })
}

/// Without a name before it, a relative file is in the current directory.
fn named(directory: &Path) -> &Path {
    match directory.as_os_str().is_empty() {
        true => Path::new("."),
        false => directory,
    }
}

fn parent(path: &Path) -> &Path {
    named(path.parent().unwrap_or(path))
}

/// Makes a file in the directory that only its owner may read, to be renamed. It is
/// locked while this process has it open.
///
/// # Errors
/// When it cannot be made, or not for the owner of the directory.
pub fn temporary_file(directory: &Path) -> io::Result<NamedTempFile> {
    let directory = named(directory);
    let file = tempfile::Builder::new()
        .prefix(PREFIX)
        .permissions(Permissions::from_mode(0o600))
        .tempfile_in(directory)?;
    give_to_owner(file.as_file(), directory)?;
    // A file system without locks keeps what is left over.
    if let Err(error) = flock(file.as_file(), FlockOperation::NonBlockingLockExclusive) {
        tracing::debug!(%error, "cannot lock a temporary file");
    }
    Ok(file)
}

/// Removes the temporary files of processes that have ended.
pub fn remove_left_over(directory: &Path, now: DateTime<Utc>) {
    // A directory that is not there yet holds nothing.
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let is_left_over = |file: &PathBuf| is_left_over(file, now).unwrap_or(false);
    let mut files = 0;
    for file in entries.map(|entry| entry.path()).filter(is_left_over) {
        match fs::remove_file(&file) {
            Ok(()) => files += 1,
            Err(error) => tracing::warn!(
                file = presentable_path(&file),
                error = reason_without_path(&error),
                "cannot remove a temporary file from an earlier run"
            ),
        }
    }
    if files > 0 {
        tracing::info!(
            directory = presentable_path(directory),
            files,
            "removed temporary files from an earlier run"
        );
    }
}

fn is_left_over(file: &Path, now: DateTime<Utc>) -> io::Result<bool> {
    let name = file.file_name().and_then(|name| name.to_str());
    let name = name.unwrap_or_default();
    let is_ours = name.starts_with(PREFIX);
    if !(is_ours || is_old_name(name)) {
        return Ok(false);
    }
    let metadata = fs::symlink_metadata(file)?;
    if !metadata.is_file() {
        return Ok(false);
    }
    if is_ours {
        let locked = flock(File::open(file)?, FlockOperation::NonBlockingLockExclusive);
        return Ok(locked.is_ok());
    }
    let written: DateTime<Utc> = metadata.modified()?.into();
    Ok((now - written).abs() > OLD_AGE)
}

fn is_old_name(name: &str) -> bool {
    name.strip_prefix(OLD_PREFIX).is_some_and(|suffix| {
        let is_part = |byte: u8| byte.is_ascii_alphanumeric();
        suffix.len() == OLD_SUFFIX_CHARS && suffix.bytes().all(is_part)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{Clock as _, SystemClock};

    #[test]
    fn only_temporary_files_of_ended_processes_are_removed() {
        let directory = tempfile::tempdir().unwrap();
        let directory = directory.path();
        let now = SystemClock.now();
        let in_use = temporary_file(directory).unwrap();
        let mode = in_use.as_file().metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let make = |name: &str, age: TimeDelta| {
            let file = File::create(directory.join(name)).unwrap();
            file.set_modified((now - age).into()).unwrap();
        };
        make(".foxsight-tmp-aB3xY9", TimeDelta::zero());
        make(".tmpaB3xY9", TimeDelta::hours(1));
        make(".tmpfuture", TimeDelta::hours(1));
        make(".tmpFuTuR3", -TimeDelta::days(1));
        let kept = [
            ".tmp123456",
            ".tmpabcdefg",
            ".tmpabc",
            "x.tmpaB3xY9",
            "local-copy.json",
            "time.key",
            ".foxsight-tmp",
            ".tmpab-d_f",
        ];
        for name in kept {
            let age = if name == ".tmp123456" { 0 } else { 100 };
            make(name, TimeDelta::hours(age));
        }
        fs::create_dir(directory.join(".tmpaaaaaa")).unwrap();
        remove_left_over(directory, now);
        let names = fs::read_dir(directory).unwrap();
        let mut names: Vec<String> = names
            .map(|it| it.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        let in_use = in_use.path().file_name().unwrap().to_str().unwrap();
        let mut expected = [&kept[..], &[in_use, ".tmpaaaaaa"]].concat();
        expected.sort_unstable();
        assert_eq!(names, expected);
        remove_left_over(&directory.join("is not there"), now);
    }

    #[test]
    fn new_files_and_directories_get_the_owner_of_the_directory() {
        // Only root can be two users; the tests of both programs start as root, too.
        if !rustix::process::geteuid().is_root() {
            return;
        }
        const SERVICE: u32 = 54_321;
        let directory = tempfile::tempdir().unwrap();
        let owner = |path: &Path| {
            (
                fs::metadata(path).unwrap().uid(),
                fs::metadata(path).unwrap().gid(),
            )
        };
        // A directory of root's own says nothing about the service.
        assert_eq!(
            owner(temporary_file(directory.path()).unwrap().path()),
            (0, 0)
        );
        std::os::unix::fs::chown(directory.path(), Some(SERVICE), Some(SERVICE + 1)).unwrap();
        let made = directory.path().join("state/keys");
        make_directory(&made, 0o700).unwrap();
        assert_eq!(made.metadata().unwrap().mode() & 0o777, 0o700);
        let file = temporary_file(&made).unwrap();
        let file = file
            .persist(made.join("file"))
            .map(|_| made.join("file"))
            .unwrap();
        for path in [&file, &made, &directory.path().join("state")] {
            assert_eq!(owner(path), (SERVICE, SERVICE + 1), "{}", path.display());
        }
        // One that is there already is left alone.
        std::os::unix::fs::chown(&made, Some(0), Some(0)).unwrap();
        make_directory(&made, 0o777).unwrap();
        assert_eq!(owner(&made), (0, 0));
    }

    #[test]
    fn a_directory_that_cannot_be_written_is_named_with_what_to_do() {
        let directory = tempfile::tempdir().unwrap();
        check_writable("STATE_DIR", &directory.path().join("made on demand")).unwrap();
        let file = directory.path().join("file");
        File::create(&file).unwrap();
        let error = check_writable("STATE_DIR", &file.join("state")).unwrap_err();
        let error = error.to_string();
        assert!(error.starts_with(&format!("'{}/state' cannot be written", file.display())));
        assert!(
            error.ends_with("choose another place with STATE_DIR"),
            "{error}"
        );
    }
}
