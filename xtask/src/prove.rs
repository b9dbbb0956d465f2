//! `cargo xtask prove`: the checks of the rules, at any size.

use anyhow::Result;
use clap::Args;

use crate::program::{cargo, step};

/// Sizes of the checks.
#[derive(Args)]
pub(crate) struct Prove {
    /// Number of simulated site hours
    #[arg(long, default_value_t = 1_000_000)]
    hours: u64,

    /// Seed of the first site
    #[arg(long, default_value_t = 1)]
    seed: u64,

    /// Number of simulated steps of allocations
    #[arg(long, default_value_t = 10_000_000)]
    allocation_steps: u64,

    /// Number of replayed answers
    #[arg(long, default_value_t = 100_000)]
    replays: u64,

    /// Number of mutated inputs for each parser of untrusted bytes
    #[arg(long, default_value_t = 200_000)]
    inputs: u64,
}

pub(crate) fn run(command: &Prove) -> Result<()> {
    let tests = ["test", "--release", "--locked"];
    step(
        "flipped bits, truncations, replays, simulated sites and allocations",
        cargo(&tests)
            .args(["-p", "license-core", "--test", "rules", "--"])
            .args(["exhaustive", "simulator", "allocation_model"])
            .args(["--nocapture", "--test-threads=2"])
            .env("GOLDEN_DOCUMENTS", "20")
            .env("REPLAYS", command.replays.to_string())
            .env("SIMULATED_HOURS", command.hours.to_string())
            .env("ALLOCATION_STEPS", command.allocation_steps.to_string())
            .env("ALLOCATION_SEED", command.seed.to_string())
            .env("SIMULATOR_SEED", command.seed.to_string()),
    )?;
    step(
        "mutated inputs",
        cargo(&tests)
            .args(["-p", "license-hostile-input", "--", "--nocapture"])
            .env("HOSTILE_INPUTS", command.inputs.to_string()),
    )
}
