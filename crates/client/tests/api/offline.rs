//! A site without internet: requests and license files, there and back.

use chrono::{DateTime, TimeDelta, Utc};
use license_core::offline::OfflineRequest;
use license_server::audit::Actor;
use license_server::licensing::catalogue::Tier;
use license_server::licensing::issue::IssueRequest;
use license_server::licensing::offline::{read, sign};
use license_server::licensing::seats::release;
use license_server::store::licenses::Status;
use license_service::clock::Clock as _;
use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::database::{Engine, TestDatabase, on_both_engines};
use crate::harness::{START, Site};
use crate::vendor::Vendor;

const PAID: &str = "module.analytics_advanced";

on_both_engines! {
    a_site_without_internet_is_licensed_renewed_and_given_up_by_file;
    a_file_that_does_not_count_changes_nothing_and_says_why;
    the_vendors_no_comes_by_file_too;
    a_license_file_brings_the_key_sets_that_it_needs;
    a_license_file_leads_from_the_first_set_over_a_history_longer_than_a_file;
    a_license_that_was_given_up_does_not_come_back_by_a_file_that_was_kept;
    a_time_that_was_far_ahead_comes_back_with_a_license_file;
}

/// Nothing ever answers there.
const NOWHERE: &str = "http://127.0.0.1:1/api";

pub(crate) async fn site(engine: Engine, vendor: &Vendor, flags: &[&str]) -> Site {
    let keys = vendor.trusted_keys();
    let flags = [&["--license-trusted-keys", &keys], flags].concat();
    Site::start(engine, NOWHERE, &flags).await
}

pub(crate) async fn write_request(site: &Site, purpose: &str, key: Option<&str>) -> String {
    let body = json!({"purpose": purpose, "licenseKey": key});
    let (status, answer) = site.post("/api/license/offline/request", Some(body)).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    answer["file"].as_str().unwrap().to_owned()
}

pub(crate) async fn signed(vendor: &Vendor, request: &str) -> String {
    let days = TimeDelta::days(90);
    let signed = sign(
        &vendor.app,
        read(request).unwrap(),
        days,
        Actor::CommandLine,
    )
    .await;
    signed.unwrap().file
}

pub(crate) async fn import(site: &Site, file: &str) -> (StatusCode, Value) {
    let body = json!({ "file": file });
    site.post("/api/license/offline/import", Some(body)).await
}

/// The reason why a file is refused, and that nothing has changed.
pub(crate) async fn refusal(site: &Site, file: &str) -> String {
    // Calls that are due continue, and fail.
    let shown = async || {
        let mut status = site.status().await;
        let fields = status.as_object_mut().unwrap();
        fields.retain(|name, _| !["nextValidation", "lastFailure"].contains(&name.as_str()));
        status
    };
    let before = shown().await;
    let (status, answer) = import(site, file).await;
    assert_eq!(status, StatusCode::BAD_REQUEST, "{answer}");
    assert_eq!(shown().await, before);
    answer["detail"].as_str().unwrap().to_owned()
}

async fn a_site_without_internet_is_licensed_renewed_and_given_up_by_file(engine: Engine) {
    let vendor = Vendor::start().await;
    let mut site = site(engine, &vendor, &[]).await;
    let key = vendor.issue_professional().await;
    let request = write_request(&site, "activate", Some(&key)).await;
    assert!(request.lines().all(|line| line.len() <= 64), "{request}");
    let file = signed(&vendor, &request).await;
    // As an e-mail program may have it.
    let quoted: String = file.lines().map(|line| format!("> {line}\r\n")).collect();
    let (status, answer) = import(&site, &format!("Dear customer,\r\n\r\n{quoted}--\r\n")).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    assert_eq!(answer["result"], "licensed");
    assert_eq!(answer["license"]["licenseKey"], key.as_str());
    let status = site.status().await;
    assert_eq!(status["standing"], "active");
    assert_eq!(status["nextValidation"], Value::Null);
    assert!(status["offlineUntil"].is_string());

    // For 90 days no calls are made, even after a restart; then grace begins.
    site.advance(TimeDelta::days(89));
    site.restart().await;
    assert_eq!(site.standing().await, "active");
    assert!(site.is_available(PAID).await);
    let (_, attempts) = site.get("/api/license/attempts").await;
    assert_eq!(attempts["attempts"].as_array().unwrap().len(), 1);
    site.advance(TimeDelta::days(2));
    assert_eq!(site.standing().await, "grace");

    vendor.advance(TimeDelta::days(91));
    let request = write_request(&site, "renew", None).await;
    let renewal = signed(&vendor, &request).await;
    let newest_seq = |file: &str| OfflineRequest::from_file(file).unwrap().newest_seq;
    let known = newest_seq(&request);
    assert!(known.is_some(), "the vendor recognises copies by it");
    assert_eq!(import(&site, &renewal).await.0, StatusCode::OK);
    assert_eq!(site.standing().await, "active");

    let given_up = write_request(&site, "deactivate", None).await;
    assert!(newest_seq(&given_up) > known);
    assert_eq!(site.standing().await, "unlicensed");
    assert!(!site.is_available(PAID).await);
    // A request that was lost is written again, and is the same one.
    let again = write_request(&site, "deactivate", None).await;
    let nonce = |file: &str| OfflineRequest::from_file(file).unwrap().nonce;
    assert_eq!(nonce(&again), nonce(&given_up));
    let receipt = signed(&vendor, &again).await;
    let (_, answer) = import(&site, &receipt).await;
    assert_eq!(answer["result"], "deactivated", "{answer}");
    // The old lease does not come back. It may run for long, though: the seat is free for
    // another when the vendor's staff have seen that.
    assert!(refusal(&site, &renewal).await.contains("already used"));
    let other = TestDatabase::new(engine).await;
    let keys = vendor.trusted_keys();
    let flags = [
        "--license-trusted-keys",
        &keys,
        "--license-hardware-id",
        "b",
    ];
    let other = Site::start_on(other, &vendor.url, &flags).await;
    let (status, answer) = other.activate(&key).await;
    assert_ne!(status, StatusCode::OK);
    assert!(answer.to_string().contains("may run until"), "{answer}");
    let until = Some(vendor.clock.now() + TimeDelta::days(93));
    let hardware_id = OfflineRequest::from_file(&again).unwrap().hardware_id;
    let change = vendor.app.change(Actor::CommandLine);
    let released = release(&vendor.app.store, &key, &hardware_id, until, &change).await;
    released.unwrap();
    assert_eq!(other.activate(&key).await.0, StatusCode::OK);
    other.end().await;
    site.end().await;
}

