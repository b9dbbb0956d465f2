//! What sites get of an amended license.

use chrono::{DateTime, TimeDelta, Utc};
use license_core::document::verify_license;
use license_core::entitlement::Grant;
use license_core::license::License;
use license_core::offline::{Purpose, from_file};
use license_core::plausible_time::PlausibleTime;
use license_server::audit::Actor;
use license_server::licensing::catalogue::Tier;
use license_server::licensing::issue::IssueRequest;
use license_server::licensing::offline::sign;
use license_service::clock::Clock as _;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::{ANALYTICS, amend, amended};
use crate::database::{Engine, on_both_engines};
use crate::harness::{INSTALLATION, NONCE, Vendor, offline_request};
use crate::offers::{longest_features, sell, sell_longest_features};

on_both_engines! {
    a_site_that_knows_entitlements_gets_a_whole_lease_and_all_that_is_coming;
    the_lease_of_another_site_ends_with_the_next_change;
    a_request_file_says_whether_its_site_knows_entitlements;
    a_license_that_starts_later_is_leased_with_nothing_in_force;
    what_no_document_can_hold_is_not_granted;
}

/// What a site is signed: when its lease ends, and its license.
struct Signed {
    valid_until: DateTime<Utc>,
    exp: DateTime<Utc>,
    license: Value,
}

async fn ask(vendor: &Vendor, key: &str, call: &str, knows: bool) -> Signed {
    let body = json!({
        "licenseKey": key, "hardwareId": "machine", "installationId": INSTALLATION,
        "installationName": "Test", "installationVersion": "2.0",
    });
    let url = format!("{}/api/licenses/{call}", vendor.url);
    let mut request = vendor.http.post(url).header("x-license-nonce", NONCE);
    if knows {
        request = request.header("x-license-entitlements", "1");
    }
    let answer = request.json(&body).send().await.unwrap();
    let answer: Value = answer.json().await.unwrap();
    let jws = answer["data"]["license"]["signature"].as_str();
    signed(vendor, jws.unwrap_or_else(|| panic!("{answer}")))
}

fn signed(vendor: &Vendor, jws: &str) -> Signed {
    let document = verify_license(jws, &vendor.keyring()).unwrap();
    let claims = document.claims();
    Signed {
        valid_until: claims.valid_until,
        exp: claims.exp,
        license: Value::Object(claims.license.clone()),
    }
}

async fn sold(engine: Engine) -> (Vendor, String) {
    let vendor = Vendor::start(engine).await;
    sell(&vendor, &[], &["anpr_lanes"]).await;
    let key = vendor.issue(IssueRequest::of(Tier::Professional)).await;
    (vendor, key)
}

