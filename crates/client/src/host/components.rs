//! The hardware components that identify this machine.

use std::collections::{BTreeMap, BTreeSet};
use std::os::linux::fs::MetadataExt as _;
use std::path::Path;

use license_core::hardware::Component;

use super::{line, names};

/// The values of each readable component. They are hashed immediately and not used elsewhere.
#[must_use]
pub fn read(root: &Path) -> BTreeMap<Component, BTreeSet<String>> {
    let one = |value: Option<String>| value.into_iter().collect::<BTreeSet<_>>();
    BTreeMap::from([
        (Component::MachineId, one(machine_id(root))),
        (Component::ProductUuid, one(product_uuid(root))),
        (Component::BoardSerial, one(board_serial(root))),
        (Component::RootDisk, one(root_disk(root))),
        (Component::NetworkCards, network_cards(root)),
    ])
}

fn machine_id(root: &Path) -> Option<String> {
    line(root, "etc/machine-id")
        .or_else(|| line(root, "var/lib/dbus/machine-id"))
        .filter(|id| id.len() == 32 && has_content(id))
}

fn product_uuid(root: &Path) -> Option<String> {
    let uuid = line(root, "sys/class/dmi/id/product_uuid")?.to_lowercase();
    (uuid.len() == 36 && has_content(&uuid)).then_some(uuid)
}

fn board_serial(root: &Path) -> Option<String> {
    line(root, "sys/class/dmi/id/board_serial").filter(|serial| !is_filler(serial))
}

/// The serial number or world-wide name of the disk with the root file system. A root file system
/// without a disk, as in a container, has none.
fn root_disk(root: &Path) -> Option<String> {
    let device = std::fs::metadata(root).ok()?.st_dev();
    let (major, minor) = (
        ((device >> 8) & 0xfff) | ((device >> 32) & !0xfff),
        (device & 0xff) | ((device >> 12) & !0xff),
    );
    disk(root, &format!("{major}:{minor}"))
}

fn disk(root: &Path, device: &str) -> Option<String> {
    let block = format!("sys/dev/block/{device}");
    // A partition's directory lies within its disk's.
    [block.clone(), format!("{block}/..")]
        .iter()
        .flat_map(|disk| ["device/serial", "device/wwid", "wwid", "serial"].map(|f| (disk, f)))
        .find_map(|(disk, file)| line(root, &format!("{disk}/{file}")))
        .filter(|serial| !is_filler(serial))
}

/// The permanent addresses of the network cards. Addresses that were set by software, such as those
/// of bridges and containers, are not included.
fn network_cards(root: &Path) -> BTreeSet<String> {
    let permanent = |name: &String| {
        let file = |file: &str| line(root, &format!("sys/class/net/{name}/{file}"));
        let is_card = root.join(format!("sys/class/net/{name}/device")).exists();
        let is_permanent = file("addr_assign_type").as_deref() == Some("0");
        let address = file("address")?.to_lowercase();
        (is_card && is_permanent && has_content(&address)).then_some(address)
    };
    names(root, "sys/class/net")
        .iter()
        .filter_map(permanent)
        .collect()
}

/// Whether a number contains anything other than zeros or ones.
fn has_content(hexadecimal: &str) -> bool {
    let mut digits = hexadecimal.chars().filter(char::is_ascii_hexdigit);
    let first = digits.next();
    matches!(first, Some(first) if !"0f".contains(first) || digits.any(|digit| digit != first))
}

/// Placeholders that manufacturers leave in a field that they do not fill in.
fn is_filler(text: &str) -> bool {
    let text = text.to_lowercase();
    let known = [
        "default string",
        "to be filled by o.e.m.",
        "not specified",
        "not applicable",
        "none",
        "n/a",
        "system serial number",
        "base board serial number",
        "0123456789",
        "123456789",
        "unknown",
    ];
    known.contains(&text.as_str()) || text.chars().all(|c| "0.-_ x".contains(c))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn write(root: &Path, path: &str, text: &str) {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, format!("{text}\n")).unwrap();
    }

    #[test]
    fn a_server_says_all_and_an_empty_root_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path();
        assert!(read(root).values().all(BTreeSet::is_empty));
        write(root, "etc/machine-id", "0c5b3e8f4a2d4e0d8f7a6b5c4d3e2f1a");
        let uuid = "4C4C4544-0042-3510-8054-B4C04F565931";
        write(root, "sys/class/dmi/id/product_uuid", uuid);
        write(root, "sys/class/dmi/id/board_serial", ".BT5TVY1.CN129.");
        write(root, "sys/class/net/eth0/address", "02:42:AC:11:00:02");
        write(root, "sys/class/net/eth0/addr_assign_type", "0");
        write(root, "sys/class/net/eth0/device/vendor", "0x8086");
        let read = read(root);
        let of = |component| read[&component].iter().next().map(String::as_str);
        assert_eq!(of(Component::ProductUuid), Some(&*uuid.to_lowercase()));
        assert_eq!(of(Component::BoardSerial), Some(".BT5TVY1.CN129."));
        assert_eq!(of(Component::NetworkCards), Some("02:42:ac:11:00:02"));
        assert!(of(Component::MachineId).is_some());
    }

    #[test]
    fn a_disk_is_found_by_its_serial_or_by_its_partitions_disk() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path();
        write(root, "sys/block/sda/device/wwid", "t10.ATA disk 1");
        fs::create_dir_all(root.join("sys/block/sda/sda1")).unwrap();
        fs::create_dir_all(root.join("sys/dev/block")).unwrap();
        let link = |to: &str, at: &str| {
            std::os::unix::fs::symlink(to, root.join("sys/dev/block").join(at)).unwrap();
        };
        link("../../block/sda", "8:0");
        link("../../block/sda/sda1", "8:1");
        assert_eq!(disk(root, "8:0").as_deref(), Some("t10.ATA disk 1"));
        assert_eq!(disk(root, "8:1").as_deref(), Some("t10.ATA disk 1"));
        assert_eq!(disk(root, "0:42"), None);
    }

    #[test]
    fn bridges_and_set_addresses_are_no_cards() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path();
        for (name, kind, card) in [("docker0", "0", false), ("eth1", "3", true)] {
            let at = format!("sys/class/net/{name}");
            write(root, &format!("{at}/address"), "02:42:ac:11:00:09");
            write(root, &format!("{at}/addr_assign_type"), kind);
            if card {
                write(root, &format!("{at}/device/vendor"), "0x1");
            }
        }
        assert!(network_cards(root).is_empty());
    }

    #[test]
    fn what_makers_leave_in_is_nothing() {
        for filler in [
            "Default string",
            "To be filled by O.E.M.",
            "0000000",
            "None",
            "...",
        ] {
            assert!(is_filler(filler), "{filler}");
        }
        assert!(!is_filler("BT5TVY1"));
        assert!(!has_content("00000000-0000-0000-0000-000000000000"));
        assert!(!has_content("ffffffffffff"));
        assert!(has_content("03000200-0400-0500-0006-000700080009"));
    }
}
