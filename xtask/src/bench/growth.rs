//! How throughput and the start change with more connections, features and rows.

use std::process::Command;
use std::time::Duration;

use anyhow::Result;

use super::clients::{MAX_FEATURES, licensed, with_features};
use super::in_process;
use super::peers::{bare_axum, constant_nginx};
use super::plan::Plan;
use super::results::{Line, Plot, Results};
use super::startup;
use super::throughput::{CHECK, CHECK_BODY, show};
use super::wrk::{CONNECTIONS, Question};
use crate::program::output;
use crate::stage::{Running, Size, Stage};

/// Numbers of connections.
const LOADS: [u32; 10] = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512];
/// Numbers of features in a license.
const FEATURES: [u32; 4] = [10, 100, 1_000, MAX_FEATURES];
/// Numbers of rows in the log of attempts when the service starts.
const ROWS: [u32; 5] = [0, 1_000, 10_000, 100_000, 1_000_000];

pub(super) fn measure(plan: &Plan, results: &mut Results) -> Result<()> {
    let gate = in_process::by_features(plan)?;
    results.plots.push(connections(plan)?);
    results.plots.push(features(plan, gate)?);
    results.plots.extend(rows(plan)?);
    Ok(())
}

/// How long it takes, roughly.
pub(super) fn time(plan: &Plan) -> Duration {
    let (seconds, rounds) = plan.growth();
    let measurements = loads(plan).len() * 3 + sizes(plan).len() + log_sizes(plan).len();
    Duration::from_secs(measurements as u64 * seconds * rounds + plan.sized(10, 40))
}

fn loads(plan: &Plan) -> &'static [u32] {
    plan.sized(&[1, 32], &LOADS)
}

fn sizes(plan: &Plan) -> &'static [u32] {
    &FEATURES[..plan.sized(2, FEATURES.len())]
}

fn log_sizes(plan: &Plan) -> &'static [u32] {
    &ROWS[..plan.sized(2, ROWS.len())]
}

fn check(stage: &Stage, name: &'static str, server: &Running) -> Result<Question> {
    Question::new(stage, name, server, CHECK, CHECK_BODY)
}

fn connections(plan: &Plan) -> Result<Plot> {
    let stage = Stage::new(Size::Small, plan.profile)?;
    let (axum, nginx) = (bare_axum(&stage)?, constant_nginx(&stage)?);
    let (client, _server) = licensed(&stage, &[])?;
    let questions = [
        check(&stage, "License Client", &client)?,
        check(&stage, "bare axum", &axum)?,
        check(&stage, "nginx constant", &nginx)?,
    ];
    let mut lines = questions.each_ref().map(|it| Line::new(it.name));
    let (seconds, rounds) = plan.growth();
    for round in 1..=rounds {
        for load in loads(plan) {
            println!("{load} connections");
            for (question, line) in questions.iter().zip(&mut lines) {
                let measured = question.ask(*load, seconds)?;
                show(round, question.name, &measured);
                line.add(f64::from(*load), measured.requests_per_second / 1_000.0);
            }
        }
    }
    Ok(Plot {
        id: "connections".to_owned(),
        title: "Checks per second".to_owned(),
        x: "connections".to_owned(),
        y: "thousand requests/s".to_owned(),
        lines: lines.into(),
    })
}

fn features(plan: &Plan, gate: Line) -> Result<Plot> {
    let stage = Stage::new(Size::Small, plan.profile)?;
    let mut clients = Vec::new();
    for size in sizes(plan) {
        clients.push((*size, with_features(&stage, *size)?));
    }
    let line = relative(&stage, plan, &clients)?;
    Ok(Plot {
        id: "features".to_owned(),
        title: "Checks per second, relative to 10 features".to_owned(),
        x: "features in the license".to_owned(),
        y: "×".to_owned(),
        lines: vec![line, gate],
    })
}

/// The rate of each License Client, over that of the first one in the same round.
fn relative(stage: &Stage, plan: &Plan, clients: &[(u32, Running)]) -> Result<Line> {
    let mut line = Line::new("License Client");
    let (seconds, rounds) = plan.growth();
    for round in 1..=rounds {
        let mut first = None;
        for (size, client) in clients {
            let measured = check(stage, "License Client", client)?.ask(CONNECTIONS, seconds)?;
            show(round, &format!("{size}"), &measured);
            let rate = measured.requests_per_second;
            line.add(f64::from(*size), rate / *first.get_or_insert(rate));
        }
    }
    Ok(line)
}

/// Throughput and start with rows in the log of attempts.
fn rows(plan: &Plan) -> Result<[Plot; 2]> {
    // Each has its own directory.
    let (mut stages, mut clients) = (Vec::new(), Vec::new());
    let mut starts = Line::new("License Client");
    for rows in log_sizes(plan) {
        let stage = Stage::new(Size::Small, plan.profile)?;
        let (client, server) = licensed(&stage, &[])?;
        client.stop()?;
        insert(&stage, *rows)?;
        let (client, ms) = startup::start(&stage, server.port)?;
        println!("{rows} rows  the first 200 after {ms:.1} ms");
        starts.add(f64::from(*rows), ms);
        clients.push((*rows, client));
        stages.push((stage, server));
    }
    let scripts = Stage::new(Size::Small, plan.profile)?;
    let rates = relative(&scripts, plan, &clients)?;
    // Programs end before their directories are removed.
    drop(clients);
    drop(stages);
    Ok([
        (
            "rows",
            "Checks per second, relative to an empty log",
            "×",
            rates,
        ),
        ("rows-start", "First 200 after the start", "ms", starts),
    ]
    .map(|(id, title, y, line)| Plot {
        id: id.to_owned(),
        title: title.to_owned(),
        x: "rows in the log of attempts before the start".to_owned(),
        y: y.to_owned(),
        lines: vec![line],
    }))
}

/// Adds validations of the last minutes, so that no row is too old to be kept.
fn insert(stage: &Stage, rows: u32) -> Result<()> {
    if rows == 0 {
        return Ok(());
    }
    let sql = format!(
        "WITH RECURSIVE row(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM row WHERE n < {rows}) \
         INSERT INTO local_license_validation_attempts (license_key, result, error_message, \
         hardware_id, attempted_at) SELECT license_key, result, 'added', hardware_id, \
         attempted_at FROM row, (SELECT * FROM local_license_validation_attempts LIMIT 1);"
    );
    let database = stage.path("client").join("license-client.sqlite");
    output(Command::new("sqlite3").arg(database).arg(sql)).map(drop)
}
