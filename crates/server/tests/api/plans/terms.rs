//! The terms of a license decide how long its leases are.

use std::process::Command;

use chrono::{DateTime, TimeDelta, Utc};
use license_core::document::verify_license;
use license_core::offline::{Purpose, RequestFile, from_file};
use license_server::audit::Actor;
use license_server::licensing::catalogue::Tier;
use license_server::licensing::issue::IssueRequest;
use license_server::licensing::offline::sign;
use license_service::clock::{Clock as _, SystemClock};
use serde_json::json;

use crate::PROGRAM;
use crate::amendments::{amend, amended};
use crate::commands::said;
use crate::database::{Engine, on_both_engines};
use crate::harness::{Vendor, offline_request};
use crate::told::Told;

on_both_engines! {
    a_lease_is_as_long_as_the_license_says;
    a_file_is_valid_for_as_long_as_the_license_says;
    a_command_may_give_a_file_a_shorter_lease_than_the_license_allows;
    a_seat_moves_while_a_long_lease_of_the_license_runs;
}

async fn sold(engine: Engine) -> (Vendor, String) {
    let vendor = Vendor::start(engine).await;
    let key = vendor.issue(IssueRequest::of(Tier::Standard)).await;
    (vendor, key)
}

/// How long the next lease is, and its grace period, in hours.
async fn lease(vendor: &Vendor, key: &str) -> (i64, i64) {
    let Told::License(document, _) = vendor.activate(key, "machine").await else {
        panic!("not activated");
    };
    let claims = document.claims();
    (
        (claims.valid_until - claims.iat).num_hours(),
        (claims.exp - claims.valid_until).num_hours(),
    )
}

async fn a_lease_is_as_long_as_the_license_says(engine: Engine) {
    let (vendor, key) = sold(engine).await;
    assert_eq!(lease(&vendor, &key).await, (24, 72));
    let terms = json!({
        "leaseHours": 720, "graceHours": 0, "updatesUntil": "2028-04-30", "updates": "enforce",
    });
    let answer = amended(&vendor, &key, terms).await;
    assert_eq!(answer["license"]["leaseHours"], 720);
    assert_eq!(lease(&vendor, &key).await, (720, 0));
    let Told::License(document, _) = vendor.validate(&key, "machine").await else {
        panic!("not validated");
    };
    let license = &document.claims().license;
    assert_eq!(license["updatesUntil"], "2028-04-30T23:59:59Z");
    assert_eq!(license["updates"], "enforce");
    // What is not stated stays; `null` is the setting of the server.
    amended(&vendor, &key, json!({"leaseHours": null})).await;
    assert_eq!(lease(&vendor, &key).await, (24, 0));
    amended(&vendor, &key, json!({"undoes": 2})).await;
    amended(&vendor, &key, json!({"undoes": 3})).await;
    assert_eq!(lease(&vendor, &key).await, (24, 72));
    for (body, field) in [
        (json!({"leaseHours": 0}), "leaseHours"),
        (json!({"leaseHours": 2161}), "leaseHours"),
        (json!({"graceHours": 721}), "graceHours"),
        (json!({"offlineDays": 0}), "offlineDays"),
        (json!({"offlineDays": 3651}), "offlineDays"),
        (json!({"updates": "ignore"}), "updates"),
        (json!({"graceHours": -1}), "-1"),
    ] {
        let (status, answer) = amend(&vendor, &key, body.clone()).await;
        assert_eq!(status, 400, "{body}: {answer}");
        let message = answer["error"]["message"].as_str().unwrap();
        assert!(
            message.contains(field) || field == "updates",
            "{body}: {message}"
        );
    }
    vendor.end().await;
}

/// When the lease in the answer to a request file ends.
async fn file_lease(vendor: &Vendor, key: &str) -> DateTime<Utc> {
    let request = offline_request(Purpose::Activate, key, vendor.clock.now());
    let request = RequestFile::read(&request.to_file()).unwrap();
    let days = TimeDelta::days(90);
    let signed = sign(&vendor.app, request, days, Actor::CommandLine);
    let file = signed.await.unwrap().file;
    let (_, answer) = from_file(&file).unwrap();
    let document = verify_license(&answer, &vendor.keyring()).unwrap();
    document.claims().valid_until
}

async fn a_file_is_valid_for_as_long_as_the_license_says(engine: Engine) {
    let (vendor, key) = sold(engine).await;
    let now = vendor.clock.now();
    let days = |until: DateTime<Utc>| (until + TimeDelta::seconds(1) - now).num_days();
    assert_eq!(days(file_lease(&vendor, &key).await), 90);
    amended(&vendor, &key, json!({"offlineDays": 30})).await;
    assert_eq!(days(file_lease(&vendor, &key).await), 30);
    vendor.end().await;
}

async fn a_command_may_give_a_file_a_shorter_lease_than_the_license_allows(engine: Engine) {
    let (vendor, key) = sold(engine).await;
    amended(&vendor, &key, json!({"offlineDays": 365})).await;
    vendor.to_the_present();
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name).display().to_string();
    let request = offline_request(Purpose::Activate, &key, SystemClock.now());
    std::fs::write(path("request"), request.to_file()).unwrap();
    for (flags, variable, days) in [
        (&["--offline-days", "5"][..], None, 5),
        (&["--offline-days", "400"], None, 365),
        (&["--offline-days", "6"], Some("400"), 6),
        (&[], Some("5"), 365),
        (&[], None, 365),
    ] {
        let mut command = Command::new(PROGRAM);
        command.args([
            "offline",
            "sign",
            &path("request"),
            "--output",
            &path("license"),
        ]);
        command.args(flags).args(vendor.flags());
        command.envs(variable.map(|days| ("OFFLINE_DAYS", days)));
        let output = tokio::task::spawn_blocking(move || command.output().unwrap());
        let output = output.await.unwrap();
        assert!(output.status.success(), "{flags:?}: {}", said(&output));
        let file = std::fs::read_to_string(path("license")).unwrap();
        let (_, answer) = from_file(&file).unwrap();
        let document = verify_license(&answer, &vendor.keyring()).unwrap();
        let claims = document.claims();
        let signed = claims.valid_until - claims.iat;
        assert_eq!(signed, TimeDelta::days(days), "{flags:?} {variable:?}");
        let until = claims.valid_until.format("%Y-%m-%d %H:%M");
        let expected = format!("a lease until {until} UTC ({days} days)");
        assert!(said(&output).contains(&expected), "{}", said(&output));
    }
    vendor.end().await;
}

async fn a_seat_moves_while_a_long_lease_of_the_license_runs(engine: Engine) {
    let (vendor, key) = sold(engine).await;
    amended(&vendor, &key, json!({"leaseHours": 720})).await;
    assert_eq!(vendor.activate(&key, "first").await.word(), "yes");
    vendor.free(&key, "first").await.unwrap();
    // The lease of the first machine runs for 30 days, and the move is one of the license's three.
    assert_eq!(vendor.activate(&key, "second").await.word(), "yes");
    let shown = vendor.look(&format!("/licenses/{key}")).await;
    assert_eq!(shown["movesLeft"], 2);
    // With shorter leases, what was signed before runs for too long to be moved.
    vendor.free(&key, "second").await.unwrap();
    amended(&vendor, &key, json!({"leaseHours": 24})).await;
    let Told::Denied(document) = vendor.activate(&key, "third").await else {
        panic!("a third machine got the seat");
    };
    assert_eq!(document.claims().reason.as_str(), "seat_limit");
    vendor.end().await;
}
