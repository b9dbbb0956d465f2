//! Someone between the site and the License Server who changes what passes.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse as _, Response};
use chrono::TimeDelta;
use license_core::offline::{OfflineRequest, Purpose, from_file};
use license_core::protocol::PROOF_HEADER;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::database::{Engine, on_both_engines};
use crate::harness::{INSTALLATION_ID, Site};
use crate::vendor::Vendor;

const PAID: &str = "module.analytics_advanced";

on_both_engines! {
    a_site_that_is_given_up_just_after_a_rotation_frees_its_seat_and_says_so;
}

/// What is done to calls.
#[derive(Clone, Copy, Debug)]
enum Trick {
    /// Nothing.
    Pass,
    /// The call goes to another path, and what comes back is shown as this.
    Rewrite(&'static str, Shape),
    /// A validation is turned into a request by file, and answered with its lease.
    AskByFile,
    /// The answer's signature is cut off, so that it is an answer of a server that
    /// signs nothing.
    Forge,
    /// The call arrives, and its answer is lost.
    LoseAnswer,
}

/// The shape that a document is shown in.
#[derive(Clone, Copy, Debug)]
enum Shape {
    AsItCame,
    Denied,
    Refused,
}

/// A proxy before a License Server.
#[derive(Clone)]
struct Middleman {
    url: String,
    vendor: String,
    trick: Arc<Mutex<Trick>>,
}

impl Middleman {
    async fn before(vendor: &Vendor) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let middleman = Self {
            url: format!("http://{}", listener.local_addr().unwrap()),
            vendor: vendor.url.clone(),
            trick: Arc::new(Mutex::new(Trick::Pass)),
        };
        let router = Router::new().fallback(pass).with_state(middleman.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        middleman
    }

    fn set(&self, trick: Trick) {
        *self.trick.lock().unwrap() = trick;
    }

