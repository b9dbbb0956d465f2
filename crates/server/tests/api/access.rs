//! Who may call the administration, and what they get.

use reqwest::Method;
use serde_json::Value;

use crate::database::Engine;
use crate::harness::{ADMIN_TOKEN, Vendor};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn access_needs_the_token_and_the_right_name() {
    let vendor = Vendor::start(Engine::Sqlite).await;
    let get = |path: &str| vendor.http.get(format!("{}{path}", vendor.url));
    for path in [
        "/api/admin/fleet",
        "/api/admin/licenses",
        "/api/admin/audit/export",
    ] {
        let without = get(path).send().await.unwrap();
        assert_eq!(without.status(), 401, "{path}");
        assert!(
            without.headers()["www-authenticate"]
                .to_str()
                .unwrap()
                .starts_with("Bearer")
        );
        let wrong = get(path)
            .bearer_auth("another-token-of-16")
            .send()
            .await
            .unwrap();
        assert_eq!(wrong.status(), 401, "{path}");
    }
    let page = get("/").send().await.unwrap();
    assert_eq!(page.url().path(), "/console/sign-in");
    // A page on the internet that points its own name at this machine.
    for (host, status) in [
        ("evil.example", 421),
        ("licenses.example", 200),
        ("localhost:4000", 200),
    ] {
        let answer = get("/api/admin/fleet")
            .bearer_auth(ADMIN_TOKEN)
            .header("host", host);
        assert_eq!(
            answer.send().await.unwrap().status().as_u16(),
            status,
            "{host}"
        );
    }
    // Sites may call the License Server by any name.
    let keys = get("/api/licenses/keys")
        .header("host", "evil.example")
        .send();
    assert_eq!(keys.await.unwrap().status(), 200);
    let crossed = vendor.http.post(format!("{}/console/sign-in", vendor.url));
    let crossed = crossed.header("sec-fetch-site", "cross-site").send().await;
    assert_eq!(crossed.unwrap().status(), 403);
    vendor.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn head_answers_like_get_and_redirects_are_relative() {
    let vendor = Vendor::start(Engine::Sqlite).await;
    let http = reqwest::Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .build()
        .unwrap();
    let mut redirects = 0;
    for path in [
        "/",
        "/livez",
        "/readyz",
        "/docs",
        "/docs/",
        "/openapi.json",
        "/console/sign-in",
        "/console/licenses?status=active",
        "/console/audit",
        "/api/licenses/keys",
        "/api/licenses/validate",
        "/api/admin/licenses",
        "/api/admin/fleet",
        "/nothing",
    ] {
        for token in ["", ADMIN_TOKEN] {
            let ask = async |method: Method| {
                let request = http.request(method, format!("{}{path}", vendor.url));
                let request = request
                    .bearer_auth(token)
                    .header("host", "licenses.example:8443");
                let answer = request.send().await.unwrap();
                let header = |name: &str| answer.headers().get(name).cloned();
                (
                    answer.status(),
                    header("location"),
                    header("content-type"),
                    header("allow"),
                )
            };
            let get = ask(Method::GET).await;
            assert_eq!(ask(Method::HEAD).await, get, "{path}");
            if let Some(location) = get.1 {
                let location = location.to_str().unwrap();
                assert!(
                    location.starts_with('/') && !location.starts_with("//"),
                    "{location}"
                );
                redirects += 1;
            }
        }
    }
    assert!(redirects >= 6, "{redirects}");
    vendor.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn people_get_pages_and_programs_json() {
    let vendor = Vendor::start(Engine::Sqlite).await;
    for (method, host, path, status, said) in [
        (
            Method::GET,
            "other.example:8443",
            "/",
            421,
            "host name &#39;other.example&#39;. Add the name to ALLOWED_HOSTS.",
        ),
        (
            Method::POST,
            "licenses.example",
            "/console/sign-in",
            403,
            "proxy_set_header Host $http_host",
        ),
    ] {
        let ask = |accept: &'static str| {
            let request = vendor
                .http
                .request(method.clone(), format!("{}{path}", vendor.url));
            let request = request.header("host", host).header("accept", accept);
            request
                .header("origin", "https://licenses.example:8443")
                .send()
        };
        let page = ask("text/html,*/*;q=0.8").await.unwrap();
        assert_eq!(page.status(), status);
        assert_eq!(page.headers()["content-type"], "text/html; charset=utf-8");
        let page = page.text().await.unwrap();
        assert!(page.contains(said), "{said}: {page}");
        let plain = ask("*/*").await.unwrap();
        assert_eq!(plain.status(), status);
        let plain: Value = plain.json().await.unwrap();
        assert!(plain["error"]["message"].is_string(), "{plain}");
    }
    vendor.end().await;
}

#[test]
fn an_allowed_host_that_would_match_nothing_or_everything_stops_the_start() {
    for value in [
        "*",
        "licenses.example,l*s.example",
        "https://licenses.example/console",
    ] {
        let directory = tempfile::tempdir().unwrap();
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_license-server"))
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
        assert!(line.contains("ALLOWED_HOSTS"), "{value}: {line}");
        assert!(
            line.contains("*.example for all names below it"),
            "{value}: {line}"
        );
    }
}

/// Proxies with a sign-in of their own add their token to every request.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_foreign_token_does_not_keep_probes_and_scrapers_out() {
    let vendor = Vendor::start(Engine::Sqlite).await;
    for path in ["/livez", "/readyz", "/metrics"] {
        for _ in 0..8 {
            let request = vendor.http.get(format!("{}{path}", vendor.url));
            let answer = request.bearer_auth("eyJhbGciOiJSUzI1NiJ9.e30.c2ln").send();
            let answer = answer.await.unwrap();
            assert_eq!(answer.status(), 200, "{path}");
            let text = answer.text().await.unwrap();
            assert!(!text.contains("installations"), "{path}: {text}");
        }
    }
    vendor.end().await;
}
