//! Checks which other users may read or write a file.

mod access_list;

use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;

use access_list::AccessList;

/// The permissions to read, write and execute, of one class of users.
const ANY: u16 = 0o7;
/// The permission to write, of one class of users.
const WRITE: u16 = 0o2;

/// Whether every user of the machine may read or write the file.
#[must_use]
pub fn is_open_to_all(file: &Metadata) -> bool {
    file.permissions().mode() & u32::from(ANY) != 0
}

/// Whether anyone other than the file's owner and the service's user and groups may write to the
/// file, by its mode or its access list.
///
/// # Errors
/// If the system does not report the file's permissions or the groups of the process.
pub fn is_writable_by_others(path: &Path) -> io::Result<bool> {
    others_may(WRITE, path)
}

/// Whether anyone other than the file's owner and the service's user and groups may read or write
/// the file. Kubernetes gives the files of a volume to a group of the process (`fsGroup`) and makes
/// their mode 0440 or 0660; systemd names the user of the service in an access list
/// (`LoadCredential`).
///
/// # Errors
/// If the system does not report the file's permissions or the groups of the process.
pub fn is_open_to_others(path: &Path) -> io::Result<bool> {
    others_may(ANY, path)
}

/// Whether other users have one of these permissions.
fn others_may(permissions: u16, path: &Path) -> io::Result<bool> {
    let file = fs::metadata(path)?;
    let groups = groups()?;
    let users = [0, file.uid(), rustix::process::geteuid().as_raw()];
    Ok(match AccessList::of(path)? {
        Some(list) => list.others_may(permissions, &users, &groups, file.gid()),
        None => mode_lets_others(
            permissions,
            file.permissions().mode(),
            groups.contains(&file.gid()),
        ),
    })
}

fn groups() -> io::Result<Vec<u32>> {
    let groups = rustix::process::getgroups()?.into_iter();
    let mut groups: Vec<u32> = groups.map(rustix::process::Gid::as_raw).collect();
    groups.push(rustix::process::getegid().as_raw());
    Ok(groups)
}

fn mode_lets_others(permissions: u16, mode: u32, is_own_group: bool) -> bool {
    let permissions = u32::from(permissions);
    mode & permissions != 0 || mode & (permissions << 3) != 0 && !is_own_group
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
                mode_lets_others(ANY, mode, false),
                open_to_other_group,
                "{mode:o}"
            );
            assert_eq!(
                mode_lets_others(ANY, mode, true),
                open_to_own_group,
                "{mode:o}"
            );
        }
    }
}
