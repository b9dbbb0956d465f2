//! Request files that prove the installation key, and those that do not.

use license_core::offline::{OfflineRequest, Purpose};
use license_service::clock::Clock as _;
use reqwest::{Method, StatusCode};
use serde_json::json;

use super::{Site, bound};
use crate::database::{Engine, on_both_engines};
use crate::harness::{INSTALLATION, Vendor, offline_request};

on_both_engines! {
    a_seat_is_freed_by_a_file_of_its_own_site_alone;
}

fn request(vendor: &Vendor, site: &Site, purpose: Purpose) -> OfflineRequest {
    OfflineRequest {
        hardware_id: site.machine.clone(),
        installation_id: INSTALLATION.to_owned(),
        newest_seq: site.seq,
        ..offline_request(purpose, &site.license_key, vendor.clock.now())
    }
}

async fn a_seat_is_freed_by_a_file_of_its_own_site_alone(engine: Engine) {
    let (vendor, site) = bound(engine).await;
    let stranger = Site::new(2, &site.license_key, "machine");
    let held = async || {
        let seat = vendor.seat(&site.license_key, "machine").await;
        seat.unwrap().is_held()
    };
    vendor.clock.advance(chrono::TimeDelta::minutes(1));
    let wanted = request(&vendor, &site, Purpose::Deactivate);
    let document = site.document.as_deref();
    let proven = wanted.to_proven_file(&site.key, document);
    for file in [
        wanted.to_file(),
        wanted.to_proven_file(&stranger.key, document),
        // The proof of another request.
        request(&vendor, &site, Purpose::Renew).to_proven_file(&stranger.key, document),
    ] {
        let body = json!({"request": file});
        let (status, answer) = vendor.post("offline", body.clone()).await;
        assert_eq!(status, StatusCode::CONFLICT, "{answer}");
        let message = answer["error"]["message"].as_str().unwrap();
        assert!(message.contains("write a new one"), "{message}");
        let (status, _) = vendor.admin(Method::POST, "/offline", body).await;
        assert_eq!(status, StatusCode::CONFLICT);
        assert!(held().await);
    }
    let (status, answer) = vendor.post("offline", json!({"request": proven})).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    assert!(!held().await);
    vendor.end().await;
}
