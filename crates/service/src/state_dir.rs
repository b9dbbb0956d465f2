//! The directory of persistent data: checks whether it is writable, and manages its temporary
//! files.
//!
//! A file that is replaced is first written under a temporary name. A process that is killed leaves
//! such a file behind; [`remove_left_over`] finds it by its name.
//!
//! A new file or directory gets the owner of the directory that it is in
//! ([`give_to_owner`]): a command that root runs leaves nothing that the service
//! cannot read.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::fs::{self, File, Permissions};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use chrono::{DateTime, TimeDelta, Utc};
use rustix::fs::{
    AtFlags, Dir, FileType, FlockOperation, Gid, Mode, OFlags, Stat, Uid, fchown, flock, fstat,
    mkdirat, open, openat, statat, unlinkat,
};
use rustix::io::Errno;
use tempfile::NamedTempFile;

use crate::dangling_link::DanglingLink;
use crate::presentable_url::{presentable_path, reason_without_path};

/// Opens a directory to create entries in it, without permission to read it.
const PLACE: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);
/// Prefix of the names of temporary files.
const PREFIX: &str = ".foxsight-tmp-";
/// Names of temporary files in earlier versions: `.tmp` and six letters and digits.
const OLD_PREFIX: &str = ".tmp";
const OLD_SUFFIX_CHARS: usize = 6;
/// Earlier versions did not lock them: an older file belongs to no process.
const OLD_AGE: TimeDelta = TimeDelta::minutes(10);

/// A file cannot be written, or cannot be created in a directory.
#[derive(Debug)]
pub enum NotWritable {
    /// The path leads to something that does not exist.
    DanglingLink(DanglingLink),
    /// The path is relative, and the working directory does not exist.
    NoWorkingDirectory {
        /// The setting that names the path.
        setting: &'static str,
        /// The path.
        path: String,
    },
    /// The disk has no room for it.
    Full {
        /// The setting that names the path.
        setting: &'static str,
        /// The path.
        path: String,
        /// The reason.
        reason: String,
    },
    /// The file system is read-only.
    ReadOnly {
        /// The setting that names the path.
        setting: &'static str,
        /// The path.
        path: String,
    },
    /// It cannot be created or written for another reason than permissions.
    Impossible {
        /// The setting that names the path.
        setting: &'static str,
        /// The path.
        path: String,
        /// The reason.
        reason: String,
    },
    /// The system refuses it to this user.
    Refused {
        /// The setting that names the path.
        setting: &'static str,
        /// The path.
        path: String,
        /// The user of this process.
        user: u32,
        /// The reason.
        reason: String,
    },
}

impl NotWritable {
    /// What is wrong.
    #[must_use]
    pub fn what(&self) -> String {
        match self {
            Self::DanglingLink(link) => link.what(),
            Self::NoWorkingDirectory { path, .. } => {
                format!("'{path}' cannot be created, because the working directory was deleted")
            }
            Self::ReadOnly { path, .. } => {
                format!("'{path}' is on a file system that is read-only")
            }
            Self::Full { path, reason, .. } | Self::Impossible { path, reason, .. } => {
                format!("'{path}' cannot be created or written: {reason}")
            }
            Self::Refused {
                path, user, reason, ..
            } => format!("'{path}' is not writable by user {user}: {reason}"),
        }
    }

    /// What to do.
    #[must_use]
    pub fn advice(&self) -> String {
        let (first, setting) = match self {
            Self::DanglingLink(_) => return DanglingLink::ADVICE.to_owned(),
            Self::NoWorkingDirectory { setting, .. } => {
                return format!(
                    "Start the program in another directory, or choose an absolute path with \
                     {setting}"
                );
            }
            Self::Full { setting, .. } => (
                "Free up space or inodes on the disk (df, df -i), or raise the quota",
                setting,
            ),
            Self::ReadOnly { setting, .. } => (
                "Mount it so that it can be written, check the kernel log for errors of the disk",
                setting,
            ),
            Self::Impossible { setting, .. } => ("Correct this", setting),
            Self::Refused { setting, .. } => ("Give this user write permission", setting),
        };
        format!("{first}, or choose another path with {setting}")
    }
}

