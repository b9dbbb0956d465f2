//! `cargo xtask bench`: compares our programs with minimal ones in the same run, because the
//! speed of a machine varies by the hour.

mod clients;
mod events;
mod gate;
mod growth;
mod hostile;
mod in_process;
mod machine;
mod memory;
mod peers;
mod plan;
mod plots;
mod process;
mod report;
mod results;
mod rows;
mod size;
mod startup;
mod statistics;
mod thousands;
mod throughput;
mod wrk;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, ensure};
use clap::{Args, ValueEnum};

use self::machine::Machine;
use self::plan::Plan;
pub(crate) use self::process::resident_kib;
use self::results::Results;
use crate::packages::{self, Need};
use crate::program::{now, root};
use crate::stage::Profile;

/// Options of the benchmarks.
#[derive(Args)]
pub(crate) struct Bench {
    /// What to measure; default is everything, which also writes the report
    #[arg(value_enum, value_name = "PART")]
    parts: Vec<Part>,

    /// Duration of each request measurement in seconds; default is 5
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=60))]
    seconds: Option<u64>,

    /// Number of rounds; each round measures everything; default is 5
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=20))]
    rounds: Option<u64>,

    /// Number of event subscribers for measuring delays; default is 1,000
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=4000))]
    subscribers: Option<u32>,

    /// Only check that everything works: 1 second, 1 round, small plots; the report goes to
    /// target/benchmarks
    #[arg(long)]
    quick: bool,

    /// Fail if a target is not reached
    #[arg(long)]
    strict: bool,

    /// Which build to measure; with `dev`, the figures have no meaning, and the report goes to
    /// target/benchmarks
    #[arg(long, value_enum, default_value_t = Profile::Release)]
    profile: Profile,

    /// Measure the existing build
    #[arg(long)]
    no_build: bool,
}

impl Bench {
    /// A quick run with the programs built by the tests.
    pub(crate) fn on_tested_programs() -> Self {
        Self {
            parts: Vec::new(),
            seconds: None,
            rounds: None,
            subscribers: None,
            quick: true,
            strict: false,
            profile: Profile::Dev,
            no_build: true,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Part {
    /// Requests per second, latency and CPU of the API, compared with minimal servers
    Check,
    /// nginx gated by the License Client, compared with nginx gated by a minimal axum
    /// route
    Gate,
    /// Memory of the process, of its connections and of event subscribers
    Memory,
    /// How long a change takes to reach all event subscribers
    Events,
    /// The time from the start to the first response
    Startup,
    /// The sizes of the programs
    Size,
    /// `Gate::check` and the gate's layer, in the process (release only)
    InProcess,
    /// CPU of the most expensive requests to every open route
    Hostile,
    /// How throughput grows with connections, features and rows
    Growth,
}

/// The programs that measurements need.
pub(crate) fn needs() -> [Need; 3] {
    [
        Need::program("wrk"),
        Need::program("nginx"),
        Need::program("sqlite3"),
    ]
}

pub(crate) fn run(command: &Bench) -> Result<()> {
    packages::ensure(&needs())?;
    let plan = Plan::of(command);
    let parts = match command.parts.as_slice() {
        [] => Part::value_variants(),
        some => some,
    };
    ensure!(
        plan.is_release() || !command.strict,
        "--strict needs a release build: the figures of dev builds have no meaning"
    );
    // Before the build, which keeps the machine busy.
    let machine = Machine::read()?;
    if machine.is_busy() {
        let load = machine.load_before;
        println!("warning: this machine is busy (load {load}); figures will be worse than usual");
    }
    if !command.no_build {
        peers::build(plan.profile)?;
    }
    let mut results = Results::new(&plan, machine);
    let failed = measure(parts, &plan, &mut results);
    print!("\n{}", report::as_text(&results));
    if !plan.is_release() {
        println!("figures of dev builds have no meaning: this run shows that the command works");
    }
    if command.parts.is_empty() {
        let directory = report_directory(&plan, failed.is_empty());
        report::write(&results, &directory)?;
        println!("written to {}", directory.display());
    }
    ensure!(failed.is_empty(), "not measured: {}", failed.join("; "));
    let missed = report::missed(&results);
    ensure!(
        !command.strict || missed.is_empty(),
        "targets not reached: {}",
        missed.join("; ")
    );
    Ok(())
}

/// Measures the parts; returns those that failed, and why.
fn measure(parts: &[Part], plan: &Plan, results: &mut Results) -> Vec<String> {
    let mut failed = Vec::new();
    let start = now();
    let total: Duration = parts.iter().map(|part| part.time(plan)).sum();
    println!(
        "── rounds: {}, {} s each; about {} min",
        plan.rounds,
        plan.seconds,
        total.as_secs().div_ceil(60)
    );
    for (number, part) in (1..).zip(parts) {
        println!(
            "── {number}/{}: {}, about {} s; {} s so far",
            parts.len(),
            part.name(),
            part.time(plan).as_secs(),
            start.elapsed().as_secs()
        );
        if let Err(error) = part.measure(plan, results) {
            println!("── {} failed: {error:#}", part.name());
            failed.push(format!("{}: {error:#}", part.name()));
        }
    }
    println!("── measured in {:.0} s", start.elapsed().as_secs_f64());
    failed
}

impl Part {
    fn measure(self, plan: &Plan, results: &mut Results) -> Result<()> {
        match self {
            Self::Check => throughput::measure(plan, results),
            Self::Gate => gate::measure(plan, results),
            Self::Memory => memory::measure(plan, results),
            Self::Events => events::measure(plan, results),
            Self::Startup => startup::measure(plan, results),
            Self::Size => size::measure(plan, results),
            Self::InProcess => in_process::measure(plan, results),
            Self::Hostile => hostile::measure(plan, results),
            Self::Growth => growth::measure(plan, results),
        }
    }

    fn name(self) -> String {
        let value = self.to_possible_value();
        value.map_or(String::new(), |value| value.get_name().to_owned())
    }

    /// How long it takes, roughly.
    fn time(self, plan: &Plan) -> Duration {
        let starts = Duration::from_secs(5);
        match self {
            Self::Check => starts * 2 + plan.time_of(throughput::MEASUREMENTS),
            Self::Gate => starts + plan.time_of(gate::MEASUREMENTS),
            Self::Memory => starts * plan.sized(1, 6),
            Self::Events | Self::Startup => starts,
            Self::Size => Duration::ZERO,
            Self::InProcess if plan.is_release() => Duration::from_secs(plan.sized(120, 360)),
            Self::InProcess => Duration::ZERO,
            Self::Hostile => Duration::from_secs(plan.sized(20, 60)),
            Self::Growth => growth::time(plan),
        }
    }
}

/// Only a full run of release builds replaces the published report.
fn report_directory(plan: &Plan, is_complete: bool) -> PathBuf {
    let is_published = plan.is_release() && !plan.is_quick && is_complete;
    root().join(match is_published {
        true => "docs/benchmarks",
        false => "target/benchmarks",
    })
}
