//! What is in use: reported, counted, sent, and held against the license.

use chrono::TimeDelta;
use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::database::{Engine, TestDatabase, on_both_engines};
use crate::harness::{KEY, Site};
use crate::scripted_cloud::{ScriptedCloud, usual_license};

on_both_engines! {
    reports_are_summed_sent_and_expire;
    without_reports_the_tables_of_the_vms_are_counted;
    queries_are_asked_and_can_only_read;
    limits_are_those_of_the_license;
    anything_else_is_counted_by_its_key;
    reports_of_too_many_keys_are_refused;
}

async fn sent(site: &Site, cloud: &ScriptedCloud) -> Value {
    let (_, answer) = site.post("/api/license/heartbeat", None).await;
    assert_eq!(answer["success"], true);
    let arrived = cloud.arrived();
    let mut heartbeats = arrived.iter().filter(|it| it.path.ends_with("heartbeat"));
    let body: Value = serde_json::from_str(&heartbeats.next_back().unwrap().body).unwrap();
    body["usageMetrics"].clone()
}

/// What the last heartbeat said is known.
fn known(cloud: &ScriptedCloud) -> String {
    let arrived = cloud.arrived();
    let mut heartbeats = arrived.iter().filter(|it| it.path.ends_with("heartbeat"));
    let headers = &heartbeats.next_back().unwrap().headers;
    headers["x-license-usage"].to_str().unwrap().to_owned()
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
    assert_eq!(known(&cloud), "cameras=?,users=?,storage_gb=?");

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
    assert_eq!(known(&cloud), "cameras=20,users=?,storage_gb=512");
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
    // What can no longer be counted keeps its last number for an hour.
    site.advance(TimeDelta::minutes(59));
    assert_eq!(sent(&site, &cloud).await, expected);
    assert_eq!(known(&cloud), "cameras=2,users=2,storage_gb=151");
    site.advance(TimeDelta::minutes(2));
    // A count is used for a second, by the clock of the machine.
    let mut numbers = sent(&site, &cloud).await;
    while known(&cloud).starts_with("cameras=?") {
        numbers = sent(&site, &cloud).await;
    }
    assert_eq!(known(&cloud), "cameras=2,users=?,storage_gb=151");
    let unknown = json!({"camerasInUse": 2, "usersActive": 0, "storageUsedGb": 151});
    assert_eq!(numbers, unknown);
    assert_eq!(limit(&site, "users", 1).await["inUse"], Value::Null);
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
        "message": "cameras: 60 of 64 in use", "limit": 64, "inUse": 60, "remaining": 4,
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
    for wrong in [
        json!({}),
        json!({"resource": 7}),
        json!({"resource": " "}),
        json!({"resource": "a\u{0}"}),
        json!({"resource": "x".repeat(101)}),
    ] {
        let (status, _) = site
            .post("/api/license/limits/check", Some(wrong.clone()))
            .await;
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{wrong}");
    }
    site.end().await;
}

async fn list(site: &Site) -> Vec<Value> {
    let (status, answer) = site.get("/api/license/limits").await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    answer["limits"].as_array().unwrap().clone()
}

/// The report of a service that counts lanes.
fn lanes(source: &str, lanes: u64) -> Value {
    json!({"source": source, "counts": {"anpr_lanes": lanes}})
}

