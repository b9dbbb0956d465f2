//! `cargo xtask test`: what CI runs.

use anyhow::Result;
use clap::Args;

use crate::attack::{self, Attack};
use crate::bench::{self, Bench};
use crate::check_apis::{self, CheckApis};
use crate::postgres::Cluster;
use crate::program::{cargo, now, step};
use crate::secrets;
use crate::setup::{self, Extent};
use crate::simulate::{self, Simulate};

/// What to run.
#[derive(Args)]
pub(crate) struct Test {
    /// Skip formatting, lints and documentation
    #[arg(long)]
    only_tests: bool,

    /// Run a quick subset of the tests, in under three minutes: skip tests with gateways, browsers,
    /// wrong wall clocks or long outages, and the search of all logs; implies --only-tests
    #[arg(long)]
    fast: bool,

    /// Arguments for `cargo test`; default is to run all tests
    #[arg(last = true, value_name = "ARGUMENTS")]
    arguments: Vec<String>,
}

/// Modules of tests that `--fast` skips: they run gateways, browsers or a wrong wall clock, or
/// take long, as outages and restarts do.
const SLOW: [&str; 12] = [
    "gates::",
    "console::",
    "consoles_behind_tls::",
    "failover::",
    "faked_time::",
    "kept_time::",
    "listener::",
    "outage::",
    "own_certificates::",
    "replicas::",
    "rotation::",
    "upgrade::",
];

pub(crate) fn run(command: &Test) -> Result<()> {
    let start = now();
    if !command.only_tests && !command.fast {
        step("formatting", &mut cargo(&["fmt", "--all", "--check"]))?;
        let clippy = [
            "clippy",
            "--workspace",
            "--all-targets",
            "--locked",
            "--",
            "-D",
            "warnings",
        ];
        step("lints", &mut cargo(&clippy))?;
        let doc = [
            "doc",
            "--workspace",
            "--no-deps",
            "--locked",
            "--document-private-items",
        ];
        step(
            "documentation",
            cargo(&doc).env("RUSTDOCFLAGS", "-D warnings"),
        )?;
    }
    let extent = if command.fast {
        Extent::Fast
    } else {
        Extent::Full
    };
    setup::ensure(extent)?;
    let cluster = Cluster::start()?;
    let logs = tempfile::tempdir()?;
    let mut tests = cargo(&["test", "--locked"]);
    if command.arguments.is_empty() {
        tests.arg("--workspace");
    }
    tests
        .args(&command.arguments)
        .env("TEST_POSTGRES_URL", cluster.url())
        .env("TEST_LOGS", logs.path())
        // Snapshots are reviewed, never written by a test run.
        .env("INSTA_UPDATE", "no");
    if command.fast {
        if !command.arguments.iter().any(|argument| argument == "--") {
            tests.arg("--");
        }
        tests.args(SLOW.iter().flat_map(|module| ["--skip", *module]));
    }
    step("tests on SQLite and PostgreSQL", &mut tests)?;
    // Not every test logs something.
    if command.arguments.is_empty() && !command.fast {
        secrets::search(logs.path())?;
        attack::run(&Attack::on_tested_programs())?;
        check_apis::run(&CheckApis::on_tested_programs())?;
        bench::run(&Bench::on_tested_programs())?;
        simulate::run(&Simulate::quick())?;
    }
    println!("── all done: {:.0} s", start.elapsed().as_secs_f64());
    Ok(())
}
