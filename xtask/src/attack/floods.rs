//! Requests that could each use up disk space.

use std::time::Duration;

use anyhow::{Result, ensure};

use super::Outcome;
use super::seats::call;
use crate::http::request;
use crate::program::now;
use crate::stage::{Running, Stage, UNTRUSTED};

/// Cycles of one key after which it has to be rate limited.
const MAX_CYCLES: u32 = 200;
/// Maximum number of log lines per kind of refusal.
const MAX_LINES: usize = 30;

pub(super) fn growth(stage: &Stage) -> Result<Outcome> {
    let server = stage.server(&[])?;
    let key = stage.issue(&["--seats", "50"])?;
    let size = || -> u64 {
        let files = ["license-server.sqlite", "license-server.sqlite-wal"];
        let sizes = files.map(|file| {
            let path = stage.path("server").join(file);
            std::fs::metadata(path).map_or(0, |it| it.len())
        });
        sizes.iter().sum()
    };
    let before = size();
    let start = now();
    let time = Duration::from_secs(stage.sized(4, 30));
    let mut cycles = 0;
    let mut retry_after = None;
    'attack: for number in 0.. {
        let machine = format!("machine-{}", number % 50);
        for question in ["activate", "heartbeat", "deactivate"] {
            let answer = call(&server, question, (&key, &machine), None)?;
            if answer.status == 429 {
                retry_after = Some(answer.header("retry-after").map(str::to_owned));
                break 'attack;
            }
        }
        cycles += 1;
        if start.elapsed() > time {
            break;
        }
    }
    let (kib, elapsed) = (size().saturating_sub(before) / 1024, start.elapsed());
    let rate = f64::from(cycles) / elapsed.as_secs_f64();
    Ok(match retry_after {
        None => Outcome::new(
            false,
            format!("{cycles} cycles, {rate:.0} a second, {kib} KiB written, none refused"),
        ),
        Some(after) => Outcome::new(
            cycles <= MAX_CYCLES && after.is_some(),
            format!(
                "429 after {cycles} cycles and {kib} KiB, Retry-After: {}",
                after.as_deref().unwrap_or("none")
            ),
        ),
    })
}

pub(super) fn log_growth(stage: &Stage) -> Result<Outcome> {
    let server = stage.server(&[])?;
    let client = stage.client(server.port, "site", UNTRUSTED)?;
    let count = stage.sized(300, 5000);
    let mut seen = Vec::new();
    let mut held = true;
    for (name, running, api) in [
        ("client", &client, "/api/license/validate"),
        ("server", &server, "/api/admin/licenses"),
    ] {
        let before = running.log().len();
        let lines_before = running.log().lines().count();
        flood(running, api, count)?;
        let log = running.log();
        let lines = log.lines().count() - lines_before;
        held &= lines <= MAX_LINES;
        seen.push(format!(
            "{name}: {lines} lines, {} bytes",
            log.len() - before
        ));
    }
    let seen = format!("{} refusals each; {}", count * 3, seen.join("; "));
    Ok(Outcome::new(held, seen))
}

/// All refusals that an unauthenticated caller can cause.
fn flood(running: &Running, api: &str, count: u32) -> Result<()> {
    let form = ("Content-Type", "application/x-www-form-urlencoded");
    let wrong = ("Authorization", "Bearer wrong-0123456789abcdef");
    for _ in 0..count {
        let sign_in = request(
            running.port,
            "POST",
            "/console/sign-in",
            &[form],
            "token=wrong-0123456789abcdef",
        )?;
        ensure!(sign_in.status != 303, "a wrong token was accepted");
        let method = if api.contains("admin") { "GET" } else { "POST" };
        for headers in [[wrong].as_slice(), &[]] {
            let answer = request(running.port, method, api, headers, "")?;
            ensure!(answer.status >= 400, "a call without a valid token passed");
        }
    }
    Ok(())
}
