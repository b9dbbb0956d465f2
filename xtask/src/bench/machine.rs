//! The machine, the versions and the day of a run.

use std::process::Command;

use anyhow::Result;
use serde::{Deserialize, Serialize};

use crate::program::{output, root};

/// Where and when something was measured.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Machine {
    pub(super) date: String,
    pub(super) processor: String,
    pub(super) processors: usize,
    pub(super) memory_mib: u64,
    pub(super) kernel: String,
    /// Programs that ran or waited for a processor in the minute before the run.
    pub(super) load_before: f64,
    /// Our version and the commit.
    pub(super) version: String,
    /// The compiler, the peers and the load generator.
    pub(super) others: Vec<String>,
}

impl Machine {
    pub(super) fn read() -> Result<Self> {
        let cpu = std::fs::read_to_string("/proc/cpuinfo")?;
        let memory = std::fs::read_to_string("/proc/meminfo")?;
        let load = std::fs::read_to_string("/proc/loadavg")?;
        let kib = after(&memory, "MemTotal:").and_then(|it| it.split_whitespace().next());
        let commit = first_line(Command::new("git").args(["rev-parse", "--short=12", "HEAD"]));
        let lock = std::fs::read_to_string(root().join("Cargo.lock"))?;
        let packages =
            ["axum", "hyper", "tokio"].map(|name| format!("{name} {}", locked(&lock, name)));
        let programs = [
            first_line(Command::new("rustc").arg("--version")),
            first_line(Command::new("nginx").arg("-v")),
            first_line(Command::new("wrk").arg("-v")),
        ];
        Ok(Self {
            date: first_line(Command::new("date").args(["-u", "+%F"])),
            processor: after(&cpu, "model name").unwrap_or("unknown").to_owned(),
            processors: std::thread::available_parallelism()?.get(),
            memory_mib: kib.unwrap_or_default().parse::<u64>()? / 1024,
            kernel: output(Command::new("uname").arg("-sr"))?.trim().to_owned(),
            load_before: load.split(' ').next().unwrap_or_default().parse()?,
            version: format!("{} ({commit})", env!("CARGO_PKG_VERSION")),
            others: programs.into_iter().chain(packages).collect(),
        })
    }

    /// Whether other programs are using the processors, which makes every figure worse.
    pub(super) fn is_busy(&self) -> bool {
        self.load_before > self.processors as f64 / 2.0
    }
}

/// What follows a name and a colon.
fn after<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    Some(line.trim_start().trim_start_matches(':').trim())
}

/// The first line that a program prints, or nothing if it is not there. nginx prints its version
/// to standard error, and wrk exits with 1.
fn first_line(command: &mut Command) -> String {
    let Ok(output) = command.current_dir(root()).output() else {
        return String::new();
    };
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    let line = text.lines().next().unwrap_or_default();
    // Without what follows the version.
    let end = line.find(" (").or_else(|| line.find(" ["));
    line[..end.unwrap_or(line.len())].trim().to_owned()
}

/// The version of a package in `Cargo.lock`.
fn locked<'a>(lock: &'a str, name: &str) -> &'a str {
    let start = format!("name = \"{name}\"\nversion = \"");
    let version = lock
        .split_once(&start)
        .and_then(|(_, rest)| rest.split('"').next());
    version.unwrap_or("?")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_proc_and_versions_of_packages_are_found() {
        assert_eq!(after("MemTotal:  2048 kB\n", "MemTotal:"), Some("2048 kB"));
        let cpu = "processor\t: 0\nmodel name\t: Some CPU: fast\n";
        assert_eq!(after(cpu, "model name"), Some("Some CPU: fast"));
        let lock = "[[package]]\nname = \"axum-core\"\nversion = \"0.5.1\"\n\n\
                    [[package]]\nname = \"axum\"\nversion = \"0.8.9\"\n";
        assert_eq!(locked(lock, "axum"), "0.8.9");
    }

    #[test]
    fn a_machine_is_busy_with_more_than_half_a_program_for_each_processor() {
        let machine = |load_before| Machine {
            processors: 2,
            load_before,
            ..Machine::default()
        };
        assert!(!machine(1.0).is_busy() && machine(1.1).is_busy());
    }
}
