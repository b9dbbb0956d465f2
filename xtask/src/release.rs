//! `cargo xtask release --dry-run`: everything that is checked before a version is published.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};
use clap::Args;
use serde_json::Value;

use crate::audit::{self, Audit};
use crate::program::{cargo, exists, output, root, step};

const PROGRAMS: [&str; 2] = ["license-client", "license-server"];

/// Options of the release check.
#[derive(Args)]
pub(crate) struct Release {
    /// Only check, and do not publish; to publish, follow CONTRIBUTING.md, "Releasing"
    #[arg(long, required = true)]
    dry_run: bool,

    /// Skip the two release builds, which take several minutes each
    #[arg(long)]
    skip_builds: bool,
}

pub(crate) fn run(command: &Release) -> Result<()> {
    let missing: Vec<&str> = ["cargo-deny", "cargo-cyclonedx"]
        .into_iter()
        .filter(|tool| !exists(tool))
        .collect();
    if !missing.is_empty() {
        bail!(
            "missing tools; install them with: cargo install --locked {}",
            missing.join(" ")
        );
    }
    let version = version()?;
    changelog(&version)?;
    audit::run(&Audit::without_advisories())?;
    let out = root().join("target/release-check");
    if out.exists() {
        fs::remove_dir_all(&out)?;
    }
    fs::create_dir_all(&out)?;
    bills_of_materials(&out)?;
    if command.skip_builds {
        println!("── the builds are not compared");
    } else {
        compare_builds(&out)?;
    }
    println!("── version {version} can be released; publishing is a separate step");
    Ok(())
}

/// The one version of all crates.
fn version() -> Result<String> {
    let arguments = ["metadata", "--no-deps", "--locked", "--format-version", "1"];
    let metadata: Value = serde_json::from_str(&output(&mut cargo(&arguments))?)?;
    let packages = metadata["packages"].as_array().context("no packages")?;
    let mut versions: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for package in packages {
        let text = |name: &str| package[name].as_str().context("not a text");
        versions
            .entry(text("version")?)
            .or_default()
            .push(text("name")?);
    }
    let mut all = versions.keys();
    match (all.next(), all.next()) {
        (Some(version), None) => Ok((*version).to_owned()),
        _ => bail!("the crates have different versions: {versions:?}"),
    }
}

/// The changelog has a section for this version, with content.
fn changelog(version: &str) -> Result<()> {
    let text = fs::read_to_string(root().join("CHANGELOG.md"))?;
    let heading = format!("## {version}");
    let section = text
        .split("\n## ")
        .find(|section| section.split_whitespace().next() == Some(version))
        .with_context(|| format!("CHANGELOG.md has no section '{heading}'"))?;
    ensure!(
        section.lines().skip(1).any(|line| !line.trim().is_empty()),
        "CHANGELOG.md: the section '{heading}' is empty"
    );
    if section
        .lines()
        .next()
        .is_some_and(|line| line.contains("unreleased"))
    {
        println!("── CHANGELOG.md: '{heading}' is still marked as unreleased");
    }
    println!("── version {version}: the changelog has a section");
    Ok(())
}

/// `CycloneDX` documents of what each program contains.
fn bills_of_materials(out: &Path) -> Result<()> {
    let arguments = ["cyclonedx", "--format", "json", "--describe", "binaries"];
    step("bills of materials (CycloneDX)", &mut cargo(&arguments))?;
    for (package, program) in [("client", PROGRAMS[0]), ("server", PROGRAMS[1])] {
        let name = format!("{program}_bin.cdx.json");
        let made = root().join("crates").join(package).join(&name);
        let document: Value = serde_json::from_str(&fs::read_to_string(&made)?)?;
        let components = document["components"].as_array().map_or(0, Vec::len);
        ensure!(components > 0, "{name} lists no components");
        let kept = out.join(&name);
        fs::rename(&made, &kept)?;
        println!("   {}: {components} components", kept.display());
    }
    remove_other_documents()
}

/// The tool writes a document into the directory of every crate.
fn remove_other_documents() -> Result<()> {
    let crates = fs::read_dir(root().join("crates"))?;
    let directories = crates.map(|entry| entry.map(|entry| entry.path()));
    for directory in directories.chain([Ok(root().join("xtask"))]) {
        for entry in fs::read_dir(directory?)? {
            let path = entry?.path();
            if path.to_string_lossy().ends_with(".cdx.json") {
                fs::remove_file(path)?;
            }
        }
    }
    Ok(())
}

/// Two builds of the committed state, in two directories, have to be the same byte for byte.
fn compare_builds(out: &Path) -> Result<()> {
    let mut hashes = Vec::new();
    for name in ["first", "second"] {
        let source = out.join(name);
        let mut clone = Command::new("git");
        clone.args(["clone", "--quiet"]).arg(root()).arg(&source);
        output(&mut clone)?;
        hashes.push(build(&source)?);
        fs::remove_dir_all(&source)?;
    }
    for (program, first, second) in PROGRAMS
        .iter()
        .map(|program| (program, &hashes[0][*program], &hashes[1][*program]))
    {
        ensure!(
            first == second,
            "{program}: two builds differ ({first} and {second})"
        );
        println!("   {program}: {first}, twice");
    }
    Ok(())
}

/// The SHA-256 of each program.
fn build(source: &Path) -> Result<BTreeMap<&'static str, String>> {
    let home = "printf %s \"${CARGO_HOME:-$HOME/.cargo}\"";
    let home = output(Command::new("sh").args(["-c", home]))?;
    // What is left of paths in a program must not depend on where it was built.
    let remap = format!(
        "--remap-path-prefix={}=/source --remap-path-prefix={}=/cargo",
        source.display(),
        home
    );
    let mut build = cargo(&["build", "--release", "--locked"]);
    build
        .args(PROGRAMS.iter().flat_map(|program| ["-p", *program]))
        .env("RUSTFLAGS", remap)
        .env_remove("CARGO_TARGET_DIR")
        .current_dir(source);
    step(&format!("building in {}", source.display()), &mut build)?;
    PROGRAMS
        .iter()
        .map(|program| {
            let path = source.join("target/release").join(program);
            let sum = output(Command::new("sha256sum").arg(path))?;
            let hash = sum.split_whitespace().next().context("no hash")?;
            Ok((*program, hash.to_owned()))
        })
        .collect()
}
