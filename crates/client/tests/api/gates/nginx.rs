//! nginx, with `auth_request`.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};

use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::dns::NamedMachine;
use super::{Licensed, get, raw, raw_answer};
use crate::nginx::Nginx;

/// A service that reads the raw request line. HTTP libraries truncate it at `#`, which services
/// in other languages do not.
pub struct RawBackend {
    pub address: SocketAddr,
    pub request_lines: Arc<Mutex<Vec<String>>>,
}

impl RawBackend {
    pub async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let request_lines: Arc<Mutex<Vec<String>>> = Arc::default();
        let seen = request_lines.clone();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    head.push(stream.read_u8().await.unwrap());
                }
                let head = String::from_utf8_lossy(&head).into_owned();
                seen.lock()
                    .unwrap()
                    .push(head.lines().next().unwrap().to_owned());
                let answer = b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n";
                stream.write_all(answer).await.unwrap();
            }
        });
        Self {
            address,
            request_lines,
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_shipped_rules_gate_by_feature() {
    let mut licensed = Licensed::by_feature().await;
    let locations: String = [
        ("map", "module.map_view"),
        ("alarms", "module.alarm_advanced"),
        ("live", "module.live_view"),
        ("nope", "module.nope"),
    ]
    .iter()
    .map(|(name, feature)| {
        format!(
            "location ^~ /{name}/ {{ set $license_feature {feature}; \
             include gated_by_feature.conf; proxy_pass http://{}; }}\n",
            licensed.backend.address
        )
    })
    .collect();
    let large = format!(
        "location /large/ {{ client_max_body_size 8m; set $license_feature module.map_view; \
         include gated_by_feature.conf; proxy_pass http://{}; }}\n",
        licensed.backend.address
    );
    let ungated = format!("location /open {{ return 200 open; }} {large}");
    let nginx = Nginx::gate(&licensed.site.url, &format!("{locations}{ungated}")).await;
    licensed.is_gated_by(&nginx.url).await;
    licensed.is_not_led_astray(&nginx.url).await;
    licensed.keeps_tunnels_and_claims_out(&nginx.url).await;
    licensed
        .removes_visitor_headers(&nginx.url, &["/map/1", "/live/1"])
        .await;
    licensed.refuses_escaped_dots(&nginx.url).await;
    licensed.leaves_queries_alone(&nginx.url, "/open").await;
    // The location's bound on bodies counts, and no other.
    for (path, expected) in [("/large/1", 200), ("/map/1", 413)] {
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        let upload = http.post(format!("{}{path}", nginx.url));
        let answer = upload.body(vec![b'x'; 2_000_000]).send().await.unwrap();
        assert_eq!(answer.status(), expected, "{path}");
    }
    let slash = get(&nginx.url, "/map/a%2Fb.jpg", &[]).await;
    assert_eq!(slash.status(), 200);
    for header in ["x-license-feature", "x-forwarded-uri", "x-original-uri"] {
        let answer = get(&nginx.url, "/alarms/1", &[(header, "module.live_view")]).await;
        assert_eq!(answer.status(), 403, "{header}");
        let answer = get(&nginx.url, "/map/1", &[(header, "module.nope")]).await;
        assert_eq!(answer.status(), 200, "{header}");
    }
    licensed.is_shut_without_it(&nginx.url, 503).await;
    licensed.is_shut_while_it_hangs(&nginx.url).await;
    licensed.end().await;
}

/// Our rules for paths, before a service with `WebSocket`s and open paths.
pub(super) async fn by_path(licensed: &Licensed) -> Nginx {
    by_path_with(licensed, "").await
}

/// The same with other directives of the server.
pub(super) async fn by_path_with(licensed: &Licensed, directives: &str) -> Nginx {
    let locations = format!(
        "include gated_by_path.conf; {directives} proxy_http_version 1.1; \
         proxy_set_header Upgrade $license_upgrade; \
         proxy_set_header Connection $license_upgrade_connection; \
         location /health/ {{ auth_request off; proxy_pass http://{service}; }} \
         location / {{ proxy_pass http://{service}; }}",
        service = licensed.backend.address
    );
    Nginx::gate(&licensed.site.url, &locations).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_shipped_rules_gate_by_path() {
    let mut licensed = Licensed::by_path().await;
    let nginx = by_path(&licensed).await;
    licensed.is_gated_by(&nginx.url).await;
    licensed.keeps_tunnels_and_claims_out(&nginx.url).await;
    licensed
        .removes_visitor_headers(&nginx.url, &["/map/1", "/live/1", "/health/1"])
        .await;
    licensed.refuses_long_paths(&nginx.url, 414).await;
    licensed.is_gated_by_method(&nginx.url).await;
    licensed.is_not_led_astray(&nginx.url).await;
    licensed.leaves_queries_alone(&nginx.url, "/open").await;
    licensed.says_what_cannot_be_read(&nginx.url).await;
    licensed.reads_raw_names(&nginx.url).await;
    for path in [
        "//alarms/1",
        "/%61larms/1",
        "/map/../alarms/1",
        "/map/%2e%2e/alarms/1",
        "/map/..%2falarms/1",
        "/alarms;x=1/1",
        "/alarms%5c1",
        "/%2fhealth/alarms/1",
        "/%252Fhealth/alarms/1",
    ] {
        let answer = get(&nginx.url, path, &[]).await;
        let refused = [400, 403].contains(&answer.status().as_u16());
        assert!(refused, "{path}");
    }
    licensed.is_shut_without_it(&nginx.url, 503).await;
    licensed.end().await;
}

/// A gateway whose http block caches every response for minutes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_inherited_cache_keeps_no_decision_and_no_license_key() {
    let licensed = Licensed::by_path().await;
    let locations = format!(
        "location /by-feature/ {{ set $license_feature module.map_view; \
         include gated_by_feature.conf; proxy_cache off; proxy_pass http://{service}; }} \
         location / {{ include gated_by_path.conf; proxy_cache off; \
         proxy_pass http://{service}; }}",
        service = licensed.backend.address
    );
    let nginx = Nginx::caching(&licensed.site.url, &locations).await;
    let status = async |path: &str| get(&nginx.url, path, &[]).await.status().as_u16();
    // All paths have the same key in the cache.
    assert_eq!(status("/map/1").await, 200);
    assert_eq!(status("/alarms/1").await, 403);
    assert_eq!(status("/by-feature/1").await, 200);

    let key_seen_by = async |caller: [u8; 4]| {
        let http = reqwest::Client::builder().no_proxy();
        let http = http.local_address(IpAddr::from(caller)).build().unwrap();
        let url = format!("{}/api/license/status", nginx.url);
        let status: Value = http.get(url).send().await.unwrap().json().await.unwrap();
        status["licenseKey"].as_str().unwrap().to_owned()
    };
    let operator = key_seen_by([127, 0, 0, 1]).await;
    let visitor = key_seen_by([127, 0, 0, 2]).await;
    assert_ne!(visitor, operator);
    assert!(visitor.contains('*'), "{visitor}");

    assert_eq!(
        licensed.site.post("/api/license/deactivate", None).await.0,
        200
    );
    assert_eq!(status("/map/1").await, 403);
    assert_eq!(status("/by-feature/1").await, 403);
    licensed.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_starts_without_the_license_client_and_finds_it() {
    let licensed = Licensed::by_path().await;
    let mut machine = NamedMachine::absent(&licensed.site.url).await;
    let locations = format!(
        "location /open {{ return 200 open; }} \
         location / {{ include gated_by_path.conf; proxy_pass http://{}; }}",
        licensed.backend.address
    );
    let nginx = Nginx::gate_by_name(machine.nameserver, machine.port, &locations).await;
    licensed
        .is_not_taken_down_by(&mut machine, &nginx.url, "/open")
        .await;
    licensed.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_path_that_is_cut_off_or_not_does_not_reach_the_service_ungated() {
    let licensed = Licensed::by_path().await;
    let backend = RawBackend::start().await;
    let locations = format!(
        "include gated_by_path.conf; location / {{ proxy_pass http://{}; }}",
        backend.address
    );
    let nginx = Nginx::gate(&licensed.site.url, &locations).await;
    for path in [
        "/api/cameras/1#/export",
        "/api/cameras/1/export#",
        "/api/cameras/1#",
        "/api/cameras/1/%5cexport",
        "/api/cameras/1%5C..%5Cexport",
        "/api/cameras/1\\export",
        "/live/1#/../../alarms/1",
    ] {
        assert_eq!(raw(&nginx.url, path).await, "400", "{path}");
    }
    // These may be cut off after they are unescaped, or be anything; and tabs
    // end the connection or the request.
    for path in [
        "/api/cameras/1%23/export",
        "/api/cameras/1%3F/export",
        "/api/cameras/1%2523/export",
        "/api/cameras/1/expor%F4",
        "/api/cameras/1\t/export",
        "/api/cameras/1%09/export",
    ] {
        let answer = raw_answer(&nginx.url, path).await;
        let status = answer.get(9..12).unwrap_or_default();
        assert!(["400", "403"].contains(&status), "{path}: {answer}");
    }
    assert_eq!(*backend.request_lines.lock().unwrap(), [""; 0]);
    // What is no other path to anybody passes, and a query is left alone.
    for path in [
        "/api/cameras/1?#/export",
        "/files/caf%E9.jpg",
        "/files/Cam%20%231.jpg?a=b\\c",
    ] {
        assert_eq!(raw(&nginx.url, path).await, "200", "{path}");
    }
    assert_eq!(backend.request_lines.lock().unwrap().len(), 3);
    licensed.end().await;
}
