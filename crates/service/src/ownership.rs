//! Whether another user may have written a file, or chosen what is at a path.

use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

/// Only the owner of an entry can replace it in such a directory.
const STICKY: u32 = 0o1000;

/// Why a user other than root and `user` may have written a file or directory. A group with the same
/// id as the owner belongs to that user alone.
pub(crate) fn distrust(what: &str, found: &Metadata, user: u32) -> Option<String> {
    const WRITABLE_BY_GROUP: u32 = 0o020;
    const WRITABLE_BY_OTHERS: u32 = 0o002;
    let (owner, mode) = (found.uid(), found.mode());
    if owner != 0 && owner != user {
        return Some(format!("{what} belongs to user {owner}"));
    }
    // Only its owner can replace a file in a sticky directory; a link has no mode.
    if found.is_symlink() || found.is_dir() && mode & STICKY != 0 {
        return None;
    }
    if mode & WRITABLE_BY_OTHERS != 0 {
        return Some(format!("every user can write to {what}"));
    }
    (mode & WRITABLE_BY_GROUP != 0 && found.gid() != owner)
        .then(|| format!("group {} can write to {what}", found.gid()))
}

/// Whether only root and `user` can have chosen the directory at this path. An absolute path is
/// always their choice. What a relative one leads to depends on the working directory: all
/// directories above it have to be theirs, and the one around it must not be open to others, where
/// anyone can create a directory.
#[must_use]
pub fn is_chosen_by(user: u32, directory: &Path) -> bool {
    if directory.is_absolute() {
        return true;
    }
    let Ok(real) = fs::canonicalize(directory) else {
        return false;
    };
    let mut above = real.ancestors().skip(1).map(fs::metadata);
    let is_theirs = |found: &Metadata| distrust("it", found, user).is_none();
    let around = above.next().and_then(Result::ok);
    around.is_some_and(|around| is_theirs(&around) && around.mode() & STICKY == 0)
        && above.all(|found| found.is_ok_and(|found| is_theirs(&found)))
}
