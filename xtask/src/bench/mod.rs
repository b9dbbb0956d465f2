//! `cargo xtask bench`: compares our programs with minimal ones in the same run, because the
//! speed of a machine varies by the hour.

mod check;
mod events;
mod gate;
mod hostile;
mod measure;
mod programs;

use anyhow::Result;
use clap::{Args, ValueEnum};

pub(crate) use self::measure::resident_kib;

/// What to measure, and for how long.
#[derive(Args)]
pub(crate) struct Bench {
    /// What to measure
    #[arg(value_enum, default_value_t = What::Check)]
    what: What,

    /// Seconds per measurement
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=60))]
    seconds: u64,

    /// Number of rounds; each round measures everything
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=20))]
    rounds: u64,

    /// Number of event subscribers
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u16).range(1..=4000))]
    subscribers: u16,
}

#[derive(Clone, Copy, ValueEnum)]
enum What {
    /// The feature check, compared with a minimal axum route
    Check,
    /// nginx gated by the License Client, compared with nginx gated by a minimal axum
    /// route
    Gate,
    /// Memory of event subscribers, and how long a change takes to reach all of them
    Events,
    /// CPU of the most expensive requests to every open route of the License Client
    Hostile,
}

pub(crate) fn run(command: &Bench) -> Result<()> {
    match command.what {
        What::Check => check::run(command),
        What::Gate => gate::run(command),
        What::Events => events::run(command),
        What::Hostile => hostile::run(),
    }
}
