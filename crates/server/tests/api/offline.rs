//! Requests that somebody brings by file.

use chrono::{DateTime, TimeDelta, Utc};
use license_core::document::verify_license;
use license_core::offline::{OfflineRequest, Purpose, from_file};
use license_core::rotation::walk;
use license_server::licensing::catalogue::Tier;
use license_server::licensing::issue::IssueRequest;
use license_server::signing::SigningKeys;
use license_server::store::licenses::Status;
use license_service::clock::Clock as _;
use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::database::{Engine, on_both_engines};
use crate::harness::{INSTALLATION, NONCE, Vendor};

on_both_engines! {
    a_request_is_answered_with_a_lease_as_long_as_the_vendor_allows;
    a_lease_by_file_ends_with_the_license;
    a_site_that_is_given_up_frees_its_seat_whatever_has_become_of_the_license;
}

fn request(purpose: Purpose, key: &str, now: DateTime<Utc>) -> OfflineRequest {
    OfflineRequest {
        purpose,
        license_key: key.to_owned(),
        hardware_id: "machine".to_owned(),
        installation_id: INSTALLATION.to_owned(),
        installation_name: "Site".to_owned(),
        installation_version: "1".to_owned(),
        nonce: NONCE.to_owned(),
        created_at: now,
        key_set: 1,
    }
}

async fn bring(vendor: &Vendor, file: &str) -> (StatusCode, Value) {
    vendor.post("offline", json!({ "request": file })).await
}

async fn answered(vendor: &Vendor, purpose: Purpose, key: &str) -> Value {
    let file = request(purpose, key, vendor.clock.now()).to_file();
    let (status, answer) = bring(vendor, &file).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    answer["data"].clone()
}

async fn a_request_is_answered_with_a_lease_as_long_as_the_vendor_allows(engine: Engine) {
    let vendor = Vendor::start(engine).await;
    let key = vendor.issue(IssueRequest::of(Tier::Standard)).await;
    let root = vendor.keyring();
    vendor.clock.advance(TimeDelta::seconds(1));
    let now = vendor.clock.now();
    SigningKeys::rotate(&vendor.keys_dir(), "test", now, TimeDelta::zero()).unwrap();
    vendor.app.reload_keys().unwrap();

    let data = answered(&vendor, Purpose::Activate, &key).await;
    assert_eq!(data["granted"], true);
    let (sets, document) = from_file(data["file"].as_str().unwrap()).unwrap();
    // The site's keys are those of version 1; what it lacks comes along.
    let walk = walk(root, &sets);
    assert_eq!((walk.keyring.version(), walk.error), (2, None));
    let license = verify_license(&document, &walk.keyring).unwrap();
    let claims = license.claims();
    assert!(claims.offline);
    assert_eq!(claims.nonce.as_deref(), Some(NONCE));
    assert_eq!(claims.valid_until - claims.iat, TimeDelta::days(90));
    assert_eq!(claims.exp - claims.valid_until, TimeDelta::hours(72));

    for (wrong, why) in [
        ("hello", "no such file"),
        ("-----BEGIN FOXSIGHT LICENSE REQUEST-----\nabc", "cut off"),
        (
            "-----BEGIN FOXSIGHT LICENSE REQUEST-----\nabc\n-----END FOXSIGHT LICENSE REQUEST-----",
            "damaged",
        ),
    ] {
        let (status, answer) = bring(&vendor, wrong).await;
        assert_eq!(status, StatusCode::BAD_REQUEST);
        let message = answer["error"]["message"].as_str().unwrap();
        assert!(message.contains(why), "{message}");
    }
    let mut nobody = request(Purpose::Activate, &key, now);
    nobody.hardware_id = String::new();
    let (status, answer) = bring(&vendor, &nobody.to_file()).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert!(
        answer["error"]["message"]
            .as_str()
            .unwrap()
            .contains("hardwareId")
    );
    let mut other = request(Purpose::Renew, &key, now);
    other.hardware_id = "another".to_owned();
    let (_, answer) = bring(&vendor, &other.to_file()).await;
    assert_eq!(answer["data"]["granted"], false);
    vendor.end().await;
}

async fn a_lease_by_file_ends_with_the_license(engine: Engine) {
    let vendor = Vendor::start(engine).await;
    let expires_at = vendor.clock.now() + TimeDelta::days(30);
    let request = IssueRequest {
        expires_at: Some(expires_at),
        ..IssueRequest::of(Tier::Standard)
    };
    let key = vendor.issue(request).await;
    let data = answered(&vendor, Purpose::Activate, &key).await;
    let (_, document) = from_file(data["file"].as_str().unwrap()).unwrap();
    let license = verify_license(&document, &vendor.keyring()).unwrap();
    assert_eq!(
        license.claims().valid_until.timestamp(),
        expires_at.timestamp()
    );
    vendor.end().await;
}

async fn a_site_that_is_given_up_frees_its_seat_whatever_has_become_of_the_license(engine: Engine) {
    let vendor = Vendor::start(engine).await;
    let key = vendor.issue(IssueRequest::of(Tier::Standard)).await;
    answered(&vendor, Purpose::Activate, &key).await;
    vendor.set_status(&key, Status::Suspended).await;
    let data = answered(&vendor, Purpose::Renew, &key).await;
    assert_eq!(data["granted"], false);
    let data = answered(&vendor, Purpose::Deactivate, &key).await;
    assert_eq!(data["granted"], true);
    vendor.set_status(&key, Status::Active).await;
    assert_eq!(vendor.activate(&key, "another").await.word(), "yes");
    vendor.end().await;
}
