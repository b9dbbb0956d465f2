//! `cargo xtask audit`: what we depend on, judged by `deny.toml`.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Result, bail};
use clap::Args;

use crate::program::{cargo, exists, output, root, step};

/// What to check.
#[derive(Args)]
pub(crate) struct Audit {
    /// A git bundle, or a clone, of the `RustSec` advisory database
    #[arg(long, value_name = "PATH")]
    advisories: Option<PathBuf>,
}

pub(crate) fn run(command: &Audit) -> Result<()> {
    if !exists("cargo-deny") {
        bail!("cargo-deny is missing; install it with: cargo install --locked cargo-deny");
    }
    let mut check = cargo(&["deny", "--workspace", "check"]);
    step(
        "licenses, bans and sources",
        check.args(["licenses", "bans", "sources"]),
    )?;
    let Some(database) = &command.advisories else {
        println!("── advisories are not checked: name their database with --advisories");
        return Ok(());
    };

    // cargo-deny wants to fetch its database from a git address. It gets a
    // clone in a directory of its own, and deny.toml with that address.
    let directory = tempfile::tempdir()?;
    let clone = directory.path().join("advisory-db");
    output(
        Command::new("git")
            .args(["clone", "--quiet"])
            .arg(database)
            .arg(&clone),
    )?;
    let config = directory.path().join("deny.toml");
    let rules = std::fs::read_to_string(root().join("deny.toml"))?;
    let advisories = format!(
        "{rules}\n[advisories]\ndb-path = {:?}\ndb-urls = [\"file://{}\"]\n",
        directory.path().join("databases"),
        clone.display()
    );
    std::fs::write(&config, advisories)?;
    let mut check = cargo(&["deny", "--workspace", "check", "--config"]);
    step("advisories", check.arg(&config).arg("advisories"))
}
