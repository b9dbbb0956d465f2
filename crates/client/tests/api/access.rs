//! Who may do what.

use reqwest::{Method, StatusCode};
use serde_json::Value;

use crate::database::Engine;
use crate::harness::{KEY, Site};
use crate::program::Program;
use crate::raw_http::exchange;
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

/// Headers that libraries in a page add for tracing and streams.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_of_an_allowed_origin_may_send_any_header() {
    let cloud = ScriptedCloud::start().await;
    // Browsers write an origin in one way only, and people in several.
    let flags = [
        "--cors-allowed-origins",
        "HTTPS://VMS.example:443/,http://10.1.2.3:8080",
    ];
    let site = Site::start(Engine::Sqlite, &cloud.url, &flags).await;
    for header in [
        "traceparent",
        "tracestate",
        "baggage",
        "last-event-id",
        "content-type, authorization, if-none-match",
        "x-request-id, sentry-trace, b3",
    ] {
        for (path, method) in [
            ("/api/license/feature/check", "POST"),
            ("/api/license/events", "GET"),
            ("/ofrep/v1/evaluate/flags", "POST"),
        ] {
            let preflight = |origin: &'static str| {
                let request = site
                    .http
                    .request(Method::OPTIONS, format!("{}{path}", site.url));
                let request = request.header("origin", origin);
                let request = request.header("access-control-request-method", method);
                request
                    .header("access-control-request-headers", header)
                    .send()
            };
            let allowed = preflight("https://vms.example").await.unwrap();
            assert_eq!(allowed.status(), StatusCode::OK, "{header} {path}");
            let headers = allowed.headers();
            assert_eq!(
                headers["access-control-allow-origin"],
                "https://vms.example"
            );
            assert_eq!(headers["access-control-allow-headers"], header, "{path}");
            assert!(!headers.contains_key("access-control-allow-credentials"));
            let refused = preflight("https://evil.example").await.unwrap();
            let name = "access-control-allow-origin";
            assert!(!refused.headers().contains_key(name), "{header} {path}");
        }
    }
    site.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unlisted_name_is_shown_in_the_form_to_list() {
    let cloud = ScriptedCloud::start().await;
    let flags = [
        "--allowed-hosts",
        "https://vms.example:8443, *.site.example,,10.1.2.3",
    ];
    let site = Site::start(Engine::Sqlite, &cloud.url, &flags).await;
    let get = async |host: &str| {
        let request = site.http.get(format!("{}/api/license/status", site.url));
        let answer = request.header("host", host).send().await.unwrap();
        (
            answer.status().as_u16(),
            answer.json::<Value>().await.unwrap(),
        )
    };
    for host in [
        "vms.example",
        "VMS.example.:9999",
        "a.b.site.example:8443",
        "localhost.",
        "localhost.:8010",
        "10.9.9.9:8010",
    ] {
        assert_eq!(get(host).await.0, 200, "{host}");
    }
    for (host, name) in [
        ("cameras.example:8443", "cameras.example"),
        ("Cameras.Example.:8443", "cameras.example"),
        ("site.example", "site.example"),
        ("evilsite.example", "evilsite.example"),
        ("a.site.example.evil.test", "a.site.example.evil.test"),
    ] {
        let (status, body) = get(host).await;
        assert_eq!(status, 421, "{host}");
        let detail = format!("Unknown host name '{name}'. Add the name to ALLOWED_HOSTS.");
        assert_eq!(body["detail"], detail, "{host}");
    }
    site.end().await;
}

