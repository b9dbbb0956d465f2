//! The recorded behaviour of version 1.0.0, replayed: sections A to H of
//! `recorded.jsonl`. Where ours differs, the case names the difference by its
//! number in the list of `docs/api.md`, "Differences from version 1.0.0".

mod arrange;
mod expected;

use reqwest::Method;
use serde_json::Value;

use self::arrange::{activate, arrange};
use self::expected::Expected;
use crate::database::{Engine, on_both_engines};
use crate::harness::Site;
use crate::scripted_cloud::ScriptedCloud;

on_both_engines! {
    every_recorded_case_is_answered_as_recorded;
    requests_to_the_license_server_are_those_of_version_1_0_0;
}

const RECORDED: &str = include_str!("../../fixtures/contract/recorded.jsonl");

/// Sections A to H have this many cases.
const CASES: usize = 143;

async fn every_recorded_case_is_answered_as_recorded(engine: Engine) {
    let cloud = ScriptedCloud::start().await;
    let mut site = Site::start(engine, &cloud.url, &[]).await;
    let mut replayed = 0;
    let mut wrong = Vec::new();
    for line in RECORDED.lines() {
        let case: Value = serde_json::from_str(line).unwrap();
        if case["section"].as_str().unwrap().starts_with('I') {
            continue;
        }
        let number = case["n"].as_u64().unwrap();
        arrange(number, &case, &mut site, &cloud).await;
        let answer = send(&site, number, &case["request"]).await;
        let expected = Expected::of(number, &case);
        if let Err(difference) = expected.compare(&answer) {
            wrong.push(format!(
                "case {number} ({}): {difference}\n  answer: {} {}",
                case["title"], answer.status, answer.body
            ));
        }
        replayed += 1;
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(replayed, CASES);
    println!("{replayed} recorded cases replayed on {engine:?}");
    site.end().await;
}

struct Answer {
    status: u16,
    headers: reqwest::header::HeaderMap,
    body: Value,
}

async fn send(site: &Site, number: u64, request: &Value) -> Answer {
    let method: Method = request["method"].as_str().unwrap().parse().unwrap();
    let path = request["path"].as_str().unwrap();
    let mut builder = site.http.request(method, format!("{}{path}", site.url));
    for header in request["headers"].as_array().unwrap() {
        let (name, value) = header.as_str().unwrap().split_once(':').unwrap();
        // `Content-Type:` without a value means that none was sent.
        if !value.is_empty() {
            builder = builder.header(name, value.trim());
        }
    }
    if let Some(body) = request["body"].as_str() {
        builder = builder.body(body.to_owned());
    }
    if number == 67 {
        // JSON cannot record this body, the note does.
        let body = b"{\"featureKey\":\"\xff\"}".to_vec();
        builder = builder
            .header("Content-Type", "application/json")
            .body(body);
    }
    let response = builder.send().await.unwrap();
    let status = response.status().as_u16();
    let headers = response.headers().clone();
    let text = response.text().await.unwrap();
    let body = serde_json::from_str(&text).unwrap_or(Value::String(text));
    Answer {
        status,
        headers,
        body,
    }
}

async fn requests_to_the_license_server_are_those_of_version_1_0_0(engine: Engine) {
    let cloud = ScriptedCloud::start().await;
    let site = Site::start(engine, &cloud.url, &[]).await;
    activate(&site).await;
    site.validate().await;
    site.post("/api/license/heartbeat", None).await;
    site.activate("clé-日本").await;

    let recorded = include_str!("../../fixtures/contract/upstream-requests.jsonl");
    let arrived = cloud.arrived();
    assert_eq!(arrived.len(), recorded.lines().count());
    for (line, arrived) in recorded.lines().zip(&arrived) {
        let recorded: Value = serde_json::from_str(line).unwrap();
        let request_line = recorded["requestLine"].as_str().unwrap();
        assert_eq!(request_line, format!("POST {} HTTP/1.1", arrived.path));
        for header in ["Content-Type", "X-Installation-ID"] {
            assert_eq!(
                recorded["headers"][header].as_str(),
                arrived.headers.get(header).and_then(|v| v.to_str().ok())
            );
        }
        let body = recorded["body"].as_str().unwrap();
        assert_eq!(
            without_host(body),
            without_host(&arrived.body),
            "{request_line}"
        );
        // The additions ride in headers.
        assert_eq!(arrived.headers["x-license-nonce"].len(), 43);
        let is_activation = arrived.path.ends_with("/activate");
        assert_eq!(
            arrived.headers.contains_key("idempotency-key"),
            is_activation
        );
    }
    site.end().await;
}

/// Blanks what the heartbeat says about the machine that it was sent from;
/// the names and their order stay.
fn without_host(body: &str) -> String {
    let mut body: Value = serde_json::from_str(body).unwrap();
    if let Some(info) = body["systemInfo"].as_object_mut() {
        for (name, value) in info {
            assert!(value.is_string() || value.is_number(), "{name}");
            *value = Value::Null;
        }
    }
    body.to_string()
}
