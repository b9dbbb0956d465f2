//! The vendor's keys change, and no site loses trust.

use chrono::TimeDelta;
use reqwest::StatusCode;

use crate::database::{Engine, on_both_engines};
use crate::harness::Site;
use crate::vendor::Vendor;

on_both_engines! {
    a_site_follows_the_vendors_keys_automatically_and_remembers_its_position;
    a_site_that_has_missed_several_key_sets_catches_up;
    a_site_with_the_first_set_follows_a_history_longer_than_an_answer;
}

async fn licensed(engine: Engine, vendor: &Vendor) -> Site {
    let keys = vendor.trusted_keys();
    let flags = ["--license-trusted-keys", keys.as_str()];
    let site = Site::start(engine, &vendor.url, &flags).await;
    let key = vendor.issue_professional().await;
    assert_eq!(site.activate(&key).await.0, StatusCode::OK);
    site
}

async fn key_set(site: &Site) -> String {
    let (_, metrics) = site.get("/metrics").await;
    let metrics = metrics.as_str().unwrap().to_owned();
    let mut lines = metrics.lines();
    let version = lines.find_map(|line| line.strip_prefix("foxsight_license_key_set_version "));
    version.unwrap().to_owned()
}

async fn a_site_follows_the_vendors_keys_automatically_and_remembers_its_position(engine: Engine) {
    let mut vendor = Vendor::start().await;
    let mut site = licensed(engine, &vendor).await;
    assert_eq!(key_set(&site).await, "1.0");

    // The next key is known before it signs.
    vendor.rotate(TimeDelta::days(7));
    assert_eq!(site.validate().await["valid"], true);
    assert_eq!(key_set(&site).await, "2.0");
    for _ in 0..9 {
        vendor.advance(TimeDelta::hours(20));
        site.advance(TimeDelta::hours(20));
        let answer = site.validate().await;
        assert_eq!(answer["standing"], "active", "{answer}");
    }

    // A revoked key is gone permanently, and the site keeps working.
    let old = vendor.oldest_key();
    vendor.revoke(&old);
    assert_eq!(site.validate().await["standing"], "active");
    assert_eq!(key_set(&site).await, "3.0");
    site.restart().await;
    assert_eq!(key_set(&site).await, "3.0");
    assert_eq!(site.standing().await, "active");

    // Without the vendor, from what is stored.
    vendor.go_away().await;
    site.restart().await;
    assert_eq!(key_set(&site).await, "3.0");
    assert_eq!(site.standing().await, "active");
    site.end().await;
}

async fn a_site_that_has_missed_several_key_sets_catches_up(engine: Engine) {
    let mut vendor = Vendor::start().await;
    let site = licensed(engine, &vendor).await;
    for _ in 0..4 {
        vendor.advance(TimeDelta::hours(1));
        site.advance(TimeDelta::hours(1));
        vendor.rotate(TimeDelta::zero());
    }
    let answer = site.validate().await;
    assert_eq!(answer["standing"], "active", "{answer}");
    assert_eq!(key_set(&site).await, "5.0");

    // A chain that was written by hand leads nowhere.
    let mut site = site;
    site.stop().await;
    let forged =
        "UPDATE system_config SET value = '[\"a.b.c\"]' WHERE key = 'license_client.key_sets'";
    site.database.execute(forged).await;
    std::fs::remove_file(site.state_file("local-copy.json")).unwrap();
    site.restart().await;
    assert_eq!(site.validate().await["standing"], "active");
    assert_eq!(key_set(&site).await, "5.0");
    site.end().await;
}

async fn a_site_with_the_first_set_follows_a_history_longer_than_an_answer(engine: Engine) {
    // With the keys that could sign a shorter way, and without, in several answers.
    for without_old_keys in [false, true] {
        let mut vendor = Vendor::start().await;
        vendor.fill_first_set().await;
        let mut site = licensed(engine, &vendor).await;
        vendor.make_long_history(without_old_keys);
        site.advance(TimeDelta::minutes(50));
        let answer = site.validate().await;
        assert_eq!(answer["standing"], "active", "{answer}");
        assert_eq!(key_set(&site).await, "21.0");
        // What it has followed it follows again at the next start.
        vendor.go_away().await;
        site.restart().await;
        assert_eq!(key_set(&site).await, "21.0");
        assert_eq!(site.standing().await, "active");
        site.end().await;
    }
}
