//! More machines than seats.

use anyhow::{Context as _, Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::Outcome;
use crate::http::{Answer, request};
use crate::stage::{Running, Stage, printed};

/// Moves per year that a license allows by default.
const TRANSFER_BUDGET: usize = 3;
const NONCE: &str = "bm9uY2Utb2YtMzItYnl0ZXMtZm9yLWFuLWF0dGFjay0";

/// Calls the License Server like a site.
pub(super) fn call(
    server: &Running,
    question: &str,
    (key, hardware): (&str, &str),
    seq: Option<u64>,
) -> Result<Answer> {
    let installation = format!("installation-of-{hardware}");
    let body = json!({
        "licenseKey": key, "hardwareId": hardware, "installationId": installation,
        "installationName": "Attack", "installationVersion": "1.0.0",
    });
    let seq = seq.map(|seq| seq.to_string());
    let mut headers = vec![
        ("X-Installation-Id", installation.as_str()),
        ("X-License-Nonce", NONCE),
    ];
    headers.extend(seq.as_deref().map(|seq| ("X-License-Seq", seq)));
    let path = format!("/api/licenses/{question}");
    request(server.port, "POST", &path, &headers, &body.to_string())
}

/// The claims of the signed license in an answer; `None` if there is no license.
pub(super) fn signed_claims(answer: &Answer) -> Option<Value> {
    let signature = answer.json()["data"]["license"]["signature"].clone();
    claims(signature.as_str()?)
}

fn claims(jws: &str) -> Option<Value> {
    let payload = URL_SAFE_NO_PAD.decode(jws.split('.').nth(1)?).ok()?;
    serde_json::from_slice(&payload).ok()
}

pub(super) fn cycling(stage: &Stage) -> Result<Outcome> {
    let server = stage.server(&[])?;
    let key = stage.issue(&["--seats", "1"])?;
    let machines = stage.sized(8, 40);
    let mut leases = 0;
    for number in 0..machines {
        let machine = format!("machine-{number}");
        let answer = call(&server, "activate", (&key, &machine), None)?;
        leases += usize::from(signed_claims(&answer).is_some());
        call(&server, "deactivate", (&key, &machine), None)?;
    }
    let allowed = 1 + TRANSFER_BUDGET;
    let seen =
        format!("{leases} of {machines} machines hold a lease on one seat; {allowed} are allowed");
    // No lease at all means that the attack was not tried.
    Ok(Outcome::new((1..=allowed).contains(&leases), seen))
}

pub(super) fn offline_cycling(stage: &Stage) -> Result<Outcome> {
    let server = stage.server(&[])?;
    let key = stage.issue(&["--seats", "1"])?;
    let machines = stage.sized(4, 8);
    let mut leases = 0;
    for number in 0..machines {
        let state = format!("site-{number}");
        let site = stage.client(server.port, &state, &[])?;
        let wanted = json!({"purpose": "activate", "licenseKey": key});
        let file = site.ask("POST", "/api/license/offline/request", &wanted)?;
        let file = file.json()["file"].clone();
        ensure!(file.is_string(), "the License Client wrote no request file");
        let body = json!({ "request": file }).to_string();
        let answer = request(server.port, "POST", "/api/licenses/offline", &[], &body)?;
        leases += usize::from(answer.json()["data"]["granted"] == true);
        let machine = format!("machine-of-{state}");
        call(&server, "deactivate", (&key, &machine), None)?;
    }
    let seen = format!("{leases} of {machines} machines hold a 90-day lease on one seat");
    Ok(Outcome::new(leases == 1, seen))
}

pub(super) fn hidden_clone(stage: &Stage) -> Result<Outcome> {
    let server = stage.server(&[])?;
    let key = stage.issue(&["--seats", "1"])?;
    let seat = (key.as_str(), "machine");
    let suspicions = |about: &str| -> Result<Vec<String>> {
        let found = stage.vendor(&["suspicions", about, "--json"])?;
        let found: Value = serde_json::from_str(&found)?;
        let found = found
            .as_array()
            .context("an unexpected list of suspicions")?;
        Ok(found.iter().map(Value::to_string).collect())
    };
    let seq = |answer: &Answer| signed_claims(answer).and_then(|claims| claims["seq"].as_u64());
    let first = call(&server, "activate", seat, None)?;
    let first = seq(&first).context("the machine was not activated")?;
    call(&server, "validate", seat, Some(first))?;
    // The site and its copy, both without the header.
    for _ in 0..10 {
        call(&server, "validate", seat, None)?;
    }
    let noticed = !suspicions(&key)?.is_empty();

    // Someone who knows the key tries to accuse another machine's seat.
    let other = stage.issue(&["--seats", "1"])?;
    let seat = (other.as_str(), "honest");
    let answer = call(&server, "activate", seat, None)?;
    let mut known = seq(&answer);
    call(&server, "heartbeat", seat, Some(9_007_199_254_740_991))?;
    call(&server, "validate", seat, Some(9_007_199_254_740_991))?;
    for _ in 0..5 {
        let answer = call(&server, "validate", seat, known)?;
        known = seq(&answer);
    }
    let accused = suspicions(&other)?
        .iter()
        .any(|it| it.contains("shared_identity"));
    let seen = match (noticed, accused) {
        (true, false) => "the copy is detected, and a false number accuses no machine",
        (false, _) => "not noticed",
        (true, true) => "an honest site is accused",
    };
    Ok(Outcome::new(noticed && !accused, seen))
}

pub(super) fn deactivation_after_rotation(stage: &Stage) -> Result<Outcome> {
    let server = stage.server(&[])?;
    let key = stage.issue(&["--seats", "1"])?;
    let client = stage.client(server.port, "site", &[])?;
    client.activate(&key)?;
    stage.vendor(&["keys", "rotate", "--at-once"])?;
    // The License Server loads the new key automatically.
    std::thread::sleep(std::time::Duration::from_secs(3));
    let output = stage
        .client_command(server.port, "site")?
        .env("PORT", client.port.to_string())
        .arg("deactivate")
        .output()?;
    let standing = client.standing()?;
    let held = output.status.success() && standing == "unlicensed";
    let printed = printed(&output);
    let seen = format!(
        "exit {}, {standing}: {}",
        output.status.code().unwrap_or(-1),
        printed.lines().last().unwrap_or_default()
    );
    Ok(Outcome::new(held, seen))
}