impl fmt::Display for NotWritable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::DanglingLink(link) => link.fmt(f),
            _ => write!(f, "{}. {}", self.what(), self.advice()),
        }
    }
}

impl std::error::Error for NotWritable {}

impl From<DanglingLink> for NotWritable {
    fn from(link: DanglingLink) -> Self {
        Self::DanglingLink(link)
    }
}

/// Reads `STATE_DIR` from the command line or the environment.
///
/// # Errors
/// If it is not valid UTF-8: SQLite cannot open a file in it.
pub fn parse(directory: OsString) -> Result<PathBuf, &'static str> {
    let valid = directory.into_string().map(PathBuf::from);
    valid.map_err(|_| "STATE_DIR is not valid UTF-8; rename the directory")
}

/// Creates the directory that `setting` names, if necessary, and a file in it.
///
/// # Errors
/// If that is not possible, with advice.
pub fn check_writable(setting: &'static str, directory: &Path) -> Result<(), NotWritable> {
    let made = make_directory(directory).and_then(|()| temporary_file(directory));
    made.map(drop)
        .map_err(|error| NotWritable::new(setting, directory, &error))
}

impl NotWritable {
    /// The error of an attempt to create or write what is at `path`.
    #[must_use]
    pub fn new(setting: &'static str, path: &Path, error: &io::Error) -> Self {
        if let Some(link) = DanglingLink::on(path) {
            return link.into();
        }
        let (shown, reason) = (presentable_path(path), reason_without_path(error));
        match error.kind() {
            io::ErrorKind::PermissionDenied => Self::Refused {
                setting,
                path: shown,
                user: rustix::process::geteuid().as_raw(),
                reason,
            },
            io::ErrorKind::NotFound if path.is_relative() && std::env::current_dir().is_err() => {
                Self::NoWorkingDirectory {
                    setting,
                    path: shown,
                }
            }
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::Full {
                setting,
                path: shown,
                reason,
            },
            io::ErrorKind::ReadOnlyFilesystem => Self::ReadOnly {
                setting,
                path: shown,
            },
            _ => Self::Impossible {
                setting,
                path: shown,
                reason,
            },
        }
    }
}

/// Creates a missing directory and its parents, for their owner alone regardless of the umask. Each
/// new one gets the owner of its parent directory.
///
/// # Errors
/// If one cannot be created, or its owner cannot be set.
pub fn make_directory(directory: &Path) -> io::Result<()> {
    made_directory(directory).map(drop)
}

/// Its descriptor. Each directory is created in the one created before it, regardless of what
/// another user puts at its path in the meantime.
fn made_directory(directory: &Path) -> io::Result<OwnedFd> {
    if let Ok(found) = open(named(directory), PLACE, Mode::empty()) {
        return Ok(found);
    }
    let parent = parent(directory);
    let name = directory.components().next_back();
    let Some(name) = name.filter(|_| parent != named(directory)) else {
        return Err(io::ErrorKind::NotFound.into());
    };
    let place = made_directory(parent)?;
    match mkdirat(&place, name.as_os_str(), Mode::RWXU) {
        Ok(()) => give_directory(&place, name.as_os_str(), parent),
        // Another process was faster, or it is a link.
        Err(Errno::EXIST) => openat(
            &place,
            name.as_os_str(),
            PLACE | OFlags::NOFOLLOW,
            Mode::empty(),
        )
        .map_err(|error| match DanglingLink::on(directory) {
            Some(link) => io::Error::new(io::ErrorKind::AlreadyExists, link),
            None => error.into(),
        }),
        Err(error) => Err(error.into()),
    }
}

/// Changes the owner of the directory that was just created in `place` to the owner of `place`, who
/// may have put something else there.
fn give_directory(place: &OwnedFd, name: &OsStr, shown: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let given = openat(place, name, flags, Mode::empty())
        .map_err(|error| match error {
            Errno::LOOP | Errno::NOTDIR | Errno::NOENT => exchanged(shown),
            error => error.into(),
        })
        .and_then(|made| {
            let owner = fstat(place)?;
            let found = fstat(&made)?;
            if is_given(&owner, &found) {
                // The content of the directory would also change its owner.
                let is_empty = Dir::read_from(&made)?.all(|entry| {
                    entry.is_ok_and(|it| matches!(it.file_name().to_bytes(), b"." | b".."))
                });
                if !(is_own(&found, FileType::Directory) && is_empty) {
                    return Err(exchanged(shown));
                }
                give(&made, &found, &owner, shown)?;
            }
            Ok(made)
        });
    if given.is_err() {
        // A directory that is not empty remains.
        unlinkat(place, name, AtFlags::REMOVEDIR).ok();
    }
    given
}

