//! Requests submitted as files.

use chrono::TimeDelta;
use license_core::document::verify_license;
use license_core::offline::{OfflineRequest, Purpose, RequestFile, from_file, nonce};
use license_core::rotation::walk;
use license_server::audit::Actor;
use license_server::licensing::catalogue::Tier;
use license_server::licensing::issue::IssueRequest;
use license_server::licensing::offline::sign;
use license_server::signing::SigningKeys;
use license_server::store::licenses::Status;
use license_service::clock::Clock as _;
use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::database::{Engine, on_both_engines};
use crate::harness::{NONCE, Vendor, offline_request};

on_both_engines! {
    a_request_is_answered_with_a_lease_as_long_as_the_vendor_allows;
    a_lease_by_file_ends_with_the_license;
    a_deactivated_site_frees_its_seat_regardless_of_the_license;
    a_request_that_was_kept_does_not_free_the_seat_of_a_later_activation;
    a_request_that_was_kept_does_not_free_a_seat_that_was_activated_again_while_held;
    a_request_from_the_future_is_not_signed;
}

async fn bring(vendor: &Vendor, file: &str) -> (StatusCode, Value) {
    vendor.post("offline", json!({ "request": file })).await
}

async fn answered(vendor: &Vendor, purpose: Purpose, key: &str) -> Value {
    let file = offline_request(purpose, key, vendor.clock.now()).to_file();
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
    vendor.app.reload_changed_keys().unwrap();

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
        ("hello", "a license or request file"),
        ("-----BEGIN FOXSIGHT LICENSE REQUEST-----\nabc", "truncated"),
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
    let mut nobody = offline_request(Purpose::Activate, &key, now);
    nobody.hardware_id = String::new();
    let (status, answer) = bring(&vendor, &nobody.to_file()).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert!(
        answer["error"]["message"]
            .as_str()
            .unwrap()
            .contains("hardwareId")
    );
    let mut other = offline_request(Purpose::Renew, &key, now);
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

async fn a_deactivated_site_frees_its_seat_regardless_of_the_license(engine: Engine) {
    let vendor = Vendor::start(engine).await;
    let key = vendor.issue(IssueRequest::of(Tier::Standard)).await;
    answered(&vendor, Purpose::Activate, &key).await;
    vendor.set_status(&key, Status::Suspended).await;
    let data = answered(&vendor, Purpose::Renew, &key).await;
    assert_eq!(data["granted"], false);
    let data = answered(&vendor, Purpose::Deactivate, &key).await;
    assert_eq!(data["granted"], true);
    vendor.set_status(&key, Status::Active).await;
    // Its lease may run for long: the seat counts until then, or until it is released.
    let another = vendor.activate(&key, "another").await;
    assert_eq!(another.word(), "seat_limit");
    vendor.release(&key, "machine").await.unwrap();
    assert_eq!(vendor.activate(&key, "another").await.word(), "yes");
    vendor.end().await;
}

async fn a_request_that_was_kept_does_not_free_the_seat_of_a_later_activation(engine: Engine) {
    let vendor = Vendor::start(engine).await;
    let key = vendor.issue(IssueRequest::of(Tier::Standard)).await;
    answered(&vendor, Purpose::Activate, &key).await;
    vendor.clock.advance(TimeDelta::hours(1));
    let kept = offline_request(Purpose::Deactivate, &key, vendor.clock.now());
    let (status, answer) = bring(&vendor, &kept.to_file()).await;
    assert_eq!(
        (status, &answer["data"]["granted"]),
        (StatusCode::OK, &json!(true))
    );
    // As long as nothing else has happened, it may be brought again.
    assert_eq!(bring(&vendor, &kept.to_file()).await.0, StatusCode::OK);

    vendor.clock.advance(TimeDelta::hours(1));
    answered(&vendor, Purpose::Activate, &key).await;
    let lower = OfflineRequest {
        license_key: key.to_lowercase(),
        ..kept.clone()
    };
    for kept in [&kept, &lower] {
        let (status, answer) = bring(&vendor, &kept.to_file()).await;
        assert_eq!(status, StatusCode::BAD_REQUEST);
        let message = answer["error"]["message"].as_str().unwrap();
        assert!(message.contains("older than the activation"), "{message}");
    }
    assert_eq!(vendor.validate(&key, "machine").await.word(), "yes");
    // One of the same second counts: a site's time is that of its document.
    answered(&vendor, Purpose::Deactivate, &key).await;
    vendor.end().await;
}

async fn a_request_that_was_kept_does_not_free_a_seat_that_was_activated_again_while_held(
    engine: Engine,
) {
    let vendor = Vendor::start(engine).await;
    let key = vendor.issue(IssueRequest::of(Tier::Standard)).await;
    assert_eq!(vendor.activate(&key, "machine").await.word(), "yes");
    let taken = vendor.seat(&key, "machine").await.unwrap().activated_at;
    for by_file in [false, true] {
        vendor.clock.advance(TimeDelta::hours(1));
        let kept = offline_request(Purpose::Deactivate, &key, vendor.clock.now());
        vendor.clock.advance(TimeDelta::hours(1));
        if by_file {
            answered(&vendor, Purpose::Activate, &key).await;
        } else {
            assert_eq!(vendor.activate(&key, "machine").await.word(), "yes");
        }
        let (status, answer) = bring(&vendor, &kept.to_file()).await;
        assert_eq!(status, StatusCode::BAD_REQUEST);
        let message = answer["error"]["message"].as_str().unwrap();
        assert!(message.contains("older than the activation"), "{message}");
        let seat = vendor.seat(&key, "machine").await.unwrap();
        assert!(seat.is_held());
        assert_eq!(seat.activated_at, taken, "it was held all the time");
    }
    // A validation is no activation: what was written before it still counts.
    let kept = offline_request(Purpose::Deactivate, &key, vendor.clock.now());
    vendor.clock.advance(TimeDelta::hours(1));
    assert_eq!(vendor.validate(&key, "machine").await.word(), "yes");
    let (status, answer) = bring(&vendor, &kept.to_file()).await;
    assert_eq!(
        (status, &answer["data"]["granted"]),
        (StatusCode::OK, &json!(true))
    );
    vendor.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_vendor_may_answer_no_request_files() {
    let vendor = Vendor::start_with_leases(Engine::Sqlite, TimeDelta::zero()).await;
    let key = vendor.issue(IssueRequest::of(Tier::Standard)).await;
    let request = offline_request(Purpose::Activate, &key, vendor.clock.now());
    // It costs no query.
    let away = "ALTER TABLE licenses RENAME TO away";
    vendor.database.execute(away).await;
    let (status, answer) = bring(&vendor, &request.to_file()).await;
    assert_eq!(status, StatusCode::FORBIDDEN);
    let back = "ALTER TABLE away RENAME TO licenses";
    vendor.database.execute(back).await;
    assert_eq!(answer["error"]["code"], "not_offered");
    // By hand it still can.
    let request = RequestFile::read(&request.to_file()).unwrap();
    let signed = sign(
        &vendor.app,
        request,
        TimeDelta::days(90),
        Actor::CommandLine,
    )
    .await;
    assert!(signed.is_ok());
    vendor.end().await;
}

async fn a_request_from_the_future_is_not_signed(engine: Engine) {
    let vendor = Vendor::start(engine).await;
    let key = vendor.issue(IssueRequest::of(Tier::Standard)).await;
    let now = vendor.clock.now();
    let far = "2100-01-01T00:00:00Z".parse().unwrap();
    for purpose in [Purpose::Activate, Purpose::Renew, Purpose::Deactivate] {
        for (asked, created_at) in [
            (far, now),
            (now, far),
            (now + TimeDelta::minutes(11), now),
            (now, now + TimeDelta::minutes(11)),
        ] {
            let ahead = OfflineRequest {
                nonce: nonce([7; 24], asked),
                created_at,
                ..offline_request(purpose, &key, now)
            };
            let (status, answer) = bring(&vendor, &ahead.to_file()).await;
            assert_eq!(status, StatusCode::BAD_REQUEST, "{answer}");
            let message = answer["error"]["message"].as_str().unwrap();
            assert!(
                message.contains("set the clock of the site's machine"),
                "{message}"
            );
            // Staff get the same answer.
            let lease = TimeDelta::days(90);
            let ahead = RequestFile::read(&ahead.to_file()).unwrap();
            let by_hand = sign(&vendor.app, ahead, lease, Actor::CommandLine).await;
            let by_hand = by_hand.unwrap_err().to_string();
            assert_eq!(by_hand[1..], message[1..], "but for the capital letter");
        }
    }
    // A few minutes are no reason; and nothing has happened to the seat.
    let file = OfflineRequest {
        nonce: nonce([7; 24], now + TimeDelta::minutes(9)),
        ..offline_request(Purpose::Activate, &key, now + TimeDelta::minutes(9))
    };
    let (status, answer) = bring(&vendor, &file.to_file()).await;
    assert_eq!(
        (status, &answer["data"]["granted"]),
        (StatusCode::OK, &json!(true))
    );
    vendor.end().await;
}
