//! A clock that is wrong for a while changes no license for good.

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use license_core::amendment::{Amendment, Change, MAX_SCHEDULED, TermChanges, contents};
use license_server::licensing::catalogue::Tier;
use license_server::licensing::clock::watch;
use license_server::licensing::current::catch_up;
use license_server::licensing::issue::IssueRequest;
use license_server::store::amendments;
use license_service::clock::{Clock as _, ManualClock};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::{ANALYTICS, amend, amended, license, shown};
use crate::commands::{run, said};
use crate::database::{Engine, on_both_engines};
use crate::harness::{INSTALLATION, Vendor};
use crate::offers::sell;

on_both_engines! {
    a_clock_that_went_back_takes_nothing_back;
    a_license_that_was_judged_in_the_future_is_judged_again;
    staff_amend_nothing_while_the_clock_may_be_wrong;
    a_command_amends_nothing_while_the_clock_may_be_wrong;
    what_was_recorded_in_the_future_is_in_force_and_can_be_amended;
    at_most_a_hundred_amendments_are_scheduled;
    what_no_document_will_hold_later_is_refused_now_and_never_signed;
}

/// The license that a site which knows entitlements is given, or the error.
async fn activated(vendor: &Vendor, key: &str) -> (StatusCode, Value) {
    let body = json!({
        "licenseKey": key, "hardwareId": "machine", "installationId": INSTALLATION,
        "installationName": "Test", "installationVersion": "2.0",
    });
    let call = vendor
        .http
        .post(format!("{}/api/licenses/activate", vendor.url))
        .header("x-license-entitlements", "1")
        .json(&body);
    let answer = call.send().await.unwrap();
    (answer.status(), answer.json().await.unwrap())
}

async fn a_license_that_was_judged_in_the_future_is_judged_again(engine: Engine) {
    let vendor = Vendor::start(engine).await;
    let key = vendor.issue(IssueRequest::of(Tier::Standard)).await;
    let dated = json!({"add": [
        {"key": "cameras", "quantity": 100, "until": "2027-03-31"},
        {"key": ANALYTICS, "from": "2027-06-01"},
    ]});
    amended(&vendor, &key, dated).await;
    let before = license(&vendor, &key).await;
    // Nothing was signed yet, so this server cannot know that its clock is wrong.
    let future = vendor.clock.now() + TimeDelta::days(300);
    let wrong = vendor.twin_with(Arc::new(ManualClock::at(future))).await;
    catch_up(&wrong.app.store, wrong.permitted()).await.unwrap();
    wrong.stop().await;
    let judged = license(&vendor, &key).await;
    assert_eq!((judged.max_cameras, judged.changes_at), (16, None));
    assert!(judged.is_plain);

    assert_eq!(shown(&vendor, &key).await["maxCameras"], 116);
    let listed = vendor.look("/licenses").await;
    assert_eq!(listed["licenses"][0]["maxCameras"], 116);
    let (status, answer) = activated(&vendor, &key).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    let signed = &answer["data"]["license"];
    assert_eq!(signed["maxCameras"], 116);
    assert!(!signed["enabledFeatures"].to_string().contains(ANALYTICS));
    let entitlements = signed["entitlements"].to_string();
    assert!(entitlements.contains("2027-03-31"), "{entitlements}");

    let now = vendor.permitted();
    assert_eq!(catch_up(&vendor.app.store, now).await.unwrap(), 1);
    assert_eq!(catch_up(&vendor.app.store, now).await.unwrap(), 0);
    let repaired = license(&vendor, &key).await;
    assert_eq!(repaired.max_cameras, 116);
    assert_eq!(
        (repaired.is_plain, repaired.changes_at),
        (false, before.changes_at)
    );
    vendor.end().await;
}

