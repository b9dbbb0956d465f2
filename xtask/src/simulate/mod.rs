//! `cargo xtask simulate`: a fleet of License Clients in virtual time, through outages of the
//! License Server.
//!
//! [`site`] is one site, which calls by the schedule of `license-core`; [`fleet`] and
//! [`one_address`] are many of them. [`table`], [`json`] and [`plot`] show the [`results`].

mod call_counts;
mod confirmation;
mod fleet;
mod json;
mod license_server;
mod one_address;
mod plot;
mod random;
mod results;
mod site;
mod table;

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, anyhow, bail};
use clap::Args;

use self::results::{Plan, Results};
use crate::program::{now, root, step};

/// Options of the simulation.
#[derive(Args)]
pub(crate) struct Simulate {
    /// Number of License Clients; default is 1000000
    #[arg(long, value_parser = clap::value_parser!(u64).range(1_000..=100_000_000))]
    clients: Option<u64>,

    /// Length of a License Server outage in hours; can be repeated; default is 1, 6 and 24
    #[arg(long = "outage", value_name = "HOURS", value_parser = clap::value_parser!(u16).range(1..=720))]
    outages: Vec<u16>,

    /// Number of seeds, each of which simulates a different fleet; default is 5
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=1_000))]
    seeds: Option<u64>,

    /// Directory for `simulate.json` and `simulate.svg`; default is docs/benchmarks, or none with
    /// --quick
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,

    /// Simulate a small fleet within seconds, without a release build: by default 20000 clients, 2
    /// seeds, and an outage of 1 hour
    #[arg(long)]
    quick: bool,
}

impl Simulate {
    /// As part of `cargo xtask test`.
    pub(crate) fn quick() -> Self {
        Self {
            clients: None,
            outages: Vec::new(),
            seeds: None,
            out: None,
            quick: true,
        }
    }

    fn plan(&self) -> Plan {
        let (clients, outages, seeds) = match self.quick {
            true => (20_000, vec![1], 2),
            false => (1_000_000, vec![1, 6, 24], 5),
        };
        Plan {
            sites: self.clients.unwrap_or(clients),
            outages: match self.outages.is_empty() {
                true => outages,
                false => self.outages.clone(),
            },
            seeds: self.seeds.unwrap_or(seeds),
            threads: std::thread::available_parallelism().map_or(1, usize::from),
        }
    }

    fn directory(&self) -> Option<PathBuf> {
        let default = (!self.quick).then(|| root().join("docs/benchmarks"));
        self.out.clone().or(default)
    }
}

pub(crate) fn run(command: &Simulate) -> Result<()> {
    if cfg!(debug_assertions) && !command.quick {
        return run_release_build();
    }
    let start = now();
    let results = Results::run(command.plan())?;
    println!("{}", table::table(&results));
    if let Some(directory) = command.directory() {
        write(&results, &directory)?;
    }
    let missed = results.missed_targets();
    if !missed.is_empty() {
        bail!(
            "the simulation missed its targets:\n  {}",
            missed.join("\n  ")
        );
    }
    let seconds = start.elapsed().as_secs_f64();
    println!("── simulation: all targets met, {seconds:.0} s");
    Ok(())
}

/// The full size would take hours without optimization.
fn run_release_build() -> Result<()> {
    let mut command = Command::new("cargo");
    command
        .args([
            "run",
            "--quiet",
            "--release",
            "--locked",
            "--package",
            "xtask",
        ])
        .arg("--manifest-path")
        .arg(root().join("Cargo.toml"))
        .arg("--")
        .args(std::env::args_os().skip(1));
    step("the simulation, as a release build", &mut command)
}

fn write(results: &Results, directory: &Path) -> Result<()> {
    let json = serde_json::to_string_pretty(&json::json(results))? + "\n";
    let svg = plot::plot(results).map_err(|error| anyhow!("cannot draw the plot: {error}"))?;
    let context = || format!("cannot write the results to {}", directory.display());
    std::fs::create_dir_all(directory).with_context(context)?;
    for (name, content) in [("simulate.json", json), ("simulate.svg", svg)] {
        let path = directory.join(name);
        std::fs::write(&path, content).with_context(context)?;
        println!("wrote {}", path.display());
    }
    Ok(())
}
