//! Requests that are not what they have to be: an error, never a denial,
//! never a fault.

use license_server::licensing::catalogue::Tier;
use license_server::licensing::issue::IssueRequest;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;

use crate::database::Engine;
use crate::harness::{ADMIN_TOKEN, Vendor};
use crate::raw_http::{connect, read_to_end};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bad_request_is_an_error_and_no_denial() {
    let vendor = Vendor::start(Engine::Sqlite).await;
    let long = "x".repeat(256);
    let good = json!({"licenseKey": "k", "hardwareId": "h"});
    let bodies = [
        json!({}),
        json!([]),
        json!(null),
        json!({"licenseKey": 7, "hardwareId": "h"}),
        json!({"licenseKey": "k"}),
        json!({"licenseKey": "k", "hardwareId": ""}),
        json!({"licenseKey": long, "hardwareId": "h"}),
        json!({"licenseKey": "k", "hardwareId": long}),
        json!({"licenseKey": "k\u{0}", "hardwareId": "h"}),
    ];
    for call in ["activate", "validate", "heartbeat", "deactivate"] {
        for body in &bodies {
            let (status, answer) = vendor.post(call, body.clone()).await;
            assert_eq!(status, StatusCode::BAD_REQUEST, "{call} {body}");
            assert_eq!(answer["error"]["code"], "bad_request");
            assert!(answer.get("success").is_none());
        }
    }
    let send = |header: &'static str, value: String, body: Vec<u8>| {
        let url = format!("{}/api/licenses/validate", vendor.url);
        vendor
            .http
            .post(url)
            .header(header, value)
            .body(body)
            .send()
    };
    let good = good.to_string().into_bytes();
    let nonce = send("x-license-nonce", "n".repeat(129), good.clone())
        .await
        .unwrap();
    assert_eq!(nonce.status(), StatusCode::BAD_REQUEST);
    let id = send("x-installation-id", long, good).await.unwrap();
    assert_eq!(id.status(), StatusCode::BAD_REQUEST);
    let broken = send("x-a", "a".into(), b"{\"licenseKey\":\"\xff".to_vec())
        .await
        .unwrap();
    assert_eq!(broken.status(), StatusCode::BAD_REQUEST);
    let deep = "[".repeat(60_000).into_bytes();
    let deep = send("x-a", "a".into(), deep).await.unwrap();
    assert_eq!(deep.status(), StatusCode::BAD_REQUEST);
    // The start of gzip's output: nothing is unpacked.
    let packed = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0];
    let packed = send("content-encoding", "gzip".into(), packed)
        .await
        .unwrap();
    assert_eq!(packed.status(), StatusCode::UNSUPPORTED_MEDIA_TYPE);
    let said = packed.text().await.unwrap();
    assert!(said.contains("body is compressed (gzip)"), "{said}");
    let huge = send("x-a", "a".into(), vec![b' '; 70_000]).await.unwrap();
    assert_eq!(huge.status(), StatusCode::PAYLOAD_TOO_LARGE);
    vendor.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn other_paths_and_methods_are_errors_in_the_same_shape() {
    let vendor = Vendor::start(Engine::Sqlite).await;
    for (path, expected) in [
        ("/api/licenses/validate", StatusCode::METHOD_NOT_ALLOWED),
        ("/api/licenses/nope", StatusCode::NOT_FOUND),
        ("/livez", StatusCode::OK),
        ("/readyz", StatusCode::OK),
    ] {
        let response = vendor
            .http
            .get(format!("{}{path}", vendor.url))
            .send()
            .await
            .unwrap();
        assert_eq!(response.status(), expected, "{path}");
        if !expected.is_success() {
            let answer: Value = response.json().await.unwrap();
            assert!(answer["error"]["message"].is_string());
        }
    }
    vendor.end().await;
}