fn at(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

async fn a_site_that_knows_entitlements_gets_a_whole_lease_and_all_that_is_coming(engine: Engine) {
    let (vendor, key) = sold(engine).await;
    let plain = ask(&vendor, &key, "activate", true).await;
    assert_eq!(
        (&plain.license["amendment"], &plain.license["plan"]),
        (&json!(1), &json!("professional@1"))
    );
    let cameras = json!({"key": "cameras", "quantity": 64});
    let listed = plain.license["entitlements"].as_array().unwrap();
    assert!(listed.contains(&cameras), "{listed:?}");
    assert_eq!(listed.len(), 6);
    let other = ask(&vendor, &key, "validate", false).await;
    assert_eq!(other.license.get("entitlements"), None);

    let (from, until) = ("2026-11-24T18:00:00Z", "2026-11-24T20:00:00Z");
    let body = json!({"add": [
        {"key": "cameras", "quantity": 32, "from": from},
        {"key": ANALYTICS, "from": from, "until": until},
        {"key": "anpr_lanes", "quantity": 4},
    ]});
    amended(&vendor, &key, body).await;
    amended(
        &vendor,
        &key,
        json!({"end": ["module.map_view"], "effectiveAt": until}),
    )
    .await;
    let lease = ask(&vendor, &key, "validate", true).await;
    assert_eq!(lease.valid_until, at("2026-11-25T12:00:00Z"));
    let license = &lease.license;
    assert_eq!(
        (&license["maxCameras"], &license["amendment"]),
        (&json!(64), &json!(3))
    );
    let features = license["enabledFeatures"].as_array().unwrap();
    assert!(!features.contains(&json!(ANALYTICS)), "{license}");
    for entry in [
        json!({"key": "cameras", "quantity": 32, "from": from}),
        json!({"key": ANALYTICS, "from": from, "until": until}),
        json!({"key": "anpr_lanes", "quantity": 4}),
        json!({"key": "module.map_view", "until": "2026-11-24T19:59:59Z"}),
    ] {
        let listed = license["entitlements"].as_array().unwrap();
        assert!(listed.contains(&entry), "{entry}: {listed:?}");
    }
    let granted = License::new(license.as_object().unwrap().clone()).granted();
    let is_on = |key: &str, time: &str| {
        granted.feature(key, PlausibleTime::exact(at(time))) == Grant::InForce
    };
    assert!(is_on(ANALYTICS, from) && is_on(ANALYTICS, until));
    assert!(!is_on(ANALYTICS, "2026-11-24T17:59:59Z"));
    assert!(!is_on(ANALYTICS, "2026-11-24T20:00:01Z"));
    assert!(!is_on("module.map_view", until));
    // A heartbeat says the same without a signature.
    let told = vendor.heartbeat(&key, "machine", 1).await;
    assert_eq!(told.word(), "yes");
    vendor.clock.advance(at(from) - vendor.clock.now());
    let later = ask(&vendor, &key, "validate", true).await.license;
    assert_eq!(later["maxCameras"], 96);
    assert!(
        later["enabledFeatures"]
            .as_array()
            .unwrap()
            .contains(&json!(ANALYTICS))
    );
    vendor.end().await;
}

async fn the_lease_of_another_site_ends_with_the_next_change(engine: Engine) {
    let (vendor, key) = sold(engine).await;
    let until = "2026-11-24T20:00:00Z";
    amended(
        &vendor,
        &key,
        json!({"add": [{"key": ANALYTICS, "until": until}]}),
    )
    .await;
    let lease = ask(&vendor, &key, "activate", false).await;
    let now = at("2026-11-24T12:00:00Z");
    let earliest = at(until) - (at(until) - now) / 10;
    assert!(
        (earliest..=at(until)).contains(&lease.valid_until),
        "{}",
        lease.valid_until
    );
    assert_eq!(lease.exp - lease.valid_until, TimeDelta::hours(72));
    // It still sees everything that it cannot read from its own fields.
    assert!(lease.license["entitlements"].is_array());
    // And never asks more often than once an hour.
    vendor
        .clock
        .advance(at(until) - TimeDelta::minutes(5) - vendor.clock.now());
    let lease = ask(&vendor, &key, "validate", false).await;
    assert_eq!(lease.valid_until, at(until) + TimeDelta::minutes(55));
    // After the change it has a whole lease again, without the feature.
    vendor.clock.advance(TimeDelta::hours(1));
    let lease = ask(&vendor, &key, "validate", false).await;
    assert_eq!(lease.valid_until, at("2026-11-25T20:55:00Z"));
    let features = lease.license["enabledFeatures"].as_array().unwrap();
    assert!(!features.contains(&json!(ANALYTICS)));
    vendor.end().await;
}

async fn a_request_file_says_whether_its_site_knows_entitlements(engine: Engine) {
    let (vendor, key) = sold(engine).await;
    let body = json!({"add": [{"key": ANALYTICS, "from": "2026-12-10"}]});
    amended(&vendor, &key, body).await;
    for (knows, days) in [(true, 90), (false, 16)] {
        let mut request = offline_request(Purpose::Activate, &key, vendor.clock.now());
        request.entitlements = knows;
        let request = license_core::offline::RequestFile::read(&request.to_file()).unwrap();
        assert_eq!(request.request.entitlements, knows);
        let signing = sign(
            &vendor.app,
            request,
            TimeDelta::days(90),
            Actor::CommandLine,
        );
        let file = signing.await.unwrap().file;
        let (_, jws) = from_file(&file).unwrap();
        let length = signed(&vendor, &jws).valid_until - vendor.clock.now();
        let (least, most) = (TimeDelta::days(days * 9 / 10 - 1), TimeDelta::days(days));
        assert!(least <= length && length <= most, "{knows}: {length}");
        vendor.clock.advance(TimeDelta::seconds(1));
    }
    vendor.end().await;
}

async fn a_license_that_starts_later_is_leased_with_nothing_in_force(engine: Engine) {
    let (vendor, key) = sold(engine).await;
    amended(
        &vendor,
        &key,
        json!({"startsAt": "2026-12-01", "expiresAt": "2027-12-31"}),
    )
    .await;
    let lease = ask(&vendor, &key, "activate", true).await;
    assert_eq!(lease.valid_until, at("2026-11-25T12:00:00Z"));
    assert_eq!(lease.license["enabledFeatures"], json!([]));
    assert_eq!(lease.license["maxCameras"], 0);
    let map = json!({"key": "module.map_view", "from": "2026-12-01T00:00:00Z"});
    assert!(
        lease.license["entitlements"]
            .as_array()
            .unwrap()
            .contains(&map)
    );
    // Renewed, and started at once.
    amended(&vendor, &key, json!({"startsAt": null})).await;
    let lease = ask(&vendor, &key, "validate", false).await;
    assert_eq!(lease.license["maxCameras"], 64);
    assert_eq!(lease.license.get("entitlements"), None);
    vendor.end().await;
}

async fn what_no_document_can_hold_is_not_granted(engine: Engine) {
    let (vendor, key) = sold(engine).await;
    sell_longest_features(&vendor, 450).await;
    let grants = |count: usize, from: Value| {
        let grant = |key: String| match &from {
            Value::Null => json!({"key": key}),
            from => json!({"key": key, "from": from}),
        };
        let all = longest_features(count).into_iter().map(grant);
        json!({"add": all.collect::<Vec<_>>()})
    };
    // Without dates, a feature is listed once; with a start, twice.
    for (from, count) in [(json!("2027-05-01"), 230), (Value::Null, 450)] {
        let (status, answer) = amend(&vendor, &key, grants(count, from.clone())).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{from}");
        let message = answer["error"]["message"].as_str().unwrap();
        assert!(message.contains("the maximum is 40960"), "{message}");
    }
    let (status, _) = amend(&vendor, &key, grants(300, Value::Null)).await;
    assert_eq!(status, StatusCode::CREATED);
    // The list would not fit beside the other fields, and says nothing else.
    let lease = ask(&vendor, &key, "activate", true).await;
    assert_eq!(lease.license.get("entitlements"), None);
    let renew = format!("/licenses/{key}/renew");
    let end = json!({"expiresAt": "2030-01-01"});
    assert_eq!(
        vendor.admin(Method::POST, &renew, end).await.0,
        StatusCode::OK
    );
    vendor.end().await;
}
