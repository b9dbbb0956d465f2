//! Amendments that are scheduled, and those made in the meantime.

use chrono::{DateTime, SubsecRound as _, TimeDelta, Utc};
use license_server::licensing::catalogue::Tier;
use license_server::licensing::issue::IssueRequest;
use license_service::clock::Clock as _;
use reqwest::{Method, StatusCode};
use serde_json::json;

use super::{amend, amended, shown};
use crate::database::{Engine, on_both_engines};
use crate::harness::Vendor;

on_both_engines! {
    a_scheduled_term_takes_back_no_other_one;
    undoing_an_amendment_in_the_middle_undoes_just_that_one;
    the_preview_of_an_undone_renewal_names_the_end;
    no_amendment_ends_a_license_in_the_past;
}

fn in_days(vendor: &Vendor, days: i64) -> DateTime<Utc> {
    (vendor.clock.now() + TimeDelta::days(days)).trunc_subsecs(0)
}

async fn a_scheduled_term_takes_back_no_other_one(engine: Engine) {
    let vendor = Vendor::start(engine).await;
    let key = vendor.issue(IssueRequest::of(Tier::Standard)).await;
    let may = in_days(&vendor, 30);
    amended(&vendor, &key, json!({"leaseHours": 48, "effectiveAt": may})).await;
    amended(&vendor, &key, json!({"seats": 3})).await;
    for machine in ["a", "b", "c"] {
        assert_eq!(vendor.activate(&key, machine).await.word(), "yes");
    }
    vendor.clock.advance(TimeDelta::days(31));
    for machine in ["a", "b", "c"] {
        assert_eq!(vendor.validate(&key, machine).await.word(), "yes");
    }
    let license = shown(&vendor, &key).await;
    assert_eq!(
        (&license["seats"], &license["leaseHours"]),
        (&json!(3), &json!(48))
    );
    vendor.end().await;
}

async fn undoing_an_amendment_in_the_middle_undoes_just_that_one(engine: Engine) {
    let vendor = Vendor::start(engine).await;
    let key = vendor.issue(IssueRequest::of(Tier::Standard)).await;
    amended(&vendor, &key, json!({"seats": 5})).await;
    amended(&vendor, &key, json!({"graceHours": 48})).await;
    let undone = amended(&vendor, &key, json!({"undoes": 2})).await;
    assert_eq!(
        undone["differences"],
        json!([{"termChanges": {"seats": 1}}])
    );
    let license = shown(&vendor, &key).await;
    assert_eq!(
        (&license["seats"], &license["graceHours"]),
        (&json!(1), &json!(48))
    );
    vendor.end().await;
}

async fn the_preview_of_an_undone_renewal_names_the_end(engine: Engine) {
    let vendor = Vendor::start(engine).await;
    let [first, second] = [30, 400].map(|days| in_days(&vendor, days));
    let request = IssueRequest {
        expires_at: Some(first),
        ..IssueRequest::of(Tier::Standard)
    };
    let key = vendor.issue(request).await;
    amended(&vendor, &key, json!({"expiresAt": second})).await;
    let body = json!({"undoes": 2, "preview": true});
    let (status, preview) = amend(&vendor, &key, body.clone()).await;
    assert_eq!(status, StatusCode::OK, "{preview}");
    assert_eq!(preview["differences"], json!([{"expiry": first}]));
    // After the former end, sites would be denied as expired.
    vendor.clock.advance(TimeDelta::days(31));
    for body in [body, json!({"undoes": 2})] {
        let (status, refused) = amend(&vendor, &key, body).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{refused}");
        let message = refused["error"]["message"].as_str().unwrap();
        assert!(message.contains("would end at"), "{message}");
    }
    assert_eq!(shown(&vendor, &key).await["amendment"], 2);
    vendor.end().await;
}

async fn no_amendment_ends_a_license_in_the_past(engine: Engine) {
    let vendor = Vendor::start(engine).await;
    let key = vendor.issue(IssueRequest::of(Tier::Standard)).await;
    let (may, april) = (in_days(&vendor, 60), in_days(&vendor, 40));
    let body = json!({"effectiveAt": may, "expiresAt": april});
    let (status, refused) = amend(&vendor, &key, body).await;
    assert_eq!(status, StatusCode::BAD_REQUEST, "{refused}");
    let message = refused["error"]["message"].as_str().unwrap();
    assert!(message.starts_with("Invalid expiresAt"), "{message}");
    let path = format!("/licenses/{key}/renew");
    let (status, renewed) = vendor
        .admin(Method::POST, &path, json!({"expiresAt": april}))
        .await;
    assert_eq!(status, StatusCode::OK, "{renewed}");
    vendor.end().await;
}
