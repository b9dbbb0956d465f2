//! Answers to sites.

use chrono::TimeDelta;
use license_server::audit::Actor;
use license_server::licensing::catalogue::Tier;
use license_server::licensing::issue::IssueRequest;
use license_server::store::licenses::Status;
use license_server::store::seats::SeatsQuery;
use serde_json::json;

use crate::database::{Engine, on_both_engines};
use crate::harness::{INSTALLATION, Vendor, system_info};
use crate::offers::sell;
use crate::told::Told;

on_both_engines! {
    an_issued_license_is_activated_with_a_signed_document;
    the_sequence_number_grows_with_every_document_and_over_a_restart;
    two_servers_never_sign_the_same_number_for_a_seat;
    a_license_is_taken_back_and_given_back;
    an_expired_license_and_an_unknown_one_are_denied_as_such;
    a_heartbeat_is_noted_and_answered_with_the_license;
    a_database_that_refuses_in_the_middle_of_an_answer_is_unavailable;
}

async fn a_database_that_refuses_in_the_middle_of_an_answer_is_unavailable(engine: Engine) {
    let vendor = Vendor::start(engine).await;
    let key = vendor.issue(IssueRequest::of(Tier::Standard)).await;
    assert_eq!(vendor.activate(&key, "machine").await.word(), "yes");
    // Only a heartbeat needs this table, after the call was admitted.
    let away = "ALTER TABLE usage_days RENAME TO away";
    vendor.database.execute(away).await;
    let body = json!({
        "licenseKey": key, "hardwareId": "machine", "installationId": INSTALLATION,
        "usageMetrics": {"camerasInUse": 1, "usersActive": 2, "storageUsedGb": 3},
        "systemInfo": system_info(),
    });
    let url = format!("{}/api/licenses/heartbeat", vendor.url);
    let answer = vendor.http.post(url).json(&body).send().await.unwrap();
    assert_eq!(answer.status(), 503);
    assert_eq!(answer.headers()["retry-after"], "10");
    let answer: serde_json::Value = answer.json().await.unwrap();
    assert_eq!(answer["error"]["code"], "unavailable");
    let back = "ALTER TABLE away RENAME TO usage_days";
    vendor.database.execute(back).await;
    assert_eq!(vendor.heartbeat(&key, "machine", 1).await.word(), "yes");
    vendor.end().await;
}

async fn an_issued_license_is_activated_with_a_signed_document(engine: Engine) {
    let vendor = Vendor::start(engine).await;
    sell(&vendor, &["custom.feature"], &[]).await;
    let request = IssueRequest {
        customer: "Harbour Ltd".to_owned(),
        max_cameras: Some(7),
        with: vec!["custom.feature".to_owned()],
        without: vec!["module.map_view".to_owned()],
        ..IssueRequest::of(Tier::Professional)
    };
    let key = vendor.issue(request).await;
    let spelled = key.to_lowercase().replace('-', " ");
    let Told::License(document, answer) = vendor.activate(&spelled, "machine").await else {
        panic!("not activated");
    };
    let claims = document.claims();
    assert_eq!(claims.iss, "test");
    assert_eq!(claims.hardware_id, "machine");
    assert_eq!(claims.installation_id, INSTALLATION);
    assert_eq!(claims.iat.to_rfc3339(), "2026-11-24T12:00:00+00:00");
    assert_eq!(claims.valid_until - claims.iat, TimeDelta::hours(24));
    assert_eq!(claims.exp - claims.valid_until, TimeDelta::hours(72));
    let mut beside = answer["data"]["license"].clone();
    beside.as_object_mut().unwrap().remove("signature");
    assert_eq!(beside, serde_json::Value::Object(claims.license.clone()));
    assert_eq!(beside["licenseKey"], key.as_str());
    assert_eq!(beside["customer"], "Harbour Ltd");
    assert_eq!(beside["tier"], "professional");
    assert_eq!(beside["maxCameras"], 7);
    assert_eq!(
        beside["enabledFeatures"],
        json!([
            "module.analytics_advanced",
            "module.health_monitoring",
            "custom.feature"
        ])
    );
    vendor.end().await;
}

async fn the_sequence_number_grows_with_every_document_and_over_a_restart(engine: Engine) {
    let vendor = Vendor::start(engine).await;
    let key = vendor.issue(IssueRequest::of(Tier::Standard)).await;
    let mut last = vendor.activate(&key, "machine").await.seq();
    // The number grows even if the clock stands still.
    for _ in 0..3 {
        let seq = vendor.validate(&key, "machine").await.seq();
        assert_eq!(seq, last + 1);
        last = seq;
    }
    vendor.set_status(&key, Status::Suspended).await;
    let denial = vendor.validate(&key, "machine").await;
    assert_eq!(denial.word(), "suspended");
    assert_eq!(denial.seq(), last + 1);
    vendor.set_status(&key, Status::Active).await;
    let twin = vendor.twin().await;
    assert_eq!(twin.validate(&key, "machine").await.seq(), last + 2);
    // Milliseconds since 1970, so that a restored backup stays ahead.
    vendor.clock.advance(TimeDelta::hours(1));
    assert!(twin.validate(&key, "machine").await.seq() > last + 3_500_000);
    twin.stop().await;
    vendor.end().await;
}

