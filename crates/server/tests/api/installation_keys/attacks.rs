//! What someone can do who has seen a site's license key, its hardware id and its calls.

use license_core::protocol::{ACTIVATE, PROOF_HEADER};
use license_server::licensing::sent_proof::CheckedProof;
use reqwest::StatusCode;
use serde_json::{Value, json};

use super::{Site, bound, code, suspicions};
use crate::add_ons::issued_key;
use crate::database::{Engine, on_both_engines};
use crate::harness::Vendor;

on_both_engines! {
    no_one_else_frees_a_seat_or_reports_its_usage;
    a_proof_is_worth_nothing_for_another_call;
    a_call_that_is_repeated_is_answered_once_by_any_server;
    a_deactivation_from_before_the_activation_frees_nothing;
}

async fn usage(vendor: &Vendor, site: &Site) -> Option<Value> {
    let seat = vendor.seat(&site.license_key, &site.machine).await;
    seat.unwrap().usage
}

async fn no_one_else_frees_a_seat_or_reports_its_usage(engine: Engine) {
    let (vendor, mut site) = bound(engine).await;
    assert_eq!(site.ask(&vendor, "heartbeat").await.0, StatusCode::OK);
    let reported = usage(&vendor, &site).await;
    let before = vendor.seat(&site.license_key, "machine").await.unwrap();
    let mut stranger = Site::new(2, &site.license_key, "machine");
    stranger.document.clone_from(&site.document);
    stranger.seq = site.seq;
    for path in ["deactivate", "heartbeat", "validate"] {
        for call in [stranger.unproven(path), stranger.proven(&vendor, path)] {
            let answered = call.send(&vendor).await;
            assert_eq!(code(&answered), (401, "unproven"), "{path}");
            let mut twice = call.clone();
            twice.proof = Some("no.proof.atall".to_owned());
            assert_eq!(code(&twice.send(&vendor).await), (401, "unproven"));
        }
    }
    let add_on = issued_key(&vendor, json!({"add": [{"key": "cameras", "quantity": 4}]})).await;
    let redeem =
        json!({"licenseKey": site.license_key, "hardwareId": "machine", "addOnKey": add_on});
    let (status, answer) = vendor.post("redeem", redeem).await;
    assert_eq!(status, StatusCode::UNAUTHORIZED, "{answer}");
    let after = vendor.seat(&site.license_key, "machine").await.unwrap();
    assert_eq!(after, before);
    assert_eq!(usage(&vendor, &site).await, reported);
    assert_eq!(suspicions(&vendor).await, [json!("unproven_call")]);
    // The site notices nothing.
    assert_eq!(site.ask(&vendor, "validate").await.0, StatusCode::OK);
    vendor.end().await;
}

async fn a_proof_is_worth_nothing_for_another_call(engine: Engine) {
    let (vendor, site) = bound(engine).await;
    let heartbeat = site.proven(&vendor, "heartbeat");
    let mut moved = heartbeat.clone();
    moved.path = "deactivate";
    moved.body = site.body("deactivate").to_string().into_bytes();
    let mut other_body = heartbeat.clone();
    let mut body = site.body("heartbeat");
    body["usageMetrics"]["camerasInUse"] = json!(9999);
    other_body.body = body.to_string().into_bytes();
    let mut other_nonce = heartbeat.clone();
    other_nonce.nonce = site.unproven("heartbeat").nonce;
    let mut stripped = heartbeat.clone();
    stripped.proof = None;
    for call in [moved, other_body, other_nonce, stripped] {
        let answered = call.send(&vendor).await;
        assert_eq!(code(&answered), (401, "unproven"), "{}", call.path);
    }
    // Two proofs are none.
    let url = format!("{}/api/licenses/heartbeat", vendor.url);
    let post = vendor.http.post(url).body(heartbeat.body.clone());
    let proof = heartbeat.proof.clone().unwrap();
    let post = post.header("x-license-nonce", &heartbeat.nonce);
    let twice = post
        .header(PROOF_HEADER, &proof)
        .header(PROOF_HEADER, &proof);
    assert_eq!(
        twice.send().await.unwrap().status(),
        StatusCode::UNAUTHORIZED
    );
    assert_eq!(heartbeat.send(&vendor).await.0, StatusCode::OK);
    vendor.end().await;
}

