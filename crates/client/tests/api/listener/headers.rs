//! The headers of every response.

use serde_json::json;

use super::CHECK;
use crate::chromium::Chromium;
use crate::database::Engine;
use crate::harness::Site;
use crate::raw_http::{exchange, has_the_headers_of_every_response};
use crate::scripted_cloud::ScriptedCloud;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_response_has_the_security_headers() {
    let cloud = ScriptedCloud::start().await;
    let origin = ["--cors-allowed-origins", "https://vms.example"];
    let site = Site::start(Engine::Sqlite, &cloud.url, &origin).await;
    let page = site.get("/").await.1;
    let asset = page
        .as_str()
        .unwrap()
        .split("href=\"/console/assets")
        .nth(1)
        .unwrap();
    let asset = format!("/console/assets{}", asset.split('"').next().unwrap());
    let requests = [
        ("GET", "/", 200),
        ("GET", asset.as_str(), 200),
        ("GET", "/console/assets/x/y", 404),
        ("GET", "/console/sign-in", 200),
        ("GET", "/docs", 303),
        ("GET", "/docs/", 200),
        ("GET", "/docs/swagger-ui.css", 200),
        ("GET", "/docs/nothing", 404),
        ("GET", "/openapi.json", 200),
        ("GET", "/metrics", 200),
        ("GET", "/livez", 200),
        ("GET", "/health/", 307),
        ("HEAD", "/", 200),
        ("HEAD", "/health", 200),
        ("GET", "/nothing", 404),
        ("DELETE", "/health", 405),
        ("OPTIONS", "/health", 200),
        ("POST", CHECK, 422),
        ("POST", "/console/activate", 415),
        ("GET", "/api/license/events", 200),
        (
            "GET",
            "/api/license/authorize?feature=module.live_view",
            200,
        ),
        ("GET", "/api/license/authorize?feature=module.map_view", 403),
    ];
    has_the_headers_of_every_response(&site.http, &site.url, &requests).await;

    // A gateway reads the status alone.
    let gate = b"GET /api/license/authorize?feature=module.live_view HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
    let answer = exchange(&site.url, gate).await;
    assert!(
        answer.contains("content-length: 0\r\n") && answer.ends_with("\r\n\r\n"),
        "{answer}"
    );
    site.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_reference_works_in_a_browser_and_in_no_frame() {
    let cloud = ScriptedCloud::start().await;
    let site = Site::start(Engine::Sqlite, &cloud.url, &[]).await;
    let browser = Chromium::start().await;
    browser.open(&format!("{}/docs/", site.url)).await;
    let operations = "return document.querySelectorAll('.opblock').length > 10";
    browser.until(operations, &json!(true)).await;
    // Its style is there, and a request that is tried out gets its answer.
    let display = "return getComputedStyle(document.querySelector('.opblock-summary')).display";
    browser.until(display, &json!("flex")).await;
    let fetched = "return (await fetch('/livez')).status";
    browser.until(fetched, &json!(200)).await;

    // Another site's page cannot frame it.
    let frame = format!("data:text/html,<iframe src='{}/docs/'></iframe>", site.url);
    browser.open(&frame).await;
    browser.page.enter_frame(0).await.unwrap();
    let shown = "return location.href";
    browser
        .until(shown, &json!("chrome-error://chromewebdata/"))
        .await;
    browser.end().await;
    site.end().await;
}
