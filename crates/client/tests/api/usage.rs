//! What is in use: reported, counted, sent, and held against the license.

use chrono::TimeDelta;
use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::database::{Engine, TestDatabase, on_both_engines};
use crate::harness::{KEY, Site};
use crate::scripted_cloud::ScriptedCloud;

on_both_engines! {
    reports_are_summed_sent_and_expire;
    without_reports_the_tables_of_the_vms_are_counted;
    queries_are_asked_and_can_only_read;
    limits_are_those_of_the_license;
}

async fn sent(site: &Site, cloud: &ScriptedCloud) -> Value {
    let (_, answer) = site.post("/api/license/heartbeat", None).await;
    assert_eq!(answer["success"], true);
    let arrived = cloud.arrived();
    let mut heartbeats = arrived.iter().filter(|it| it.path.ends_with("heartbeat"));
    let body: Value = serde_json::from_str(&heartbeats.next_back().unwrap().body).unwrap();
    body["usageMetrics"].clone()
}

async fn limit(site: &Site, resource: &str, requested: u64) -> Value {
    let body = json!({"resource": resource, "requested": requested});
    let (status, answer) = site.post("/api/license/limits/check", Some(body)).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    answer
}

async fn report(site: &Site, report: Value) -> Value {
    let (status, answer) = site.put("/api/license/usage", report).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    answer
}

async fn reports_are_summed_sent_and_expire(engine: Engine) {
    let cloud = ScriptedCloud::start().await;
    let mut site = Site::start(engine, &cloud.url, &[]).await;
    site.activate(KEY).await;
    let nothing = json!({"camerasInUse": 0, "usersActive": 0, "storageUsedGb": 0});
    assert_eq!(sent(&site, &cloud).await, nothing);

    report(
        &site,
        json!({"source": "recorder-1", "cameras": 20, "storageGb": 512, "expiresInSeconds": 600}),
    )
    .await;
    let in_use = report(
        &site,
        json!({"source": "recorder-2", "cameras": 12, "users": 3}),
    )
    .await;
    assert_eq!(
        (&in_use["cameras"], &in_use["storageGb"]),
        (&json!(32), &json!(512))
    );
    let all = json!({"camerasInUse": 32, "usersActive": 3, "storageUsedGb": 512});
    assert_eq!(sent(&site, &cloud).await, all);
    // A new report replaces the older one, and reports outlive a restart.
    report(
        &site,
        json!({"source": "recorder-2", "cameras": 10, "users": 3}),
    )
    .await;
    site.restart().await;
    assert_eq!(sent(&site, &cloud).await["camerasInUse"], 30);
    let (_, metrics) = site.get("/metrics").await;
    let metrics = metrics.as_str().unwrap();
    assert!(
        metrics.contains("foxsight_license_usage{resource=\"cameras\"} 30"),
        "{metrics}"
    );

    site.advance(TimeDelta::seconds(301));
    assert_eq!(sent(&site, &cloud).await["camerasInUse"], 20);
    site.advance(TimeDelta::seconds(300));
    assert_eq!(sent(&site, &cloud).await, nothing);

    for wrong in [
        json!({"source": "", "cameras": 1}),
        json!({"source": "x".repeat(101), "cameras": 1}),
        json!({"cameras": 1}),
        json!({"source": "x"}),
        json!({"source": "x", "cameras": -1}),
        json!({"source": "x", "cameras": 1.5}),
        json!({"source": "x", "cameras": 1, "expiresInSeconds": 0}),
        json!({"source": 7, "cameras": 1}),
    ] {
        let (status, answer) = site.put("/api/license/usage", wrong.clone()).await;
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{wrong} {answer}");
    }
    site.end().await;
}

async fn vms(engine: Engine) -> TestDatabase {
    let database = TestDatabase::new(engine).await;
    database
        .execute("CREATE TABLE cameras (id INTEGER, gb BIGINT); CREATE TABLE users (id INTEGER);")
        .await;
    database
        .execute("INSERT INTO cameras VALUES (1, 100), (2, 50), (3, 1); INSERT INTO users VALUES (1), (2);")
        .await;
    database
}

