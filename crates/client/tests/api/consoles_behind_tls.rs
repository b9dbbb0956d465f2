//! The consoles of both services behind nginx, with TLS on a separate port: the shipped
//! configuration. And what other networks reach of the License Server through it.

use std::net::SocketAddr;
use std::time::Duration;

use reqwest::{Client, Response};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpSocket;

use crate::database::Engine;
use crate::gates::nginx::RawBackend;
use crate::harness::Site;
use crate::nginx::Nginx;
use crate::raw_http::{connect, read_to_end};
use crate::vendor::{ADMIN_TOKEN, Vendor};

const TOKEN: &str = "a-token-of-a-good-length";
const PAGE: &str = "text/html,application/xhtml+xml,*/*;q=0.8";

/// What a browser sends that says nothing but the origin.
async fn sign_in(http: &Client, base: &str, token: &str, origin: &str, accept: &str) -> Response {
    let request = http
        .post(format!("{base}/console/sign-in"))
        .header("origin", origin)
        .header("accept", accept)
        .header("content-type", "application/x-www-form-urlencoded")
        .body(format!("token={token}"));
    request.send().await.unwrap()
}

fn header<'a>(response: &'a Response, name: &str) -> &'a str {
    response.headers()[name].to_str().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_shipped_configuration_lets_people_sign_in_on_any_port() {
    let vendor = Vendor::start().await;
    let flags = [
        "--admin-token",
        TOKEN,
        "--allowed-hosts",
        "https://vms.example:8443",
    ];
    let site = Site::start(Engine::Sqlite, &vendor.url, &flags).await;
    let nginx = Nginx::consoles(&site.url, vendor.url.trim_end_matches("/api")).await;
    let port: u16 = nginx.url.rsplit_once(':').unwrap().1.parse().unwrap();
    let pem = std::fs::read(nginx.certificate()).unwrap();
    let address = ([127, 0, 0, 1], port).into();
    let http = Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .tls_certs_only([reqwest::Certificate::from_pem(&pem).unwrap()])
        .resolve("vms.example", address)
        .resolve("licenses.example", address)
        .build()
        .unwrap();
    for (name, token, home) in [
        ("vms.example", TOKEN, "/api/license/status"),
        ("licenses.example", ADMIN_TOKEN, "/console/licenses"),
    ] {
        let base = format!("https://{name}:{port}");
        let signed_in = sign_in(&http, &base, token, &base, PAGE).await;
        assert_eq!(signed_in.status(), 303, "{name}");
        assert_eq!(header(&signed_in, "location"), "/?done=signed-in");
        let cookie = header(&signed_in, "set-cookie");
        assert!(cookie.contains("; Secure"), "{name}: {cookie}");
        let cookie = cookie.split(';').next().unwrap();
        let page = http.get(format!("{base}{home}")).header("cookie", cookie);
        assert_eq!(page.send().await.unwrap().status(), 200, "{name}");

        // A proxy that leaves out the port looks like another site; people read
        // what to do, and programs JSON.
        let without_port = format!("https://{name}");
        let refused = sign_in(&http, &base, token, &without_port, PAGE).await;
        assert_eq!(refused.status(), 403, "{name}");
        assert_eq!(header(&refused, "content-type"), "text/html; charset=utf-8");
        assert!(header(&refused, "content-security-policy").contains("script-src 'self'"));
        let page = refused.text().await.unwrap();
        for said in [
            "<title>Request refused</title>".to_owned(),
            format!("<code>{without_port}</code>"),
            format!("<code>{name}:{port}</code>"),
            "proxy_set_header Host $http_host".to_owned(),
        ] {
            assert!(page.contains(&said), "{name}: {said} is not in {page}");
        }
        let odd = sign_in(&http, &base, token, "https://<script>.example", PAGE).await;
        let odd = odd.text().await.unwrap();
        assert!(
            !odd.contains("<script>") && odd.contains("&#60;script&#62;"),
            "{odd}"
        );
        let unnamed = sign_in(&http, &base, token, "null", PAGE).await;
        assert_eq!(unnamed.status(), 403, "{name}");
        let unnamed = unnamed.text().await.unwrap();
        assert!(unnamed.contains("<code>Origin: null</code>"), "{unnamed}");
        assert!(!unnamed.contains("proxy_set_header"), "{unnamed}");
        let refused = sign_in(&http, &base, token, &without_port, "*/*").await;
        assert_eq!(refused.status(), 403, "{name}");
        assert_eq!(header(&refused, "content-type"), "application/json");
        refused.json::<serde_json::Value>().await.unwrap();
    }
    // Callers through the proxy do not count as local.
    let change = http.post(format!("https://vms.example:{port}/api/license/validate"));
    assert_eq!(change.send().await.unwrap().status(), 401);
    site.end().await;
}

/// A proxy on the default port may pass on the host with it or without it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_proxy_may_add_the_default_port_to_the_host() {
    let vendor = Vendor::start().await;
    let flags = ["--admin-token", TOKEN, "--allowed-hosts", "vms.example"];
    let site = Site::start(Engine::Sqlite, &vendor.url, &flags).await;
    let http = Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none());
    let http = http.build().unwrap();
    let server = vendor.url.trim_end_matches("/api");
    for (base, token, name) in [
        (site.url.as_str(), TOKEN, "vms.example"),
        (server, ADMIN_TOKEN, "localhost"),
    ] {
        for (origin, port, status) in [
            ("https", ":443", 303),
            ("http", ":80", 303),
            ("https", "", 303),
            ("https", ":8443", 403),
            ("http", ":443", 403),
        ] {
            let request = http
                .post(format!("{base}/console/sign-in"))
                .header("host", format!("{name}{port}"))
                .header("origin", format!("{origin}://{name}"))
                .header("content-type", "application/x-www-form-urlencoded")
                .body(format!("token={token}"));
            let answer = request.send().await.unwrap();
            assert_eq!(answer.status(), status, "{name}{port} {origin}");
        }
    }
    site.end().await;
}