async fn staff_amend_nothing_while_the_clock_may_be_wrong(engine: Engine) {
    let vendor = Vendor::start(engine).await;
    let key = vendor.issue(IssueRequest::of(Tier::Standard)).await;
    for name in ["Harbour", "Port"] {
        let (status, answer) = vendor
            .admin(Method::POST, "/customers", json!({"name": name}))
            .await;
        assert_eq!(status, StatusCode::CREATED, "{answer}");
    }
    let right = vendor.clock.now();
    vendor.clock.set_wall(right + TimeDelta::days(300));
    let before = license(&vendor, &key).await;
    for (path, body) in [
        ("/licenses".to_owned(), json!({"tier": "standard"})),
        (
            format!("/licenses/{key}/renew"),
            json!({"expiresAt": "2030-12-31"}),
        ),
        (format!("/licenses/{key}/amendments"), json!({"seats": 2})),
        (
            "/customers/Port/merge".to_owned(),
            json!({"into": "Harbour"}),
        ),
    ] {
        let (status, answer) = vendor.admin(Method::POST, &path, body).await;
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{path}: {answer}");
        assert_eq!(answer["error"]["code"], "not_signing", "{path}");
        let message = answer["error"]["message"].as_str().unwrap();
        assert!(message.contains("the clock "), "{message}");
    }
    assert_eq!(license(&vendor, &key).await, before);
    assert_eq!(vendor.look("/licenses").await["total"], 1);
    assert_eq!(vendor.look("/customers").await["total"], 2);
    // What staff decide immediately needs no clock.
    let suspend = format!("/licenses/{key}/suspend");
    let (status, answer) = vendor.admin(Method::POST, &suspend, json!({})).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    vendor.clock.set_wall(right);
    amended(&vendor, &key, json!({"seats": 2})).await;
    vendor.end().await;
}

async fn a_command_amends_nothing_while_the_clock_may_be_wrong(engine: Engine) {
    let vendor = Vendor::start(engine).await;
    let key = vendor.issue(IssueRequest::of(Tier::Standard)).await;
    vendor
        .database
        .execute("INSERT INTO signing_clock (id, recorded_at) VALUES (1, '2020-01-01 00:00:00')")
        .await;
    for command in [
        vec!["issue", "--tier", "standard"],
        vec!["renew", &key, "--never"],
        vec!["amend", &key, "--seats", "2"],
    ] {
        let output = run(&vendor, &command).await;
        assert!(!output.status.success(), "{command:?}");
        let text = said(&output);
        assert!(text.contains("license-server clock accept"), "{text}");
    }
    assert_eq!(license(&vendor, &key).await.amendment, 1);
    vendor.end().await;
}

/// Stores another amendment of a license, as an older version would.
async fn record(vendor: &Vendor, key: &str, add: Amendment) {
    let db = vendor.app.store.reader();
    let id = license(vendor, key).await.id;
    let known = amendments::of_license(db, &id).await.unwrap();
    let number = known.last().unwrap().number + 1;
    let next = Amendment { number, ..add };
    amendments::insert(db, &id, &next).await.unwrap();
    let row = format!(
        "UPDATE licenses SET amendment = {number}, judged_at = '9999-12-31 00:00:00' WHERE id = '{id}'"
    );
    vendor.database.execute(&row).await;
}

fn amendment(recorded_at: DateTime<Utc>, effective_at: DateTime<Utc>, change: Change) -> Amendment {
    Amendment {
        number: 0,
        author: "test".to_owned(),
        reason: None,
        order: None,
        recorded_at,
        effective_at,
        undoes: None,
        changes: vec![change],
    }
}

async fn what_was_recorded_in_the_future_is_in_force_and_can_be_amended(engine: Engine) {
    let vendor = Vendor::start(engine).await;
    let key = vendor.issue(IssueRequest::of(Tier::Standard)).await;
    let dated = json!({"add": [{"key": "cameras", "quantity": 100, "until": "2027-03-31"}]});
    amended(&vendor, &key, dated).await;
    let db = vendor.app.store.reader();
    let id = license(&vendor, &key).await.id;
    let known = amendments::of_license(db, &id).await.unwrap();
    let at = "2027-11-24T12:00:00Z".parse().unwrap();
    let terms = contents(&known, at).terms.with(&TermChanges {
        seats: Some(5),
        ..TermChanges::default()
    });
    record(&vendor, &key, amendment(at, at, Change::Terms(terms))).await;
    let found = shown(&vendor, &key).await;
    let of = |found: &Value| (found["seats"].clone(), found["maxCameras"].clone());
    assert_eq!(of(&found), (json!(5), json!(116)));

    let answer = amended(&vendor, &key, json!({"moves": 1})).await;
    assert_eq!(answer["amendment"]["recordedAt"], "2026-11-24T12:00:00Z");
    assert_eq!(of(&answer["license"]), (json!(5), json!(116)));
    vendor.clock.advance(TimeDelta::hours(1));
    let answer = amended(&vendor, &key, json!({"seats": 2})).await;
    assert_eq!(of(&answer["license"]), (json!(2), json!(116)));
    // The wrong time comes, and changes nothing.
    vendor.clock.advance(TimeDelta::days(400));
    let found = shown(&vendor, &key).await;
    assert_eq!(of(&found), (json!(2), json!(16)));
    vendor.end().await;
}

