//! Someone between the site and the vendor who keeps a code and has another one answered.

use axum::Router;
use axum::body::Bytes;
use axum::http::{HeaderMap, StatusCode, Uri, header};
use chrono::TimeDelta;
use license_core::offline::OfflineRequest;
use license_core::protocol::PROOF_HEADER;
use license_server::audit::Actor;
use license_server::licensing::catalogue::Tier;
use license_server::licensing::issue::IssueRequest;
use license_server::licensing::offline::{read, sign};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::add_ons::{by_staff, cameras, licensed};
use crate::database::{Engine, on_both_engines};
use crate::harness::Site;
use crate::tampering::security_events;
use crate::trials::code;
use crate::vendor::Vendor;

on_both_engines! {
    an_add_on_key_that_was_exchanged_on_the_way_is_not_redeemed;
    a_trial_that_was_exchanged_on_the_way_is_not_started;
    an_add_on_key_that_was_exchanged_in_a_request_file_is_not_redeemed;
    a_trial_by_file_replaces_no_license;
}

/// Passes calls on to a License Server at `url`. `change` gets each path and body. The proofs of the
/// site, which a changed call invalidates, are left out, so that its seat has no installation key.
async fn middleman(
    url: String,
    change: impl Fn(&str, &mut Value) -> String + Clone + Send + Sync + 'static,
) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let own = format!("http://{}", listener.local_addr().unwrap());
    let pass = async move |method: Method, uri: Uri, mut headers: HeaderMap, body: Bytes| {
        let mut path = uri.path_and_query().unwrap().to_string();
        let mut body = body.to_vec();
        if let Ok(mut json) = serde_json::from_slice(&body) {
            path = change(&path, &mut json);
            body = json.to_string().into_bytes();
        }
        headers.remove(header::HOST);
        headers.remove(PROOF_HEADER);
        headers.remove(header::CONTENT_LENGTH);
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        let request = http.request(method, format!("{url}{path}"));
        let answer = request.headers(headers).body(body).send().await.unwrap();
        (answer.status(), answer.bytes().await.unwrap())
    };
    let router = Router::new().fallback(pass);
    tokio::spawn(async move { axum::serve(listener, router).await });
    own
}

async fn site(engine: Engine, vendor: &Vendor, url: &str) -> Site {
    let keys = vendor.trusted_keys();
    let flags = ["--license-trusted-keys", keys.as_str()];
    Site::start(engine, url, &flags).await
}

async fn add_on_status(vendor: &Vendor, site: &Site, key: &str) -> Value {
    let url = format!("{}/admin/addons/{key}", vendor.url);
    let request = site.http.get(url).bearer_auth(crate::vendor::ADMIN_TOKEN);
    request.send().await.unwrap().json().await.unwrap()
}

async fn an_add_on_key_that_was_exchanged_on_the_way_is_not_redeemed(engine: Engine) {
    let vendor = Vendor::start().await;
    let (helper, _) = licensed(engine, &vendor).await;
    let (bought, known) = (
        cameras(&vendor, &helper).await,
        cameras(&vendor, &helper).await,
    );
    let other = known.clone();
    let url = middleman(vendor.url.clone(), move |path, body| {
        if path.ends_with("/redeem") {
            body["addOnKey"] = json!(other);
        }
        path.to_owned()
    });
    let site = site(engine, &vendor, &url.await).await;
    let key = vendor.issue(IssueRequest::of(Tier::Standard)).await;
    assert_eq!(site.activate(&key).await.0, StatusCode::OK);
    for _ in 0..2 {
        let events = security_events(&site).await;
        let body = json!({"addOnKey": bought});
        let (status, answer) = site.post("/api/license/redeem", Some(body)).await;
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{answer}");
        let detail = answer["detail"].as_str().unwrap();
        assert!(detail.contains("another add-on key"), "{detail}");
        assert_eq!(security_events(&site).await, events + 1);
        assert_eq!(site.standing().await, "active");
    }
    let bought = add_on_status(&vendor, &site, &bought).await;
    assert_eq!(bought["state"], "issued", "{bought}");
    helper.end().await;
    site.end().await;
}