async fn a_call_that_is_repeated_is_answered_once_by_any_server(engine: Engine) {
    let (vendor, mut site) = bound(engine).await;
    let twin = vendor.twin().await;
    for path in ["heartbeat", "validate"] {
        let call = site.proven(&vendor, path);
        let answered = call.send(&vendor).await;
        assert_eq!(answered.0, StatusCode::OK, "{answered:?}");
        for server in [&vendor, &twin, &vendor] {
            let again = call.send(server).await;
            assert_eq!(again.0, StatusCode::UNAUTHORIZED, "{again:?}");
        }
        site.keep(&vendor, &answered);
        assert_eq!(site.ask(&twin, path).await.0, StatusCode::OK);
    }
    // Two servers at once.
    let call = site.proven(&vendor, "heartbeat");
    let (one, other) = tokio::join!(call.send(&vendor), call.send(&twin));
    let mut statuses = [one.0.as_u16(), other.0.as_u16()];
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 401]);
    twin.stop().await;
    vendor.end().await;
}

async fn a_deactivation_from_before_the_activation_frees_nothing(engine: Engine) {
    let (vendor, mut site) = bound(engine).await;
    // Signed, and held back by someone on the way.
    let held_back = site.proven(&vendor, "deactivate");
    for path in ["validate", "activate"] {
        assert_eq!(site.ask(&vendor, path).await.0, StatusCode::OK);
    }
    let answered = held_back.send(&vendor).await;
    assert_eq!(code(&answered), (401, "proof_outdated"));
    // Someone on the way had the site name a number that did not exist yet.
    let url = format!("{}/api/licenses/deactivate", vendor.url);
    let ahead = site.seq.map(|seq| seq + 90_000);
    let held_back = site.proven_with(&url, "deactivate", ahead);
    vendor.clock.advance(chrono::TimeDelta::minutes(1));
    assert_eq!(site.ask(&vendor, "activate").await.0, StatusCode::OK);
    vendor.clock.advance(chrono::TimeDelta::minutes(1));
    assert_eq!(site.ask(&vendor, "heartbeat").await.0, StatusCode::OK);
    let answered = held_back.send(&vendor).await;
    assert_eq!(code(&answered), (401, "proof_outdated"));
    let seat = vendor.seat(&site.license_key, "machine").await.unwrap();
    assert!(seat.is_held());
    vendor.end().await;
}

/// With names of its own, a server refuses proofs for other servers, and accepts those that proxies
/// have passed on.
#[test]
fn a_proof_for_another_server_is_worth_nothing() {
    let hosts = ["licenses.example".to_owned()];
    let site = Site::new(1, "FXSGHT-2222-2222-2222-2222", "machine");
    let is_valid = |url: &str, hosts: &[String]| {
        let call = site.proven_with(url, "activate", None);
        let proof = call.proof.unwrap();
        let proofs = [proof.as_bytes()];
        let checked = CheckedProof::of_call(&proofs, ACTIVATE, &call.body, &call.nonce, hosts);
        matches!(checked, CheckedProof::Valid(_))
    };
    for url in [
        "https://other.example/api/licenses/activate",
        "https://licenses.example.evil.test/api/licenses/activate",
        "https://licenses.example@evil.test/licenses/activate",
    ] {
        assert!(is_valid(url, &[]), "{url}");
        assert!(!is_valid(url, &hosts), "{url}");
    }
    let behind_a_proxy = "https://LICENSES.example:8443/behind/a/proxy/licenses/activate";
    assert!(is_valid(behind_a_proxy, &hosts));
    assert!(!is_valid(
        "https://licenses.example/licenses/validate",
        &hosts
    ));
}
