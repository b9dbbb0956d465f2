//! A License Client with the largest license that can be signed, at an uncertain time.

use anyhow::Result;
use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};

use crate::stage::{Running, Stage};

/// Dated entitlements of the license, which take up almost all of its 40 KiB.
const ENTITLEMENTS: i32 = 425;
/// How far the wall clock is ahead of what the license proves: less than the length of a lease.
const LEAD: &str = "+20h";

/// A License Client whose license has many dated entitlements of one count and of one feature, some
/// of which may or may not have begun: without `time.json`, only the license proves the time, and
/// the wall clock is ahead of that.
pub(super) fn largest(stage: &Stage) -> Result<Running> {
    let server = stage.server(&[("LOG", "warn")])?;
    let client = stage.client(server.port, "largest", &[("LOG", "warn")])?;
    let key = stage.issue(&["--never-expires"])?;
    let written = std::fs::metadata(stage.path("trusted-keys.json"))?.modified()?;
    let arguments = entitlements(written.into());
    let arguments = arguments.iter().map(String::as_str);
    let amend = ["amend", &key].into_iter().chain(arguments);
    stage.vendor(&amend.collect::<Vec<_>>())?;
    client.activate(&key)?;
    client.stop()?;
    let mut command = stage.client_command(server.port, "largest")?;
    server.stop()?;
    std::fs::remove_file(stage.path("largest").join("time.json"))?;
    command.env("LOG", "error");
    stage.fake_clock(&mut command, LEAD)?;
    stage.serve(command)
}

/// Entitlements that overlap: one begins every four minutes, and each lasts for 400 days.
fn entitlements(now: DateTime<Utc>) -> Vec<String> {
    let text = |at: DateTime<Utc>| at.to_rfc3339_opts(SecondsFormat::Secs, true);
    let entitlement = |number: i32| {
        let from = now + TimeDelta::minutes(4) * number;
        let what = match number % 10 {
            0 => "module.alarm_advanced",
            _ => "cameras=1",
        };
        let until = from + TimeDelta::days(400);
        [
            "--add",
            what,
            "--from",
            &text(from),
            "--until",
            &text(until),
        ]
        .map(str::to_owned)
    };
    (1..=ENTITLEMENTS).flat_map(entitlement).collect()
}
