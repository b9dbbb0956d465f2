//! Wrong clocks and lost time.

use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::Value;

use super::Outcome;
use super::seats::{call, signed_claims};
use crate::program::free_port;
use crate::stage::Stage;

/// A License Client without contact has made its attempt after this time.
const FIRST_TRY: Duration = Duration::from_secs(10);

/// A license for one day, which has ended by every clock.
pub(super) fn time_file(stage: &Stage) -> Result<Outcome> {
    let server = stage.server(&[])?;
    let key = stage.issue(&["--expires-in-days", "1"])?;
    let client = stage.client(server.port, "site", &[])?;
    client.activate(&key)?;
    ensure!(client.standing()? == "active", "the site is not active");
    client.stop()?;
    server.stop()?;
    let kept = stage.path("site/time.json");
    let unused_port = free_port()?;
    let mut seen = Vec::new();
    for (wall, edited) in [
        ("+30h", None),
        ("+365d", None),
        ("+30h", Some("{}")),
        ("+365d", Some("not JSON")),
    ] {
        match edited {
            None if kept.exists() => std::fs::remove_file(&kept)?,
            None => {}
            Some(text) => std::fs::write(&kept, text)?,
        }
        let mut command = stage.command("license-client", "site");
        command
            .env(
                "LICENSE_API_URL",
                format!("http://127.0.0.1:{unused_port}/api"),
            )
            .env("LICENSE_HARDWARE_ID", "machine-of-site")
            .env("LICENSE_TRUSTED_KEYS", stage.path("trusted-keys.json"));
        stage.fake_clock(&mut command, wall)?;
        let client = stage.serve(command)?;
        let standing = client.until_standing("lapsed", FIRST_TRY)?;
        seen.push((
            format!("{} {}", wall, edited.unwrap_or("deleted")),
            standing,
        ));
    }
    let works: Vec<String> = seen
        .iter()
        .filter(|(_, standing)| standing != "lapsed")
        .map(|(what, standing)| format!("{what}: {standing}"))
        .collect();
    let held = works.is_empty();
    let seen = if held {
        "lapsed each time".to_owned()
    } else {
        works.join(", ")
    };
    Ok(Outcome::new(held, seen))
}

pub(super) fn server_ahead(stage: &Stage) -> Result<Outcome> {
    let server = stage.server(&[])?;
    let key = stage.issue(&["--seats", "2"])?;
    let seat = (key.as_str(), "machine");
    let lease = signed_claims(&call(&server, "activate", seat, None)?);
    ensure!(lease.is_some(), "the machine was not activated");
    server.stop()?;
    let mut command = stage.command("license-server", "server");
    stage.fake_clock(&mut command, "@2038-01-01 00:00:00")?;
    let server = stage.serve(command)?;
    let mut seen = Vec::new();
    let mut held = true;
    for (question, seat) in [("validate", seat), ("activate", (key.as_str(), "another"))] {
        let answer = call(&server, question, seat, None)?;
        let signed = signed_claims(&answer);
        held &= answer.status == 503 && signed.is_none();
        let until = signed.map_or(Value::Null, |claims| claims["exp"].clone());
        seen.push(match until {
            Value::Null => format!("{question}: {}", answer.status),
            until => format!("{question}: signed until {until}"),
        });
    }
    Ok(Outcome::new(held, seen.join(", ")))
}

pub(super) fn server_behind(stage: &Stage) -> Result<Outcome> {
    let server = stage.server(&[])?;
    let key = stage.issue(&["--seats", "1"])?;
    let seat = (key.as_str(), "machine");
    call(&server, "activate", seat, None)?;
    server.stop()?;
    let listed: Value = serde_json::from_str(&stage.vendor(&["keys", "list", "--json"])?)?;
    let text = listed.to_string();
    let old = text
        .split("\"kid\":\"")
        .nth(1)
        .and_then(|rest| rest.split('"').next());
    let old = old.ok_or_else(|| anyhow::anyhow!("no key is listed: {text}"))?;
    stage.vendor(&["keys", "rotate", "--at-once"])?;
    stage.vendor(&["keys", "revoke", old])?;
    let mut command = stage.command("license-server", "server");
    stage.fake_clock(&mut command, "-2m")?;
    let server = stage.serve(command)?;
    let answer = call(&server, "validate", seat, None)?;
    let held = answer.status == 200 && signed_claims(&answer).is_some();
    Ok(Outcome::new(
        held,
        format!("{} to a validation", answer.status),
    ))
}
