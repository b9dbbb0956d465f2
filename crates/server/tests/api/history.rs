//! What was, over time: calls and usage of each day.

use chrono::TimeDelta;
use license_core::usage::Usage;
use license_server::licensing::catalogue::Tier;
use license_server::licensing::issue::IssueRequest;
use license_server::licensing::look_up::look_up;
use license_server::store::usage_days;
use license_service::clock::Clock as _;
use license_service::cursor::to_text;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::database::{Engine, on_both_engines};
use crate::harness::Vendor;
use crate::lists::assert_refused;

on_both_engines! {
    usage_and_calls_are_kept_day_by_day_and_forgotten_in_time;
    usage_is_read_in_pages_from_the_newest_day_on;
}

async fn usage_and_calls_are_kept_day_by_day_and_forgotten_in_time(engine: Engine) {
    let vendor = Vendor::start(engine).await;
    let key = vendor.issue(IssueRequest::of(Tier::Standard)).await;
    vendor.activate(&key, "machine").await;
    for cameras in [3, 9, 5] {
        vendor.heartbeat(&key, "machine", cameras).await;
    }
    vendor.clock.advance(TimeDelta::days(1));
    vendor.heartbeat(&key, "machine", 4).await;
    vendor
        .heartbeat("FXSGHT-2222-2222-2222-2222", "machine", 4)
        .await;
    let used = vendor.look(&format!("/licenses/{key}/usage")).await;
    let day = |day: &str, heartbeats: u64, cameras: u64| json!({"day": day, "hardwareId": "machine", "heartbeats": heartbeats, "cameras": cameras, "users": 2, "storageGb": 100});
    assert_eq!(
        used,
        json!({"usage": [day("2026-11-25", 1, 4), day("2026-11-24", 3, 9)], "nextCursor": null})
    );
    let calls = vendor.look("/heartbeats?days=3").await;
    let day = |day: &str, confirmed: u64, denied: u64| json!({"day": day, "kind": "heartbeat", "confirmed": confirmed, "denied": denied, "throttled": 0, "withheld": 0});
    let expected = json!([
        day("2026-11-23", 0, 0),
        day("2026-11-24", 3, 0),
        day("2026-11-25", 1, 1)
    ]);
    assert_eq!(calls, expected);

    // Two processes count together, and a stop writes down what is left.
    let twin = vendor.twin().await;
    twin.heartbeat(&key, "machine", 4).await;
    twin.stop().await;
    let calls = vendor.look("/heartbeats?days=1").await;
    assert_eq!(calls, json!([day("2026-11-25", 2, 1)]));
    let usage = format!("/licenses/{key}/usage");
    for path in ["/heartbeats", &usage] {
        for days in ["0", "401", "many"] {
            assert_refused(&vendor, &format!("{path}?days={days}")).await;
        }
    }
    vendor.clock.advance(TimeDelta::days(399));
    license_server::licensing::history::forget(&vendor.app)
        .await
        .unwrap();
    let used = vendor
        .look(&format!("/licenses/{key}/usage?days=400"))
        .await;
    assert_eq!(used["usage"].as_array().unwrap().len(), 1);
    vendor.clock.advance(TimeDelta::days(2));
    license_server::licensing::history::forget(&vendor.app)
        .await
        .unwrap();
    let used = vendor
        .look(&format!("/licenses/{key}/usage?days=400"))
        .await;
    assert_eq!(used, json!({"usage": [], "nextCursor": null}));
    vendor.end().await;
}

async fn usage_is_read_in_pages_from_the_newest_day_on(engine: Engine) {
    let vendor = Vendor::start(engine).await;
    let key = vendor.issue(IssueRequest::of(Tier::Standard)).await;
    let license = look_up(&vendor.app.store, &key).await.unwrap();
    let today = vendor.clock.now().date_naive();
    let mut expected = Vec::new();
    for ago in 0..3 {
        let day = today - TimeDelta::days(ago);
        for machine in ["a", "b.c", "d"] {
            let db = vendor.app.store.reader();
            let usage = Usage::default();
            usage_days::note(db, &license.id, machine, day, &usage)
                .await
                .unwrap();
            expected.push(format!("{day} {machine}"));
        }
    }
    let path = format!("/licenses/{key}/usage?limit=2");
    let mut found = Vec::new();
    let mut page = vendor.look(&path).await;
    loop {
        let usage = page["usage"].as_array().unwrap();
        assert!(usage.len() == 2 || page["nextCursor"].is_null());
        let text = |it: &Value, name: &str| it[name].as_str().unwrap().to_owned();
        let shown = usage
            .iter()
            .map(|it| format!("{} {}", text(it, "day"), text(it, "hardwareId")));
        found.extend(shown);
        let Some(cursor) = page["nextCursor"].as_str() else {
            break;
        };
        page = vendor.look(&format!("{path}&cursor={cursor}")).await;
    }
    assert_eq!(found, expected);
    let day = |day: &str, machine: &str| to_text(&json!({"day": day, "hardwareId": machine}));
    for wrong in [
        "x".to_owned(),
        to_text(&"2026-11-24"),
        day("2026-11-31", "a"),
        day("2026-11-24", "\0"),
    ] {
        let path = format!("{path}&cursor={wrong}");
        let (status, answer) = vendor.admin(Method::GET, &path, Value::Null).await;
        let message = answer["error"]["message"].as_str().unwrap();
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{wrong}");
        assert_eq!(
            message,
            "Invalid cursor; expected the nextCursor of another page"
        );
    }
    // The first day of all may have passed since the page before.
    let empty = json!({"usage": [], "nextCursor": null});
    let cursor = day("2026-11-23", "a");
    let past = vendor.look(&format!("{path}&days=1&cursor={cursor}")).await;
    assert_eq!(past, empty);
    vendor.end().await;
}
