//! What each call from a site does with the machine's seat, and what it leaves alone.

use chrono::TimeDelta;
use license_core::offline::{Purpose, RequestFile};
use license_core::protocol::Call;
use license_server::audit::Actor;
use license_server::licensing::catalogue::Tier;
use license_server::licensing::issue::IssueRequest;
use license_server::licensing::offline::sign;
use license_server::licensing::site_answer::SiteAnswer;
use license_server::store::licenses::Status;
use license_server::store::seats::Seat;
use license_service::clock::Clock as _;
use serde_json::{Value, json};

use crate::database::{Engine, on_both_engines};
use crate::harness::{INSTALLATION, Vendor, offline_request};
use crate::told::Told;

on_both_engines! {
    only_an_activation_takes_a_seat_and_only_a_held_seat_is_given_back;
    an_activation_names_the_installation_and_nothing_else_does;
    only_activations_and_validations_sign_a_lease;
    a_refused_machine_is_seen_while_it_holds_its_seat;
    every_document_names_the_call_that_it_answers;
    a_site_that_does_not_say_its_installation_is_the_one_that_took_the_seat;
    a_suspended_license_is_given_back_and_not_used;
    the_audit_log_says_who_signed_which_request_file;
}

/// The machine's seat, as stored.
async fn seat(vendor: &Vendor, key: &str) -> Seat {
    vendor.seat(key, "machine").await.unwrap()
}

/// A license that `machine` has activated.
async fn activated(vendor: &Vendor) -> String {
    let key = vendor.issue(IssueRequest::of(Tier::Standard)).await;
    assert_eq!(vendor.activate(&key, "machine").await.word(), "yes");
    key
}

fn actions(log: &Value) -> Vec<&str> {
    let entries = log.as_array().unwrap().iter();
    entries.map(|it| it["action"].as_str().unwrap()).collect()
}

async fn only_an_activation_takes_a_seat_and_only_a_held_seat_is_given_back(engine: Engine) {
    let vendor = Vendor::start(engine).await;
    let key = vendor.issue(IssueRequest::of(Tier::Standard)).await;
    for told in [
        vendor.validate(&key, "machine").await,
        vendor.heartbeat(&key, "machine", 1).await,
        vendor.deactivate(&key, "machine").await,
    ] {
        assert_eq!(told.word(), "hardware_mismatch");
        let message = "This machine has no seat; activate the license here again";
        assert_eq!(told.message(), message);
    }
    assert_eq!(vendor.seat(&key, "machine").await, None);

    assert_eq!(vendor.activate(&key, "machine").await.word(), "yes");
    assert_eq!(
        vendor.deactivate(&key, "machine").await.word(),
        "deactivated"
    );
    let freed = seat(&vendor, &key).await;
    for told in [
        vendor.validate(&key, "machine").await,
        vendor.heartbeat(&key, "machine", 1).await,
        vendor.deactivate(&key, "machine").await,
    ] {
        assert_eq!(told.word(), "hardware_mismatch");
    }
    assert_eq!(seat(&vendor, &key).await.freed_at, freed.freed_at);
    let log = vendor.audit(&format!("?license={key}")).await;
    assert_eq!(actions(&log), ["seat_given_back", "seat_taken", "issued"]);
    vendor.end().await;
}

async fn an_activation_names_the_installation_and_nothing_else_does(engine: Engine) {
    let vendor = Vendor::start(engine).await;
    let key = activated(&vendor).await;
    let first = seat(&vendor, &key).await;
    assert_eq!(first.installation_name, "Test");
    vendor.clock.advance(TimeDelta::hours(1));
    vendor.validate(&key, "machine").await;
    vendor.heartbeat(&key, "machine", 1).await;
    let called = seat(&vendor, &key).await;
    assert_eq!(called.last_activated_at, first.last_activated_at);
    assert_eq!(
        called.last_seen_at,
        first.last_seen_at + TimeDelta::hours(1)
    );

    let again = json!({
        "licenseKey": key, "hardwareId": "machine", "installationId": INSTALLATION,
        "installationName": "Harbour", "installationVersion": "2.0.0",
    });
    assert_eq!(vendor.told("activate", again).await.word(), "yes");
    let renamed = seat(&vendor, &key).await;
    assert_eq!(
        (&*renamed.installation_name, &*renamed.installation_version),
        ("Harbour", "2.0.0")
    );
    // The seat is the same one, activated again.
    assert_eq!(renamed.activated_at, first.activated_at);
    assert_eq!(renamed.last_activated_at, called.last_seen_at);
    let log = vendor.audit(&format!("?license={key}")).await;
    assert_eq!(actions(&log), ["seat_taken", "issued"]);
    assert_eq!(log[0]["details"]["installation"], "Test");
    vendor.end().await;
}

