//! One address does not use up a trial code that others have, too.

use license_core::offline::{OfflineRequest, Purpose};
use license_service::clock::Clock as _;
use reqwest::{Method, StatusCode};
use serde_json::json;

use super::{ask, code};
use crate::database::{Engine, on_both_engines};
use crate::harness::{Vendor, offline_request};

on_both_engines! {
    an_address_starts_only_some_of_the_trials_of_a_code;
}

async fn an_address_starts_only_some_of_the_trials_of_a_code(engine: Engine) {
    let vendor = Vendor::start(engine).await;
    let first = code(&vendor, json!({"max": 20})).await;
    let second = code(&vendor, json!({"max": 20})).await;
    let start = async |code: &str, installation: &str| {
        ask(&vendor, Some(code), installation, "machine").await.0
    };
    for number in 0..5 {
        let started = start(&first, &format!("installation {number}")).await;
        assert_eq!(started, StatusCode::OK);
    }
    assert_eq!(start(&first, "next").await, StatusCode::TOO_MANY_REQUESTS);
    let request = OfflineRequest {
        installation_id: "by file".to_owned(),
        ..offline_request(Purpose::Trial, &first, vendor.clock.now())
    };
    let body = json!({"request": request.to_file()});
    let (status, answer) = vendor.post("offline", body.clone()).await;
    assert_eq!(status, StatusCode::TOO_MANY_REQUESTS, "{answer}");
    // Asking again is no start, another code has its own allowance, and staff have none.
    assert_eq!(start(&first, "installation 3").await, StatusCode::OK);
    assert_eq!(start(&second, "next").await, StatusCode::OK);
    let (status, answer) = vendor.admin(Method::POST, "/offline", body).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    let shown = vendor.look(&format!("/trial-codes/{first}")).await;
    assert_eq!(shown["started"], 6);
    vendor.end().await;
}
