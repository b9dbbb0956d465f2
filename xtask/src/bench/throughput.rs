//! The API under load, compared with minimal servers.

use anyhow::{Context as _, Result, ensure};

use super::clients::{MAX_FEATURES, ONE_WORKER, licensed, with_features};
use super::peers::{bare_axum, bare_hyper, constant_nginx};
use super::plan::Plan;
use super::results::{Line, Plot, Results};
use super::wrk::{CONNECTIONS, Measured, PERCENTILES, Question};
use crate::postgres::Cluster;
use crate::stage::{Running, Size, Stage};

/// What gateways of version 1.0.0 ask.
pub(super) const CHECK: &str = "/api/license/feature/check";
pub(super) const CHECK_BODY: &str = r#"{"featureKey":"module.analytics_advanced"}"#;
const AUTHORIZE: &str = "/api/license/authorize?feature=module.analytics_advanced";
const FLAGS: &str = "/ofrep/v1/evaluate/flags";
const FLAG: &str = "/ofrep/v1/evaluate/flags/module.analytics_advanced";
const CONTEXT: &str = r#"{"context":{"targetingKey":"user-1"}}"#;
const STATUS: &str = "/api/license/status";

const AXUM: &str = "bare axum: check";
const HYPER: &str = "bare hyper: check";
const NGINX: &str = "nginx: constant";
const OURS: &str = "License Client: check";
const AXUM_204: &str = "bare axum: 204";
const OURS_GATE: &str = "License Client: authorize";
const OURS_FLAG: &str = "License Client: one flag";
const OURS_FLAGS: &str = "License Client: all flags";
const OURS_STATUS: &str = "License Client: status";
const OURS_OUTAGE: &str = "License Client: check in an outage";
const OURS_10: &str = "License Client: check with 10 features";
const OURS_MAX: &str = "License Client: check with 10,000 features";

/// The figures of requests per second: ours, and what it is compared with.
const RATES: [(&str, &str, &str); 7] = [
    ("check-rate", OURS, AXUM),
    ("authorize-rate", OURS_GATE, AXUM_204),
    ("flag-rate", OURS_FLAG, AXUM),
    ("flags-rate", OURS_FLAGS, AXUM),
    ("status-rate", OURS_STATUS, AXUM),
    ("outage-rate", OURS_OUTAGE, OURS),
    ("features-rate", OURS_MAX, OURS_10),
];

/// In each round.
pub(super) const MEASUREMENTS: u64 = 12;

pub(super) fn measure(plan: &Plan, results: &mut Results) -> Result<()> {
    let stage = Stage::new(Size::Small, plan.profile)?;
    let (axum, hyper) = (bare_axum(&stage)?, bare_hyper(&stage)?);
    let nginx = constant_nginx(&stage)?;
    let (client, _server) = licensed(&stage, &[])?;
    let few = with_features(&stage, 10)?;
    let many = with_features(&stage, MAX_FEATURES)?;
    let (outage_stage, outage) = in_an_outage(plan)?;
    let question = |name, server: &Running, path, body| {
        let stage = match name == OURS_OUTAGE {
            true => &outage_stage,
            false => &stage,
        };
        Question::new(stage, name, server, path, body)
    };
    let flags = flags(&client)?;
    ensure!(flags == 15, "{flags} OpenFeature flags in a response");
    let questions = [
        question(AXUM, &axum, CHECK, CHECK_BODY)?,
        question(OURS, &client, CHECK, CHECK_BODY)?,
        question(HYPER, &hyper, CHECK, CHECK_BODY)?,
        question(NGINX, &nginx, CHECK, CHECK_BODY)?,
        question(AXUM_204, &axum, "/gate", "")?,
        question(OURS_GATE, &client, AUTHORIZE, "")?,
        question(OURS_FLAG, &client, FLAG, CONTEXT)?,
        question(OURS_FLAGS, &client, FLAGS, CONTEXT)?,
        question(OURS_STATUS, &client, STATUS, "")?,
        question(OURS_OUTAGE, &outage, CHECK, CHECK_BODY)?,
        question(OURS_10, &few, CHECK, CHECK_BODY)?,
        question(OURS_MAX, &many, CHECK, CHECK_BODY)?,
    ];
    for round in 1..=plan.rounds {
        for question in &questions {
            let measured = question.ask(CONNECTIONS, plan.seconds)?;
            show(round, question.name, &measured);
            results.add_server(question.name, measured);
        }
        compare(results)?;
    }
    results.plots.push(latencies(results));
    Ok(())
}

