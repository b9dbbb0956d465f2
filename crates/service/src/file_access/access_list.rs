//! Reads the access list of a file (POSIX.1e, draft 17; acl(5)). The group's part of the mode of
//! such a file is the mask of the list, and says nothing about the group.

use std::io;
use std::path::Path;

use rustix::io::Errno;

/// The attribute that contains the list.
const ATTRIBUTE: &str = "system.posix_acl_access";
/// The version of its format, with which it starts (`linux/posix_acl_xattr.h`).
const VERSION: u32 = 2;
/// More than the entries that file systems store.
const MAX_BYTES: usize = 64 * 1024;

const OWNER: u16 = 0x01;
const USER: u16 = 0x02;
const OWNING_GROUP: u16 = 0x04;
const GROUP: u16 = 0x08;
const MASK: u16 = 0x10;
const OTHERS: u16 = 0x20;

/// The access list of a file.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct AccessList(Vec<Entry>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Entry {
    kind: u16,
    permissions: u16,
    id: u32,
}

impl AccessList {
    /// Reads it; `None` if the file has none, or the file system has no such lists.
    ///
    /// # Errors
    /// If it cannot be read.
    pub(super) fn of(path: &Path) -> io::Result<Option<Self>> {
        let mut bytes = vec![0; MAX_BYTES];
        match rustix::fs::getxattr(path, ATTRIBUTE, &mut bytes[..]) {
            Ok(length) => {
                let list = Self::parse(&bytes[..length]);
                let unknown = || io::Error::other("its access list has an unknown format");
                list.map(Some).ok_or_else(unknown)
            }
            Err(Errno::NODATA | Errno::NOTSUP | Errno::NOSYS) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn parse(bytes: &[u8]) -> Option<Self> {
        let (version, entries) = bytes.split_first_chunk()?;
        let (entries, rest) = entries.as_chunks::<8>();
        let entries = entries.iter().map(|&[a, b, c, d, e, f, g, h]| Entry {
            kind: u16::from_le_bytes([a, b]),
            permissions: u16::from_le_bytes([c, d]),
            id: u32::from_le_bytes([e, f, g, h]),
        });
        let is_known = u32::from_le_bytes(*version) == VERSION && rest.is_empty();
        is_known.then(|| Self(entries.collect()))
    }

    /// Whether anyone other than these users and groups has one of the permissions for the file,
    /// which the group `owning` owns.
    pub(super) fn others_may(
        &self,
        permissions: u16,
        users: &[u32],
        groups: &[u32],
        owning: u32,
    ) -> bool {
        let mask = self.0.iter().find(|entry| entry.kind == MASK);
        let masked = permissions & mask.map_or(u16::MAX, |entry| entry.permissions);
        self.0.iter().any(|entry| match entry.kind {
            OWNER | MASK => false,
            USER => entry.permissions & masked != 0 && !users.contains(&entry.id),
            OWNING_GROUP => entry.permissions & masked != 0 && !groups.contains(&owning),
            GROUP => entry.permissions & masked != 0 && !groups.contains(&entry.id),
            OTHERS => entry.permissions & permissions != 0,
            _ => true,
        })
    }
}

#[cfg(test)]
mod tests {
    use rustix::fs::{XattrFlags, setxattr};

    use super::*;

    const NOBODY: u32 = u32::MAX;

    fn entry(kind: u16, permissions: u16, id: u32) -> [u8; 8] {
        let mut bytes = [0; 8];
        bytes[..2].copy_from_slice(&kind.to_le_bytes());
        bytes[2..4].copy_from_slice(&permissions.to_le_bytes());
        bytes[4..].copy_from_slice(&id.to_le_bytes());
        bytes
    }

    /// The owner may read, and so may these.
    fn list(more: &[[u8; 8]], mask: u16, others: u16) -> Vec<u8> {
        let mut bytes = VERSION.to_le_bytes().to_vec();
        bytes.extend(entry(OWNER, 4, NOBODY));
        let users = more.iter().filter(|it| it[0] == 2);
        bytes.extend(users.flatten());
        bytes.extend(entry(OWNING_GROUP, 0, NOBODY));
        let groups = more.iter().filter(|it| it[0] == 8);
        bytes.extend(groups.flatten());
        bytes.extend(entry(MASK, mask, NOBODY));
        bytes.extend(entry(OTHERS, others, NOBODY));
        bytes
    }

    #[test]
    fn only_the_service_and_its_groups_may_be_in_the_list() {
        for (more, mask, others, is_open) in [
            (vec![entry(USER, 4, 61_234)], 4, 0, false),
            (vec![entry(USER, 4, 0)], 4, 0, false),
            (vec![entry(USER, 4, 61_235)], 4, 0, true),
            (vec![entry(USER, 4, 61_235)], 0, 0, false),
            (vec![entry(USER, 2, 61_235)], 6, 0, true),
            (vec![entry(GROUP, 4, 100)], 4, 0, false),
            (vec![entry(GROUP, 4, 101)], 4, 0, true),
            (
                vec![entry(USER, 4, 61_234), entry(GROUP, 4, 101)],
                4,
                0,
                true,
            ),
            (vec![entry(USER, 4, 61_234)], 4, 4, true),
        ] {
            let list = AccessList::parse(&list(&more, mask, others)).unwrap();
            let found = list.others_may(7, &[0, 61_234], &[100], 0);
            assert_eq!(found, is_open, "{more:?} {mask} {others}");
        }
        let mut owned = list(&[], 4, 0);
        owned[4 + 8 + 2] = 4;
        let owned = AccessList::parse(&owned).unwrap();
        assert!(owned.others_may(7, &[0, 61_234], &[100], 0));
        assert!(!owned.others_may(7, &[0, 61_234], &[100], 100));
        for unknown in [&[][..], &[2, 0, 0, 0, 1], &[3, 0, 0, 0]] {
            assert_eq!(AccessList::parse(unknown), None);
        }
    }

    #[test]
    fn the_list_of_a_file_is_read() {
        let file = tempfile::NamedTempFile::new().unwrap();
        assert_eq!(AccessList::of(file.path()).unwrap(), None);
        let bytes = list(&[entry(USER, 4, 61_235)], 4, 0);
        setxattr(file.path(), ATTRIBUTE, &bytes, XattrFlags::empty()).unwrap();
        assert!(super::super::is_open_to_others(file.path()).unwrap());
        assert!(!super::super::is_writable_by_others(file.path()).unwrap());
        let user = rustix::process::geteuid().as_raw();
        let bytes = list(&[entry(USER, 6, user)], 6, 0);
        setxattr(file.path(), ATTRIBUTE, &bytes, XattrFlags::empty()).unwrap();
        assert!(!super::super::is_open_to_others(file.path()).unwrap());
    }

    #[test]
    fn only_entries_that_let_others_write_count_for_writing() {
        let file = tempfile::NamedTempFile::new().unwrap();
        for (more, mask, others, is_writable) in [
            (entry(USER, 6, 61_235), 6, 0, true),
            (entry(USER, 2, 61_235), 7, 0, true),
            (entry(USER, 6, 61_235), 4, 0, false),
            (entry(USER, 4, 61_235), 6, 0, false),
            (entry(USER, 6, 0), 6, 0, false),
            (entry(GROUP, 6, 61_235), 6, 0, true),
            (entry(GROUP, 5, 61_235), 6, 0, false),
            (entry(USER, 4, 61_235), 4, 4, false),
            (entry(USER, 4, 61_235), 4, 2, true),
        ] {
            let bytes = list(&[more], mask, others);
            setxattr(file.path(), ATTRIBUTE, &bytes, XattrFlags::empty()).unwrap();
            let found = super::super::is_writable_by_others(file.path()).unwrap();
            assert_eq!(found, is_writable, "{more:?} {mask} {others}");
        }
    }
}
