//! Requests per second, and their cost.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::program::{now, output};

/// The result of wrk for a server.
pub(super) struct Measured {
    pub(super) per_second: f64,
    latencies: String,
    /// CPU time of the measured program per request.
    cpu_us: Option<f64>,
}

impl std::fmt::Display for Measured {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:>8.0} requests/s  {}", self.per_second, self.latencies)?;
        self.cpu_us
            .map_or(Ok(()), |cpu| write!(f, "  {cpu:.1} µs CPU each"))
    }
}

/// Requests `url` for some seconds on 32 connections; `script` sets the request.
pub(super) fn measure(
    url: &str,
    script: Option<&Path>,
    seconds: u64,
    pid: Option<u32>,
) -> Result<Measured> {
    let cpu_before = pid.map(cpu_ticks).transpose()?;
    let start = now();
    let mut wrk = Command::new("wrk");
    wrk.args(["-t1", "-c32", "--latency", &format!("-d{seconds}s")]);
    if let Some(script) = script {
        wrk.arg("-s").arg(script);
    }
    let text = output(wrk.arg(url))?;
    let cpu_after = pid.map(cpu_ticks).transpose()?;
    let field = |name: &str| {
        let line = text.lines().find(|line| line.trim().starts_with(name))?;
        line.split_whitespace().nth(1)
    };
    if text.contains("Non-2xx") || text.contains("Socket errors") {
        bail!("wrk reported errors:\n{text}");
    }
    let per_second: f64 = field("Requests/sec:")
        .context("wrk printed no rate")?
        .parse()?;
    let requests = per_second * start.elapsed().as_secs_f64();
    Ok(Measured {
        per_second,
        latencies: format!(
            "p50 {} p99 {}",
            field("50%").unwrap_or("?"),
            field("99%").unwrap_or("?")
        ),
        // A tick is 10 ms on every Linux.
        cpu_us: cpu_before
            .zip(cpu_after)
            .map(|(before, after)| (after - before) * 10_000.0 / requests),
    })
}

/// The median.
pub(super) fn median(mut numbers: Vec<f64>) -> f64 {
    numbers.sort_by(f64::total_cmp);
    numbers.get(numbers.len() / 2).copied().unwrap_or(f64::NAN)
}

/// Resident memory of a process, in KiB (proc(5), `VmRSS`).
pub(crate) fn resident_kib(pid: u32) -> Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let number = line.and_then(|line| line.split_whitespace().next());
    Ok(number.context("an unexpected /proc/PID/status")?.parse()?)
}

/// `utime` plus `stime` of a process (proc(5)).
fn cpu_ticks(pid: u32) -> Result<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let (_, fields) = stat
        .rsplit_once(')')
        .context("an unexpected /proc/PID/stat")?;
    let ticks: Vec<f64> = fields
        .split_whitespace()
        .skip(11)
        .take(2)
        .map(str::parse)
        .collect::<Result<_, _>>()?;
    Ok(ticks.iter().sum())
}
