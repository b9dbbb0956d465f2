//! Add-on keys at the site that redeems them.

mod by_people;

use chrono::TimeDelta;
use license_core::issued_code::{CodeKind, IssuedCode};
use license_core::offline::{OfflineRequest, Purpose};
use license_server::audit::Actor;
use license_server::licensing::catalogue::Tier;
use license_server::licensing::issue::IssueRequest;
use license_server::licensing::offline::{read, sign};
use license_server::store::licenses::Status;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::database::{Engine, on_both_engines};
use crate::harness::{KEY, Site};
use crate::scripted_cloud::{Scripted, ScriptedCloud, usual_license};
use crate::vendor::{ADMIN_TOKEN, Vendor};

on_both_engines! {
    a_redeemed_key_is_in_force_at_once;
    a_key_that_is_refused_changes_nothing_and_says_what_to_do;
    a_key_counts_although_the_validation_after_it_fails;
    a_site_without_internet_redeems_a_key_by_file;
    a_refusal_by_file_leaves_the_license_as_it_is;
    a_license_server_that_knows_no_add_on_keys_is_named_as_the_cause;
}

/// A site whose answers are signed, with an active license.
pub(crate) async fn licensed(engine: Engine, vendor: &Vendor) -> (Site, String) {
    let keys = vendor.trusted_keys();
    let flags = ["--license-trusted-keys", keys.as_str()];
    let site = Site::start(engine, &vendor.url, &flags).await;
    let key = vendor.issue(IssueRequest::of(Tier::Standard)).await;
    assert_eq!(site.activate(&key).await.0, StatusCode::OK);
    (site, key)
}

/// What the vendor's API answers.
pub(crate) async fn by_staff(vendor: &Vendor, site: &Site, path: &str, body: Value) -> Value {
    let url = format!("{}/admin{path}", vendor.url);
    let request = site
        .http
        .request(Method::POST, url)
        .bearer_auth(ADMIN_TOKEN);
    let answer = request.json(&body).send().await.unwrap();
    let status = answer.status();
    let answer: Value = answer.json().await.unwrap();
    assert!(status.is_success(), "{answer}");
    answer
}

/// A key for 16 cameras.
pub(crate) async fn cameras(vendor: &Vendor, site: &Site) -> String {
    let body = json!({"add": [{"key": "cameras", "quantity": 16}]});
    let issued = by_staff(vendor, site, "/addons", body).await;
    issued["addOnKey"].as_str().unwrap().to_owned()
}

async fn redeem(site: &Site, key: &str) -> (StatusCode, Value) {
    site.post("/api/license/redeem", Some(json!({"addOnKey": key})))
        .await
}

async fn limit(site: &Site) -> Value {
    site.status().await["maxCameras"].clone()
}

async fn a_redeemed_key_is_in_force_at_once(engine: Engine) {
    let vendor = Vendor::start().await;
    let (site, key) = licensed(engine, &vendor).await;
    let add_on = cameras(&vendor, &site).await;
    for spelling in [
        &add_on,
        &add_on.to_lowercase(),
        &format!("Your key: {add_on}"),
    ] {
        let (status, answer) = redeem(&site, spelling).await;
        assert_eq!(status, StatusCode::OK, "{answer}");
        assert_eq!(
            (&answer["success"], &answer["amendment"]),
            (&json!(true), &json!(2))
        );
        assert_eq!(answer["license"]["maxCameras"], 32);
        assert_eq!(answer["license"]["licenseKey"], key);
        assert_eq!(limit(&site).await, 32);
    }
    let log = site.get("/api/license/attempts").await.1.to_string();
    assert!(!log.contains(&add_on), "{log}");
    site.end().await;
}

async fn a_key_that_is_refused_changes_nothing_and_says_what_to_do(engine: Engine) {
    let vendor = Vendor::start().await;
    let (site, key) = licensed(engine, &vendor).await;
    let add_on = cameras(&vendor, &site).await;
    let other = vendor.issue(IssueRequest::of(Tier::Standard)).await;
    let path = format!("/licenses/{other}/redeem");
    by_staff(&vendor, &site, &path, json!({"addOnKey": add_on})).await;
    let unknown = IssuedCode::from_random(CodeKind::AddOn, &[3; 15]).unwrap();
    for (text, part) in [
        (add_on.as_str(), "already redeemed for another license"),
        (unknown.as_str(), "Unknown add-on key"),
        (key.as_str(), "This is a license key"),
        ("hello", "should look like FXSADD"),
        (&format!("{}X", &add_on[..add_on.len() - 1]), ""),
    ] {
        let (status, answer) = redeem(&site, text).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{answer}");
        let detail = answer["detail"].as_str().unwrap();
        assert!(detail.contains(part), "{text}: {detail}");
    }
    assert_eq!(limit(&site).await, 16);
    assert_eq!(site.standing().await, "active");
    // An add-on key is not a license key, regardless of what the License Server would say.
    let (status, answer) = site.activate(&add_on).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    let detail = answer["detail"].as_str().unwrap();
    assert!(detail.contains("redeem this key"), "{detail}");
    let body = json!({"purpose": "activate", "licenseKey": add_on});
    let (status, _) = site.post("/api/license/offline/request", Some(body)).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    site.post("/api/license/deactivate", None).await;
    let (status, answer) = redeem(&site, &add_on).await;
    assert_eq!(status, StatusCode::CONFLICT);
    let detail = answer["detail"].as_str().unwrap();
    assert!(
        detail.contains("Activate the license key first"),
        "{detail}"
    );
    site.end().await;
}

