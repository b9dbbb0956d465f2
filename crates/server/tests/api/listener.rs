//! Connections and bodies within bounds, and what every response is sent with.

use license_server::serve::Bounds;
use license_service::request_body::BodyLimits;
use reqwest::StatusCode;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;

use crate::chromium::Chromium;
use crate::database::Engine;
use crate::harness::{ADMIN_TOKEN, Vendor};
use crate::raw_http::{
    connect, every_stall_ends, has_the_headers_of_every_response, limits_that_refuse_bodies,
    malformed_requests_are_refused, no_body_is_answered_as_a_request, read_head,
    requests_behind_a_long_one_are_answered, short_body_limits, short_limits,
};

const VALIDATE: &str = "/api/licenses/validate";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_stall_is_ended() {
    let bounds = Bounds {
        limits: short_limits(),
        bodies: short_body_limits(),
    };
    let vendor = Vendor::start_within(Engine::Sqlite, bounds).await;
    every_stall_ends(&vendor.url, VALIDATE).await;
    vendor.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn malformed_and_ambiguous_requests_are_refused() {
    let vendor = Vendor::start(Engine::Sqlite).await;
    malformed_requests_are_refused(&vendor.url, VALIDATE).await;
    vendor.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_inside_a_body_is_not_answered() {
    let bounds = Bounds {
        limits: short_limits(),
        bodies: limits_that_refuse_bodies(),
    };
    let vendor = Vendor::start_within(Engine::Sqlite, bounds).await;
    let unread = [
        ("POST", "/nothing", "404"),
        ("GET", "/nothing", "404"),
        ("DELETE", "/livez", "405"),
        ("GET", "/livez", "200"),
        ("POST", "/api/admin/licenses", "401"),
    ];
    no_body_is_answered_as_a_request(&vendor.url, VALIDATE, &unread).await;
    vendor.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_behind_a_long_request_are_answered() {
    let vendor = Vendor::start(Engine::Sqlite).await;
    requests_behind_a_long_one_are_answered(&vendor.url, VALIDATE).await;
    vendor.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn half_sent_bodies_refuse_others_and_not_the_staff() {
    let bounds = Bounds {
        bodies: BodyLimits {
            open_bytes: 256 * 1024,
            reserved_bytes: 256 * 1024,
            ..BodyLimits::default()
        },
        ..Bounds::default()
    };
    let vendor = Vendor::start_within(Engine::Sqlite, bounds).await;
    let half = format!("POST {VALIDATE} HTTP/1.1\r\nhost: a\r\ncontent-length: 65536\r\n\r\n");
    let half = [half.into_bytes(), vec![b' '; 65_535]].concat();
    let mut held = Vec::new();
    for _ in 0..12 {
        let mut stream = connect(&vendor.url).await;
        stream.write_all(&half).await.unwrap();
        held.push(stream);
    }
    // A further long body is refused, as an error and not as a denial.
    let long = json!({"licenseKey": "k", "hardwareId": "h", "more": " ".repeat(60_000)});
    let mut last = (StatusCode::OK, Value::Null);
    for _ in 0..200 {
        last = vendor.post("validate", long.clone()).await;
        if last.0 == StatusCode::SERVICE_UNAVAILABLE {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    assert_eq!(last.0, StatusCode::SERVICE_UNAVAILABLE, "{}", last.1);
    assert_eq!(last.1["error"]["code"], "busy");
    assert!(last.1.get("success").is_none());
    let response = vendor
        .http
        .post(format!("{}/api/admin/offline", vendor.url))
        .bearer_auth(ADMIN_TOKEN)
        .json(&json!({"file": "x".repeat(60_000)}))
        .send()
        .await
        .unwrap();
    assert_eq!(response.status(), StatusCode::BAD_REQUEST, "it was read");
    let short = json!({"licenseKey": "FXSGHT-2222-2222-2222-2222", "hardwareId": "h"});
    assert_eq!(vendor.post("validate", short).await.0, StatusCode::OK);

    // A body that is too long by its own words is not asked for.
    let head = format!(
        "POST {VALIDATE} HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 70000\r\n\r\n"
    );
    let mut stream = connect(&vendor.url).await;
    stream.write_all(head.as_bytes()).await.unwrap();
    let answer = read_head(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
    drop(held);
    vendor.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_response_has_the_security_headers() {
    let vendor = Vendor::start(Engine::Sqlite).await;
    let http = reqwest::Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .build()
        .unwrap();
    let requests = [
        ("GET", "/", 303),
        ("GET", "/console/sign-in", 200),
        ("GET", "/console/assets/x/console.css", 200),
        ("GET", "/console/assets/x/y", 404),
        ("GET", "/docs", 303),
        ("GET", "/docs/", 200),
        ("GET", "/docs/nothing", 404),
        ("GET", "/openapi.json", 200),
        ("GET", "/livez", 200),
        ("GET", "/readyz", 200),
        ("HEAD", "/livez", 200),
        ("GET", "/nothing", 404),
        ("GET", VALIDATE, 405),
        ("POST", VALIDATE, 400),
        ("GET", "/api/licenses/keys", 200),
        ("GET", "/api/admin/licenses", 401),
        ("POST", "/console/sign-in", 415),
    ];
    has_the_headers_of_every_response(&http, &vendor.url, &requests).await;
    vendor.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_reference_works_in_a_browser() {
    let vendor = Vendor::start(Engine::Sqlite).await;
    let browser = Chromium::start().await;
    browser.open(&format!("{}/docs/", vendor.url)).await;
    let operations = "return document.querySelectorAll('.opblock').length > 5";
    browser.until(operations, &json!(true)).await;
    browser.end().await;
    vendor.end().await;
}
