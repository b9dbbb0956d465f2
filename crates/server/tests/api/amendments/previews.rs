//! Previews lock and store nothing.

use license_server::licensing::catalogue::Tier;
use license_server::licensing::issue::IssueRequest;
use reqwest::StatusCode;
use serde_json::json;

use super::{amend, license};
use crate::database::{Engine, on_both_engines};
use crate::harness::Vendor;

on_both_engines! {
    a_preview_waits_for_no_change_of_the_license_and_stores_no_customer;
}

async fn a_preview_waits_for_no_change_of_the_license_and_stores_no_customer(engine: Engine) {
    let vendor = Vendor::start(engine).await;
    let key = vendor.issue(IssueRequest::of(Tier::Professional)).await;
    let body = json!({
        "preview": true, "customer": "Harbour Ltd", "effectiveAt": "2026-12-01",
        "add": [{"key": "cameras", "quantity": 8}],
    });
    let (status, answer) = amend(&vendor, &key, body).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    assert_eq!(vendor.look("/customers").await["total"], 0);

    let known = license(&vendor, &key).await;
    let (held, _) = vendor.app.store.hold(known).await.unwrap();
    let body = json!({"preview": true, "add": [{"key": "cameras", "quantity": 8}]});
    let (status, answer) = amend(&vendor, &key, body).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    assert_eq!(answer["license"]["maxCameras"], 72);
    drop(held);
    assert_eq!(license(&vendor, &key).await.amendment, 1);
    vendor.end().await;
}
