//! `cargo xtask test`: what CI runs.

use anyhow::Result;
use clap::Args;

use crate::postgres::Cluster;
use crate::program::{cargo, now, step};

/// What to run.
#[derive(Args)]
pub(crate) struct Test {
    /// Leave out formatting, lints and documentation
    #[arg(long)]
    only_tests: bool,

    /// Arguments for `cargo test`; default is everything
    #[arg(last = true, value_name = "ARGUMENTS")]
    arguments: Vec<String>,
}

pub(crate) fn run(command: &Test) -> Result<()> {
    let start = now();
    if !command.only_tests {
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
    let cluster = Cluster::start()?;
    let mut tests = cargo(&["test", "--locked"]);
    if command.arguments.is_empty() {
        tests.arg("--workspace");
    }
    tests
        .args(&command.arguments)
        .env("TEST_POSTGRES_URL", cluster.url())
        // Snapshots are reviewed, never written by a test run.
        .env("INSTA_UPDATE", "no");
    step("tests on SQLite and PostgreSQL", &mut tests)?;
    println!("── all done: {:.0} s", start.elapsed().as_secs_f64());
    Ok(())
}
