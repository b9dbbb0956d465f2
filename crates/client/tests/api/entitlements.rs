//! Licenses whose entitlements start and end on their own.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use license_gate::{Gate, Limit};
use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::database::{Engine, on_both_engines};
use crate::harness::{KEY, START, Site};
use crate::scripted_cloud::{Scripted, ScriptedCloud, usual_license};

const ANALYTICS: &str = "module.analytics_advanced";

on_both_engines! {
    a_feature_starts_and_ends_to_the_second_without_contact;
    what_is_counted_is_the_sum_of_what_is_in_force;
    a_gate_without_contact_changes_its_limits_on_time;
    what_ends_is_warned_of_and_what_changes_next_is_named;
}

/// A site whose license lists these entitlements.
async fn site(engine: Engine, cloud: &ScriptedCloud, entitlements: Value) -> Site {
    let mut license = usual_license(KEY);
    license["entitlements"] = entitlements;
    cloud.license(license);
    let site = Site::start(engine, &cloud.url, &[]).await;
    let (status, answer) = site.activate(KEY).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    site
}

/// A time after the start of the tests, in whole seconds.
fn after(seconds: i64) -> DateTime<Utc> {
    let start: DateTime<Utc> = START.parse().unwrap();
    DateTime::from_timestamp(start.timestamp() + seconds, 0).unwrap()
}

fn text(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(chrono::SecondsFormat::Secs, true)
}

/// Whether the feature may be used, and why.
async fn check(site: &Site, feature: &str) -> (bool, String) {
    let body = json!({ "featureKey": feature });
    let (_, answer) = site.post("/api/license/feature/check", Some(body)).await;
    let available = answer["available"].as_bool().unwrap();
    let (_, flag) = site
        .post(
            &format!("/ofrep/v1/evaluate/flags/{feature}"),
            Some(json!({"context": {}})),
        )
        .await;
    assert_eq!(flag["value"], available, "{flag}");
    (available, answer["reason"].as_str().unwrap().to_owned())
}

async fn a_feature_starts_and_ends_to_the_second_without_contact(engine: Engine) {
    let cloud = ScriptedCloud::start().await;
    let (from, until) = (after(600), after(1200));
    let entitlements = json!([
        {"key": "module.map_view"},
        {"key": ANALYTICS, "from": text(from), "until": text(until)},
    ]);
    let mut site = site(engine, &cloud, entitlements).await;
    cloud.always(Some(Scripted::new(503, "")));
    let yes = |why: &str| (true, why.to_owned());
    let no = |why: &str| (false, why.to_owned());
    assert_eq!(check(&site, ANALYTICS).await, no("starts_later"));
    assert_eq!(check(&site, "module.map_view").await, yes("licensed"));
    let feature = async |site: &Site| {
        let (_, list) = site.get("/api/license/features").await;
        let features = list["features"].as_array().unwrap();
        let feature = features.iter().find(|it| it["featureKey"] == ANALYTICS);
        feature.unwrap().clone()
    };
    let shown = feature(&site).await;
    let naive = |at: DateTime<Utc>| format!("{}.000000", at.format("%Y-%m-%dT%H:%M:%S"));
    assert_eq!(shown["startsAt"], naive(from), "{shown}");
    assert_eq!(shown["endsAt"], naive(until), "{shown}");
    assert_eq!(shown["licensed"], true, "{shown}");

    site.advance(from - site.now() - TimeDelta::seconds(1));
    assert_eq!(check(&site, ANALYTICS).await, no("starts_later"));
    site.advance(from - site.now());
    assert_eq!(check(&site, ANALYTICS).await, yes("licensed"));
    assert_eq!(feature(&site).await["startsAt"], Value::Null);
    site.restart().await;
    assert_eq!(check(&site, ANALYTICS).await, yes("licensed"));
    site.advance(until - site.now());
    assert_eq!(check(&site, ANALYTICS).await, yes("licensed"));
    site.advance(TimeDelta::seconds(1));
    assert_eq!(check(&site, ANALYTICS).await, no("ended"));
    assert_eq!(check(&site, "module.map_view").await, yes("licensed"));
    assert!(site.is_available("module.live_view").await);
    site.end().await;
}

