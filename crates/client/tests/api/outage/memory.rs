//! While the database is away, memory answers.

use std::time::Duration;

use chrono::TimeDelta;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::{GRACE, RESULTS, answers_from_memory, ready, rows, site_behind_gate, until_ready};
use crate::database::{Engine, TestDatabase};
use crate::database_gate::{Gate, Way};
use crate::harness::{HARDWARE_ID, INSTALLATION_ID, KEY, Site};
use crate::program::Program;
use crate::scripted_cloud::{Scripted, ScriptedCloud};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_the_database_is_away_memory_answers_and_the_rest_is_written_later() {
    let cloud = ScriptedCloud::start().await;
    let (mut site, gate, direct) = site_behind_gate(&cloud, &[]).await;
    site.activate(KEY).await;
    assert!(ready(&site).await);

    gate.set(Way::Cut);
    cloud.always(Some(Scripted::new(503, "")));
    let answer = site.validate().await;
    assert_eq!(answer["inGracePeriod"], true);
    answers_from_memory(&site).await;
    let (status, readiness) = site.get("/readyz").await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(readiness["unwritten"], true);
    let (_, metrics) = site.get("/metrics").await;
    assert!(
        metrics
            .as_str()
            .unwrap()
            .contains("foxsight_license_unwritten_changes 1")
    );
    let ends = site.status().await["gracePeriodExpires"].clone();

    // Neither is it forgotten by a restart without the database.
    site.advance(TimeDelta::hours(1));
    site.restart().await;
    answers_from_memory(&site).await;
    assert_eq!(site.status().await["gracePeriodExpires"], ends);
    let (_, health) = site.get("/health").await;
    assert_eq!(health["installationId"], INSTALLATION_ID);
    assert_eq!(health["hardwareId"], HARDWARE_ID);
    assert_eq!(rows(&direct, RESULTS).await, ["success"]);

    gate.set(Way::Open);
    until_ready(&site).await;
    assert_eq!(site.status().await["gracePeriodExpires"], ends);
    let results = rows(&direct, RESULTS).await;
    assert!(
        results.len() >= 2 && results[1..].iter().all(|it| it == "offline"),
        "{results:?}"
    );
    assert_eq!(rows(&direct, GRACE).await.len(), 1);

    cloud.always(None);
    assert_eq!(site.validate().await["valid"], true);
    assert_eq!(site.standing().await, "active");
    site.stop().await;
    direct.drop_database().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_first_start_without_the_database_waits_until_it_is_available() {
    let cloud = ScriptedCloud::start().await;
    let direct = TestDatabase::new(Engine::Postgres).await;
    let gate = Gate::before(&direct, Way::Cut).await;
    let through = TestDatabase::same_as(&gate.database);
    let mut site = Site::start_on(through, &cloud.url, &[]).await;
    assert!(site.is_available("module.live_view").await);
    assert!(!site.is_available("module.map_view").await);
    assert_eq!(site.get("/health").await.1["installationId"], Value::Null);
    let (status, answer) = site.activate(KEY).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{answer}");
    assert!(
        cloud.arrived().is_empty(),
        "no seat is taken that could not be stored"
    );
    let (_, readiness) = site.get("/readyz").await;
    assert!(!readiness["database"].as_str().unwrap().is_empty());

    gate.set(Way::Open);
    until_ready(&site).await;
    assert_eq!(site.activate(KEY).await.0, StatusCode::OK);
    assert_eq!(
        site.get("/health").await.1["installationId"],
        INSTALLATION_ID
    );
    site.stop().await;
    direct.drop_database().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_hangs_delays_callers_only_briefly() {
    let cloud = ScriptedCloud::start().await;
    let (mut site, gate, direct) = site_behind_gate(&cloud, &[]).await;
    site.activate(KEY).await;
    gate.set(Way::Silent);
    let start = Instant::now();
    let (activation, ()) = tokio::join!(site.activate("another"), answers_from_memory(&site));
    assert_eq!(
        activation.0,
        StatusCode::SERVICE_UNAVAILABLE,
        "{}",
        activation.1
    );
    assert!(
        start.elapsed() < Duration::from_secs(12),
        "{:?}",
        start.elapsed()
    );
    assert_eq!(site.status().await["licenseKey"], KEY);
    assert!(!ready(&site).await);
    gate.set(Way::Open);
    until_ready(&site).await;
    assert_eq!(site.activate("another").await.0, StatusCode::OK);
    site.stop().await;
    direct.drop_database().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_without_the_database_answers_immediately() {
    let cloud = ScriptedCloud::start().await;
    let (mut site, gate, direct) = site_behind_gate(&cloud, &[]).await;
    site.activate(KEY).await;
    site.stop().await;
    for way in [Way::Silent, Way::Cut, Way::Vanished] {
        gate.set(way);
        let took = site.start_again().await;
        assert!(took < Duration::from_secs(2), "{way:?}: {took:?}");
        answers_from_memory(&site).await;
        assert!(!ready(&site).await);
        site.stop().await;
        gate.set(Way::Open);
    }
    site.start_again().await;
    until_ready(&site).await;
    assert_eq!(site.status().await["licenseKey"], KEY);
    site.stop().await;
    direct.drop_database().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_report_that_is_acknowledged_while_the_database_is_away_survives_kill_9() {
    let cloud = ScriptedCloud::start().await;
    let direct = TestDatabase::new(Engine::Postgres).await;
    let gate = Gate::before(&direct, Way::Open).await;
    let directory = tempfile::tempdir().unwrap();
    let state = directory.path().join("state").display().to_string();
    let flags = [
        "--database-url",
        &gate.database.url,
        "--license-api-url",
        &cloud.url,
        "--state-dir",
        &state,
    ];
    let cameras = async |program: &Program| {
        let body = json!({"resource": "cameras"});
        let check = program.send(Method::POST, "/api/license/limits/check", &body);
        let check: Value = serde_json::from_str(&check.await.1).unwrap();
        check["inUse"].clone()
    };
    let report = |source: &str, cameras: u64| json!({"source": source, "cameras": cameras, "expiresInSeconds": 3600});
    let mut program = Program::start(&flags).await;
    let known = report("before", 1);
    assert_eq!(
        program
            .send(Method::PUT, "/api/license/usage", &known)
            .await
            .0,
        200
    );
    gate.set(Way::Cut);
    for (source, number) in [("first", 20), ("second", 300)] {
        let report = report(source, number);
        let answer = program.send(Method::PUT, "/api/license/usage", &report);
        assert_eq!(answer.await.0, 200, "{source}");
    }
    program.kill();

    // The database is still away: what was acknowledged is known.
    let mut program = Program::start(&flags).await;
    assert_eq!(cameras(&program).await, 321);
    // Where it cannot be kept, it is not acknowledged.
    std::fs::rename(&state, directory.path().join("kept")).unwrap();
    std::fs::write(&state, "in the way").unwrap();
    let answer = program
        .send(Method::PUT, "/api/license/usage", &report("third", 4000))
        .await;
    assert_eq!(answer.0, 503, "{}", answer.1);
    assert!(answer.1.contains("was not accepted"), "{}", answer.1);
    program.kill();
    std::fs::remove_file(&state).unwrap();
    std::fs::rename(directory.path().join("kept"), &state).unwrap();

    // It is written when the database is back.
    gate.set(Way::Open);
    let mut program = Program::start(&flags).await;
    let start = Instant::now();
    let stored = "SELECT value FROM system_config WHERE key = 'license_client.usage'";
    loop {
        let stored = rows(&direct, stored).await.concat();
        if ["before", "first", "second"]
            .iter()
            .all(|it| stored.contains(it))
        {
            break;
        }
        assert!(start.elapsed() < Duration::from_secs(30), "{stored}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(cameras(&program).await, 321);
    program.kill();
    direct.drop_database().await;
}
