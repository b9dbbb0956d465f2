//! The directory of what has to survive a restart: whether it can be written, and
//! the temporary files in it.
//!
//! A file that is replaced is written beside itself first. A process that is
//! killed leaves such a file behind; [`remove_left_over`] finds it by its name.
//!
//! A new file or directory gets the owner of the directory that it is in
//! ([`give_to_owner`]): a command that root runs leaves nothing that the service
//! cannot read.

use std::ffi::OsStr;
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

use crate::presentable_url::{presentable_path, reason_without_path};

/// Opens a directory to create entries in it, without the right to read it.
const PLACE: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);
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
    made_directory(directory, mode).map(drop)
}

/// Its descriptor. Each directory is created in the one created before it, regardless of what
/// another user puts at its path in the meantime.
fn made_directory(directory: &Path, mode: u32) -> io::Result<OwnedFd> {
    if let Ok(found) = open(named(directory), PLACE, Mode::empty()) {
        return Ok(found);
    }
    let parent = parent(directory);
    let name = directory.components().next_back();
    let Some(name) = name.filter(|_| parent != named(directory)) else {
        return Err(io::ErrorKind::NotFound.into());
    };
    let place = made_directory(parent, mode)?;
    match mkdirat(&place, name.as_os_str(), Mode::from_raw_mode(mode)) {
        Ok(()) => give_directory(&place, name.as_os_str(), parent),
        // Another process was faster.
        Err(Errno::EXIST) => openat(
            &place,
            name.as_os_str(),
            PLACE | OFlags::NOFOLLOW,
            Mode::empty(),
        )
        .map_err(|_| io::ErrorKind::AlreadyExists.into()),
        Err(error) => Err(error.into()),
    }
}

/// Gives the directory that was just made in `place` to the owner of `place`, who may have
/// put something else there.
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
                // What is in a directory would be given with it.
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
        // One with something in it stays.
        unlinkat(place, name, AtFlags::REMOVEDIR).ok();
    }
    given
}

/// Gives a new file to the owner of the directory that it is in, if it belongs to
/// another user. Only root can do that. A directory of root says nothing about who uses
/// its files: Kubernetes gives a volume to a group, and leaves root its owner.
///
/// `file` was opened by making it at `path`; the owner of the directory may have put
/// something else at `path` since.
///
/// # Errors
/// When this process may not: the owner of the directory, which the service runs as,
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

/// Whether what was made is for another user than the one who made it.
fn is_given(owner: &Stat, made: &Stat) -> bool {
    const ROOT: u32 = 0;
    owner.st_uid != ROOT && owner.st_uid != made.st_uid
}

/// Whether this process can have made it.
fn is_own(made: &Stat, kind: FileType) -> bool {
    FileType::from_raw_mode(made.st_mode) == kind
        && made.st_uid == rustix::process::geteuid().as_raw()
}