async fn only_activations_and_validations_sign_a_lease(engine: Engine) {
    let vendor = Vendor::start(engine).await;
    let key = activated(&vendor).await;
    let lease = seat(&vendor, &key).await.signed;
    vendor.clock.advance(TimeDelta::hours(1));
    let beat = vendor.heartbeat(&key, "machine", 1).await;
    assert!(matches!(beat, Told::Unsigned(_)), "{beat:?}");
    let after_heartbeat = seat(&vendor, &key).await;
    assert_eq!(after_heartbeat.signed, lease);
    assert_eq!(after_heartbeat.signed_until, lease.map(|it| it.exp));
    assert!(after_heartbeat.usage.is_some());
    vendor.clock.advance(TimeDelta::hours(1));
    let validated = vendor.validate(&key, "machine").await.exp();
    let after_validation = seat(&vendor, &key).await;
    assert_eq!(after_validation.signed.map(|it| it.exp), Some(validated));
    assert_eq!(after_validation.signed_until, Some(validated));
    // Giving the seat back shortens nothing that was signed.
    vendor.deactivate(&key, "machine").await;
    assert_eq!(seat(&vendor, &key).await.signed_until, Some(validated));
    vendor.end().await;
}

async fn a_refused_machine_is_seen_while_it_holds_its_seat(engine: Engine) {
    let vendor = Vendor::start(engine).await;
    let key = activated(&vendor).await;
    vendor.set_status(&key, Status::Suspended).await;
    vendor.clock.advance(TimeDelta::hours(1));
    let refused = vendor.validate(&key, "machine").await;
    assert_eq!(refused.word(), "suspended");
    let held = seat(&vendor, &key).await;
    assert_eq!(held.last_seen_at, vendor.clock.now());
    assert_eq!(held.last_seq, refused.seq());
    vendor.free(&key, "machine").await.unwrap();
    vendor.clock.advance(TimeDelta::hours(1));
    let refused = vendor.validate(&key, "machine").await;
    let freed = seat(&vendor, &key).await;
    assert_eq!(freed.last_seen_at, held.last_seen_at);
    // The number grows all the same: a site takes no document for a replay.
    assert_eq!(freed.last_seq, refused.seq());
    vendor.end().await;
}

async fn every_document_names_the_call_that_it_answers(engine: Engine) {
    let vendor = Vendor::start(engine).await;
    let key = vendor.issue(IssueRequest::of(Tier::Standard)).await;
    let unknown = "FXSGHT-2222-2222-2222-2222";
    for (told, call) in [
        (vendor.activate(&key, "machine").await, Call::Activate),
        (vendor.validate(&key, "machine").await, Call::Validate),
        (vendor.activate(&key, "another").await, Call::Activate),
        (vendor.heartbeat(&key, "another", 1).await, Call::Heartbeat),
        (vendor.validate(unknown, "machine").await, Call::Validate),
        (vendor.deactivate(&key, "machine").await, Call::Deactivate),
    ] {
        assert_eq!(told.question(), Some(call), "{}", told.word());
    }
    vendor.end().await;
}

async fn a_site_that_does_not_say_its_installation_is_the_one_that_took_the_seat(engine: Engine) {
    let vendor = Vendor::start(engine).await;
    let key = activated(&vendor).await;
    let url = format!("{}/api/licenses/validate", vendor.url);
    let body = json!({"licenseKey": key, "hardwareId": "machine"});
    let answer = vendor.http.post(url).json(&body).send().await.unwrap();
    let answer: Value = answer.json().await.unwrap();
    let jws = answer["data"]["license"]["signature"].as_str().unwrap();
    let document = license_core::document::verify_license(jws, &vendor.keyring()).unwrap();
    assert_eq!(document.claims().installation_id, INSTALLATION);
    assert_eq!(seat(&vendor, &key).await.installation_id, INSTALLATION);
    let log = vendor.audit(&format!("?license={key}")).await;
    assert_eq!(actions(&log), ["seat_taken", "issued"]);

    // Another one that claims to be the machine takes it over, which is recorded.
    let other = json!({
        "licenseKey": key, "hardwareId": "machine", "installationId": "other",
        "installationName": "Test", "installationVersion": "1.0.0",
    });
    let url = format!("{}/api/licenses/activate", vendor.url);
    let answer = vendor.http.post(url).json(&other).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    let log = vendor.audit(&format!("?license={key}")).await;
    assert_eq!(log[0]["action"], "installation_changed");
    assert_eq!(
        log[0]["details"],
        json!({"from": INSTALLATION, "to": "other"})
    );
    vendor.end().await;
}

