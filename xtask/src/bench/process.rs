//! What a running program uses.

use anyhow::{Context as _, Result};

/// Resident memory of a process, in KiB (proc(5), `VmRSS`).
pub(crate) fn resident_kib(pid: u32) -> Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let number = line.and_then(|line| line.split_whitespace().next());
    Ok(number.context("an unexpected /proc/PID/status")?.parse()?)
}

/// CPU time of all threads of a process and of its children, such as nginx's workers, in ns
/// (proc(5), `schedstat`).
pub(super) fn cpu_ns(pid: u32) -> Result<u64> {
    let mut sum = 0;
    for pid in children(pid).into_iter().chain([pid]) {
        for task in std::fs::read_dir(format!("/proc/{pid}/task"))? {
            // A thread may end in the meantime.
            let text = std::fs::read_to_string(task?.path().join("schedstat")).unwrap_or_default();
            let first = text.split_whitespace().next();
            sum += first.and_then(|it| it.parse().ok()).unwrap_or(0_u64);
        }
    }
    Ok(sum)
}

fn children(pid: u32) -> Vec<u32> {
    let listed = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
    let listed = listed.unwrap_or_default();
    listed
        .split_whitespace()
        .filter_map(|it| it.parse().ok())
        .collect()
}
