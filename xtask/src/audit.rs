//! `cargo xtask audit`: checks dependencies against `deny.toml`.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Result, bail};
use clap::Args;

use crate::program::{cargo, exists, output, root, step};

/// Options of the dependency check.
#[derive(Args)]
pub(crate) struct Audit {
    /// A git bundle, or a clone, of the `RustSec` advisory database
    #[arg(long, value_name = "PATH")]
    advisories: Option<PathBuf>,
}

impl Audit {
    /// Only what needs no database of advisories.
    pub(crate) fn without_advisories() -> Self {
        Self { advisories: None }
    }
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
        println!("── advisories are not checked; pass their database with --advisories");
        return Ok(());
    };

    // Offline, cargo-deny expects its database in a directory whose name contains the hash of
    // the address that it would fetch from.
    let directory = tempfile::tempdir()?;
    let clone = directory.path().join("advisory-db-3157b0e258782691");
    output(
        Command::new("git")
            .args(["-c", "advice.detachedHead=false", "clone", "--quiet"])
            .arg(database)
            .arg(&clone),
    )?;
    // A bundle of a shallow clone does not mark that the parents of its newest commit are
    // missing.
    let newest = output(
        Command::new("git")
            .arg("-C")
            .arg(&clone)
            .args(["rev-parse", "HEAD"]),
    )?;
    std::fs::write(clone.join(".git/shallow"), newest)?;

    let config = directory.path().join("deny.toml");
    let rules = std::fs::read_to_string(root().join("deny.toml"))?;
    let advisories = format!("{rules}\n[advisories]\ndb-path = {:?}\n", directory.path());
    std::fs::write(&config, advisories)?;
    let mut check = cargo(&["deny", "--workspace", "--offline", "--config"]);
    step(
        "advisories",
        check.arg(&config).args(["check", "advisories"]),
    )
}
