//! Who may do what.

use reqwest::StatusCode;
use serde_json::Value;

use crate::database::Engine;
use crate::harness::{KEY, Site};
use crate::scripted_cloud::ScriptedCloud;

const TOKEN: &str = "a-token-of-a-good-length";

/// From outside every trusted network; loopback is not one here.
async fn guarded() -> (Site, ScriptedCloud) {
    let cloud = ScriptedCloud::start().await;
    let flags = [
        "--trusted-networks",
        "10.99.0.0/16",
        "--admin-token",
        TOKEN,
        "--cors-allowed-origins",
        "https://vms.example",
    ];
    (Site::start(Engine::Sqlite, &cloud.url, &flags).await, cloud)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changes_need_a_trusted_network_or_the_token() {
    let (site, cloud) = guarded().await;
    for path in ["activate", "validate", "heartbeat", "deactivate"] {
        let (status, answer) = site.post(&format!("/api/license/{path}"), None).await;
        assert_eq!(status, StatusCode::UNAUTHORIZED, "{path}");
        assert!(answer["detail"].as_str().unwrap().contains("ADMIN_TOKEN"));
    }
    assert!(cloud.arrived().is_empty());
    let response = site
        .http
        .post(format!("{}/api/license/activate", site.url))
        .bearer_auth(TOKEN)
        .json(&serde_json::json!({"licenseKey": KEY}))
        .send()
        .await
        .unwrap();
    assert_eq!(response.status(), StatusCode::OK);

    // Reads are open, but show the key only to those who may change it.
    assert!(site.is_available("module.map_view").await);
    assert_eq!(
        site.status().await["licenseKey"],
        "FXSGHT-****-****-****-DDDD"
    );
    let status: Value = site
        .http
        .get(format!("{}/api/license/status", site.url))
        .bearer_auth(TOKEN)
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    assert_eq!(status["licenseKey"], KEY);
    site.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_of_other_sites_change_nothing_and_read_nothing() {
    let cloud = ScriptedCloud::start().await;
    let flags = ["--cors-allowed-origins", "https://vms.example"];
    let site = Site::start(Engine::Sqlite, &cloud.url, &flags).await;
    let heartbeat = |origin: &'static str| {
        site.http
            .post(format!("{}/api/license/heartbeat", site.url))
            .header("origin", origin)
            .send()
    };
    let refused = heartbeat("https://evil.example").await.unwrap();
    assert_eq!(refused.status(), StatusCode::FORBIDDEN);
    assert!(
        !refused
            .headers()
            .contains_key("access-control-allow-origin")
    );
    let allowed = heartbeat("https://vms.example").await.unwrap();
    assert_eq!(allowed.status(), StatusCode::OK);
    assert_eq!(
        allowed.headers()["access-control-allow-origin"],
        "https://vms.example"
    );
    let rebound = site
        .http
        .get(format!("{}/api/license/status", site.url))
        .header("host", "evil.example")
        .send()
        .await
        .unwrap();
    assert_eq!(rebound.status(), StatusCode::MISDIRECTED_REQUEST);
    site.end().await;
}

/// Signing in at the console, as proxies tell where from; answers the status code.
async fn sign_in(site: &Site, token: &str, forwarded_for: &str) -> u16 {
    let request = site.http.post(format!("{}/console/sign-in", site.url));
    let request = request
        .header("content-type", "application/x-www-form-urlencoded")
        .header("x-forwarded-for", forwarded_for)
        .body(format!("token={token}"));
    request.send().await.unwrap().status().as_u16()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wrong_tokens_lock_out_nobody_who_has_the_right_one() {
    let (site, _) = guarded().await;
    for token in ["", "wrong"] {
        for _ in 0..60 {
            let path = format!("{}/api/license/activate", site.url);
            let request = site.http.post(path).bearer_auth(token);
            assert_eq!(request.send().await.unwrap().status(), 401);
        }
    }
    for number in 0..10 {
        let expected = if number < 5 { 401 } else { 429 };
        // No proxy is trusted, so that what it says means nothing.
        let from = format!("198.51.100.{number}");
        assert_eq!(sign_in(&site, "wrong", &from).await, expected);
    }
    assert_eq!(sign_in(&site, "", "198.51.100.1").await, 401);
    assert_eq!(sign_in(&site, TOKEN, "198.51.100.1").await, 303);
    site.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn behind_a_trusted_proxy_callers_count_apart_and_none_becomes_a_neighbour() {
    let cloud = ScriptedCloud::start().await;
    let flags = ["--trusted-proxies", "1", "--admin-token", TOKEN];
    let site = Site::start(Engine::Sqlite, &cloud.url, &flags).await;
    for number in 0..10 {
        let expected = if number < 5 { 401 } else { 429 };
        let from = format!("10.0.0.{number}, 198.51.100.7");
        assert_eq!(sign_in(&site, "wrong", &from).await, expected);
    }
    assert_eq!(sign_in(&site, "wrong", "198.51.100.8").await, 401);
    // Loopback is trusted here, but not because a header says so.
    for from in ["127.0.0.1", "::1", "127.0.0.1, 127.0.0.1", ""] {
        let path = format!("{}/api/license/activate", site.url);
        let request = site.http.post(path).header("x-forwarded-for", from);
        assert_eq!(request.send().await.unwrap().status(), 401, "{from}");
    }
    site.end().await;
}
