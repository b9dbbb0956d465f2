//! `cargo xtask bench`: the feature check beside a bare axum route of the
//! same shape, in one run, because a machine's speed changes by the hour.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use clap::Args;

use crate::packages;
use crate::program::{cargo, exists, free_port, now, output, root, step, stop};

/// How long to measure.
#[derive(Args)]
pub(crate) struct Bench {
    /// Seconds for each measurement
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=60))]
    seconds: u64,

    /// Rounds, in which both are measured in turn
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=20))]
    rounds: u64,
}

const PATH: &str = "/api/license/feature/check";

pub(crate) fn run(command: &Bench) -> Result<()> {
    packages::ensure("wrk", || exists("wrk"))?;
    let release = ["build", "--release", "--locked", "-p", "license-client"];
    step(
        "release build",
        cargo(&release).args(["--bins", "--examples"]),
    )?;
    let directory = tempfile::tempdir()?;
    let script = directory.path().join("post.lua");
    std::fs::write(
        &script,
        "wrk.method = \"POST\"\n\
         wrk.body = '{\"featureKey\":\"module.analytics_advanced\"}'\n\
         wrk.headers[\"Content-Type\"] = \"application/json\"\n",
    )?;

    let release = root().join("target/release");
    let (bare_port, client_port) = (free_port()?, free_port()?);
    let mut bare = Command::new(release.join("examples/bare_axum"));
    bare.arg(bare_port.to_string());
    let mut client = Command::new(release.join("license-client"));
    client.args(["serve", "--log", "warn", "--port", &client_port.to_string()]);
    client
        .arg("--state-dir")
        .arg(directory.path().join("state"));
    let mut programs = Programs(vec![spawn(bare)?, spawn(client)?]);
    std::thread::sleep(Duration::from_secs(1));

    let mut ratios = Vec::new();
    for round in 1..=command.rounds {
        let bare = measure(&script, bare_port, command.seconds, programs.0[0].id())?;
        let client = measure(&script, client_port, command.seconds, programs.0[1].id())?;
        println!("round {round}  bare axum       {bare}");
        println!("round {round}  license-client  {client}");
        ratios.push(client.per_second / bare.per_second);
    }
    programs.stop()?;
    ratios.sort_by(f64::total_cmp);
    println!(
        "license-client / bare axum: median {:.2} of {} rounds",
        ratios[ratios.len() / 2],
        ratios.len()
    );
    Ok(())
}

struct Programs(Vec<Child>);

impl Programs {
    fn stop(&mut self) -> Result<()> {
        self.0
            .drain(..)
            .try_for_each(|mut child| stop(&mut child).map(|_| ()))
    }
}

impl Drop for Programs {
    fn drop(&mut self) {
        if let Err(error) = self.stop() {
            eprintln!("warning: {error}");
        }
    }
}

struct Measured {
    per_second: f64,
    latencies: String,
    cpu_us: f64,
}

impl std::fmt::Display for Measured {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{:>8.0} requests/s  {}  {:.1} µs CPU each",
            self.per_second, self.latencies, self.cpu_us
        )
    }
}

fn measure(script: &PathBuf, port: u16, seconds: u64, pid: u32) -> Result<Measured> {
    let (cpu_before, start) = (cpu_ticks(pid)?, now());
    let mut wrk = Command::new("wrk");
    wrk.args(["-t1", "-c32", "--latency", &format!("-d{seconds}s"), "-s"]);
    let text = output(
        wrk.arg(script)
            .arg(format!("http://127.0.0.1:{port}{PATH}")),
    )?;
    let cpu = cpu_ticks(pid)? - cpu_before;
    let field = |name: &str| {
        let line = text.lines().find(|line| line.trim().starts_with(name))?;
        line.split_whitespace().nth(1)
    };
    if text.contains("Non-2xx") || text.contains("Socket errors") {
        bail!("wrk met errors:\n{text}");
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
        cpu_us: cpu * 10_000.0 / requests,
    })
}

/// `utime` and `stime` of a process, together (proc(5)).
fn cpu_ticks(pid: u32) -> Result<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let (_, fields) = stat.rsplit_once(')').context("an odd /proc/PID/stat")?;
    let ticks: Vec<f64> = fields
        .split_whitespace()
        .skip(11)
        .take(2)
        .map(str::parse)
        .collect::<Result<_, _>>()?;
    Ok(ticks.iter().sum())
}

fn spawn(mut command: Command) -> Result<Child> {
    command
        .stdin(Stdio::null())
        .spawn()
        .with_context(|| format!("cannot start {}", command.get_program().display()))
}