/// Changes the owner of a new file to the owner of its directory, if they differ. Only root can do
/// that. A directory owned by root does not show who uses its files: Kubernetes assigns a volume to
/// a group, and leaves root as its owner.
///
/// `file` was created at `path`; the owner of the directory may have put something else at `path`
/// since.
///
/// # Errors
/// If this process may not: the owner of the directory, which the service runs as,
/// could not read the file. It is removed then, before anything is in it. Also when it is
/// not a new file of this process in that directory, and nowhere else.
pub fn give_to_owner(file: &File, path: &Path) -> io::Result<()> {
    let directory = parent(path);
    let place = open(directory, PLACE, Mode::empty())?;
    let owner = fstat(&place)?;
    let made = fstat(file)?;
    if !is_given(&owner, &made) {
        return Ok(());
    }
    let name = path.file_name().unwrap_or_default();
    let is_there = statat(&place, name, AtFlags::SYMLINK_NOFOLLOW)
        .is_ok_and(|there| (there.st_dev, there.st_ino) == (made.st_dev, made.st_ino));
    if !(is_own(&made, FileType::RegularFile) && made.st_nlink == 1 && is_there) {
        return Err(exchanged(directory));
    }
    give(file, &made, &owner, directory).inspect_err(|_| {
        unlinkat(&place, name, AtFlags::empty()).ok();
    })
}

/// Whether the owner has to be changed to a different user.
fn is_given(owner: &Stat, made: &Stat) -> bool {
    const ROOT: u32 = 0;
    owner.st_uid != ROOT && owner.st_uid != made.st_uid
}

/// Whether this process can have created it.
fn is_own(made: &Stat, kind: FileType) -> bool {
    FileType::from_raw_mode(made.st_mode) == kind
        && made.st_uid == rustix::process::geteuid().as_raw()
}

fn exchanged(directory: &Path) -> io::Error {
    let why = format!(
        "another user replaced a file or directory that was just created in '{}'",
        presentable_path(directory)
    );
    io::Error::new(io::ErrorKind::PermissionDenied, why)
}

fn give(made: impl AsFd, found: &Stat, owner: &Stat, directory: &Path) -> io::Result<()> {
    let (uid, gid) = (Uid::from_raw(owner.st_uid), Gid::from_raw(owner.st_gid));
    fchown(made, Some(uid), Some(gid)).map_err(|error| {
        let error = io::Error::from(error);
        let why = format!(
            "the directory '{}' belongs to user {}, who could not read a new file of user {} \
             ({}); run this command as user {} or as root",
            presentable_path(directory),
            owner.st_uid,
            found.st_uid,
            reason_without_path(&error),
            owner.st_uid
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

/// Creates a file in the directory, readable only by its owner, to be renamed. It is locked while
/// this process has it open.
///
/// # Errors
/// If it cannot be created, or its owner cannot be set to the owner of the directory.
pub fn temporary_file(directory: &Path) -> io::Result<NamedTempFile> {
    let directory = named(directory);
    let file = tempfile::Builder::new()
        .prefix(PREFIX)
        .permissions(Permissions::from_mode(0o600))
        .tempfile_in(directory)?;
    give_to_owner(file.as_file(), file.path())?;
    // A file system without locks keeps leftover files.
    if let Err(error) = flock(file.as_file(), FlockOperation::NonBlockingLockExclusive) {
        tracing::debug!(%error, "cannot lock a temporary file");
    }
    Ok(file)
}

/// Removes the temporary files of processes that have ended.
pub fn remove_left_over(directory: &Path, now: DateTime<Utc>) {
    // A directory that does not exist yet contains nothing.
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
        let locked = flock(
            crate::regular_file::open(file)?,
            FlockOperation::NonBlockingLockExclusive,
        );
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
mod tests;
