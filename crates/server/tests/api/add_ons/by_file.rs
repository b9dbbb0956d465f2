//! Add-on keys of sites without internet.

use license_core::document::{verify_denial, verify_license};
use license_core::offline::{Purpose, from_file};
use license_core::protocol::Call;
use license_server::store::licenses::Status;
use license_service::clock::Clock as _;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::{active, cameras, license, number_of_amendments};
use crate::database::{Engine, on_both_engines};
use crate::harness::{Vendor, offline_request};

on_both_engines! {
    a_request_file_redeems_a_key_and_is_answered_with_the_new_license;
    a_refusal_by_file_says_nothing_about_the_license;
    a_file_that_redeems_nothing_names_no_add_on_key;
}

fn request(vendor: &Vendor, key: &str, add_on: Option<&str>) -> String {
    let mut request = offline_request(Purpose::Redeem, key, vendor.clock.now());
    request.add_on_key = add_on.map(str::to_owned);
    request.entitlements = true;
    request.to_file()
}

/// The document in the answer to a file.
async fn answered(vendor: &Vendor, file: &str) -> (Value, String) {
    let (status, answer) = vendor.post("offline", json!({"request": file})).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    let data = answer["data"].clone();
    let (_, document) = from_file(data["file"].as_str().unwrap()).unwrap();
    (data, document)
}

async fn a_request_file_redeems_a_key_and_is_answered_with_the_new_license(engine: Engine) {
    let vendor = Vendor::start(engine).await;
    let key = active(&vendor).await;
    let add_on = cameras(&vendor, 16).await;
    let file = request(&vendor, &key, Some(&add_on));
    let (data, document) = answered(&vendor, &file).await;
    assert_eq!(data["granted"], true);
    let signed = verify_license(&document, &vendor.keyring()).unwrap();
    let claims = signed.claims();
    assert!(claims.offline);
    assert_eq!(claims.question, Some(Call::Validate));
    assert_eq!(
        (&claims.license["amendment"], &claims.license["maxCameras"]),
        (&json!(2), &json!(32))
    );
    // The same file again, and by staff.
    answered(&vendor, &file).await;
    let body = json!({"request": file});
    let (status, answer) = vendor.admin(Method::POST, "/offline", body).await;
    assert_eq!((status, &answer["granted"]), (StatusCode::OK, &json!(true)));
    assert_eq!(number_of_amendments(&vendor, &key).await, 2);

    let second = cameras(&vendor, 8).await;
    let body = json!({"request": request(&vendor, &key, Some(&second))});
    vendor.admin(Method::POST, "/offline", body).await;
    assert_eq!(license(&vendor, &key).await.max_cameras, 40);
    let shown = vendor.look(&format!("/addons/{second}")).await;
    assert_eq!(shown["redeemedBy"], "break-glass");
    let (status, _) = vendor
        .post("offline", json!({"request": request(&vendor, &key, None)}))
        .await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    vendor.end().await;
}

async fn a_refusal_by_file_says_nothing_about_the_license(engine: Engine) {
    let vendor = Vendor::start(engine).await;
    let (key, other) = (active(&vendor).await, active(&vendor).await);
    let add_on = cameras(&vendor, 16).await;
    answered(&vendor, &request(&vendor, &other, Some(&add_on))).await;
    let malformed = "FXSADD-2222";
    for (add_on, reason) in [
        (add_on.as_str(), "add_on_elsewhere"),
        (malformed, "unknown_add_on"),
    ] {
        let (data, document) = answered(&vendor, &request(&vendor, &key, Some(add_on))).await;
        assert_eq!(data["granted"], false);
        let denial = verify_denial(&document, &vendor.keyring()).unwrap();
        assert_eq!(denial.claims().reason.as_str(), reason);
        assert_eq!(denial.claims().question, Some(Call::Redeem));
    }
    // What is about the license is.
    vendor.set_status(&key, Status::Revoked).await;
    let (_, document) = answered(&vendor, &request(&vendor, &key, Some(&add_on))).await;
    let denial = verify_denial(&document, &vendor.keyring()).unwrap();
    assert_eq!(denial.claims().reason.as_str(), "revoked");
    assert_eq!(denial.claims().question, Some(Call::Validate));
    vendor.end().await;
}

/// The key would decide how the call is counted, and whether it waits for others.
async fn a_file_that_redeems_nothing_names_no_add_on_key(engine: Engine) {
    let vendor = Vendor::start(engine).await;
    let key = active(&vendor).await;
    let add_on = cameras(&vendor, 16).await;
    for purpose in Purpose::ALL {
        for add_on in ["x", "", &add_on] {
            let mut request = offline_request(purpose, &key, vendor.clock.now());
            request.add_on_key = Some(add_on.to_owned());
            let body = json!({"request": request.to_file()});
            let (status, answer) = vendor.post("offline", body).await;
            let is_named = answer.to_string().contains("addOnKey");
            let is_refused = purpose != Purpose::Redeem || add_on.is_empty();
            assert_eq!(
                (status == StatusCode::BAD_REQUEST, is_named),
                (is_refused, is_refused),
                "{purpose:?} {add_on}: {answer}"
            );
        }
    }
    vendor.end().await;
}