async fn a_license_is_taken_back_and_given_back(engine: Engine) {
    let vendor = Vendor::start(engine).await;
    let key = vendor.issue(IssueRequest::of(Tier::Standard)).await;
    vendor.activate(&key, "machine").await;
    for (status, word) in [
        (Status::Suspended, "suspended"),
        (Status::Active, "yes"),
        (Status::Revoked, "revoked"),
    ] {
        vendor.set_status(&key, status).await;
        assert_eq!(vendor.validate(&key, "machine").await.word(), word);
        assert_eq!(vendor.activate(&key, "machine").await.word(), word);
    }
    let change = vendor.app.change(Actor::CommandLine);
    let store = &vendor.app.store;
    let undone =
        license_server::licensing::status::set_status(store, &key, Status::Active, None, &change)
            .await;
    assert!(undone.unwrap_err().to_string().contains("cannot be undone"));
    vendor.end().await;
}

async fn an_expired_license_and_an_unknown_one_are_denied_as_such(engine: Engine) {
    let vendor = Vendor::start(engine).await;
    let end = "2026-11-24T14:00:00Z".parse().unwrap();
    let request = IssueRequest {
        expires_at: Some(end),
        ..IssueRequest::of(Tier::Standard)
    };
    let key = vendor.issue(request).await;
    assert_eq!(vendor.activate(&key, "machine").await.word(), "yes");
    vendor.clock.advance(TimeDelta::hours(3));
    assert_eq!(vendor.validate(&key, "machine").await.word(), "expired");

    let unknown = "FXSGHT-2222-2222-2222-2222";
    let Told::Denied(denial) = vendor.validate(unknown, "machine").await else {
        panic!("not denied");
    };
    assert_eq!(denial.claims().reason.as_str(), "unknown_license");
    assert_eq!(denial.claims().sub, "");
    let Told::Denied(denial) = vendor.validate("FXSGHT-2222-2222-2222-2223", "m").await else {
        panic!("not denied");
    };
    assert!(denial.claims().message.contains("typing error"));
    assert_eq!(
        vendor.validate("clé-日本", "m").await.word(),
        "unknown_license"
    );
    vendor.end().await;
}

async fn a_heartbeat_is_noted_and_answered_with_the_license(engine: Engine) {
    let vendor = Vendor::start(engine).await;
    let key = vendor.issue(IssueRequest::of(Tier::Standard)).await;
    vendor.activate(&key, "machine").await;
    vendor.clock.advance(TimeDelta::hours(4));
    let body = json!({
        "licenseKey": key, "hardwareId": "machine", "installationId": INSTALLATION,
        "usageMetrics": {"camerasInUse": 12, "usersActive": 3, "storageUsedGb": 456},
        "systemInfo": {
            "os_platform": "Linux", "os_release": "6", "os_version": "#1", "cpu_count": 2,
            "total_memory_gb": 23.54, "hostname": "vm", "architecture": "x86_64",
        },
    });
    assert_eq!(vendor.told("heartbeat", body).await.word(), "yes");
    let license = license_server::licensing::look_up::look_up(&vendor.app.store, &key)
        .await
        .unwrap();
    let seats = license_server::store::seats::list(
        vendor.app.store.reader(),
        &license.id,
        &SeatsQuery::default(),
        9,
    )
    .await
    .unwrap()
    .rows;
    assert_eq!(seats.len(), 1);
    assert_eq!(seats[0].usage.as_ref().unwrap()["camerasInUse"], 12);
    assert_eq!(
        seats[0].system_info.as_ref().unwrap()["total_memory_gb"],
        23.54
    );
    assert_eq!(
        seats[0].last_seen_at - seats[0].activated_at,
        TimeDelta::hours(4)
    );
    vendor.end().await;
}

async fn two_servers_never_sign_the_same_number_for_a_seat(engine: Engine) {
    let vendor = Vendor::start(engine).await;
    let twin = vendor.twin().await;
    let key = vendor.issue(IssueRequest::of(Tier::Standard)).await;
    vendor.activate(&key, "machine").await;
    let key = &key;
    let ask = async |server: &Vendor| {
        let mut numbers = Vec::new();
        for _ in 0..8 {
            numbers.push(server.validate(key, "machine").await.seq());
        }
        numbers
    };
    let (one, two, three) = tokio::join!(ask(&vendor), ask(&twin), ask(&twin));
    for numbers in [&one, &two, &three] {
        assert!(numbers.is_sorted(), "{numbers:?}");
    }
    let mut all = [one, two, three].concat();
    all.sort_unstable();
    all.dedup();
    assert_eq!(all.len(), 24);
    twin.stop().await;
    vendor.end().await;
}