#[test]
fn an_allowed_host_that_would_match_nothing_or_everything_stops_the_start() {
    for (value, said) in [
        ("*", "'*' would accept every name"),
        (
            "vms.example,v*s.example",
            "expected a host name such as vms.example",
        ),
        (
            "https://vms.example/console",
            "expected a host name such as vms.example",
        ),
        (
            "vms.example:port",
            "expected a host name such as vms.example",
        ),
        (
            "https://user:pa55word@vms.example",
            "must not contain a user name or password",
        ),
    ] {
        let directory = tempfile::tempdir().unwrap();
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_license-client"))
            .args(["serve", "--port", "0"])
            .env("ALLOWED_HOSTS", value)
            .env("STATE_DIR", directory.path())
            .current_dir(directory.path())
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(2), "{value}: {output:?}");
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        let line = error.trim_end();
        assert!(!line.contains('\n'), "{value}: {line}");
        assert!(
            line.contains("ALLOWED_HOSTS") && line.contains(said),
            "{value}: {line}"
        );
        assert!(!line.contains("pa55word"), "{value}: {line}");
    }
}

/// Where the token is needed, wrong ones are limited as at the sign-in form; elsewhere they may be
/// meant for another service.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wrong_tokens_are_limited_where_the_token_is_needed() {
    let (site, _cloud) = guarded().await;
    let call = async |method: Method, path: &str, token: &str| {
        let request = site.http.request(method, format!("{}{path}", site.url));
        let request = match token {
            "" => request,
            token => request.bearer_auth(token),
        };
        let response = request.send().await.unwrap();
        let wait = response.headers().get("retry-after").cloned();
        (response.status().as_u16(), wait)
    };
    let heartbeat = async |token| call(Method::POST, "/api/license/heartbeat", token).await;
    for _ in 0..20 {
        assert_eq!(heartbeat("").await.0, 401);
        assert_eq!(
            call(Method::GET, "/api/license/status", "wrong").await.0,
            200
        );
        assert_eq!(
            call(Method::GET, "/api/license/authorize", "wrong").await.0 / 100,
            4
        );
    }
    let paths = ["heartbeat", "validate", "deactivate", "activate"];
    for number in 0..12 {
        let path = format!("/api/license/{}", paths[number % paths.len()]);
        let token = format!("wrong-{number}");
        let (status, wait) = call(Method::POST, &path, &token).await;
        assert_eq!(status, if number < 5 { 401 } else { 429 }, "{number}");
        assert_eq!(wait.is_some(), number >= 5, "{number}");
    }
    // The right token, callers without any, other questions and the sign-in form are not affected.
    assert_ne!(heartbeat(TOKEN).await.0 / 100, 4);
    assert_eq!(heartbeat("").await.0, 401);
    assert_eq!(
        call(Method::GET, "/api/license/status", "wrong").await.0,
        200
    );
    assert_eq!(sign_in(&site, "wrong", "198.51.100.9").await, 401);
    assert_eq!(heartbeat("wrong").await.0, 429);
    site.advance(chrono::TimeDelta::seconds(61));
    assert_eq!(heartbeat("wrong").await.0, 401);
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
async fn a_browser_that_keeps_no_cookie_is_not_told_that_it_is_signed_in() {
    let (site, _) = guarded().await;
    let ask = async |cookie: &str| {
        let page = site.http.get(format!("{}/?done=signed-in", site.url));
        let page = page.header("cookie", cookie).send().await.unwrap();
        page.text().await.unwrap()
    };
    let page = ask("").await;
    assert!(
        page.contains("your browser did not keep the cookie"),
        "{page}"
    );
    assert!(!page.contains("You are signed in."), "{page}");
    let request = site.http.post(format!("{}/console/sign-in", site.url));
    let request = request.header("content-type", "application/x-www-form-urlencoded");
    let signed_in = request.body(format!("token={TOKEN}")).send().await.unwrap();
    let cookie = signed_in.headers()["set-cookie"].to_str().unwrap();
    let page = ask(cookie.split_once(';').unwrap().0).await;
    assert!(page.contains("You are signed in."), "{page}");
    site.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wrong_tokens_never_lock_out_the_right_one() {
    let (site, _) = guarded().await;
    for token in ["", "wrong"] {
        for number in 0..60 {
            let path = format!("{}/api/license/activate", site.url);
            let request = site.http.post(path).bearer_auth(token);
            let is_limited = number >= 5 && token == "wrong";
            let expected = if is_limited { 429 } else { 401 };
            assert_eq!(request.send().await.unwrap().status(), expected);
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
    // Loopback is trusted here, but not because of a header.
    for from in ["127.0.0.1", "::1", "127.0.0.1, 127.0.0.1", ""] {
        let path = format!("{}/api/license/activate", site.url);
        let request = site.http.post(path).header("x-forwarded-for", from);
        assert_eq!(request.send().await.unwrap().status(), 401, "{from}");
    }
    site.end().await;
}

/// The status and the body of a request with exactly these lines after the request line.
async fn raw(url: &str, request: &str, headers: &str) -> (String, String) {
    let head = format!("{request}\r\n{headers}Connection: close\r\n\r\n");
    let answer = exchange(url, head.as_bytes()).await;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head[9..12].to_owned(), body.to_owned())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn probes_and_metrics_are_answered_to_any_name_and_nothing_else_is() {
    let cloud = ScriptedCloud::start().await;
    let site = Site::start(Engine::Sqlite, &cloud.url, &[]).await;
    assert_eq!(site.activate(KEY).await.0, 200);
    for host in [
        "",
        "license-client.vms.svc.cluster.local:8010",
        "evil.example",
        "x/y",
    ] {
        let host = format!("Host: {host}\r\n");
        for path in ["/health", "/livez", "/readyz", "/metrics"] {
            for method in ["GET", "HEAD"] {
                let request = format!("{method} {path} HTTP/1.1");
                let (status, body) = raw(&site.url, &request, &host).await;
                assert_eq!(status, "200", "{request} {host}");
                assert!(!body.contains("FXSGHT"), "{request} {host}: {body}");
            }
        }
        for request in [
            "GET /api/license/status",
            "GET /api/license/features",
            "GET /api/license/events",
            "GET /api/license/attempts",
            "POST /api/license/deactivate",
            "GET /openapi.json",
            "GET /docs/",
            "GET /",
            "GET /console/sign-in",
            "GET /metrics/",
            "GET //metrics",
            "GET /livez/../api/license/status",
        ] {
            let (status, _) = raw(&site.url, &format!("{request} HTTP/1.1"), &host).await;
            assert_eq!(status, "421", "{request} {host}");
        }
    }
    // Health checks speak HTTP/1.0, and name no host.
    for path in ["/health", "/livez", "/readyz", "/metrics"] {
        let request = format!("GET {path} HTTP/1.0");
        assert_eq!(raw(&site.url, &request, "").await.0, "200", "{path}");
    }
    assert_eq!(site.standing().await, "active");
    site.end().await;
}

/// A page of another site runs in the browser of a trusted user, whose address proves nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_probe_by_an_unknown_name_gets_no_details() {
    let database = "postgresql://vms_user@127.0.0.1:1/vms_db".to_owned();
    let environment = [
        ("DATABASE_URL", database),
        ("ADMIN_TOKEN", TOKEN.to_owned()),
    ];
    let program = Program::start_with(&[], &environment).await;
    let (host, token) = (
        "Host: evil.example\r\n",
        format!("Authorization: Bearer {TOKEN}\r\n"),
    );
    for (headers, sees_details) in [
        ("Host: localhost\r\n".to_owned(), true),
        (host.to_owned(), false),
        (format!("{host}Authorization: Bearer wrong\r\n"), false),
        (format!("{host}{token}"), true),
    ] {
        let (status, body) = raw(&program.url(""), "GET /readyz HTTP/1.1", &headers).await;
        assert_eq!(status, "503", "{headers}");
        let body: Value = serde_json::from_str(&body).unwrap();
        let is_detailed = body["database"] != "unavailable";
        assert_eq!(is_detailed, sees_details, "{headers}: {body}");
    }
}