fn exchanged(directory: &Path) -> io::Error {
    let why = format!(
        "another user has exchanged what was just made in '{}'",
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
    give_to_owner(file.as_file(), file.path())?;
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
    use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, chown, symlink};

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

    /// Only root can be two users; the tests of both programs start as root, too.
    #[expect(clippy::print_stderr, reason = "a test that is skipped says so")]
    fn is_root(test: &str) -> bool {
        let is_root = rustix::process::geteuid().is_root();
        if !is_root {
            eprintln!("SKIPPED: {test} needs root, who can be two users");
        }
        is_root
    }

    /// A user that no machine has.
    const SERVICE: u32 = 54_321;

    /// A directory of the service, and one of root's beside it.
    fn state_and_secrets() -> (tempfile::TempDir, PathBuf, PathBuf) {
        let outer = tempfile::tempdir().unwrap();
        let (state, secrets) = (outer.path().join("state"), outer.path().join("secrets"));
        for directory in [&state, &secrets] {
            fs::DirBuilder::new().mode(0o700).create(directory).unwrap();
        }
        chown(&state, Some(SERVICE), Some(SERVICE)).unwrap();
        (outer, state, secrets)
    }

    #[test]
    fn what_the_owner_puts_in_place_of_a_new_directory_is_not_given_away() {
        if !is_root("what_the_owner_puts_in_place_of_a_new_directory_is_not_given_away") {
            return;
        }
        let (_outer, state, secrets) = state_and_secrets();
        fs::create_dir(secrets.join("empty")).unwrap();
        let file = secrets.join("file");
        fs::write(&file, "secret").unwrap();
        let new = state.join("new");
        let cases: [(&str, &dyn Fn()); 6] = [
            ("a link to a directory", &|| {
                symlink(&secrets, &new).unwrap();
            }),
            ("a link to an empty one", &|| {
                symlink(secrets.join("empty"), &new).unwrap();
            }),
            ("a link to a file", &|| symlink(&file, &new).unwrap()),
            ("a file of root's", &|| fs::hard_link(&file, &new).unwrap()),
            ("a directory of root's with a file", &|| {
                fs::create_dir(&new).unwrap();
                fs::write(new.join("file"), "").unwrap();
            }),
            ("a directory of somebody else's", &|| {
                fs::create_dir(&new).unwrap();
                chown(&new, Some(SERVICE + 1), None).unwrap();
            }),
        ];
        for (case, put) in cases {
            put();
            let place = open(&state, PLACE, Mode::empty()).unwrap();
            let error = give_directory(&place, OsStr::new("new"), &state).unwrap_err();
            assert_eq!(
                error.kind(),
                io::ErrorKind::PermissionDenied,
                "{case}: {error}"
            );
            assert!(
                error.to_string().starts_with("another user has exchanged"),
                "{case}"
            );
            for path in [&secrets, &secrets.join("empty"), &file] {
                assert_eq!(
                    fs::metadata(path).unwrap().uid(),
                    0,
                    "{case}: {}",
                    path.display()
                );
            }
            if let Ok(left) = fs::symlink_metadata(&new) {
                assert_ne!(left.uid(), SERVICE, "{case}");
                match left.is_dir() {
                    true => fs::remove_dir_all(&new).unwrap(),
                    false => fs::remove_file(&new).unwrap(),
                }
            }
        }
        // A link that leads nowhere yet is not followed either.
        symlink(secrets.join("later"), &new).unwrap();
        let error = make_directory(&new.join("keys"), 0o700).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
        assert!(!secrets.join("later").exists());
    }

    #[test]
    fn only_a_new_file_in_the_directory_is_given_to_its_owner() {
        if !is_root("only_a_new_file_in_the_directory_is_given_to_its_owner") {
            return;
        }
        let (_outer, state, secrets) = state_and_secrets();
        let secret = secrets.join("file");
        let new = state.join("new");
        let cases: [(&str, &dyn Fn()); 4] = [
            ("a link", &|| symlink(&secret, &new).unwrap()),
            ("another name of it", &|| {
                fs::hard_link(&secret, &new).unwrap();
            }),
            ("another file", &|| fs::write(&new, "").unwrap()),
            ("nothing", &|| {}),
        ];
        for (case, put) in cases {
            let file = File::create(&secret).unwrap();
            put();
            let error = give_to_owner(&file, &new).unwrap_err();
            assert!(
                error.to_string().starts_with("another user has exchanged"),
                "{case}"
            );
            assert_eq!(file.metadata().unwrap().uid(), 0, "{case}");
            fs::remove_file(&new).ok();
            fs::remove_file(&secret).unwrap();
        }
        // The whole directory, after the file was made in another one.
        let file = File::create(secrets.join("new")).unwrap();
        assert!(give_to_owner(&file, &new).is_err());
        assert_eq!(file.metadata().unwrap().uid(), 0);
        // A directory, and a file of somebody else's.
        fs::create_dir(&new).unwrap();
        assert!(give_to_owner(&File::open(&new).unwrap(), &new).is_err());
        assert_eq!(fs::metadata(&new).unwrap().uid(), 0);
        let other = state.join("other");
        let file = File::create(&other).unwrap();
        chown(&other, Some(SERVICE + 1), None).unwrap();
        assert!(give_to_owner(&file, &other).is_err());
        assert_eq!(file.metadata().unwrap().uid(), SERVICE + 1);
        // The same without an exchange.
        chown(&other, Some(0), None).unwrap();
        give_to_owner(&file, &other).unwrap();
        assert_eq!(file.metadata().unwrap().uid(), SERVICE);
    }

    #[test]
    fn new_files_and_directories_get_the_owner_of_the_directory() {
        if !is_root("new_files_and_directories_get_the_owner_of_the_directory") {
            return;
        }
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
        chown(directory.path(), Some(SERVICE), Some(SERVICE + 1)).unwrap();
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
        chown(&made, Some(0), Some(0)).unwrap();
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
        assert!(error.starts_with(&format!("'{}/state' is not writable", file.display())));
        assert!(
            error.ends_with("choose another path with STATE_DIR"),
            "{error}"
        );
    }
}