async fn a_file_that_does_not_count_changes_nothing_and_says_why(engine: Engine) {
    let vendor = Vendor::start().await;
    let site = site(engine, &vendor, &[]).await;
    let key = vendor.issue_professional().await;
    let request = write_request(&site, "activate", Some(&key)).await;
    let file = signed(&vendor, &request).await;
    let cut_off = &file[..file.len() / 2];
    assert!(refusal(&site, cut_off).await.contains("truncated"));
    assert!(refusal(&site, &request).await.contains("expected a"));
    assert!(
        refusal(&site, "hello")
            .await
            .contains("a license or request file")
    );
    let lines: Vec<&str> = file.lines().collect();
    let without_a_line = [&lines[..3], &lines[4..]].concat().join("\n");
    assert!(
        refusal(&site, &without_a_line)
            .await
            .contains("not genuine")
    );

    // Another vendor's, and another site's.
    let stranger = Vendor::start().await;
    let foreign_key = stranger.issue_professional().await;
    let foreign = write_request(&site, "activate", Some(&foreign_key)).await;
    let foreign = signed(&stranger, &foreign).await;
    assert!(refusal(&site, &foreign).await.contains("not a trusted key"));
    let keys = vendor.trusted_keys();
    let flags = [
        "--license-trusted-keys",
        &keys,
        "--installation-id",
        "other",
    ];
    let database = TestDatabase::new(engine).await;
    let other = Site::start_on(database, NOWHERE, &flags).await;
    assert!(refusal(&other, &file).await.contains("pending request"));

    // Too late; and once, and never again.
    let month = TimeDelta::days(30);
    let short = sign(
        &vendor.app,
        read(&request).unwrap(),
        month,
        Actor::CommandLine,
    )
    .await;
    let short = short.unwrap().file;
    site.advance(TimeDelta::days(31));
    assert!(refusal(&site, &short).await.contains("expired"));
    assert_eq!(import(&site, &file).await.0, StatusCode::OK);
    assert!(refusal(&site, &file).await.contains("already used"));
    assert!(refusal(&site, &short).await.contains("pending request"));
    assert_eq!(site.standing().await, "active");

    // A site that trusts no keys cannot tell what is genuine.
    let unsigned = Site::start(engine, NOWHERE, &[]).await;
    let body = json!({"purpose": "activate", "licenseKey": key});
    let (status, answer) = unsigned
        .post("/api/license/offline/request", Some(body))
        .await;
    assert_eq!(status, StatusCode::CONFLICT);
    assert!(
        answer["detail"]
            .as_str()
            .unwrap()
            .contains("LICENSE_TRUSTED_KEYS")
    );
    for it in [unsigned, other, site] {
        it.end().await;
    }
}

async fn the_vendors_no_comes_by_file_too(engine: Engine) {
    let vendor = Vendor::start().await;
    let mut site = site(engine, &vendor, &[]).await;
    let key = vendor.issue(IssueRequest::of(Tier::Standard)).await;
    let file = signed(&vendor, &write_request(&site, "activate", Some(&key)).await).await;
    import(&site, &file).await;

    // A refused activation of another key changes nothing.
    let other = vendor.issue_professional().await;
    vendor.set_status(&other, Status::Revoked, None).await;
    let refused = write_request(&site, "activate", Some(&other)).await;
    let (_, answer) = import(&site, &signed(&vendor, &refused).await).await;
    assert_eq!(
        (&answer["success"], &answer["result"]),
        (&json!(false), &json!("denied"))
    );
    assert_eq!(site.standing().await, "active");

    // A refused renewal takes effect immediately, and survives a restart.
    vendor
        .set_status(&key, Status::Suspended, Some("Overdue"))
        .await;
    vendor.advance(TimeDelta::seconds(1));
    let renewal = write_request(&site, "renew", None).await;
    let (_, answer) = import(&site, &signed(&vendor, &renewal).await).await;
    assert_eq!(answer["message"], "Overdue");
    site.restart().await;
    let status = site.status().await;
    assert_eq!(status["standing"], "lapsed");
    assert_eq!(status["reason"], "suspended");
    assert!(site.is_available("module.recording_basic").await);
    site.end().await;
}

