//! `cargo xtask bench`: ours beside something bare, in one run, because a
//! machine's speed changes by the hour.

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

    /// Seconds for each measurement
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=60))]
    seconds: u64,

    /// Rounds, in which everything is measured in turn
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=20))]
    rounds: u64,

    /// Subscribers to events
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u16).range(1..=4000))]
    subscribers: u16,
}

#[derive(Clone, Copy, ValueEnum)]
enum What {
    /// The feature check beside a bare axum route of the same shape
    Check,
    /// nginx that asks the License Client, beside nginx that asks a bare axum
    /// route
    Gate,
    /// Memory of subscribers to events, and how long one change takes to all
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
