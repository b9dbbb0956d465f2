//! HEAD answers like GET, and redirects are relative.

use std::collections::BTreeMap;

use reqwest::{Method, Response};
use serde_json::Value;

use crate::database::Engine;
use crate::harness::Site;
use crate::scripted_cloud::ScriptedCloud;

/// Status and headers, without what differs from one moment to the next.
fn head_of(response: &Response) -> (u16, BTreeMap<String, String>) {
    let headers = response.headers().iter();
    let passing = [
        "date",
        "content-length",
        "transfer-encoding",
        "x-request-id",
    ];
    let headers = headers.filter(|(name, _)| !passing.contains(&name.as_str()));
    let headers = headers.map(|(name, value)| (name.to_string(), format!("{value:?}")));
    (response.status().as_u16(), headers.collect())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn head_answers_like_get_on_every_path() {
    let cloud = ScriptedCloud::start().await;
    let site = Site::start(Engine::Sqlite, &cloud.url, &[]).await;
    let (_, document) = site.get("/openapi.json").await;
    let described = document["paths"].as_object().unwrap().iter();
    let read = described.filter(|(_, methods)| !methods["get"].is_null());
    let mut paths: Vec<&str> = read.map(|(path, _)| path.as_str()).collect();
    paths.extend(license_client::console::paths());
    paths.extend([
        "/openapi.json",
        "/docs",
        "/docs/",
        "/docs/swagger-ui.css",
        "/health/",
        "/nothing",
        "/api/license/activate",
        "/api/license/authorize?feature=module.live_view",
        "/api/license/authorize?feature=module.map_view",
    ]);
    assert!(paths.len() > 20, "{paths:?}");
    for path in paths {
        let ask = |method: Method| {
            let request = site.http.request(method, format!("{}{path}", site.url));
            async { request.send().await.unwrap() }
        };
        let get = ask(Method::GET).await;
        let head = ask(Method::HEAD).await;
        assert_eq!(head_of(&head), head_of(&get), "{path}");
        let length = |response: &Response| response.headers().get("content-length").cloned();
        // Metrics change, and an answer to HEAD need not say how long it would be.
        if path != "/metrics" && length(&head).is_some() {
            assert_eq!(length(&head), length(&get), "{path}");
        }
        assert_eq!(head.text().await.unwrap(), "", "{path}");
    }
    let (status, _) = site.get("/livez").await;
    assert_eq!(status, 200);
    site.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_redirect_is_relative() {
    let cloud = ScriptedCloud::start().await;
    let flags = ["--allowed-hosts", "vms.example"];
    let site = Site::start(Engine::Sqlite, &cloud.url, &flags).await;
    let mut redirects = 0;
    for (path, expected) in [
        ("/health/", "/health"),
        ("/openapi.json/", "/openapi.json"),
        ("/api/license/status/?a=//b", "/api/license/status?a=//b"),
        ("/api/license/feature/check/", "/api/license/feature/check"),
        ("/docs", "/docs/"),
        ("/console/diagnostics", "/console/sign-in"),
        ("/console/deactivate", "/console/sign-in"),
    ] {
        // As a proxy with TLS passes it on; its visitors are not trusted.
        let request = site.http.get(format!("{}{path}", site.url));
        let request = request
            .header("host", "vms.example:8443")
            .header("x-forwarded-proto", "https")
            .header("x-forwarded-for", "198.51.100.7");
        let answer = request.send().await.unwrap();
        assert!(answer.status().is_redirection(), "{path}: {answer:?}");
        assert_eq!(answer.headers()["location"], expected, "{path}");
        redirects += 1;
    }
    assert_eq!(redirects, 7);
    // What looks like another host leads nowhere.
    for path in ["//health/", "//evil.example/health/", "/health//"] {
        let answer = site.http.get(format!("{}{path}", site.url)).send().await;
        assert_eq!(answer.unwrap().status(), 404, "{path}");
    }
    site.end().await;
}

/// What a browser is shown where programs read JSON.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn people_get_pages_and_programs_json() {
    let cloud = ScriptedCloud::start().await;
    let site = Site::start(Engine::Sqlite, &cloud.url, &[]).await;
    for (host, path, status, said) in [
        (
            "vms.example:8443",
            "/",
            421,
            "&#39;vms.example&#39;. Add the name to ALLOWED_HOSTS",
        ),
        ("localhost", "/nothing", 404, "Page not found"),
        ("localhost", "/console/validate", 405, "Method not allowed"),
    ] {
        let request = |accept: &'static str| {
            let request = site.http.get(format!("{}{path}", site.url));
            request.header("host", host).header("accept", accept).send()
        };
        let page = request("text/html,*/*;q=0.8").await.unwrap();
        assert_eq!(page.status(), status);
        assert_eq!(page.headers()["content-type"], "text/html; charset=utf-8");
        let page = page.text().await.unwrap();
        assert!(page.contains(said), "{said}: {page}");
        let plain = request("*/*").await.unwrap();
        assert_eq!(plain.status(), status);
        let plain: Value = plain.json().await.unwrap();
        assert!(plain["detail"].is_string(), "{plain}");
    }
    site.end().await;
}