async fn what_is_counted_is_the_sum_of_what_is_in_force(engine: Engine) {
    let cloud = ScriptedCloud::start().await;
    let from = after(600);
    let entitlements = json!([
        {"key": "cameras", "quantity": 64},
        {"key": "cameras", "quantity": 32, "from": text(from)},
        {"key": "storage_gb", "quantity": "unlimited"},
        {"key": "anpr_lanes", "quantity": 4},
    ]);
    let site = site(engine, &cloud, entitlements).await;
    let limit = async |resource: &str| {
        let body = json!({ "resource": resource });
        let (_, answer) = site.post("/api/license/limits/check", Some(body)).await;
        answer["limit"].clone()
    };
    let flag = async |key: &str| {
        let path = format!("/ofrep/v1/evaluate/flags/limit.{key}");
        site.post(&path, Some(json!({"context": {}}))).await.1["value"].clone()
    };
    assert_eq!(limit("cameras").await, 64);
    assert_eq!(flag("cameras").await, 64);
    assert_eq!(flag("anpr_lanes").await, 4);
    assert_eq!(limit("storage_gb").await, Value::Null);
    // The list says nothing of users, so the license's own field counts.
    assert_eq!(limit("users").await, 20);
    site.advance(from - site.now());
    assert_eq!(limit("cameras").await, 96);
    assert_eq!(flag("cameras").await, 96);
    let metrics = reqwest::get(format!("{}/metrics", site.url)).await.unwrap();
    let metrics = metrics.text().await.unwrap();
    assert!(
        metrics.contains("foxsight_license_limit{resource=\"cameras\"} 96"),
        "{metrics}"
    );
    site.end().await;
}

/// Waits for a limit of the gate.
async fn until(gate: &Gate, lanes: u64) {
    for _ in 0..1000 {
        if gate.limit("anpr_lanes") == Limit::AtMost(lanes) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{:?}, not {lanes}: {gate:?}", gate.limit("anpr_lanes"));
}

async fn a_gate_without_contact_changes_its_limits_on_time(engine: Engine) {
    let cloud = ScriptedCloud::start().await;
    let end = after(600);
    let entitlements = json!([
        {"key": "anpr_lanes", "quantity": 8},
        {"key": "anpr_lanes", "quantity": 4, "until": text(end)},
    ]);
    let mut site = site(engine, &cloud, entitlements).await;
    let gate = Gate::builder(&site.url).start().unwrap();
    until(&gate, 12).await;
    // Two seconds before the end, on a clock that stands still.
    site.advance(end - site.now() - TimeDelta::seconds(2));
    let gate = Gate::builder(&site.url).start().unwrap();
    until(&gate, 12).await;
    assert_eq!(gate.limit("doors"), Limit::AtMost(0));
    site.stop().await;
    assert_eq!(gate.limit("anpr_lanes"), Limit::AtMost(12));
    until(&gate, 8).await;
    site.end().await;
}

async fn what_ends_is_warned_of_and_what_changes_next_is_named(engine: Engine) {
    let cloud = ScriptedCloud::start().await;
    let entitlements = json!([
        {"key": "module.map_view", "until": text(after(60 * 86_400))},
        {"key": ANALYTICS, "from": text(after(86_400)), "until": text(after(50 * 86_400))},
        {"key": "anpr_lanes", "quantity": 8},
    ]);
    let site = site(engine, &cloud, entitlements).await;
    let status = async || site.get("/api/license/status").await.1;
    let page = async || site.get("/").await.1.as_str().unwrap().to_owned();
    let changes = |status: &Value| {
        let changes = status["upcoming"].as_array().unwrap().iter();
        let shown = changes.map(|it| (it["message"].clone(), it["urgency"].clone()));
        shown.collect::<Vec<_>>()
    };
    let starts = (json!(format!("{ANALYTICS} starts")), Value::Null);
    let ends = |urgency: Value| (json!("module.map_view ends"), urgency);
    let ended = (json!(format!("{ANALYTICS} ends")), Value::Null);
    assert_eq!(
        changes(&status().await)[..3],
        [starts, ended, ends(Value::Null)]
    );
    let calm = page().await;
    assert!(calm.contains("Everything is OK"), "{calm}");
    assert!(calm.contains("<small>Starts on 24 November 2026"), "{calm}");
    assert!(calm.contains("<small>Until 22 January 2027"), "{calm}");
    assert!(
        calm.contains(&format!("<dd>{ANALYTICS} starts on 24 November 2026")),
        "{calm}"
    );
    for (days, urgency) in [(31, "notice"), (47, "warning"), (58, "critical")] {
        site.advance(after(days * 86_400) - site.now());
        site.post("/api/license/validate", None).await;
        let status = status().await;
        assert!(changes(&status).contains(&ends(json!(urgency))), "{status}");
        let page = page().await;
        assert!(page.contains("with warnings"), "{page}");
        assert!(
            page.contains("<li>module.map_view ends on 22 January 2027"),
            "{page}"
        );
        assert!(!page.contains("No action is needed"), "{page}");
    }
    let report = json!({"source": "s", "counts": {"anpr_lanes": 9}});
    site.put("/api/license/usage", report).await;
    let over = status().await;
    assert_eq!(over["overLimit"], json!(["anpr_lanes"]), "{over}");
    let page = page().await;
    assert!(
        page.contains("<li>anpr_lanes: 9 of 8 in use (1 over)</li>"),
        "{page}"
    );
    site.end().await;
}
