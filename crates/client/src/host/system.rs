//! What a heartbeat reports about the machine.

use std::path::Path;

use license_core::protocol::SystemInfo;

use super::line;

/// Reads what the heartbeat reports. Unreadable values are empty or 0: a
/// locked-down container still has a heartbeat.
#[must_use]
pub fn system_info(root: &Path) -> SystemInfo {
    let line = |path| line(root, path).unwrap_or_default();
    let memory = line("proc/meminfo");
    let memory = memory
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"));
    SystemInfo {
        os_platform: "Linux".to_owned(),
        os_release: line("proc/sys/kernel/osrelease"),
        os_version: line("proc/sys/kernel/version"),
        cpu_count: online_cpus(&line("sys/devices/system/cpu/online")),
        total_memory_gb: memory_gib(memory.unwrap_or_default()),
        hostname: line("proc/sys/kernel/hostname"),
        architecture: std::env::consts::ARCH.to_owned(),
    }
}

/// Counts the processors of a kernel list such as `0-3,8`.
pub(super) fn online_cpus(list: &str) -> u64 {
    list.split(',')
        .filter_map(|range| {
            let (first, last) = range.split_once('-').unwrap_or((range, range));
            let (first, last): (u64, u64) = (first.parse().ok()?, last.parse().ok()?);
            Some(last.checked_sub(first)? + 1)
        })
        .sum()
}

/// `24680000 kB` in GiB, two decimals.
fn memory_gib(amount: &str) -> f64 {
    let kib: f64 = amount
        .trim_end_matches("kB")
        .trim()
        .parse()
        .unwrap_or_default();
    (kib / 1024.0 / 1024.0 * 100.0).round() / 100.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processors_are_counted_from_the_kernels_list() {
        assert_eq!(online_cpus("0-1"), 2);
        assert_eq!(online_cpus("0-3,8,10-11"), 7);
        assert_eq!(online_cpus(""), 0);
    }

    #[test]
    fn memory_is_in_gib_with_two_decimals() {
        assert!((memory_gib("24683468 kB") - 23.54).abs() < 1e-9);
        assert!(memory_gib("").abs() < 1e-9);
    }
}
