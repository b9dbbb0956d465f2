//! The routes that are open to everyone are open through the gateways that we ship, too: all
//! documented ones, from a network that neither file trusts.

use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};

use reqwest::header::HeaderValue;
use reqwest::{Client, Method, Response};
use serde_json::Value;

use crate::database::Engine;
use crate::harness::Site;
use crate::nginx::Nginx;
use crate::vendor::Vendor;

const DEPLOY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy");
/// An address that no shipped file trusts.
const VISITOR: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 77);
const ORIGIN: &str = "https://pages.example";

fn visitor() -> Client {
    let http = Client::builder().no_proxy();
    let http = http.local_address(IpAddr::V4(VISITOR));
    http.build().unwrap()
}

/// Every documented method and path below `below`.
async fn routes(http: &Client, base: &str, below: &str) -> Vec<(Method, String)> {
    let document = http.get(format!("{base}/openapi.json")).send().await;
    let document: Value = document.unwrap().json().await.unwrap();
    let mut routes = Vec::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        let parts = path.split('/').map(|part| match part.starts_with('{') {
            true => "1",
            false => part,
        });
        let path = parts.collect::<Vec<_>>().join("/");
        for method in methods.as_object().unwrap().keys() {
            let is_method = ["get", "post", "put", "delete", "patch"].contains(&method.as_str());
            if is_method && path.starts_with(below) {
                let method = Method::from_bytes(method.to_uppercase().as_bytes());
                routes.push((method.unwrap(), path.clone()));
            }
        }
    }
    routes
}

/// The head of the answer: streams do not end.
async fn send(http: &Client, base: &str, method: &Method, path: &str) -> Response {
    let request = http
        .request(method.clone(), format!("{base}{path}"))
        .header("content-type", "application/json")
        // Sent to the service itself, it is not of its machine either.
        .header("x-forwarded-for", "203.0.113.5")
        .body("{}");
    request.send().await.unwrap()
}

/// The answer of nginx, which has passed on nothing.
fn is_of_nginx(answer: &Response) -> bool {
    let kind = answer.headers().get("content-type");
    kind.is_some_and(|it| it.as_bytes().starts_with(b"text/html"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sites_of_any_network_reach_every_call_of_the_license_server_and_nothing_else() {
    let vendor = Vendor::start().await;
    let server = vendor.url.trim_end_matches("/api");
    let nginx = Nginx::server_console_from_outside(server).await;
    let http = visitor();
    let routes = routes(&http, server, "/").await;
    let (mut open, mut closed) = (0, 0);
    for (method, path) in &routes {
        let answer = send(&http, &nginx.url, method, path).await;
        let what = format!("{method} {path}: {}", answer.status());
        if path.starts_with("/api/licenses/") {
            let direct = send(&http, server, method, path).await;
            assert!(!is_of_nginx(&answer), "{what}");
            assert_eq!(answer.status(), direct.status(), "{what}");
            open += 1;
        } else {
            assert!(is_of_nginx(&answer) && answer.status() == 403, "{what}");
            closed += 1;
        }
    }
    assert!(open >= 9 && closed >= 30, "{open} {closed}: {routes:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn visitors_reach_every_open_route_through_the_gateway_and_pages_may_ask_for_each() {
    let vendor = Vendor::start().await;
    let flags = ["--cors-allowed-origins", ORIGIN];
    let site = Site::start(Engine::Sqlite, &vendor.url, &flags).await;
    let nginx = Nginx::gateway(&site.url).await;
    let http = visitor();
    let routes = routes(&http, &site.url, "/api/license/").await;
    let (mut open, mut closed) = (0, 0);
    for (method, path) in &routes {
        // The questions of gateways, with any method. Nothing in a gateway forwards them.
        if path.starts_with("/api/license/authorize") {
            continue;
        }
        let answer = send(&http, &nginx.url, method, path).await;
        let direct = send(&http, &site.url, method, path).await.status();
        let what = format!("{method} {path}: {}, directly {direct}", answer.status());
        if direct == 401 {
            let is_refused = [401, 403].contains(&answer.status().as_u16());
            assert!(is_refused, "{what}");
            closed += 1;
        } else {
            assert!(!is_of_nginx(&answer), "{what}");
            assert_eq!(answer.status(), direct, "{what}");
            open += 1;
        }
        let preflight = http
            .request(Method::OPTIONS, format!("{}{path}", nginx.url))
            .header("origin", ORIGIN)
            .header("access-control-request-method", method.as_str())
            .header("access-control-request-headers", "content-type");
        let preflight = preflight.send().await.unwrap();
        let allowed = preflight.headers().get("access-control-allow-origin");
        let what = format!("OPTIONS {path}: {}", preflight.status());
        assert_eq!(preflight.status(), 200, "{what}");
        assert_eq!(allowed.map(HeaderValue::as_bytes), Some(ORIGIN.as_bytes()));
    }
    assert!(open >= 10 && closed >= 10, "{open} {closed}: {routes:?}");
    site.end().await;
}

/// Of the files for gateways, only those that the tests above run choose among the routes of the
/// services. The others ask only about requests to the VMS.
#[test]
fn no_other_shipped_file_has_a_list_of_routes() {
    let mut files = Vec::new();
    find_files(Path::new(DEPLOY), &mut files);
    let mut choosing = Vec::new();
    for file in &files {
        let text = std::fs::read_to_string(file).unwrap();
        let lines = text.lines().map(str::trim_start);
        let lines = lines.filter(|it| !it.starts_with('#') && !it.starts_with("--"));
        let chooses = lines.flat_map(|it| it.split("/api/license").skip(1));
        if chooses.into_iter().any(|it| !it.starts_with("/authorize")) {
            let name = file.strip_prefix(DEPLOY).unwrap();
            choosing.push(name.display().to_string());
        }
    }
    choosing.sort();
    // 'upstream.conf' has the path that replaces ambiguous ones.
    let tested = [
        "nginx/api.conf",
        "nginx/server-console.conf",
        "nginx/upstream.conf",
    ];
    assert_eq!(choosing, tested);
    assert!(files.len() > 20, "{files:?}");
}

fn find_files(directory: &Path, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => find_files(&path, files),
            false => files.push(path),
        }
    }
}