async fn without_reports_the_tables_of_the_vms_are_counted(engine: Engine) {
    let cloud = ScriptedCloud::start().await;
    let site = Site::start_on(vms(engine).await, &cloud.url, &[]).await;
    site.activate(KEY).await;
    let counted = json!({"camerasInUse": 3, "usersActive": 2, "storageUsedGb": 0});
    assert_eq!(sent(&site, &cloud).await, counted);
    let check = limit(&site, "cameras", 61).await;
    assert_eq!(check["allowed"], true);
    assert_eq!(
        (&check["inUse"], &check["remaining"]),
        (&json!(3), &json!(61))
    );
    // What services report stands before what is counted.
    report(&site, json!({"source": "s", "users": 9})).await;
    assert_eq!(sent(&site, &cloud).await["usersActive"], 9);
    assert_eq!(sent(&site, &cloud).await["camerasInUse"], 3);
    site.end().await;
}

async fn queries_are_asked_and_can_only_read(engine: Engine) {
    let cloud = ScriptedCloud::start().await;
    let flags = [
        "--usage-cameras-query",
        "SELECT count(*) FROM cameras WHERE id > 1;",
        "--usage-users-query",
        "WITH two AS (SELECT id FROM users) SELECT count(*) FROM two -- all",
        "--usage-storage-gb-query",
        "SELECT sum(gb) FROM cameras; -- GB",
    ];
    let site = Site::start_on(vms(engine).await, &cloud.url, &flags).await;
    site.activate(KEY).await;
    let expected = json!({"camerasInUse": 2, "usersActive": 2, "storageUsedGb": 151});
    assert_eq!(sent(&site, &cloud).await, expected);
    site.database.execute("DROP TABLE users").await;
    // What cannot be counted any more keeps its last number.
    tokio::time::sleep(std::time::Duration::from_millis(1100)).await;
    assert_eq!(sent(&site, &cloud).await, expected);
    let (_, diagnostics) = site.post("/api/license/diagnostics", None).await;
    for (query, health, said) in [
        ("USAGE_CAMERAS_QUERY", "ok", "counts 2"),
        ("USAGE_USERS_QUERY", "error", "users"),
        ("USAGE_STORAGE_GB_QUERY", "ok", "counts 151"),
    ] {
        let findings = diagnostics["findings"].as_array().unwrap();
        let finding = findings.iter().find(|it| it["what"] == query).unwrap();
        assert_eq!(finding["health"], health, "{finding}");
        let found = finding["found"].as_str().unwrap();
        assert!(found.contains(said), "{finding}");
    }
    site.end().await;
}

async fn limits_are_those_of_the_license(engine: Engine) {
    let cloud = ScriptedCloud::start().await;
    let site = Site::start(engine, &cloud.url, &[]).await;
    assert_eq!(limit(&site, "cameras", 1).await["reason"], "no_license");
    site.activate(KEY).await;
    report(&site, json!({"source": "s", "cameras": 60, "users": 25})).await;
    let fits = limit(&site, "cameras", 4).await;
    let expected = json!({
        "resource": "cameras", "requested": 4, "allowed": true, "reason": "within_limit",
        "message": "60 of 64 cameras are in use", "limit": 64, "inUse": 60, "remaining": 4,
    });
    assert_eq!(fits, expected);
    assert_eq!(limit(&site, "cameras", 5).await["reason"], "limit_reached");
    // Over the limit: nothing more is allowed, and nothing is switched off.
    let over = limit(&site, "users", 1).await;
    assert_eq!(
        (&over["allowed"], &over["remaining"]),
        (&json!(false), &json!(0))
    );
    assert!(site.is_available("module.user_management").await);
    assert_eq!(
        limit(&site, "storage_gb", 1_000_000).await["reason"],
        "unlimited"
    );
    let body = json!({"resource": "planets"});
    let (status, _) = site.post("/api/license/limits/check", Some(body)).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    site.end().await;
}
