//! `cargo xtask fuzz`: coverage-guided fuzzing for a number of executions.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use clap::Args;

use crate::program::{cargo, now, output, root};

const TARGETS: [&str; 7] = [
    "document",
    "key_set",
    "contact",
    "license_file",
    "configuration",
    "request",
    "path",
];

/// Options of the fuzzing run.
#[derive(Args)]
pub(crate) struct Fuzz {
    /// Targets; default is all
    #[arg(value_parser = TARGETS)]
    targets: Vec<String>,

    /// Number of executions of each target
    #[arg(long, default_value_t = 100_000)]
    runs: u64,
}

pub(crate) fn run(command: &Fuzz) -> Result<()> {
    let fuzzer = output(Command::new("cargo").args(["fuzz", "--version"]));
    fuzzer.context("cargo-fuzz is missing; install it with: cargo install --locked cargo-fuzz")?;
    let all = TARGETS.map(str::to_owned).to_vec();
    let targets = if command.targets.is_empty() {
        &all
    } else {
        &command.targets
    };
    let fuzz = root().join("fuzz");
    for target in targets {
        seed(&fuzz.join("corpus").join(target))?;
    }
    for target in targets {
        println!("── fuzzing {target}");
        let start = now();
        let runs = format!("-runs={}", command.runs);
        // Without sanitizers, a stable compiler is enough; this code has no unsafe parts for them
        // to check.
        let fuzzed = cargo(&["fuzz", "run", "--sanitizer", "none", target, "--"])
            .args([
                &runs,
                "-max_len=4096",
                "-print_final_stats=1",
                "-verbosity=0",
            ])
            .status()?;
        ensure!(
            fuzzed.success(),
            "{target} failed; the input is in fuzz/artifacts/{target}"
        );
        println!(
            "── fuzzing {target}: {} executions, {:.0} s, no failures",
            command.runs,
            start.elapsed().as_secs_f64()
        );
    }
    Ok(())
}

/// Starts with valid inputs, so that the fuzzer gets past the first check.
fn seed(corpus: &Path) -> Result<()> {
    fs::create_dir_all(corpus)?;
    let path = "/api//v2/./x/..%2f%2e%2E/Cameras;v=1/%252e%252e/a%20b?x=1#y";
    fs::write(corpus.join("path"), path)?;
    let seeds = fs::read_to_string(root().join("crates/hostile-input/seeds.txt"))?;
    for (number, seed) in seeds.lines().enumerate() {
        fs::write(corpus.join(format!("seed-{number}")), seed)?;
        let answer = format!(
            r#"dd{{"success":true,"data":{{"isValid":true,"license":{{"licenseKey":"k","signature":"{seed}"}}}}}}"#
        );
        fs::write(corpus.join(format!("answer-{number}")), answer)?;
        let file = format!(
            "a-----BEGIN FOXSIGHT LICENSE FILE-----\n{seed}\n-----END FOXSIGHT LICENSE FILE-----\n"
        );
        fs::write(corpus.join(format!("file-{number}")), file)?;
    }
    Ok(())
}
