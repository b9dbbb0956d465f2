//! A signed answer corrects the time, and its absence delays nothing for long.

use std::sync::Arc;

use chrono::TimeDelta;
use license_client::app::App;
use license_client::licensing::validate::validate;
use serde_json::Value;
use tokio::net::TcpListener;

use super::{FILES, Kept, ROW, at, expired};
use crate::database::{Engine, TestDatabase, on_both_engines};
use crate::harness::{START, Site};
use crate::tampering::security_events;
use crate::vendor::Vendor;

on_both_engines! {
    an_answer_that_never_comes_holds_the_time_back_for_a_minute;
    a_connected_site_that_has_lost_everything_is_not_locked_out_by_a_dead_battery;
    a_signed_answer_replaces_a_mark_that_says_too_much;
}

/// A License Server that takes every connection, and never answers.
async fn silent() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/api", listener.local_addr().unwrap());
    (listener, url)
}

async fn an_answer_that_never_comes_holds_the_time_back_for_a_minute(engine: Engine) {
    let (good, vendor, _) = expired(engine).await;
    let (_listener, url) = silent().await;
    let keys = vendor.trusted_keys();
    let flags = [
        "--license-trusted-keys",
        keys.as_str(),
        "--license-api-timeout",
        "3600",
    ];
    let shared = TestDatabase::same_as(&good.database);
    let mut site = Site::start_on(shared, &url, &flags).await;
    site.stop().await;
    // What is left beside the license says nothing of the time.
    let forget = async |site: &Site| {
        let file = site.state_file("local-copy.json");
        let mut copy: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
        copy.as_object_mut().unwrap().remove("effectiveTime");
        std::fs::write(&file, copy.to_string()).unwrap();
        std::fs::remove_file(site.state_file("time.json")).unwrap();
        let sql = format!("DELETE FROM system_config WHERE key = '{ROW}'");
        site.database.execute(&sql).await;
    };
    forget(&site).await;
    site.clock.set_wall(at(START) + TimeDelta::days(10));
    site.restart().await;
    assert_ne!(site.standing().await, "lapsed", "it asks first");
    assert_eq!(security_events(&site).await, 1, "time.json is missing");
    site.until("the time is kept meanwhile", async || {
        site.state_file("time.json").exists()
    })
    .await;
    site.advance(TimeDelta::seconds(61));
    site.until("the wall clock counts", async || {
        site.standing().await == "lapsed"
    })
    .await;
    site.stop().await;
    // A start that was ended while it waited was the only one that waits.
    forget(&site).await;
    for (number, expected) in ["active", "lapsed", "lapsed"].into_iter().enumerate() {
        let app = App::new(site.settings(), site.clock.clone()).unwrap();
        app.knowledge.load().await.unwrap();
        let standing = app.snapshot().standing(app.clock.now());
        let reason = standing.as_str().replace("grace", "active");
        assert_eq!(reason, expected, "start {number}");
        app.knowledge.keep_time_in_file().await;
        app.store.close().await;
    }
    site.stop().await;
    good.end().await;
}

async fn a_connected_site_that_has_lost_everything_is_not_locked_out_by_a_dead_battery(
    engine: Engine,
) {
    let vendor = Vendor::start().await;
    let keys = vendor.trusted_keys();
    let flags = ["--license-trusted-keys", keys.as_str()];
    let mut site = Site::start(engine, &vendor.url, &flags).await;
    site.activate(&vendor.issue_professional().await).await;
    for wall in ["2038-01-19T03:14:08Z", "1970-01-01T00:00:10Z"] {
        site.stop().await;
        Kept::nothing().write(&site).await;
        site.clock.set_wall(at(wall));
        let app = App::new(site.settings(), site.clock.clone()).unwrap();
        app.knowledge.load().await.unwrap();
        let standing = |app: &App| app.snapshot().standing(app.clock.now()).as_str();
        assert_eq!(standing(&app), "active", "before it has asked");
        validate(&app).await;
        assert_eq!(standing(&app), "active", "after it has asked");
        assert!((app.clock.now() - at(START)).abs() < TimeDelta::minutes(10));
        app.store.close().await;
        site.restart().await;
        assert_eq!(site.standing().await, "active", "{wall}");
    }
    site.end().await;
}

async fn a_signed_answer_replaces_a_mark_that_says_too_much(engine: Engine) {
    let vendor = Vendor::start().await;
    let keys = vendor.trusted_keys();
    let flags = ["--license-trusted-keys", keys.as_str()];
    let mut site = Site::start(engine, &vendor.url, &flags).await;
    site.activate(&vendor.issue_professional().await).await;
    site.stop().await;
    let kept = Kept::read(&site).await;
    let far = kept.forged(at("2099-01-01T00:00:00Z"));
    kept.with(&["row"], &far).write(&site).await;
    site.restart().await;
    site.until("the License Server has said what time it is", async || {
        site.standing().await == "active"
    })
    .await;
    site.until("the row is right", async || {
        let row = Kept::read(&site).await.row.unwrap();
        let mark: Value = serde_json::from_str(&row).unwrap();
        mark["at"].as_str().unwrap().starts_with("2026-11-23")
    })
    .await;
    site.restart().await;
    assert_eq!(site.standing().await, "active");
    site.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_with_a_bad_clock_does_not_move_the_time_of_others() {
    let mut vendor = Vendor::start().await;
    let keys = vendor.trusted_keys();
    let flags = ["--license-trusted-keys", keys.as_str()];
    let mut one = Site::start(Engine::Postgres, &vendor.url, &flags).await;
    one.activate(&vendor.issue_professional().await).await;
    vendor.go_away().await;
    let shared = TestDatabase::same_as(&one.database);
    let mut other = Site::start_on(shared, &vendor.url, &flags).await;
    other.stop().await;
    for name in FILES {
        std::fs::remove_file(other.state_file(name)).unwrap();
    }
    other.clock.set_wall(at("2038-01-19T03:14:08Z"));
    other.restart().await;
    other
        .until("the other one has lapsed", async || {
            other.standing().await == "lapsed"
        })
        .await;
    other.stop().await;
    // Not even one that has to go by the shared row alone is moved by it.
    one.stop().await;
    for name in FILES {
        std::fs::remove_file(one.state_file(name)).unwrap();
    }
    let app = Arc::new(App::new(one.settings(), one.clock.clone()).unwrap());
    app.knowledge.load().await.unwrap();
    let now = app.clock.now();
    assert!(now - at(START) < TimeDelta::minutes(10), "{now}");
    assert_ne!(app.snapshot().standing(now).as_str(), "lapsed");
    app.store.close().await;
    one.end().await;
}