    async fn call(
        &self,
        method: Method,
        path: &str,
        headers: &HeaderMap,
        body: Vec<u8>,
    ) -> (StatusCode, Value) {
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let mut headers = headers.clone();
        headers.remove(header::HOST);
        // Without the proofs, which a changed call invalidates, its seat has no installation key.
        headers.remove(PROOF_HEADER);
        headers.remove(header::CONTENT_LENGTH);
        let request = client.request(method, format!("{}{path}", self.vendor));
        let answer = request.headers(headers).body(body).send().await.unwrap();
        (answer.status(), answer.json().await.unwrap_or_default())
    }
}

async fn pass(
    State(middleman): State<Middleman>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let trick = *middleman.trick.lock().unwrap();
    let path = uri.path_and_query().unwrap().as_str();
    let is_call = method == Method::POST;
    let to = match trick {
        Trick::Rewrite(to, _) if is_call => to,
        _ => path,
    };
    if let (Trick::AskByFile, true) = (trick, is_call) {
        return by_file(&middleman, &headers, &body).await;
    }
    let (status, answer) = middleman.call(method, to, &headers, body.to_vec()).await;
    if !is_call {
        return (status, answer.to_string()).into_response();
    }
    let signature = answer.pointer("/data/signature").cloned();
    let answer = match trick {
        Trick::Rewrite(_, Shape::Denied) => json!({
            "success": true,
            "data": {"isValid": false, "reason": "revoked", "signature": signature},
        }),
        Trick::Rewrite(_, Shape::Refused) => json!({
            "success": false, "error": {"code": "revoked"}, "data": {"signature": signature},
        }),
        Trick::Forge => json!({
            "success": true, "data": {"deactivated": true, "signature": "e30.e30.e30"},
        }),
        Trick::LoseAnswer => return StatusCode::BAD_GATEWAY.into_response(),
        _ => answer,
    };
    (status, answer.to_string()).into_response()
}

async fn by_file(middleman: &Middleman, headers: &HeaderMap, body: &[u8]) -> Response {
    let asked: Value = serde_json::from_slice(body).unwrap();
    let text = |name: &str| asked[name].as_str().unwrap().to_owned();
    let nonce = headers["x-license-nonce"].to_str().unwrap().to_owned();
    let request = OfflineRequest {
        purpose: Purpose::Renew,
        license_key: text("licenseKey"),
        add_on_key: None,
        trial_secret: None,
        hardware_id: text("hardwareId"),
        installation_id: INSTALLATION_ID.to_owned(),
        installation_name: String::new(),
        installation_version: String::new(),
        nonce,
        created_at: "2026-11-23T20:58:10Z".parse().unwrap(),
        key_set: 1,
        newest_seq: None,
        entitlements: false,
    };
    let body = json!({ "request": request.to_file() }).to_string();
    let (_, answer) = middleman
        .call(
            Method::POST,
            "/licenses/offline",
            &HeaderMap::new(),
            body.into(),
        )
        .await;
    let file = answer["data"]["file"].as_str().unwrap();
    let (_, document) = from_file(file).unwrap();
    let license = json!({"licenseKey": text("licenseKey"), "signature": document});
    let data = json!({"isValid": true, "license": license});
    json!({"success": true, "data": data})
        .to_string()
        .into_response()
}

async fn licensed(engine: Engine) -> (Vendor, Middleman, Site, String) {
    let vendor = Vendor::start().await;
    let middleman = Middleman::before(&vendor).await;
    let keys = vendor.trusted_keys();
    let flags = ["--license-trusted-keys", keys.as_str()];
    let site = Site::start(engine, &middleman.url, &flags).await;
    let key = vendor.issue_professional().await;
    assert_eq!(site.activate(&key).await.0, 200);
    assert_eq!(site.standing().await, "active");
    (vendor, middleman, site, key)
}

async fn security_events(site: &Site) -> u64 {
    let (_, metrics) = site.get("/metrics").await;
    let metrics = metrics.as_str().unwrap().to_owned();
    let mut lines = metrics.lines();
    let found = lines.find_map(|line| line.strip_prefix("foxsight_license_security_events_total "));
    found.unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_to_another_question_does_not_lapse_a_site() {
    for (to, shape) in [
        ("/licenses/deactivate", Shape::Denied),
        ("/licenses/deactivate", Shape::Refused),
        ("/licenses/deactivate", Shape::AsItCame),
        ("/licenses/heartbeat", Shape::AsItCame),
        ("/licenses/activate", Shape::AsItCame),
    ] {
        let (_vendor, middleman, site, _) = licensed(Engine::Sqlite).await;
        let before = security_events(&site).await;
        middleman.set(Trick::Rewrite(to, shape));
        site.advance(TimeDelta::hours(1));
        let answer = site.validate().await;
        assert_eq!(answer["standing"], "grace", "{to} {shape:?}: {answer}");
        assert!(site.is_available(PAID).await, "{to} {shape:?}");
        if !matches!(shape, Shape::AsItCame) {
            assert_eq!(security_events(&site).await, before + 1, "{to} {shape:?}");
        }
        site.end().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lease_by_file_is_no_answer_to_a_validation() {
    let (_vendor, middleman, site, _) = licensed(Engine::Sqlite).await;
    middleman.set(Trick::AskByFile);
    let answer = site.validate().await;
    assert_eq!(answer["standing"], "grace", "{answer}");
    site.advance(TimeDelta::hours(97));
    assert_eq!(site.standing().await, "lapsed");
    site.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unsigned_receipt_does_not_count_and_is_a_security_event() {
    let (_vendor, middleman, site, _) = licensed(Engine::Sqlite).await;
    let before = security_events(&site).await;
    middleman.set(Trick::Forge);
    let (status, answer) = site.post("/api/license/deactivate", None).await;
    assert_eq!(status, 503, "{answer}");
    assert_eq!(site.standing().await, "active");
    assert_eq!(security_events(&site).await, before + 1);
    site.end().await;
}

async fn a_site_that_is_given_up_just_after_a_rotation_frees_its_seat_and_says_so(engine: Engine) {
    let (mut vendor, middleman, site, key) = licensed(engine).await;
    for by in [TimeDelta::hours(1), TimeDelta::hours(2)] {
        vendor.advance(by);
        site.advance(by);
        vendor.rotate(TimeDelta::zero());
    }
    // The answer of the first try is lost on its way, after the seat was freed.
    middleman.set(Trick::LoseAnswer);
    let (status, _) = site.post("/api/license/deactivate", None).await;
    assert_ne!(status, 200);
    middleman.set(Trick::Pass);
    let (status, answer) = site.post("/api/license/deactivate", None).await;
    assert_eq!(status, 200, "{answer}");
    assert_eq!(site.standing().await, "unlicensed");

    // In one try.
    assert_eq!(site.activate(&key).await.0, 200);
    vendor.advance(TimeDelta::hours(3));
    site.advance(TimeDelta::hours(3));
    vendor.rotate(TimeDelta::zero());
    let (status, answer) = site.post("/api/license/deactivate", None).await;
    assert_eq!((status.as_u16(), &answer["seatFreed"]), (200, &json!(true)));
    assert_eq!(site.standing().await, "unlicensed");
    site.end().await;
}
