//! Chromium with OpenFeature's web SDK and its OFREP provider, on a page of
//! another origin.

use std::path::Path;

use axum::extract::Request;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use serde_json::json;

use super::{Licensed, shipped};
use crate::chromium::Chromium;

/// Serves the example's page and its packages, as they were installed.
async fn pages() -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let router = axum::Router::new().fallback(page);
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    url
}

async fn page(request: Request) -> Response {
    let path = request.uri().path().trim_start_matches('/');
    let path = Path::new(if path.is_empty() { "index.html" } else { path });
    let kind = match path.extension().and_then(|it| it.to_str()) {
        Some("html") => "text/html",
        Some("js" | "mjs") => "text/javascript",
        _ => return StatusCode::NOT_FOUND.into_response(),
    };
    let file = shipped::installed("browser").join(path);
    match std::fs::read(file) {
        Ok(text) => ([(header::CONTENT_TYPE, kind)], text).into_response(),
        Err(_) => StatusCode::NOT_FOUND.into_response(),
    }
}

const SHOWN: &str = "return Object.fromEntries([...document.querySelectorAll('[data-feature]')]
    .map((it) => [it.dataset.feature, [it.dataset.available, it.dataset.reason]]))";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_example_page_shows_what_is_licensed_and_follows_changes() {
    let pages = pages().await;
    let mut licensed = Licensed::with(&["--cors-allowed-origins", &pages]).await;
    let browser = Chromium::start().await;
    let address = format!("{pages}/?license-client={}", licensed.site.url);
    browser.page.goto(&address).await.unwrap();
    let shown = |map: [&str; 2]| {
        json!({
            "module.live_view": ["true", "core"],
            "module.map_view": map,
            "module.alarm_advanced": ["false", "not_in_license"],
            "module.nope": ["false", "FLAG_NOT_FOUND"],
        })
    };
    browser.until(SHOWN, &shown(["true", "licensed"])).await;
    let cameras = "return document.getElementById('cameras').value";
    browser.until(cameras, &json!("64")).await;

    // The page receives a change, and evaluates again.
    let path = "/api/license/features/module.map_view";
    licensed
        .site
        .put(path, json!({"systemEnabled": false}))
        .await;
    browser
        .until(SHOWN, &shown(["false", "switched_off"]))
        .await;
    licensed
        .site
        .put(path, json!({"systemEnabled": true}))
        .await;
    browser.until(SHOWN, &shown(["true", "licensed"])).await;

    // A page of another origin sees the tag, and may compare it.
    let twice = format!(
        "const ask = (tag) => fetch('{}/ofrep/v1/evaluate/flags', {{ method: 'POST', \
             headers: {{ 'content-type': 'application/json', ...(tag && {{ 'if-none-match': tag }}) }}, \
             body: '{{\"context\": {{}}}}' }}); \
         const first = await ask(); \
         const again = await ask(first.headers.get('etag')); \
         return [first.status, again.status]",
        licensed.site.url
    );
    assert_eq!(browser.run(&twice).await, json!([200, 304]));

    // The stream is taken up again after a restart.
    licensed.site.stop().await;
    licensed.site.restart().await;
    licensed
        .site
        .put(path, json!({"systemEnabled": false}))
        .await;
    browser
        .until(SHOWN, &shown(["false", "switched_off"]))
        .await;
    browser.end().await;
    licensed.end().await;
}
