//! `cargo xtask demo`: the main use case end to end, with the real programs.
//!
//! Every step prints the action and the answer from the service, and fails unless the answer
//! is as expected.

mod stage;

use anyhow::{Context as _, Result, ensure};
use clap::Args;
use serde_json::Value;

use self::stage::Stage;
use crate::program::{cargo, now, step};

/// Options of the demo.
#[derive(Args)]
pub(crate) struct Demo {
    /// Leave both programs running, and print how to use them
    #[arg(long)]
    keep: bool,
}

const PAID: &str = "module.analytics_advanced";
const RECORDING: &str = "module.recording_basic";
const LIVE_VIEW: &str = "module.live_view";

pub(crate) fn run(command: &Demo) -> Result<()> {
    let packages = ["-p", "license-server", "-p", "license-client"];
    step(
        "building License Server and License Client",
        cargo(&["build", "--locked"]).args(packages),
    )?;
    let start = now();
    let mut stage = Stage::new()?;
    play(&mut stage)?;
    println!(
        "\nAll {} steps succeeded in {:.0} s.",
        stage.steps,
        start.elapsed().as_secs_f64()
    );
    if command.keep {
        return stage.keep();
    }
    stage.clean_up()
}

fn play(stage: &mut Stage) -> Result<()> {
    let key = issue(stage)?;
    activate(stage, &key)?;
    lose_and_regain_contact(stage)?;
    revoke(stage, &key)
}

/// The license key.
fn issue(stage: &mut Stage) -> Result<String> {
    stage.act("The vendor starts a License Server and exports its public keys");
    stage.start_server()?;
    let keys = stage.server(&[
        "keys",
        "export",
        "--output",
        &stage.path("trusted-keys.json"),
    ])?;
    stage.answer(&format!(
        "listening on port {}; clients trust {}",
        stage.server_port,
        first_line(&keys, "trusted-keys.json")
    ));

    stage.act("The vendor issues a professional license");
    let issued = stage.server(&[
        "issue",
        "--tier",
        "professional",
        "--customer",
        "Demo Site",
        "--json",
    ])?;
    let issued: Value = serde_json::from_str(&issued)?;
    let key = issued["licenseKey"]
        .as_str()
        .context("no licenseKey was issued")?
        .to_owned();
    stage.answer(&key);
    Ok(key)
}

fn activate(stage: &mut Stage, key: &str) -> Result<()> {
    stage.act("The operator starts a License Client; nothing is licensed yet");
    stage.start_client()?;
    stage.expect_available(LIVE_VIEW, true)?;
    stage.expect_available(PAID, false)?;

    stage.act("The operator activates the key");
    let activated = stage.client(&["activate", key])?;
    stage.answer(first_line(&activated, "activated"));
    stage.expect_standing("active")?;
    stage.expect_available(PAID, true)?;
    stage.expect_available("module.nope", false)?;

    stage.act("The License Client validates on schedule: the site stays active");
    let first = stage.last_validated()?;
    stage.wait("the next validation", |stage| {
        Ok(stage.last_validated()? != first)
    })?;
    stage.expect_standing("active")
}

fn lose_and_regain_contact(stage: &mut Stage) -> Result<()> {
    stage.act("The License Server goes away");
    stage.stop_server()?;
    stage.wait("the grace period", |stage| Ok(stage.standing()? == "grace"))?;
    let status = stage.status()?;
    stage.answer(&format!(
        "grace until {} UTC: {}",
        status["gracePeriodExpires"].as_str().unwrap_or("?"),
        status["lastFailure"]["message"].as_str().unwrap_or("?")
    ));
    stage.expect_available(PAID, true)?;
    stage.expect_available(RECORDING, true)?;

    stage.act("The License Client is killed and started again, still without the License Server");
    stage.kill_client()?;
    stage.start_client()?;
    stage.expect_standing("grace")?;
    stage.expect_available(PAID, true)?;

    stage.act("The License Server comes back");
    stage.start_server()?;
    stage.wait("a confirmed validation", |stage| {
        Ok(stage.standing()? == "active")
    })?;
    stage.expect_available(PAID, true)
}

fn revoke(stage: &mut Stage, key: &str) -> Result<()> {
    stage.act("The vendor revokes the license");
    stage.server(&[
        "revoke",
        key,
        "--message",
        "The invoice was not paid; call your vendor",
    ])?;
    stage.wait("the denial", |stage| Ok(stage.standing()? == "lapsed"))?;
    let status = stage.status()?;
    ensure!(
        status["reason"] == "revoked",
        "the reason is {}",
        status["reason"]
    );
    stage.answer(&format!(
        "revoked: {}",
        status["message"].as_str().unwrap_or("?")
    ));
    stage.expect_available(PAID, false)?;
    stage.expect_available(RECORDING, true)?;
    stage.expect_available(LIVE_VIEW, true)
}

fn first_line<'a>(text: &'a str, otherwise: &'a str) -> &'a str {
    text.lines()
        .find(|line| !line.trim().is_empty())
        .unwrap_or(otherwise)
}