async fn a_key_counts_although_the_validation_after_it_fails(engine: Engine) {
    let cloud = ScriptedCloud::start().await;
    let site = Site::start(engine, &cloud.url, &[]).await;
    cloud.license(usual_license(KEY));
    assert_eq!(site.activate(KEY).await.0, StatusCode::OK);
    let code = IssuedCode::from_random(CodeKind::AddOn, &[3; 15]).unwrap();
    let redeemed = json!({"success": true, "data": {"amendment": 2}});
    cloud.next(Scripted::new(200, redeemed.to_string()));
    cloud.next(Scripted::new(503, ""));
    let (status, answer) = redeem(&site, code.as_str()).await;
    assert_eq!(
        (status, &answer["license"]),
        (StatusCode::OK, &Value::Null),
        "{answer}"
    );
    let message = answer["message"].as_str().unwrap();
    assert!(message.contains("with the next validation"), "{message}");
    // No answer is no refusal.
    cloud.next(Scripted::new(503, ""));
    let (status, answer) = redeem(&site, code.as_str()).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    let detail = answer["detail"].as_str().unwrap();
    assert!(detail.contains("Try again"), "{detail}");
    site.end().await;
}

/// The license file that answers a request of the site.
async fn file(vendor: &Vendor, site: &Site, body: Value) -> String {
    let (status, answer) = site.post("/api/license/offline/request", Some(body)).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    let request = read(answer["file"].as_str().unwrap()).unwrap();
    let days = TimeDelta::days(90);
    let signed = sign(&vendor.app, request, days, Actor::CommandLine).await;
    signed.unwrap().file
}

async fn import(site: &Site, file: &str) -> Value {
    let body = json!({ "file": file });
    let (status, answer) = site.post("/api/license/offline/import", Some(body)).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    answer
}

async fn a_site_without_internet_redeems_a_key_by_file(engine: Engine) {
    let mut vendor = Vendor::start().await;
    let (site, _) = licensed(engine, &vendor).await;
    let add_on = cameras(&vendor, &site).await;
    vendor.go_away().await;
    let body = json!({"purpose": "redeem", "addOnKey": add_on});
    let (_, answer) = site
        .post("/api/license/offline/request", Some(body.clone()))
        .await;
    assert_eq!(answer["fileName"], "foxsight-redeem-request.txt");
    let request = OfflineRequest::from_file(answer["file"].as_str().unwrap()).unwrap();
    assert_eq!(
        (request.purpose, request.add_on_key),
        (Purpose::Redeem, Some(add_on.clone()))
    );
    let answered = file(&vendor, &site, body.clone()).await;
    assert_eq!(import(&site, &answered).await["result"], "licensed");
    assert_eq!(limit(&site).await, 32);
    assert_eq!(site.status().await["standing"], "active");
    assert!(site.status().await["offlineUntil"].is_string());
    // Another file with the same key counts once.
    let answered = file(&vendor, &site, body).await;
    import(&site, &answered).await;
    assert_eq!(limit(&site).await, 32);
    for wrong in ["hello", KEY] {
        let body = json!({"purpose": "redeem", "addOnKey": wrong});
        let (status, _) = site.post("/api/license/offline/request", Some(body)).await;
        assert_eq!(status, StatusCode::BAD_REQUEST);
    }
    site.end().await;
}

async fn a_refusal_by_file_leaves_the_license_as_it_is(engine: Engine) {
    let vendor = Vendor::start().await;
    let (site, key) = licensed(engine, &vendor).await;
    let add_on = cameras(&vendor, &site).await;
    let body = json!({"purpose": "redeem", "addOnKey": add_on});
    let refund = format!("/addons/{add_on}/refund");
    by_staff(&vendor, &site, &refund, json!({})).await;
    let answered = file(&vendor, &site, body.clone()).await;
    let imported = import(&site, &answered).await;
    assert_eq!(
        (&imported["success"], &imported["result"]),
        (&json!(false), &json!("denied"))
    );
    assert_eq!(site.standing().await, "active");
    assert!(site.is_available("module.map_view").await);
    // What the vendor decided about the license itself counts.
    let add_on = cameras(&vendor, &site).await;
    vendor.set_status(&key, Status::Revoked, None).await;
    let body = json!({"purpose": "redeem", "addOnKey": add_on});
    let answered = file(&vendor, &site, body).await;
    import(&site, &answered).await;
    assert_eq!(site.standing().await, "lapsed");
    site.end().await;
}

async fn a_license_server_that_knows_no_add_on_keys_is_named_as_the_cause(engine: Engine) {
    let cloud = ScriptedCloud::start().await;
    let site = Site::start(engine, &cloud.url, &[]).await;
    cloud.license(usual_license(KEY));
    assert_eq!(site.activate(KEY).await.0, StatusCode::OK);
    let code = IssuedCode::from_random(CodeKind::AddOn, &[3; 15]).unwrap();
    // The answers of version 1.0.0 of the License Server, and of an earlier one of ours.
    for answer in [
        json!({"detail": "Not Found"}),
        json!({"error": {"code": "not_found", "message": "Not found"}}),
    ] {
        cloud.next(Scripted::new(404, answer.to_string()));
        let (status, answer) = redeem(&site, code.as_str()).await;
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
        let detail = answer["detail"].as_str().unwrap();
        assert!(detail.contains("does not support add-on keys"), "{detail}");
    }
    assert_eq!(site.standing().await, "active");
    site.end().await;
}