/// What is answered to a raw path, with the token of the vendor's staff.
async fn ask(base: &str, method: &str, path: &str) -> String {
    let mut stream = connect(base).await;
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
         Authorization: Bearer {ADMIN_TOKEN}\r\nContent-Length: 2\r\n\r\n{{}}"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    read_to_end(&mut stream).await
}

/// The License Server and nginx each keep other networks from the administration,
/// regardless of how the other one reads a path.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn other_networks_reach_only_the_calls_of_sites() {
    let vendor = Vendor::start().await;
    let key = vendor.issue_professional().await;
    let server = vendor.url.trim_end_matches("/api");
    let backend = RawBackend::start().await;
    let nginx = Nginx::server_console_from_outside(server).await;
    let alone = Nginx::server_console_from_outside(&format!("http://{}", backend.address)).await;
    for path in &detours(&key) {
        for method in ["GET", "POST"] {
            let answer = ask(&nginx.url, method, path).await;
            // The public keys are for everyone.
            let is_site_call = answer.contains("\"keys\":") || answer.contains(" 405 ");
            let is_refused = [" 400 ", " 403 ", " 404 "]
                .iter()
                .any(|it| answer[..13].contains(it));
            assert!(is_refused || is_site_call, "{method} {path}: {answer}");
            assert!(!answer.contains(&key), "{method} {path}: {answer}");
            ask(&alone.url, method, path).await;
            if path.contains(&key) {
                let direct = ask(server, method, path).await;
                assert!(
                    direct.starts_with("HTTP/1.1 404 "),
                    "{method} {path}: {direct}"
                );
                assert!(direct.contains("Not found"), "{method} {path}: {direct}");
            }
        }
    }
    let status = format!("/api/admin/licenses/{key}");
    assert!(
        ask(server, "GET", &status)
            .await
            .contains("\"status\":\"active\"")
    );
    ask(&alone.url, "POST", "/api/licenses/keys?after=1").await;
    let lines = backend.request_lines.lock().unwrap().clone();
    let (last, rest) = lines.split_last().unwrap();
    assert_eq!(last, "POST /api/licenses/keys?after=1 HTTP/1.1");
    for line in rest {
        let path = line.split(' ').nth(1).unwrap();
        let call = path.strip_prefix("/api/licenses/").unwrap_or_default();
        // A name of a call, which leads nowhere else however it is read.
        let is_call = !call.is_empty() && call.bytes().all(|it| it.is_ascii_lowercase());
        assert!(is_call, "{line}");
    }
}

/// nginx occupies a connection for each request whose body it is still waiting for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_requests_of_one_address_leave_connections_for_others() {
    const REQUESTS: usize = 100;
    let vendor = Vendor::start().await;
    let server = vendor.url.trim_end_matches("/api");
    let nginx = Nginx::server_console_from_outside(server).await;
    let address: SocketAddr = nginx.url.strip_prefix("http://").unwrap().parse().unwrap();
    let mut slow = Vec::new();
    for _ in 0..REQUESTS {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(([127, 0, 0, 77], 0).into()).unwrap();
        let mut stream = socket.connect(address).await.unwrap();
        let head = "POST /api/licenses/activate HTTP/1.1\r\nHost: localhost\r\n\
             Content-Length: 100\r\n\r\nx";
        stream.write_all(head.as_bytes()).await.unwrap();
        slow.push(stream);
    }
    let mut refused = 0;
    for stream in &mut slow {
        let mut status = [0; 12];
        let reading = stream.read_exact(&mut status);
        if let Ok(read) = tokio::time::timeout(Duration::from_millis(100), reading).await {
            read.unwrap();
            assert_eq!(&status, b"HTTP/1.1 503");
            refused += 1;
        }
    }
    assert_eq!(refused, REQUESTS - 64);
    let http = Client::builder().no_proxy().build().unwrap();
    let keys = http.get(format!("{}/api/licenses/keys", nginx.url));
    assert_eq!(keys.send().await.unwrap().status(), 200);
}

/// Paths that lead from the calls of sites to the administration, in every spelling.
fn detours(key: &str) -> Vec<String> {
    let mut detours = Vec::new();
    for up in [
        "%2f..%2f..%2f..",
        "%2F%2e%2E%2f..%2f.%2e",
        "/../../..",
        "/%2e%2e/%2E./..",
        "%5c..%5c..%5c..",
        "%252f..%252f..%252f..",
        ";/..;/..;/..",
        "%2f..%2f..%2f..%2f.",
    ] {
        for to in [
            "%2flicenses%2fx",
            "/licenses/x",
            "/licenses/keys",
            "%2flicenses%2fkeys",
        ] {
            for what in ["", "/revoke", "/seats"] {
                detours.push(format!("/api/admin/licenses/{key}{up}{to}{what}"));
            }
            detours.push(format!("/console/licenses/{key}{up}/api{to}"));
        }
    }
    for path in [
        "/api/licenses/../admin/licenses",
        "/api/licenses/keys/../../admin/licenses",
        "/api/licenses/%2e%2e/admin/licenses",
        "/api/licenses/..%2fadmin%2flicenses",
        "/api/licenses//../admin/licenses",
        "/api/admin/licenses",
        "/console/licenses",
        "/metrics",
        "/",
    ] {
        detours.push(path.to_owned());
    }
    detours
}
