//! Malformed and odd input: 4xx in the contract's shape, never a 500, never a
//! lost license.

use reqwest::{Method, StatusCode};
use serde_json::Value;

use crate::database::{Engine, on_both_engines};
use crate::harness::{KEY, Site};
use crate::scripted_cloud::ScriptedCloud;

on_both_engines! {
    no_input_is_a_fault_of_ours_or_costs_the_license;
}

const BODIES: &[&[u8]] = &[
    b"",
    b"{",
    b"}",
    b"null",
    b"\xff\xfe",
    b"{\"licenseKey\":\"\\ud800\"}",
    b"{\"licenseKey\":\"a\\u0000b\"}",
    b"{\"licenseKey\":NaN}",
    b"{\"licenseKey\":1e999}",
    b"{\"licenseKey\":{}}",
    b"{\"licenseKey\":[[[[[[[[]]]]]]]]}",
    b"{\"featureKey\":\"\\u0000\"}",
    b"{\"featureKey\":null}",
    b"{\"force\":\"yes\"}",
    b"{\"force\":1}",
    b"[1,2",
    b"\"text\"",
    b"-",
];

async fn no_input_is_a_fault_of_ours_or_costs_the_license(engine: Engine) {
    let cloud = ScriptedCloud::start().await;
    let site = Site::start(engine, &cloud.url, &[]).await;
    site.activate(KEY).await;
    let deep = "[".repeat(20_000);
    let huge = format!("{{\"licenseKey\":\"{}\"}}", "x".repeat(1_300_000));
    let long = format!("{{\"licenseKey\":\"{}\"}}", "é".repeat(256));
    let bodies = BODIES
        .iter()
        .copied()
        .chain([deep.as_bytes(), huge.as_bytes(), long.as_bytes()]);
    for body in bodies {
        for path in ["activate", "feature/check", "deactivate"] {
            let path = format!("/api/license/{path}");
            // An empty body deactivates, and an object without `force`, too.
            if path.ends_with("deactivate") && (body.is_empty() || is_object_without_force(body)) {
                continue;
            }
            let response = site
                .http
                .request(Method::POST, format!("{}{path}", site.url))
                .header("content-type", "application/json")
                .body(body.to_vec())
                .send()
                .await
                .unwrap();
            let status = response.status();
            let shown = String::from_utf8_lossy(&body[..body.len().min(60)]).into_owned();
            assert!(status.is_client_error(), "{path} {shown}: {status}");
            let answer: Value = response.json().await.unwrap();
            assert!(!answer["detail"].is_null(), "{path} {shown}");
        }
    }
    assert_eq!(cloud.arrived().len(), 1, "nothing of this was sent on");
    assert_eq!(site.standing().await, "active");
    site.end().await;
}

fn is_object_without_force(body: &[u8]) -> bool {
    serde_json::from_slice::<Value>(body).is_ok_and(|v| v.is_object() && v["force"].is_null())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn any_text_may_be_asked_about() {
    let cloud = ScriptedCloud::start().await;
    let site = Site::start(Engine::Sqlite, &cloud.url, &[]).await;
    for feature in [
        "",
        " ",
        "é",
        "a\nb",
        &"x".repeat(8_000),
        "'; DROP TABLE x; --",
    ] {
        assert!(!site.is_available(feature).await);
    }
    site.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_is_too_long_is_refused_as_such() {
    let cloud = ScriptedCloud::start().await;
    let site = Site::start(Engine::Sqlite, &cloud.url, &[]).await;
    let body = serde_json::json!({"featureKey": "x".repeat(1_300_000)});
    let (status, answer) = site.post("/api/license/feature/check", Some(body)).await;
    assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE);
    assert!(answer["detail"].is_string());
    site.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_compressed_body_is_refused_with_the_name_of_the_encoding() {
    let cloud = ScriptedCloud::start().await;
    let site = Site::start(Engine::Sqlite, &cloud.url, &[]).await;
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let url = format!("{}/api/license/feature/check", site.url);
    let send = async |encoding: &'static str, body: &[u8]| {
        let request = http.post(&url).header("content-encoding", encoding);
        let request = request.header("content-type", "application/json");
        let answer = request.body(body.to_vec()).send().await.unwrap();
        (answer.status(), answer.text().await.unwrap())
    };
    let plain = br#"{"featureKey": "module.map_view"}"#;
    for (encoding, named) in [
        ("gzip", "gzip"),
        ("GZIP", "gzip"),
        ("identity, br", "br"),
        ("zstd", "zstd"),
        ("deflate", "deflate"),
        ("<x>", "with an unknown Content-Encoding"),
    ] {
        // Even if the body is not compressed: what it says of itself counts.
        for body in [&[0x1f, 0x8b, 8, 0, 0xff][..], plain, &[b'x'; 100_000]] {
            let (status, said) = send(encoding, body).await;
            assert_eq!(status, 415, "{encoding}: {said}");
            let detail = format!("compressed ({named})");
            assert!(said.contains(&detail), "{encoding}: {said}");
        }
    }
    for encoding in ["identity", "Identity", ""] {
        let (status, said) = send(encoding, plain).await;
        assert_eq!(status, 200, "{encoding}: {said}");
    }
    site.end().await;
}
