//! The directory of what has to survive a restart: whether it can be written, and
//! the temporary files in it.
//!
//! A file that is replaced is written beside itself first. A process that is
//! killed leaves such a file behind; [`remove_left_over`] finds it by its name.

use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use chrono::{DateTime, TimeDelta, Utc};
use rustix::fs::{FlockOperation, flock};
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
    "'{path}' cannot be written by user {user}: {reason}. Let this user write there, or choose another place with {setting}"
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
    let made = fs::create_dir_all(directory).and_then(|()| temporary_file(directory));
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

/// Makes a file in the directory that only the service's user may read, to be
/// renamed. It is locked while this process has it open.
///
/// # Errors
/// When it cannot be made.
pub fn temporary_file(directory: &Path) -> io::Result<NamedTempFile> {
    // Without a name before it, a relative file is in the current directory.
    let directory = match directory.as_os_str().is_empty() {
        true => Path::new("."),
        false => directory,
    };
    let file = tempfile::Builder::new()
        .prefix(PREFIX)
        .permissions(Permissions::from_mode(0o600))
        .tempfile_in(directory)?;
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
                "cannot remove a temporary file that an earlier run left behind"
            ),
        }
    }
    if files > 0 {
        tracing::info!(
            directory = presentable_path(directory),
            files,
            "removed temporary files that an earlier run left behind"
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
