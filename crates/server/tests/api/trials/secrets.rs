//! Which caller gets the license key of a trial that was started before.

use chrono::TimeDelta;
use license_core::document::verify_license;
use license_core::offline::{OfflineRequest, Purpose, from_file};
use license_server::licensing::history::forget;
use license_service::clock::Clock as _;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::{ask_with, code};
use crate::amendments::amended;
use crate::database::{Engine, on_both_engines};
use crate::harness::{Vendor, offline_request};

on_both_engines! {
    the_public_ids_of_a_trial_never_get_its_key;
    a_site_without_a_secret_proves_its_trial_with_the_same_code;
    a_converted_trial_and_one_without_its_seat_are_not_given_again;
    a_trial_that_was_given_up_long_ago_is_not_given_again;
    a_request_file_needs_the_same_proof;
}

/// The secret of the site, and that of another one.
const SECRETS: [&str; 2] = [
    "the-secret-of-the-site-0123456789-0123456789",
    "the-secret-of-another-0123456789-0123456789",
];

/// The key of the license, or the reason of the refusal. A refusal contains no key.
async fn ask(vendor: &Vendor, secret: Option<&str>, code: Option<&str>, machine: &str) -> String {
    let (status, answer) = ask_with(vendor, secret, code, "one", machine).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    match answer["data"]["license"]["licenseKey"].as_str() {
        Some(key) => key.to_owned(),
        None => {
            assert!(!answer.to_string().contains("FXSGHT-"), "{answer}");
            answer["error"]["code"].as_str().unwrap().to_owned()
        }
    }
}

async fn the_public_ids_of_a_trial_never_get_its_key(engine: Engine) {
    let vendor = Vendor::start(engine).await;
    let first = code(&vendor, json!({"max": 5})).await;
    let second = code(&vendor, json!({"max": 5})).await;
    let [right, wrong] = SECRETS;
    let key = ask(&vendor, Some(right), Some(&first), "machine").await;
    assert!(key.starts_with("FXSGHT-"), "{key}");
    for (secret, code) in [
        (None, None),
        (Some(wrong), None),
        (None, Some(&first)),
        (Some(wrong), Some(&first)),
        (None, Some(&second)),
    ] {
        let told = ask(&vendor, secret, code.map(String::as_str), "machine").await;
        assert_eq!(told, "trial_elsewhere", "{secret:?} {code:?}");
    }
    // The answer may have been lost: the site asks again.
    for code in [Some(&first), Some(&second), None] {
        let told = ask(&vendor, Some(right), code.map(String::as_str), "machine").await;
        assert_eq!(told, key);
    }
    let moved = ask(&vendor, Some(right), Some(&first), "other").await;
    assert_eq!(moved, "trial_elsewhere");
    assert_eq!(vendor.look("/licenses").await["total"], 1);
    let (status, answer) = ask_with(&vendor, Some("short"), Some(&first), "two", "m").await;
    assert_eq!(status, StatusCode::BAD_REQUEST, "{answer}");
    vendor.end().await;
}

async fn a_site_without_a_secret_proves_its_trial_with_the_same_code(engine: Engine) {
    let vendor = Vendor::start(engine).await;
    let first = code(&vendor, json!({"max": 5})).await;
    let second = code(&vendor, json!({"max": 5})).await;
    let key = ask(&vendor, None, Some(&first), "machine").await;
    let path = format!("/trial-codes/{first}");
    vendor.admin(Method::DELETE, &path, Value::Null).await;
    for (secret, code, expected) in [
        (None, Some(&first), &*key),
        (Some(SECRETS[0]), Some(&first), &*key),
        (None, Some(&second), "trial_elsewhere"),
        (Some(SECRETS[0]), None, "trial_elsewhere"),
        (None, None, "trial_elsewhere"),
    ] {
        let told = ask(&vendor, secret, code.map(String::as_str), "machine").await;
        assert_eq!(told, expected, "{secret:?} {code:?}");
    }
    vendor.end().await;
}

async fn a_converted_trial_and_one_without_its_seat_are_not_given_again(engine: Engine) {
    let vendor = Vendor::start(engine).await;
    let code = code(&vendor, json!({"max": 5})).await;
    let start = || ask(&vendor, Some(SECRETS[0]), Some(&code), "machine");
    let key = start().await;
    vendor.deactivate(&key, "machine").await;
    assert_eq!(start().await, "trial_converted");
    // Its key still takes the seat.
    assert_eq!(vendor.activate(&key, "machine").await.word(), "yes");
    assert_eq!(start().await, key);
    amended(&vendor, &key, json!({"plan": "professional"})).await;
    assert_eq!(start().await, "trial_converted");
    let (_, answer) = ask_with(&vendor, Some(SECRETS[0]), Some(&code), "one", "machine").await;
    let message = answer["error"]["message"].as_str().unwrap();
    assert_eq!(
        message,
        "This trial was converted to a regular license; ask your vendor for the license key"
    );
    assert_eq!(vendor.validate(&key, "machine").await.word(), "yes");
    vendor.end().await;
}

async fn a_trial_that_was_given_up_long_ago_is_not_given_again(engine: Engine) {
    let vendor = Vendor::start(engine).await;
    let code = code(&vendor, json!({"max": 5})).await;
    let start = || ask(&vendor, Some(SECRETS[0]), Some(&code), "machine");
    let key = start().await;
    vendor.deactivate(&key, "machine").await;
    for _ in 0..20 {
        vendor.clock.advance(TimeDelta::days(1));
        forget(&vendor.app).await.unwrap();
    }
    assert_eq!(start().await, "trial_converted");
    vendor.end().await;
}

async fn a_request_file_needs_the_same_proof(engine: Engine) {
    let vendor = Vendor::start(engine).await;
    let code = code(&vendor, json!({"max": 5})).await;
    let sign = async |secret: Option<&str>, code: &str| {
        let request = OfflineRequest {
            installation_id: "one".to_owned(),
            trial_secret: secret.map(str::to_owned),
            ..offline_request(Purpose::Trial, code, vendor.clock.now())
        };
        let body = json!({"request": request.to_file()});
        let (status, answer) = vendor.post("offline", body).await;
        if status != StatusCode::OK || answer["data"]["granted"] != true {
            return None;
        }
        let (_, document) = from_file(answer["data"]["file"].as_str().unwrap()).unwrap();
        let signed = verify_license(&document, &vendor.keyring()).unwrap();
        Some(signed.license_key().to_owned())
    };
    let key = sign(Some(SECRETS[0]), &code).await;
    assert!(key.is_some());
    assert_eq!(sign(Some(SECRETS[0]), &code).await, key);
    assert_eq!(sign(Some(SECRETS[0]), "").await, key);
    for (secret, code) in [
        (None, ""),
        (None, &*code),
        (Some(SECRETS[1]), &*code),
        (Some("short"), &*code),
    ] {
        assert_eq!(sign(secret, code).await, None, "{secret:?} {code}");
    }
    vendor.end().await;
}
