//! Clocks that are turned, dead or ahead, on a site that trusts keys.

use chrono::{DateTime, TimeDelta, Utc};

use crate::database::Engine;
use crate::harness::Site;
use crate::vendor::Vendor;

const PAID: &str = "module.analytics_advanced";

async fn licensed(vendor: &Vendor) -> Site {
    let keys = vendor.trusted_keys();
    let flags = ["--license-trusted-keys", keys.as_str()];
    let site = Site::start(Engine::Sqlite, &vendor.url, &flags).await;
    site.activate(&vendor.issue_professional().await).await;
    assert_eq!(site.standing().await, "active");
    site
}

fn at(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

async fn ahead(site: &Site) -> Option<i64> {
    site.status().await["clockAheadSeconds"].as_i64()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clock_that_is_turned_back_gains_nothing() {
    let mut vendor = Vendor::start().await;
    let mut site = licensed(&vendor).await;
    vendor.go_away().await;
    for day in 1..=5 {
        site.advance(TimeDelta::hours(20));
        // Every night the clock is set back to the day of the activation, and the service
        // restarted.
        site.clock.set_wall(at("2026-11-23T21:00:00Z"));
        site.restart().await;
        assert_eq!(site.is_available(PAID).await, day < 5, "day {day}");
        assert!(site.is_available("module.recording_basic").await);
    }
    assert_eq!(site.status().await["reason"], "grace_period_expired");
    site.until("the clock's being behind is shown", async || {
        ahead(&site).await.is_some_and(|ahead| ahead < -70 * 3600)
    })
    .await;
    site.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_battery_does_not_lock_a_site_out() {
    let vendor = Vendor::start().await;
    let mut site = licensed(&vendor).await;
    site.clock.restart_machine(TimeDelta::minutes(2));
    site.clock.set_wall(at("1970-01-01T00:00:30Z"));
    site.restart().await;
    assert_eq!(site.standing().await, "active");
    assert_eq!(site.validate().await["standing"], "active");
    for _ in 0..5 {
        site.advance(TimeDelta::hours(20));
        vendor.advance(TimeDelta::hours(20));
        assert_eq!(site.validate().await["standing"], "active");
    }
    site.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clock_that_leaps_ahead_is_not_believed_and_poisons_nothing() {
    let mut vendor = Vendor::start().await;
    let mut site = licensed(&vendor).await;
    vendor.go_away().await;
    site.clock.set_wall(at("2038-01-19T03:14:08Z"));
    site.until("the leap is noticed", async || ahead(&site).await.is_some())
        .await;
    assert!(site.is_available(PAID).await);
    site.restart().await;
    assert!(site.is_available(PAID).await);
    // The clock is corrected: no trace of it is left.
    let now = at("2026-11-23T21:30:00Z");
    site.clock.set_wall(now);
    site.until("the clock is right", async || ahead(&site).await.is_none())
        .await;
    vendor.come_back().await;
    assert_eq!(site.validate().await["standing"], "active");
    site.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_site_that_was_switched_off_for_long_wakes_with_the_grace_it_had() {
    let mut vendor = Vendor::start().await;
    let mut site = licensed(&vendor).await;
    vendor.go_away().await;
    site.validate().await;
    site.advance(TimeDelta::hours(10));
    site.stop().await;
    site.clock.restart_machine(TimeDelta::days(10));
    site.restart().await;
    assert_eq!(site.standing().await, "grace");
    site.advance(TimeDelta::hours(60));
    assert_eq!(site.standing().await, "grace");
    site.advance(TimeDelta::hours(3));
    assert_eq!(site.standing().await, "lapsed");

    // The vendor tells the time, and all is well.
    vendor.advance(TimeDelta::days(10) + TimeDelta::hours(73));
    vendor.come_back().await;
    assert_eq!(site.validate().await["standing"], "active");
    assert_eq!(ahead(&site).await, None);
    site.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_signed_answer_sets_the_time_in_both_directions() {
    let vendor = Vendor::start().await;
    let site = licensed(&vendor).await;
    let later = site.now() + TimeDelta::hours(5);
    site.clock.set_wall(later);
    site.until("an hour that is believed", async || {
        ahead(&site).await.is_none()
    })
    .await;
    // It was wrong by five hours, and stays wrong.
    assert_eq!(site.validate().await["standing"], "active");
    let validated = |status: serde_json::Value| {
        let text = status["lastValidated"].as_str().unwrap().to_owned() + "Z";
        at(&text)
    };
    assert!(validated(site.status().await) < later - TimeDelta::hours(4));
    // The time is stored five minutes later, after the clocks have been read again.
    let stored = || std::fs::read_to_string(site.state_file("time.json")).unwrap();
    let before = stored();
    site.advance(TimeDelta::minutes(5));
    vendor.advance(TimeDelta::minutes(5));
    site.until("the clocks are read", async || stored() != before)
        .await;
    assert_eq!(ahead(&site).await.map(|ahead| ahead / 3600), Some(5));
    vendor.advance(TimeDelta::days(2));
    assert_eq!(site.validate().await["standing"], "active");
    assert!(validated(site.status().await) > later + TimeDelta::hours(40));
    site.end().await;
}