pub(super) fn show(round: u64, name: &str, measured: &Measured) {
    println!(
        "round {round}  {name:<43} {:>8.0} requests/s  {:>6.1} µs CPU  p99 {:.2} ms",
        measured.requests_per_second,
        measured.cpu_us,
        measured.p99_ms()
    );
}

/// A License Client whose database and License Server have stopped, and its directory.
fn in_an_outage(plan: &Plan) -> Result<(Stage, Running)> {
    let stage = Stage::new(Size::Small, plan.profile)?;
    let cluster = Cluster::start()?;
    let url = cluster.url();
    let (client, _server) = licensed(&stage, &[("DATABASE_URL", &url), ONE_WORKER])?;
    // Both stop here.
    drop(cluster);
    Ok((stage, client))
}

/// The number of flags in a response with all of them.
fn flags(client: &Running) -> Result<usize> {
    let answer = client.ask("POST", FLAGS, &serde_json::from_str(CONTEXT)?)?;
    let flags = answer.json()["flags"].as_array().map(Vec::len);
    flags.with_context(|| format!("no flags in {}", answer.body))
}

/// Adds the ratios of the last round.
fn compare(results: &mut Results) -> Result<()> {
    let last = |name: &str| {
        let server = results.servers.iter().find(|server| server.name == name);
        let round = server.and_then(|server| server.rounds.last()).cloned();
        round.with_context(|| format!("{name} was not measured"))
    };
    let (ours, axum, nginx) = (last(OURS)?, last(AXUM)?, last(NGINX)?);
    let mut ratios = vec![
        ("check-cpu", ours.cpu_us / nginx.cpu_us),
        ("check-p99", ours.p99_ms() / axum.p99_ms()),
    ];
    for (id, ours, other) in RATES {
        let rate = last(ours)?.requests_per_second / last(other)?.requests_per_second;
        ratios.push((id, rate));
    }
    for (id, ratio) in ratios {
        results.add(id, ratio)?;
    }
    Ok(())
}

/// The latencies of the servers that answer the same request.
fn latencies(results: &Results) -> Plot {
    let shown = [OURS, AXUM, HYPER, NGINX];
    let servers = shown
        .iter()
        .filter_map(|name| results.servers.iter().find(|server| server.name == *name));
    let lines = servers.map(|server| {
        let mut line = Line::new(&server.name);
        for round in &server.rounds {
            for (percentile, ms) in PERCENTILES.iter().zip(&round.latency_ms) {
                line.add(*percentile, *ms);
            }
        }
        line
    });
    Plot {
        id: "latency".to_owned(),
        title: format!("Latency of a check, {CONNECTIONS} connections"),
        x: "percentile".to_owned(),
        y: "ms".to_owned(),
        lines: lines.collect(),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::bench::machine::Machine;

    #[test]
    fn ratios_compare_servers_of_the_same_round() {
        let mut results = Results::new(&Plan::quick(), Machine::default());
        assert!(compare(&mut results).is_err());
        for (axum, ours) in [(100.0, 120.0), (50.0, 65.0)] {
            let rates = RATES.iter().flat_map(|(_, one, other)| [*one, *other]);
            let names: BTreeSet<&str> = rates.chain([NGINX]).collect();
            for name in names {
                let rate = if name == OURS { ours } else { axum };
                results.add_server(
                    name,
                    Measured {
                        requests_per_second: rate,
                        cpu_us: if name == NGINX { 8.0 } else { 6.0 },
                        latency_ms: vec![rate / 100.0; PERCENTILES.len()],
                    },
                );
            }
            compare(&mut results).unwrap();
        }
        assert_eq!(results.figures["check-rate"].rounds, [1.2, 1.3]);
        assert_eq!(results.figures["check-p99"].rounds, [1.2, 1.3]);
        assert_eq!(results.figures["check-cpu"].rounds, [0.75, 0.75]);
        assert_eq!(results.figures["flag-rate"].rounds, [1.0, 1.0]);
        let plot = latencies(&results);
        assert_eq!(plot.lines.len(), 3);
        assert_eq!(plot.lines[0].points[0].rounds, [1.2, 0.65]);
    }
}
