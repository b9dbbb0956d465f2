//! The hardware id as version 1.0.0 would compute it on this machine.

use std::net::IpAddr;
use std::path::Path;

use license_core::hardware::version_1_id;

use super::line;
use super::system::online_cpus;

/// The id; `None` if that version would generate a random one for each process.
#[must_use]
pub fn hardware_id(root: &Path) -> Option<String> {
    let node = node(root)?;
    let cpus = online_cpus(&line(root, "sys/devices/system/cpu/online").unwrap_or_default());
    Some(version_1_id(node, cpus, "Linux", std::env::consts::ARCH))
}

/// The result of `CPython`'s `uuid.getnode()`: the address of the first interface that has an IPv4
/// address and a hardware address other than zero. The kernel lists interfaces in the order in
/// which they were registered, which is that of their numbers.
#[must_use]
pub fn node(root: &Path) -> Option<u64> {
    let interfaces = if_addrs::get_if_addrs().ok()?;
    let mut with_ipv4: Vec<(u64, String)> = interfaces
        .into_iter()
        .filter(|interface| matches!(interface.ip(), IpAddr::V4(_)))
        // A label such as `eth0:1` names the interface before the colon.
        .filter_map(|interface| {
            let name = interface.name.split(':').next()?.to_owned();
            let index = line(root, &format!("sys/class/net/{name}/ifindex"))?;
            Some((index.parse().ok()?, name))
        })
        .collect();
    with_ipv4.sort();
    with_ipv4.iter().find_map(|(_, name)| {
        let address = line(root, &format!("sys/class/net/{name}/address"))?;
        let digits = address.replace(':', "");
        let node = u64::from_str_radix(digits.get(..12)?, 16).ok()?;
        (node != 0).then_some(node)
    })
}
