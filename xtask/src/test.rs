//! `cargo xtask test`: what CI runs.

use std::process::Command;

use anyhow::Result;
use clap::Args;

use crate::attack::{self, Attack};
use crate::postgres::Cluster;
use crate::program::{cargo, exists, now, output, step};
use crate::{gateways, packages, secrets};

/// Dependencies of the Python service and of the VMS's gateways.
const PYTHON: [&str; 6] = [
    "python3-cryptography",
    "python3-fastapi",
    "python3-httpx",
    "python3-psycopg2",
    "python3-sqlalchemy",
    "python3-uvicorn",
];

/// What to run.
#[derive(Args)]
pub(crate) struct Test {
    /// Skip formatting, lints and documentation
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
    packages::ensure_all(&PYTHON, python_is_there)?;
    for program in ["nginx", "openssl", "faketime", "pgbouncer"] {
        packages::ensure(program, || exists(program))?;
    }
    gateways::ensure()?;
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
    step("tests on SQLite and PostgreSQL", &mut tests)?;
    // Not every test logs something.
    if command.arguments.is_empty() {
        secrets::search(logs.path())?;
        attack::run(&Attack::on_tested_programs())?;
    }
    println!("── all done: {:.0} s", start.elapsed().as_secs_f64());
    Ok(())
}

fn python_is_there() -> bool {
    let import = "import cryptography, fastapi, httpx, psycopg2, sqlalchemy, uvicorn";
    output(Command::new("/usr/bin/python3").args(["-c", import])).is_ok()
}