async fn a_suspended_license_is_given_back_and_not_used(engine: Engine) {
    let vendor = Vendor::start(engine).await;
    let key = activated(&vendor).await;
    vendor.set_status(&key, Status::Suspended).await;
    let before = seat(&vendor, &key).await;
    assert_eq!(
        vendor.heartbeat(&key, "machine", 9).await.word(),
        "suspended"
    );
    let after = seat(&vendor, &key).await;
    assert_eq!((after.usage, after.signed), (before.usage, before.signed));
    let refused = vendor.activate(&key, "another").await;
    assert_eq!(
        refused.message(),
        "The license is suspended; ask your vendor to reinstate it"
    );
    assert_eq!(vendor.seat(&key, "another").await, None);
    let receipt = vendor.deactivate(&key, "machine").await;
    assert_eq!(receipt.word(), "deactivated");
    assert_eq!(
        receipt.message(),
        "The license was deactivated on this machine"
    );
    assert_eq!(receipt.installation_id(), INSTALLATION);
    assert!(!seat(&vendor, &key).await.is_held());
    vendor.end().await;
}

async fn the_audit_log_says_who_signed_which_request_file(engine: Engine) {
    let vendor = Vendor::start(engine).await;
    let key = vendor.issue(IssueRequest::of(Tier::Standard)).await;
    for (purpose, by, is_confirmed) in [
        (Purpose::Renew, Actor::CommandLine, false),
        (Purpose::Activate, Actor::CommandLine, true),
        (Purpose::Renew, Actor::Site, true),
        (Purpose::Deactivate, Actor::Site, true),
    ] {
        vendor.clock.advance(TimeDelta::minutes(1));
        let file = offline_request(purpose, &key, vendor.clock.now());
        let file = RequestFile::read(&file.to_file()).unwrap();
        let signed = sign(&vendor.app, file, TimeDelta::days(90), by)
            .await
            .unwrap();
        let is_denied = matches!(signed.answer, SiteAnswer::Denied { .. });
        assert_eq!(is_denied, !is_confirmed);
    }
    let log = vendor.audit(&format!("?license={key}")).await;
    let entries = log.as_array().unwrap().iter().map(|it| {
        let text = |it: &Value| it.as_str().unwrap_or_default().to_owned();
        let question = text(&it["details"]["question"]);
        (text(&it["action"]), text(&it["actor"]), question)
    });
    let entries: Vec<_> = entries.collect();
    let entry = |action: &str, actor: &str, question: &str| {
        (action.to_owned(), actor.to_owned(), question.to_owned())
    };
    assert_eq!(
        entries,
        [
            entry("offline_signed", "site", "deactivate"),
            entry("seat_given_back", "site", ""),
            entry("offline_signed", "site", "validate"),
            entry("seat_taken", "site", ""),
            entry("offline_signed", "command line", "activate"),
            entry("issued", "command line", ""),
        ]
    );
    vendor.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_system_that_is_reported_is_stored_with_bounded_texts() {
    let vendor = Vendor::start(Engine::Sqlite).await;
    let key = vendor.issue(IssueRequest::of(Tier::Standard)).await;
    vendor.activate(&key, "machine").await;
    let long = "é".repeat(3_000);
    let body = json!({
        "licenseKey": key, "hardwareId": "machine", "installationId": "i",
        "usageMetrics": {"camerasInUse": 1, "usersActive": 1, "storageUsedGb": 1, "more": long},
        "systemInfo": {
            "os_platform": long, "os_release": long, "os_version": long, "cpu_count": 2,
            "total_memory_gb": 4.0, "hostname": long, "architecture": long, "more": [long],
        },
    });
    assert_eq!(vendor.told("heartbeat", body).await.word(), "yes");
    let seat = vendor.seat(&key, "machine").await.unwrap();
    let system = seat.system_info.unwrap();
    assert_eq!(system.as_object().unwrap().len(), 7);
    assert_eq!(system["hostname"].as_str().unwrap().chars().count(), 255);
    assert!(system.to_string().len() < 3_000 && seat.usage.unwrap().to_string().len() < 200);
    vendor.end().await;
}