async fn a_license_file_brings_the_key_sets_that_it_needs(engine: Engine) {
    let mut vendor = Vendor::start().await;
    let mut site = site(engine, &vendor, &[]).await;
    let key = vendor.issue_professional().await;
    vendor.rotate(TimeDelta::zero());
    let old = vendor.oldest_key();
    vendor.revoke(&old);
    let file = signed(&vendor, &write_request(&site, "activate", Some(&key)).await).await;
    let (status, answer) = import(&site, &file).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    site.restart().await;
    assert_eq!(site.standing().await, "active");
    site.end().await;
}

async fn a_license_that_was_given_up_does_not_come_back_by_a_file_that_was_kept(engine: Engine) {
    let vendor = Vendor::start().await;
    let site = site(engine, &vendor, &[]).await;
    let key = vendor.issue_professional().await;
    let file = signed(&vendor, &write_request(&site, "activate", Some(&key)).await).await;
    assert_eq!(import(&site, &file).await.0, StatusCode::OK);

    // The answers to these are kept until the seat has been given to another.
    let mut kept = Vec::new();
    for (purpose, key) in [("renew", None), ("activate", Some(key.as_str()))] {
        vendor.advance(TimeDelta::seconds(1));
        site.advance(TimeDelta::seconds(1));
        kept.push(signed(&vendor, &write_request(&site, purpose, key).await).await);
    }
    let receipt = signed(&vendor, &write_request(&site, "deactivate", None).await).await;
    for file in &kept {
        assert!(refusal(&site, file).await.contains("pending request"));
    }
    assert_eq!(import(&site, &receipt).await.0, StatusCode::OK);
    for file in &kept {
        assert!(refusal(&site, file).await.contains("pending request"));
    }

    // Nor does a renewal count for a license that has taken its place.
    let file = signed(&vendor, &write_request(&site, "activate", Some(&key)).await).await;
    assert_eq!(import(&site, &file).await.0, StatusCode::OK);
    let renewal = signed(&vendor, &write_request(&site, "renew", None).await).await;
    let other = vendor.issue_professional().await;
    let file = signed(
        &vendor,
        &write_request(&site, "activate", Some(&other)).await,
    )
    .await;
    assert_eq!(import(&site, &file).await.0, StatusCode::OK);
    assert!(refusal(&site, &renewal).await.contains("pending request"));
    site.end().await;
}

async fn a_time_that_was_far_ahead_comes_back_with_a_license_file(engine: Engine) {
    let vendor = Vendor::start().await;
    let mut site = site(engine, &vendor, &[]).await;
    let key = vendor.issue_professional().await;
    let file = signed(&vendor, &write_request(&site, "activate", Some(&key)).await).await;
    import(&site, &file).await;

    // The clock is wrong for so long that it is accepted, and then corrected: only the vendor can
    // prove that it was wrong.
    site.clock.set_wall("2040-01-01T00:00:00Z".parse().unwrap());
    let passed = std::cell::Cell::new(TimeDelta::zero());
    site.until("the clock is believed", async || {
        site.advance(TimeDelta::hours(1));
        passed.set(passed.get() + TimeDelta::hours(1));
        site.standing().await == "lapsed"
    })
    .await;
    assert!(passed.get() < TimeDelta::days(90));
    let now: DateTime<Utc> = START.parse().unwrap();
    site.clock.set_wall(now + passed.get());
    site.restart().await;
    assert_eq!(site.standing().await, "lapsed");

    vendor.advance(passed.get());
    let file = signed(&vendor, &write_request(&site, "renew", None).await).await;
    let (status, answer) = import(&site, &file).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    assert_eq!(site.standing().await, "active");
    site.restart().await;
    assert_eq!(site.standing().await, "active");
    site.advance(TimeDelta::days(89));
    assert_eq!(site.standing().await, "active");
    site.advance(TimeDelta::days(2));
    assert_eq!(site.standing().await, "grace");
    site.end().await;
}

async fn a_license_file_leads_from_the_first_set_over_a_history_longer_than_a_file(engine: Engine) {
    let mut vendor = Vendor::start().await;
    vendor.fill_first_set().await;
    let site = site(engine, &vendor, &[]).await;
    let key = vendor.issue_professional().await;
    let request = write_request(&site, "activate", Some(&key)).await;
    vendor.make_long_history(false);
    site.advance(TimeDelta::minutes(50));
    let file = signed(&vendor, &request).await;
    let (status, answer) = import(&site, &file).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    assert_eq!(site.standing().await, "active");
    site.end().await;
}