async fn anything_else_is_counted_by_its_key(engine: Engine) {
    let cloud = ScriptedCloud::start().await;
    let mut license = usual_license(KEY);
    license["entitlements"] = json!([{"key": "anpr_lanes", "quantity": 8}]);
    cloud.license(license);
    let mut site = Site::start(engine, &cloud.url, &[]).await;
    let unlicensed = limit(&site, "anpr_lanes", 1).await;
    assert_eq!(unlicensed["reason"], "no_license", "{unlicensed}");
    assert_eq!(unlicensed["allowed"], false, "{unlicensed}");
    site.activate(KEY).await;
    // What no service has reported is unknown, not 0.
    assert_eq!(limit(&site, "anpr_lanes", 1).await["inUse"], Value::Null);

    report(&site, lanes("gate-north", 5)).await;
    let in_use = report(&site, lanes("gate-south", 2)).await;
    assert_eq!(in_use["counts"], json!({"anpr_lanes": 7}), "{in_use}");
    assert_eq!(in_use["cameras"], Value::Null, "{in_use}");
    let eighth = limit(&site, "anpr_lanes", 1).await;
    assert_eq!(
        (&eighth["allowed"], &eighth["remaining"]),
        (&json!(true), &json!(1))
    );
    site.restart().await;
    let in_use = report(&site, lanes("gate-south", 3)).await;
    assert_eq!(in_use["counts"], json!({"anpr_lanes": 8}), "{in_use}");
    let ninth = limit(&site, "anpr_lanes", 1).await;
    let expected = json!({
        "resource": "anpr_lanes", "requested": 1, "allowed": false, "reason": "limit_reached",
        "message": "anpr_lanes: 8 of 8 in use", "limit": 8, "inUse": 8, "remaining": 0,
    });
    assert_eq!(ninth, expected);
    // The heartbeat of version 1.0.0 has no field for it, and is unchanged; a header has it.
    let nothing = json!({"camerasInUse": 0, "usersActive": 0, "storageUsedGb": 0});
    assert_eq!(sent(&site, &cloud).await, nothing);
    assert_eq!(known(&cloud), "cameras=?,users=?,storage_gb=?,anpr_lanes=8");

    let doors = limit(&site, "doors", 1).await;
    assert_eq!(doors["reason"], "not_in_license", "{doors}");
    assert_eq!(
        (&doors["allowed"], &doors["limit"]),
        (&json!(false), &json!(0))
    );
    assert_eq!(doors["message"], "The license does not include doors");
    report(&site, json!({"source": "access", "counts": {"doors": 3}})).await;
    report(&site, lanes("gate-south", 4)).await;
    assert_shown_as_over(&site).await;
    site.end().await;
}

/// Nine of eight lanes, and three doors that the license does not count, are shown everywhere.
async fn assert_shown_as_over(site: &Site) {
    let all = list(site).await;
    let all: Vec<_> = all
        .iter()
        .map(|it| {
            (
                it["resource"].as_str().unwrap(),
                it["reason"].as_str().unwrap(),
            )
        })
        .collect();
    let expected = [
        ("cameras", "within_limit"),
        ("users", "within_limit"),
        ("storage_gb", "unlimited"),
        ("anpr_lanes", "over_limit"),
        ("doors", "over_limit"),
    ];
    assert_eq!(all, expected);
    let (_, status) = site.get("/api/license/status").await;
    let limits = json!({"anpr_lanes": 8, "cameras": 64, "storage_gb": null, "users": 20});
    assert_eq!(status["limits"], limits, "{status}");
    let (_, metrics) = site.get("/metrics").await;
    let metrics = metrics.as_str().unwrap();
    for line in [
        "foxsight_license_usage{resource=\"anpr_lanes\"} 9",
        "foxsight_license_limit{resource=\"anpr_lanes\"} 8",
        "foxsight_license_usage{resource=\"doors\"} 3",
        "foxsight_license_limit{resource=\"doors\"} 0",
    ] {
        assert!(metrics.contains(line), "{line}: {metrics}");
    }
    let (_, page) = site.get("/").await;
    let page = page.as_str().unwrap();
    assert!(
        page.contains("<span>anpr_lanes</span><b>9 of 8 (1 over)</b>"),
        "{page}"
    );
}

async fn reports_of_too_many_keys_are_refused(engine: Engine) {
    let cloud = ScriptedCloud::start().await;
    let site = Site::start(engine, &cloud.url, &[]).await;
    let keys = |range: std::ops::Range<usize>| -> Value {
        range.map(|it| (format!("key{it}"), json!(1))).collect()
    };
    let put = async |source: &str, counts: Value| {
        let body = json!({"source": source, "counts": counts});
        site.put("/api/license/usage", body).await
    };
    for wrong in [
        keys(0..33),
        json!({}),
        json!([]),
        json!({"": 1}),
        json!({"x".repeat(101): 1}),
        json!({"a\u{0}": 1}),
        json!({"lanes": null}),
        json!({"lanes": -1}),
        json!({"lanes": 1.5}),
        json!({"lanes": "1"}),
        json!({"cameras": 1}),
    ] {
        let (status, answer) = put("a", wrong.clone()).await;
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{wrong} {answer}");
    }
    assert_eq!(put("a", keys(0..32)).await.0, StatusCode::OK);
    assert_eq!(put("b", keys(32..64)).await.0, StatusCode::OK);
    let (status, answer) = put("c", keys(64..65)).await;
    assert_eq!(status, StatusCode::CONFLICT, "{answer}");
    assert_eq!(put("c", keys(1..3)).await.0, StatusCode::OK);
    assert_eq!(list(&site).await.len(), 3 + 64);
    site.end().await;
}