/// A proxy in front may have read such a path differently, and let it pass.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_path_with_other_segments_when_decoded_leads_nowhere() {
    let vendor = Vendor::start(Engine::Sqlite).await;
    let key = vendor.issue(IssueRequest::of(Tier::Standard)).await;
    let ask = async |method: &str, path: &str, token: &str| {
        let mut stream = connect(&vendor.url).await;
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
             Authorization: Bearer {token}\r\nContent-Length: 2\r\n\r\n{{}}"
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        read_to_end(&mut stream).await
    };
    for path in [
        format!("/api/admin/licenses/{key}%2f..%2f..%2f..%2flicenses%2fx"),
        format!("/api/admin/licenses/{key}%2f..%2f..%2f..%2flicenses%2fx/revoke"),
        format!("/api/admin/licenses/{key}%252f..%252fx/revoke"),
        format!("/api/admin/licenses/{key}%5c..%5cx"),
        format!("/api/admin/licenses/{key};x/revoke"),
        format!("/api/admin/licenses/{key}%c0%afx"),
        format!("/api/admin/licenses/{key}/../{key}"),
        format!("/console/licenses/{key}%2f..%2f..%2f..%2fapi%2flicenses%2fx"),
        format!("/console/licenses/{key}/%2e%2e/x"),
        "/console//licenses".to_owned(),
        "/console/keys/..%2f../revoke".to_owned(),
    ] {
        for (method, token) in [
            ("GET", ADMIN_TOKEN),
            ("POST", ADMIN_TOKEN),
            ("GET", "wrong"),
        ] {
            let answer = ask(method, &path, token).await;
            assert!(
                answer.starts_with("HTTP/1.1 404 "),
                "{method} {path}: {answer}"
            );
            assert!(
                answer.contains("\"code\":\"not_found\""),
                "{path}: {answer}"
            );
        }
    }
    // Other escapes are the same path.
    let spaced = format!("/api/admin/licenses/%20{}", key.replace('-', "%2D"));
    let shown = ask("GET", &spaced, ADMIN_TOKEN).await;
    assert!(shown.contains("\"status\":\"active\""), "{shown}");
    vendor.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_of_version_1_0_0_without_a_nonce_is_answered() {
    let vendor = Vendor::start(Engine::Sqlite).await;
    let url = format!("{}/api/licenses/validate", vendor.url);
    let body = json!({"licenseKey": "FXSGHT-2222-2222-2222-2222", "hardwareId": "h"});
    let response = vendor.http.post(url).json(&body).send().await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    let answer: Value = response.json().await.unwrap();
    assert_eq!(answer["data"]["isValid"], false);
    assert_eq!(answer["data"]["reason"], "unknown_license");
    vendor.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_byte_order_mark_before_a_body_is_no_part_of_it() {
    let vendor = Vendor::start(Engine::Sqlite).await;
    let post = async |path: &str, body: &str| {
        let request = vendor.http.post(format!("{}/api{path}", vendor.url));
        let request = request.bearer_auth(ADMIN_TOKEN).body(body.to_owned());
        let answer = request.send().await.unwrap();
        (
            answer.status().as_u16(),
            answer.json::<Value>().await.unwrap(),
        )
    };
    let issue = "\u{feff}{\"tier\": \"standard\", \"customer\": \"Harbour\"}";
    let (status, license) = post("/admin/licenses", issue).await;
    assert_eq!(status, 201, "{license}");
    assert_eq!(license["customer"], "Harbour");
    // The mark alone is no body; a second one, or one within, is a mistake.
    assert_eq!(post("/admin/keys/rotate", "\u{feff}").await.0, 200);
    for wrong in [
        "\u{feff}\u{feff}{}",
        "{\u{feff}}",
        "\u{feff}{\"overlapDays\": \"\\u0000\"}",
    ] {
        assert_eq!(post("/admin/keys/rotate", wrong).await.0, 400, "{wrong:?}");
    }
    let key = license["licenseKey"].as_str().unwrap();
    let site = format!("\u{feff}{}", json!({"licenseKey": key, "hardwareId": "h"}));
    let (status, answer) = post("/licenses/validate", &site).await;
    assert_eq!(
        (status, &answer["data"]["isValid"]),
        (200, &json!(false)),
        "{answer}"
    );
    vendor.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_time_that_is_none_is_named_with_its_field() {
    let vendor = Vendor::start(Engine::Sqlite).await;
    let key = vendor.issue(IssueRequest::of(Tier::Standard)).await;
    let license = |path: &str| format!("/licenses/{key}{path}");
    let soon = json!("soon");
    for (path, body, field) in [
        (license("/renew"), json!({"expiresAt": soon}), "expiresAt"),
        (license("/renew"), json!({"expiresAt": 7}), "expiresAt"),
        (
            license("/amendments"),
            json!({"effectiveAt": soon}),
            "effectiveAt",
        ),
        (
            license("/amendments"),
            json!({"startsAt": soon}),
            "startsAt",
        ),
        (
            license("/amendments"),
            json!({"updatesUntil": soon}),
            "updatesUntil",
        ),
        (
            license("/amendments"),
            json!({"add": [{"key": "a.b"}, {"key": "a.b", "until": soon}]}),
            "add[1].until",
        ),
        (
            license("/amendments"),
            json!({"seats": 2.0, "expiresAt": soon}),
            "expiresAt",
        ),
        (
            "/licenses".to_owned(),
            json!({"plan": "standard", "startsAt": soon}),
            "startsAt",
        ),
        (
            "/tokens".to_owned(),
            json!({"name": "ana", "expiresAt": soon}),
            "expiresAt",
        ),
        (
            "/trial-codes".to_owned(),
            json!({"plan": "a", "max": 1, "endsAt": soon}),
            "endsAt",
        ),
        ("/addons".to_owned(), json!({"redeemBy": soon}), "redeemBy"),
    ] {
        let (status, answer) = vendor.admin(Method::POST, &path, body.clone()).await;
        assert_eq!(status, 400, "{body}: {answer}");
        let message = answer["error"]["message"].as_str().unwrap();
        let expected = format!("Invalid request body: {field}: ");
        assert!(message.starts_with(&expected), "{body}: {message}");
    }
    for (path, field) in [
        ("/licenses?expiresUntil=soon", "expiresUntil"),
        ("/licenses/export?expiresAfter=soon", "expiresAfter"),
    ] {
        let (status, answer) = vendor.admin(Method::GET, path, Value::Null).await;
        assert_eq!(status, 422, "{path}: {answer}");
        let message = answer["error"]["message"].as_str().unwrap();
        let expected = format!("Invalid parameters: {field}: invalid time 'soon'");
        assert!(message.starts_with(&expected), "{path}: {message}");
    }
    // Both of a license to issue.
    let body = json!({"plan": "standard", "startsAt": "2030-05-01", "expiresAt": "2030-01-01"});
    let (status, answer) = vendor.admin(Method::POST, "/licenses", body).await;
    let message = answer["error"]["message"].as_str().unwrap();
    assert_eq!(status, 400, "{answer}");
    assert!(
        message.starts_with("Invalid startsAt or expiresAt: the end"),
        "{message}"
    );
    vendor.end().await;
}
