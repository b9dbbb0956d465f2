//! The calls of sites.

use license_core::document::{verify_denial, verify_license};
use license_server::licensing::catalogue::Tier;
use license_server::licensing::issue::IssueRequest;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::{code, stored};
use crate::database::{Engine, on_both_engines};
use crate::harness::{INSTALLATION, NONCE, Vendor};

on_both_engines! {
    a_site_that_repeats_a_call_gets_the_same_document;
    a_repeated_call_with_a_new_nonce_gets_a_new_document;
    a_denial_is_judged_anew;
    a_change_whose_answer_is_missing_is_answered_anew;
}

const OTHER_NONCE: &str = "b3RoZXItbm9uY2Utb2YtdGhpcy1yZXF1ZXN0LTMyLWJ5dA";

/// What a site is answered.
pub async fn sent(
    vendor: &Vendor,
    call: &str,
    key: &str,
    nonce: &str,
    body: &Value,
) -> (StatusCode, Value) {
    let url = format!("{}/api/licenses/{call}", vendor.url);
    let request = vendor
        .http
        .post(url)
        .header("x-installation-id", INSTALLATION)
        .header("x-license-nonce", nonce)
        .header("idempotency-key", key)
        .json(body);
    let response = request.send().await.unwrap();
    (response.status(), response.json().await.unwrap())
}

fn activation(license: &str, machine: &str) -> Value {
    json!({
        "licenseKey": license, "hardwareId": machine, "installationId": INSTALLATION,
        "installationName": "Test", "installationVersion": "1.0.0",
    })
}

async fn a_site_that_repeats_a_call_gets_the_same_document(engine: Engine) {
    let vendor = Vendor::start(engine).await;
    let twin = vendor.twin().await;
    let license = vendor.issue(IssueRequest::of(Tier::Standard)).await;
    let machine = json!({"licenseKey": license, "hardwareId": "m"});
    let first = sent(&vendor, "activate", "a", NONCE, &activation(&license, "m")).await;
    assert_eq!(first.1["success"], true, "{}", first.1);
    let validated = sent(&vendor, "validate", "v", NONCE, &machine).await;
    let seq = vendor.seat(&license, "m").await.unwrap().last_seq;
    for server in [&vendor, &twin] {
        let again = sent(server, "activate", "a", NONCE, &activation(&license, "m")).await;
        assert_eq!(again, first);
        assert_eq!(
            sent(server, "validate", "v", NONCE, &machine).await,
            validated
        );
    }
    assert_eq!(vendor.seat(&license, "m").await.unwrap().last_seq, seq);
    // Another body, and another machine of the license.
    let mut renamed = activation(&license, "m");
    renamed["installationName"] = "Other".into();
    for body in [renamed, activation(&license, "n")] {
        let (status, answer) = sent(&vendor, "activate", "a", NONCE, &body).await;
        assert_eq!(status, StatusCode::CONFLICT, "{answer}");
        assert_eq!(code(&answer), "idempotency_key_reused");
        assert!(answer["success"].is_null(), "no denial: {answer}");
    }
    // Another license has its own keys.
    let other = vendor.issue(IssueRequest::of(Tier::Standard)).await;
    let (_, answer) = sent(&vendor, "activate", "a", NONCE, &activation(&other, "m")).await;
    assert_eq!(answer["success"], true, "{answer}");
    // The receipt of a deactivation, although the machine has no seat any more.
    let receipt = sent(&vendor, "deactivate", "d", NONCE, &machine).await;
    assert_eq!(receipt.1["data"]["deactivated"], true, "{}", receipt.1);
    assert_eq!(
        sent(&twin, "deactivate", "d", NONCE, &machine).await,
        receipt
    );
    let taken = vendor.audit("").await;
    let taken = taken.as_array().unwrap().iter();
    assert_eq!(taken.filter(|it| it["action"] == "seat_taken").count(), 2);
    twin.stop().await;
    vendor.end().await;
}

async fn a_repeated_call_with_a_new_nonce_gets_a_new_document(engine: Engine) {
    let vendor = Vendor::start(engine).await;
    let license = vendor.issue(IssueRequest::of(Tier::Standard)).await;
    let machine = json!({"licenseKey": license, "hardwareId": "m"});
    for (call, body) in [
        ("activate", activation(&license, "m")),
        ("validate", machine),
    ] {
        let mut numbers = Vec::new();
        for nonce in [NONCE, OTHER_NONCE, OTHER_NONCE, NONCE] {
            let (status, answer) = sent(&vendor, call, "k", nonce, &body).await;
            assert_eq!(status, StatusCode::OK, "{answer}");
            let jws = answer["data"]["license"]["signature"].as_str().unwrap();
            let document = verify_license(jws, &vendor.keyring()).unwrap();
            assert_eq!(document.claims().nonce.as_deref(), Some(nonce));
            numbers.push(document.claims().seq);
        }
        assert!(numbers[0] < numbers[1], "{numbers:?}");
        assert_eq!(numbers[1], numbers[2], "{numbers:?}");
        assert!(numbers[2] < numbers[3], "{numbers:?}");
        let forget = "DELETE FROM idempotency_keys";
        vendor.database.execute(forget).await;
    }
    vendor.end().await;
}

async fn a_denial_is_judged_anew(engine: Engine) {
    let vendor = Vendor::start(engine).await;
    let license = vendor.issue(IssueRequest::of(Tier::Standard)).await;
    vendor.activate(&license, "m").await;
    let path = format!("/licenses/{license}/suspend");
    vendor.admin(Method::POST, &path, json!({})).await;
    let body = json!({"licenseKey": license, "hardwareId": "m"});
    let (_, denied) = sent(&vendor, "validate", "k", NONCE, &body).await;
    let jws = denied["data"]["signature"].as_str().unwrap();
    assert!(verify_denial(jws, &vendor.keyring()).is_ok());
    assert_eq!(stored(&vendor).await, 0);
    let path = format!("/licenses/{license}/reinstate");
    vendor.admin(Method::POST, &path, json!({})).await;
    let (_, answer) = sent(&vendor, "validate", "k", NONCE, &body).await;
    assert_eq!(answer["data"]["isValid"], true, "{answer}");
    assert_eq!(stored(&vendor).await, 1);
    vendor.end().await;
}

async fn a_change_whose_answer_is_missing_is_answered_anew(engine: Engine) {
    let vendor = Vendor::start(engine).await;
    let license = vendor.issue(IssueRequest::of(Tier::Standard)).await;
    let body = activation(&license, "m");
    sent(&vendor, "activate", "a", NONCE, &body).await;
    let lost = "UPDATE idempotency_keys SET status = NULL, answer = NULL";
    vendor.database.execute(lost).await;
    let (status, answer) = sent(&vendor, "activate", "a", NONCE, &body).await;
    assert_eq!((status, &answer["success"]), (StatusCode::OK, &true.into()));
    assert_eq!(sent(&vendor, "activate", "a", NONCE, &body).await.1, answer);
    let seats = vendor.look(&format!("/licenses/{license}/seats")).await;
    assert_eq!(seats["total"], 1, "{seats}");
    vendor.end().await;
}
