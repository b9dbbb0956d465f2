//! Whether another user may have written a file, or chosen what is at a path.

use std::fs::{self, Metadata};
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Component, Path};

use rustix::fs::getxattr;
use rustix::io::Errno;

use crate::presentable_url::presentable_path;

/// Only the owner of an entry can replace it in such a directory.
const STICKY: u32 = 0o1000;

/// Why a user other than root and `user` may have written the file or directory at `path`, of which
/// `found` was read. A group with the same id as the owner belongs to that user alone.
pub(crate) fn distrust(what: &str, path: &Path, found: &Metadata, user: u32) -> Option<String> {
    const WRITABLE_BY_GROUP: u32 = 0o020;
    const WRITABLE_BY_OTHERS: u32 = 0o002;
    let (owner, mode) = (found.uid(), found.mode());
    if owner != 0 && owner != user {
        return Some(format!("{what} belongs to user {owner}"));
    }
    // A link has no mode, and no list of its own.
    if found.is_symlink() {
        return None;
    }
    if has_access_list(path) {
        let list = "an access control list (getfacl)";
        return Some(format!("{list} may let other users write to {what}"));
    }
    // Only its owner can replace a file in a sticky directory.
    if found.is_dir() && mode & STICKY != 0 {
        return None;
    }
    if mode & WRITABLE_BY_OTHERS != 0 {
        return Some(format!("every user can write to {what}"));
    }
    (mode & WRITABLE_BY_GROUP != 0 && found.gid() != owner)
        .then(|| format!("group {} can write to {what}", found.gid()))
}

/// Another user may have chosen what is at a relative path.
#[derive(Debug, thiserror::Error)]
#[error(
    "{setting}: '{path}' is relative, and another user may control its contents. Set {setting} to \
     an absolute path, or start the program in a directory to which only root and your own user \
     can write"
)]
pub struct OthersChoice {
    /// The setting that names the path.
    setting: &'static str,
    /// The path.
    path: String,
}

/// Checks a path at which a program keeps secrets, or from which it takes them.
///
/// # Errors
/// If users other than root and the user of this process may have chosen what is there, or may do
/// so before it is created: see [`is_chosen_by`].
pub fn require_chosen(setting: &'static str, path: &Path) -> Result<(), OthersChoice> {
    let user = rustix::process::geteuid().as_raw();
    let others_choice = OthersChoice {
        setting,
        path: presentable_path(path),
    };
    is_chosen_by(user, path).then_some(()).ok_or(others_choice)
}

/// Whether only root and `user` can have chosen what is at this path, or can create something there.
/// An absolute path is always their choice. What a relative one leads to depends on the working
/// directory: every directory in which a name is looked up has to be theirs, with all directories
/// above it, and other users must not be able to create entries in it; the same holds where a link
/// leads.
#[must_use]
pub fn is_chosen_by(user: u32, path: &Path) -> bool {
    if path.is_absolute() {
        return true;
    }
    let Ok(mut at) = fs::canonicalize(".") else {
        // Nothing can be created in a deleted directory, which is reported where it is tried.
        return true;
    };
    let mut is_last_named = false;
    for part in path.components() {
        is_last_named = matches!(part, Component::Normal(_));
        match part {
            Component::ParentDir => {
                at.pop();
            }
            Component::Normal(name) => {
                if !is_closed_to_others(user, &at) {
                    return false;
                }
                at.push(name);
                // Links are followed. What does not exist is created by this process.
                if let Ok(real) = fs::canonicalize(&at)
                    && real != at
                {
                    at = real;
                    let around = at.parent();
                    if !around.is_some_and(|around| is_closed_to_others(user, around)) {
                        return false;
                    }
                }
            }
            _ => {}
        }
    }
    // `.` and `..` lead to a directory that was not looked up by its name.
    is_last_named || is_closed_to_others(user, &at)
}

/// Whether only root and `user` can create entries in the directory at this absolute path, and
/// replace it or one above it. What does not exist yet is created by this process.
fn is_closed_to_others(user: u32, directory: &Path) -> bool {
    directory.ancestors().enumerate().all(|(level, at)| {
        let found = match fs::metadata(at) {
            Ok(found) => found,
            Err(error) => return error.kind() == ErrorKind::NotFound,
        };
        let is_open = level == 0 && found.mode() & STICKY != 0;
        !is_open && distrust("it", at, &found, user).is_none()
    })
}

/// Whether a POSIX access control list (`acl(5)`) may let others write: the mode does not show them.
fn has_access_list(path: &Path) -> bool {
    let mut value = [0_u8; 1];
    let read = getxattr(path, "system.posix_acl_access", &mut value[..]);
    matches!(read, Ok(_) | Err(Errno::RANGE))
}
