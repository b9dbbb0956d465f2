//! `cargo xtask check-apis`: both APIs answer as their `OpenAPI` documents say.
//!
//! Schemathesis generates requests from each document, valid and invalid ones, sends them to the
//! real program, and compares the answers with the document. Deliberate differences are listed
//! in `xtask/schemathesis/`.

use std::process::Command;

use anyhow::Result;
use clap::Args;

use crate::gateways;
use crate::program::{root, step};
use crate::stage::{Profile, Running, Size, Stage, TOKEN};

/// Options of the API check.
#[derive(Args)]
pub(crate) struct CheckApis {
    /// Number of generated requests for each operation
    #[arg(long, default_value_t = 100)]
    examples: u32,

    /// Seed of the generated requests: the same seed generates the same requests
    #[arg(long, default_value_t = 1)]
    seed: u64,

    /// Check the existing build
    #[arg(long)]
    no_build: bool,
}

impl CheckApis {
    /// A short run with the programs built by the tests.
    pub(crate) fn on_tested_programs() -> Self {
        Self {
            examples: 15,
            seed: 1,
            no_build: true,
        }
    }
}

pub(crate) fn run(command: &CheckApis) -> Result<()> {
    gateways::install()?;
    if !command.no_build {
        Profile::Dev.build()?;
    }
    let stage = Stage::new(Size::Small, Profile::Dev)?;
    let server = stage.server(&[("TRUSTED_PROXIES", "1")])?;
    let client = stage.client(server.port, "client", &[])?;
    client.activate(&stage.issue(&[])?)?;
    for (name, program) in [("License Client", &client), ("License Server", &server)] {
        check(&stage, name, program, command)?;
    }
    Ok(())
}

fn check(stage: &Stage, name: &str, program: &Running, command: &CheckApis) -> Result<()> {
    let folder = root().join("xtask/schemathesis");
    let mut schemathesis = Command::new("/usr/bin/python3");
    schemathesis
        .args(["-m", "schemathesis.cli", "--config-file"])
        .arg(folder.join(format!("{}.toml", name.replace(' ', "-").to_lowercase())))
        .arg("run")
        .arg(format!("http://127.0.0.1:{}/openapi.json", program.port))
        .args(["--header", &format!("Authorization: Bearer {TOKEN}")])
        .args(["--max-examples", &command.examples.to_string()])
        .args(["--seed", &command.seed.to_string()])
        // Debug builds are slow.
        .args(["--request-timeout", "20"])
        .env("SCHEMATHESIS_HOOKS", folder.join("callers.py"))
        .env("PYTHONPATH", root().join("target/gateways/schemathesis"))
        .env("NO_PROXY", "127.0.0.1")
        // It keeps a cache in its directory.
        .current_dir(stage.path(""));
    step(&format!("API of the {name}"), &mut schemathesis)
}