async fn a_trial_that_was_exchanged_on_the_way_is_not_started(engine: Engine) {
    let vendor = Vendor::start().await;
    let (helper, _) = licensed(engine, &vendor).await;
    let sold = code(&vendor, &helper, 5).await;
    let key = vendor.issue(IssueRequest::of(Tier::Standard)).await;
    let body = json!({"plan": "trial", "max": 5});
    let other = by_staff(&vendor, &helper, "/trial-codes", body).await;
    let other = other["code"].clone();
    // As the activation of another license, and as the trial of another code.
    for is_activation in [true, false] {
        let (key, other) = (key.clone(), other.clone());
        let url = middleman(vendor.url.clone(), move |path, body| {
            if !path.ends_with("/trial") {
                return path.to_owned();
            }
            if !is_activation {
                body["code"] = other.clone();
                return path.to_owned();
            }
            body.as_object_mut().unwrap().remove("code");
            body["licenseKey"] = json!(key);
            path.replace("/trial", "/activate")
        });
        let site = site(engine, &vendor, &url.await).await;
        let events = security_events(&site).await;
        let body = json!({"trialCode": sold});
        let (status, answer) = site.post("/api/license/trial", Some(body)).await;
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{answer}");
        assert_eq!(security_events(&site).await, events + 1);
        assert_ne!(site.standing().await, "active");
        site.end().await;
    }
    helper.end().await;
}

/// The license file for a request of the site, after a change.
async fn file(
    vendor: &Vendor,
    site: &Site,
    body: Value,
    change: impl FnOnce(&mut OfflineRequest),
) -> String {
    let (status, answer) = site.post("/api/license/offline/request", Some(body)).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    let mut request = read(answer["file"].as_str().unwrap()).unwrap().request;
    change(&mut request);
    // The change invalidates the proof, which an attacker leaves out.
    let request = read(&request.to_file()).unwrap();
    let days = TimeDelta::days(90);
    let signed = sign(&vendor.app, request, days, Actor::CommandLine).await;
    signed.unwrap().file
}

async fn an_add_on_key_that_was_exchanged_in_a_request_file_is_not_redeemed(engine: Engine) {
    let vendor = Vendor::start().await;
    let (helper, _) = licensed(engine, &vendor).await;
    let bought = cameras(&vendor, &helper).await;
    let known = cameras(&vendor, &helper).await;
    let url = middleman(vendor.url.clone(), |path, _| path.to_owned()).await;
    let site = site(engine, &vendor, &url).await;
    let key = vendor.issue(IssueRequest::of(Tier::Standard)).await;
    assert_eq!(site.activate(&key).await.0, StatusCode::OK);
    let body = json!({"purpose": "redeem", "addOnKey": bought});
    let exchanged = |request: &mut OfflineRequest| request.add_on_key = Some(known);
    let exchanged = file(&vendor, &site, body.clone(), exchanged).await;
    // A renewal instead: the key was kept, and nothing was redeemed.
    let renewed = |request: &mut OfflineRequest| {
        request.purpose = license_core::offline::Purpose::Renew;
        request.add_on_key = None;
    };
    let renewed = file(&vendor, &site, body.clone(), renewed).await;
    for changed in [exchanged, renewed] {
        let events = security_events(&site).await;
        let import = json!({ "file": changed });
        let (status, answer) = site.post("/api/license/offline/import", Some(import)).await;
        assert!(status.is_client_error(), "{answer}");
        let detail = answer["detail"].as_str().unwrap();
        assert!(detail.contains("another add-on key"), "{detail}");
        assert_eq!(security_events(&site).await, events + 1);
    }
    let honest = file(&vendor, &site, body, |_| {}).await;
    let import = json!({ "file": honest });
    let (status, answer) = site.post("/api/license/offline/import", Some(import)).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    helper.end().await;
    site.end().await;
}

async fn a_trial_by_file_replaces_no_license(engine: Engine) {
    let vendor = Vendor::start().await;
    let site = site(engine, &vendor, &vendor.url).await;
    let trial = code(&vendor, &site, 5).await;
    let body = json!({"purpose": "trial", "trialCode": trial});
    let started = file(&vendor, &site, body, |_| {}).await;
    let key = vendor.issue(IssueRequest::of(Tier::Standard)).await;
    assert_eq!(site.activate(&key).await.0, StatusCode::OK);
    let import = json!({ "file": started });
    // The request stays pending.
    for _ in 0..2 {
        let (status, answer) = site
            .post("/api/license/offline/import", Some(import.clone()))
            .await;
        assert_eq!(status, StatusCode::CONFLICT, "{answer}");
        let detail = answer["detail"].as_str().unwrap();
        assert!(detail.contains("Deactivate the license first"), "{detail}");
        assert_eq!(site.status().await["licenseKey"], key.as_str());
    }
    site.end().await;
}
