//! The time from the start of a License Client to its first response.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use super::clients::{ONE_WORKER, licensed};
use super::plan::Plan;
use super::results::Results;
use super::throughput::{CHECK, CHECK_BODY};
use crate::http::request;
use crate::program::{answers, free_port, now};
use crate::stage::{Running, Size, Stage};

/// How often the connection is tried.
const INTERVAL: Duration = Duration::from_micros(200);

pub(super) fn measure(plan: &Plan, results: &mut Results) -> Result<()> {
    let stage = Stage::new(Size::Small, plan.profile)?;
    let (client, server) = licensed(&stage, &[])?;
    client.stop()?;
    for round in 1..=plan.rounds * 2 {
        let (client, ms) = start(&stage, server.port)?;
        client.stop()?;
        println!("round {round}  the first 200 after {ms:.1} ms");
        results.add("start", ms)?;
    }
    Ok(())
}

/// Starts the License Client of this stage; returns the milliseconds until it has answered a
/// check.
pub(super) fn start(stage: &Stage, server: u16) -> Result<(Running, f64)> {
    let port = free_port()?;
    let mut command = stage.client_command(server, "client")?;
    command
        .envs([ONE_WORKER, ("LOG", "warn")])
        .env("PORT", port.to_string())
        .arg("serve");
    let start = now();
    let client = stage.spawn(command, port)?;
    while !answers(port) {
        ensure!(
            start.elapsed().as_secs() < 60,
            "not started: {}",
            client.log()
        );
        std::thread::sleep(INTERVAL);
    }
    let answer = request(port, "POST", CHECK, &[], CHECK_BODY).with_context(|| client.log())?;
    let ms = start.elapsed().as_secs_f64() * 1000.0;
    ensure!(answer.status == 200, "{} {}", answer.status, answer.body);
    let is_licensed = answer.json()["available"] == true;
    ensure!(is_licensed, "the license was not read: {}", answer.body);
    Ok((client, ms))
}
