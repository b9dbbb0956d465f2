//! Checks which other users may read or write a file.

mod access_list;

use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;

use access_list::AccessList;

/// The permissions of users who are neither the owner nor in the group.
const OTHERS: u32 = 0o007;
/// The permissions of the group.
const GROUP: u32 = 0o070;
/// The permissions to write.
const WRITE: u32 = 0o222;

/// Whether every user of the machine may read or write the file.
#[must_use]
pub fn is_open_to_all(file: &Metadata) -> bool {
    file.permissions().mode() & OTHERS != 0
}

/// Whether anyone other than the file's owner and the groups of the process may write to it.
///
/// # Errors
/// If the system does not report the groups of the process.
pub fn is_writable_by_others(file: &Metadata) -> io::Result<bool> {
    let mode = file.permissions().mode() & WRITE;
    Ok(is_accessible_by_others(
        mode,
        groups()?.contains(&file.gid()),
    ))
}

/// Whether anyone other than the service's user and groups may read or write the file. Kubernetes
/// gives the files of a volume to a group of the process (`fsGroup`) and makes their mode 0440 or
/// 0660; systemd names the user of the service in an access list (`LoadCredential`).
///
/// # Errors
/// If the system does not report the file's permissions or the groups of the process.
pub fn is_open_to_others(path: &Path) -> io::Result<bool> {
    let file = fs::metadata(path)?;
    let groups = groups()?;
    let user = rustix::process::geteuid().as_raw();
    Ok(match AccessList::of(path)? {
        Some(list) => list.is_open_to_others(user, &groups, file.gid()),
        None => is_accessible_by_others(file.permissions().mode(), groups.contains(&file.gid())),
    })
}

fn groups() -> io::Result<Vec<u32>> {
    let groups = rustix::process::getgroups()?.into_iter();
    let mut groups: Vec<u32> = groups.map(rustix::process::Gid::as_raw).collect();
    groups.push(rustix::process::getegid().as_raw());
    Ok(groups)
}

fn is_accessible_by_others(mode: u32, is_own_group: bool) -> bool {
    mode & OTHERS != 0 || mode & GROUP != 0 && !is_own_group
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_group_may_read_where_it_is_ours_and_all_others_never() {
        for (mode, open_to_other_group, open_to_own_group) in [
            (0o100_400, false, false),
            (0o100_600, false, false),
            (0o100_440, true, false),
            (0o100_640, true, false),
            (0o100_660, true, false),
            (0o100_444, true, true),
            (0o100_404, true, true),
            (0o100_602, true, true),
            (0o100_661, true, true),
        ] {
            assert_eq!(
                is_accessible_by_others(mode, false),
                open_to_other_group,
                "{mode:o}"
            );
            assert_eq!(
                is_accessible_by_others(mode, true),
                open_to_own_group,
                "{mode:o}"
            );
        }
    }
}
