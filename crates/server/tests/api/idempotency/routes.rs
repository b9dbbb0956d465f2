//! Every route that changes something honors the key, by the document of both APIs.

use std::collections::BTreeSet;

use license_core::offline::Purpose;
use license_server::licensing::catalogue::Tier;
use license_server::licensing::issue::IssueRequest;
use license_service::clock::Clock as _;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::{sites, with_token};
use crate::database::{Engine, on_both_engines};
use crate::harness::{ADMIN_TOKEN, INSTALLATION, NONCE, Vendor, offline_request, system_info};

on_both_engines! {
    every_change_is_made_once_and_stored_with_its_key;
}

/// The only call with a method for changes that changes nothing.
const PREVIEW: &str = "POST /api/licenses/preview";

/// Every route with a method for changes, such as `POST /api/admin/licenses`, with its description.
async fn documented(vendor: &Vendor) -> Vec<(String, Value)> {
    let document = vendor.http.get(format!("{}/openapi.json", vendor.url));
    let document: Value = document.send().await.unwrap().json().await.unwrap();
    let mut found = Vec::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            if method != "get" {
                let route = format!("{} {path}", method.to_uppercase());
                found.push((route, operation.clone()));
            }
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_route_with_a_method_for_changes_reads_and_documents_the_key() {
    let vendor = Vendor::start(Engine::Sqlite).await;
    let all = documented(&vendor).await;
    assert!(all.len() >= 30, "{}", all.len());
    for (route, operation) in all {
        let parameters = operation["parameters"].as_array().unwrap();
        let has_key = |it: &Value| it["name"] == "Idempotency-Key" && it["in"] == "header";
        assert!(parameters.iter().any(has_key), "{route}");
        for status in ["400", "409"] {
            assert!(operation["responses"][status].is_object(), "{route}");
        }
        let (method, path) = route.split_once(' ').unwrap();
        let response = vendor
            .http
            .request(
                method.parse().unwrap(),
                format!("{}{}", vendor.url, path.replace(['{', '}'], "")),
            )
            .bearer_auth(ADMIN_TOKEN)
            .header("idempotency-key", "not a key")
            .json(&json!({}))
            .send()
            .await
            .unwrap();
        assert_eq!(response.status(), StatusCode::BAD_REQUEST, "{route}");
        let answer: Value = response.json().await.unwrap();
        let message = answer["error"]["message"].as_str().unwrap();
        assert!(
            message.starts_with("Invalid Idempotency-Key"),
            "{route}: {message}"
        );
    }
    vendor.end().await;
}

/// Makes each call twice.
struct Calls {
    vendor: Vendor,
    made: BTreeSet<String>,
}

impl Calls {
    /// A call of staff; `filled` is the part of the path in place of what is in braces.
    async fn staff(&mut self, route: &str, filled: &str, body: Value) -> Value {
        let (method, path) = route.split_once(' ').unwrap();
        let parts: Vec<&str> = path.split(['{', '}']).collect();
        let sent = match parts[..] {
            [before, _, after] => format!("{before}{filled}{after}"),
            _ => path.to_owned(),
        };
        let route = format!("{method} /api/admin{path}");
        let key = route.replace(' ', "-");
        let method: Method = method.parse().unwrap();
        let call = async || {
            let call = (method.clone(), sent.as_str());
            with_token(&self.vendor, ADMIN_TOKEN, &key, call, &body).await
        };
        let first = call().await;
        assert!(first.0.is_success(), "{route}: {}", first.1);
        self.check(&route, "staff", first.1.clone()).await;
        let log = self.vendor.audit("").await;
        assert_eq!(call().await, first, "{route}");
        assert_eq!(self.vendor.audit("").await, log, "{route}");
        self.made.insert(route);
        first.1
    }

    /// A call of a site.
    async fn site(&mut self, call: &str, body: Value) -> Value {
        let first = sites::sent(&self.vendor, call, call, NONCE, &body).await;
        assert_eq!(first.0, StatusCode::OK, "{call}: {}", first.1);
        let route = format!("POST /api/licenses/{call}");
        if route != PREVIEW {
            self.check(&route, "site", first.1.clone()).await;
        }
        let log = self.vendor.audit("").await;
        let again = sites::sent(&self.vendor, call, call, NONCE, &body).await;
        assert_eq!(again, first, "{call}");
        assert_eq!(self.vendor.audit("").await, log, "{call}");
        self.made.insert(route);
        first.1
    }

    /// The newest call is stored, a change of staff with what was done.
    async fn check(&self, route: &str, caller: &str, answer: Value) {
        let database = &self.vendor.database;
        let count = "SELECT CAST(COUNT(*) AS TEXT) FROM idempotency_keys WHERE answer IS NOT NULL";
        let answered = database.texts(count).await[0].clone().unwrap();
        let made = self.made.iter().filter(|it| *it != PREVIEW).count() + 1;
        assert_eq!(answered, made.to_string(), "{caller} {route}: {answer}");
        let count = "SELECT id FROM idempotency_keys WHERE of_staff = TRUE AND done IS NULL";
        assert!(database.texts(count).await.is_empty(), "{route}: {answer}");
    }
}

async fn every_change_is_made_once_and_stored_with_its_key(engine: Engine) {
    let vendor = Vendor::start(engine).await;
    let license = vendor.issue(IssueRequest::of(Tier::Standard)).await;
    let made = BTreeSet::new();
    let mut calls = Calls { vendor, made };
    licenses(&mut calls, &license).await;
    sold(&mut calls, &license).await;
    of_sites(&mut calls, &license).await;
    seats_and_files(&mut calls).await;
    others(&mut calls).await;
    let required = json!({"required": true});
    calls
        .staff("POST /licenses/{license}/proof", &license, required)
        .await;
    calls
        .staff("POST /licenses/{license}/revoke", &license, json!({}))
        .await;
    let documented = documented(&calls.vendor).await;
    let documented: BTreeSet<String> = documented.into_iter().map(|(route, _)| route).collect();
    assert_eq!(calls.made, documented, "a test for each route");
    calls.vendor.end().await;
}

async fn licenses(calls: &mut Calls, license: &str) {
    calls
        .staff("POST /licenses", "", json!({"plan": "standard"}))
        .await;
    let camera = json!({"add": [{"key": "cameras", "quantity": 1}]});
    for (route, body) in [
        ("POST /licenses/{license}/amendments", camera),
        (
            "POST /licenses/{license}/renew",
            json!({"expiresAt": "2030-01-01"}),
        ),
        ("POST /licenses/{license}/suspend", json!({})),
        ("POST /licenses/{license}/reinstate", json!({})),
    ] {
        calls.staff(route, license, body).await;
    }
}

/// What is sold beside licenses.
async fn sold(calls: &mut Calls, license: &str) {
    let camera = json!({"add": [{"key": "cameras", "quantity": 1}]});
    let issued = calls.staff("POST /addons", "", camera).await;
    let add_on = json!({"addOnKey": issued["addOnKey"]});
    calls
        .staff("POST /licenses/{license}/redeem", license, add_on)
        .await;
    let add_on = issued["addOnKey"].as_str().unwrap();
    calls
        .staff("POST /addons/{addOn}/refund", add_on, json!({}))
        .await;
    let contents = json!({
        "title": "Trial", "trial": true, "duration": "P30D", "terms": {"seats": 1, "moves": 0},
        "entitlements": [{"key": "module.map_view"}],
    });
    let plan = json!({"name": "trial", "contents": contents});
    calls.staff("POST /plans", "", plan).await;
    let code = json!({"plan": "trial", "max": 5});
    let code = calls.staff("POST /trial-codes", "", code).await;
    let trial = json!({
        "code": code["code"], "hardwareId": "t", "installationId": "another",
        "installationName": "Test", "installationVersion": "1.0.0",
    });
    let started = calls.site("trial", trial).await;
    assert_eq!(started["success"], true, "{started}");
    let code = code["code"].as_str().unwrap();
    calls
        .staff("DELETE /trial-codes/{trialCode}", code, json!({}))
        .await;
}

async fn of_sites(calls: &mut Calls, license: &str) {
    let camera = json!({"add": [{"key": "cameras", "quantity": 1}]});
    let issued = calls.vendor.admin(Method::POST, "/addons", camera).await.1;
    let machine = json!({"licenseKey": license, "hardwareId": "machine"});
    let with = |more: Value| {
        let mut body = machine.clone();
        let more = more.as_object().unwrap().clone();
        body.as_object_mut().unwrap().extend(more);
        body
    };
    let activation = json!({
        "installationId": INSTALLATION, "installationName": "Test", "installationVersion": "1.0.0",
    });
    let heartbeat = json!({
        "installationId": INSTALLATION, "systemInfo": system_info(),
        "usageMetrics": {"camerasInUse": 3, "usersActive": 2, "storageUsedGb": 100},
    });
    let now = calls.vendor.clock.now();
    let renewal = offline_request(Purpose::Renew, license, now).to_file();
    for (call, body) in [
        ("preview", machine.clone()),
        ("activate", with(activation)),
        ("validate", machine.clone()),
        ("heartbeat", with(heartbeat)),
        ("redeem", with(json!({"addOnKey": issued["addOnKey"]}))),
        ("offline", json!({"request": renewal})),
        ("deactivate", machine.clone()),
    ] {
        let answer = calls.site(call, body).await;
        assert_eq!(answer["success"], true, "{call}: {answer}");
        assert_ne!(answer["data"]["isValid"], false, "{call}: {answer}");
        assert_ne!(answer["data"]["granted"], false, "{call}: {answer}");
    }
}

async fn seats_and_files(calls: &mut Calls) {
    let license = calls.vendor.issue(IssueRequest::of(Tier::Standard)).await;
    let now = calls.vendor.clock.now();
    let request = offline_request(Purpose::Activate, &license, now).to_file();
    calls
        .staff("POST /offline", "", json!({"request": request}))
        .await;
    let machine = json!({"hardwareId": "machine"});
    let freed = calls
        .staff("POST /licenses/{license}/free-seat", &license, machine)
        .await;
    let release = json!({"hardwareId": "machine", "confirmedUntil": freed["signedUntil"]});
    calls
        .staff("POST /licenses/{license}/release-seat", &license, release)
        .await;
}

async fn others(calls: &mut Calls) {
    let added = calls
        .staff("POST /customers", "", json!({"name": "Harbour"}))
        .await;
    let other = calls
        .vendor
        .admin(Method::POST, "/customers", json!({"name": "Port"}));
    let other = other.await.1["id"].clone();
    let id = added["id"].as_str().unwrap();
    let edit = json!({"notes": "by the sea"});
    calls.staff("PATCH /customers/{customer}", id, edit).await;
    let merge = json!({"into": other});
    calls
        .staff("POST /customers/{customer}/merge", id, merge)
        .await;
    calls
        .staff("POST /tokens", "", json!({"name": "ana"}))
        .await;
    calls.staff("DELETE /tokens/{name}", "ana", json!({})).await;
    let rotated = calls.staff("POST /keys/rotate", "", json!({})).await;
    let kid = rotated["kid"].as_str().unwrap();
    calls.staff("POST /keys/{kid}/revoke", kid, json!({})).await;
}