async fn at_most_a_hundred_amendments_are_scheduled(engine: Engine) {
    let vendor = Vendor::start(engine).await;
    let key = vendor.issue(IssueRequest::of(Tier::Standard)).await;
    let now = "2026-11-24T12:00:00Z".parse().unwrap();
    for hours in 1..=i64::try_from(MAX_SCHEDULED).unwrap() {
        let at = now + TimeDelta::hours(hours);
        record(&vendor, &key, amendment(now, at, Change::Expiry(None))).await;
    }
    let one_more = json!({"seats": 2, "effectiveAt": "2027-06-01"});
    let (status, answer) = amend(&vendor, &key, one_more.clone()).await;
    assert_eq!(status, StatusCode::BAD_REQUEST, "{answer}");
    let message = answer["error"]["message"].as_str().unwrap();
    assert!(message.contains("at most 100 amendments that"), "{message}");
    amended(&vendor, &key, json!({"seats": 3})).await;
    vendor.clock.advance(TimeDelta::hours(1));
    amended(&vendor, &key, one_more).await;
    vendor.end().await;
}

async fn what_no_document_will_hold_later_is_refused_now_and_never_signed(engine: Engine) {
    let vendor = Vendor::start(engine).await;
    let key = vendor.issue(IssueRequest::of(Tier::Standard)).await;
    let features: Vec<String> = (0..960)
        .map(|number| format!("plugin.{number:04}"))
        .collect();
    let features: Vec<&str> = features.iter().map(String::as_str).collect();
    sell(&vendor, &features, &[]).await;
    // An end that is the license's own takes no space.
    amended(&vendor, &key, json!({"expiresAt": "2030-12-31"})).await;
    for half in features.chunks(480) {
        let added = half
            .iter()
            .map(|key| json!({"key": key, "until": "2030-12-31"}));
        amended(&vendor, &key, json!({"add": added.collect::<Vec<_>>()})).await;
    }
    let later = json!({"expiresAt": null, "effectiveAt": "2026-11-24T14:00:00Z"});
    let (status, answer) = amend(&vendor, &key, later).await;
    assert_eq!(status, StatusCode::BAD_REQUEST, "{answer}");
    let message = answer["error"]["message"].as_str().unwrap();
    assert!(message.contains("bytes long; the maximum is"), "{message}");
    assert_eq!(activated(&vendor, &key).await.0, StatusCode::OK);

    let now: DateTime<Utc> = "2026-11-24T12:00:00Z".parse().unwrap();
    let at = now + TimeDelta::hours(2);
    record(&vendor, &key, amendment(now, at, Change::Expiry(None))).await;
    vendor.clock.advance(TimeDelta::hours(3));
    let (status, answer) = activated(&vendor, &key).await;
    assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR, "{answer}");
    assert_eq!(answer["error"]["code"], "internal");
    vendor.end().await;
}

async fn a_clock_that_went_back_takes_nothing_back(engine: Engine) {
    let vendor = Vendor::start(engine).await;
    let key = vendor.issue(IssueRequest::of(Tier::Standard)).await;
    vendor.clock.advance(TimeDelta::days(2));
    amended(
        &vendor,
        &key,
        json!({"add": [{"key": "cameras", "quantity": 4}]}),
    )
    .await;
    vendor.clock.advance(TimeDelta::days(-1));
    // So did the database's.
    watch(&vendor.app).await.unwrap();
    let answer = amended(&vendor, &key, json!({"seats": 3})).await;
    let amendment = &answer["amendment"];
    assert_eq!(amendment["recordedAt"], "2026-11-26T12:00:00Z");
    let license = &answer["license"];
    assert_eq!(
        (&license["maxCameras"], &license["seats"]),
        (&json!(20), &json!(3))
    );
    let early = json!({"seats": 4, "effectiveAt": "2026-11-26T11:00:00Z"});
    let (status, answer) = amend(&vendor, &key, early).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    let message = answer["error"]["message"].as_str().unwrap();
    assert!(message.starts_with("Invalid effectiveAt"), "{message}");
    vendor.end().await;
}
