//! Wrong tokens never lock out callers with the correct one.

use std::process::{Command, Stdio};

use chrono::TimeDelta;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, COOKIE, HOST, LOCATION, SET_COOKIE};
use reqwest::redirect::Policy;
use serde_json::{Value, json};

use crate::database::{Engine, on_both_engines};
use crate::gates::process::{Process, free_port};
use crate::harness::{ADMIN_TOKEN, Vendor};

struct Browser {
    http: reqwest::Client,
    url: String,
}

impl Browser {
    fn new(url: &str) -> Self {
        let http = reqwest::Client::builder().no_proxy();
        Self {
            http: http.redirect(Policy::none()).build().unwrap(),
            url: url.to_owned(),
        }
    }

    /// Signs in from this address, as a proxy tells it; answers the status code.
    async fn sign_in(&self, token: &str, forwarded_for: &str) -> u16 {
        let request = self.http.post(format!("{}/console/sign-in", self.url));
        let request = request.header("x-forwarded-for", forwarded_for);
        let request = request.header(CONTENT_TYPE, "application/x-www-form-urlencoded");
        let answer = request.body(format!("token={token}")).send().await.unwrap();
        if answer.status() == 303 {
            assert_eq!(answer.headers()[LOCATION], "/?done=signed-in");
        }
        answer.status().as_u16()
    }

    /// Calls the API; answers the status code, and how long to wait.
    async fn call(
        &self,
        authorization: Option<&str>,
        forwarded_for: &str,
    ) -> (u16, Option<String>) {
        let request = self.http.get(format!("{}/api/admin/licenses", self.url));
        let request = request.header("x-forwarded-for", forwarded_for);
        let request = match authorization {
            Some(value) => request.header(AUTHORIZATION, value),
            None => request,
        };
        let answer = request.send().await.unwrap();
        let wait = answer.headers().get("retry-after");
        let wait = wait.map(|wait| wait.to_str().unwrap().to_owned());
        (answer.status().as_u16(), wait)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_without_a_token_never_lock_out_and_the_right_token_is_never_refused() {
    let vendor = Vendor::start(Engine::Sqlite).await;
    let browser = Browser::new(&vendor.url);
    let right = format!("Bearer {ADMIN_TOKEN}");
    // No proxy is trusted, so that what it says means nothing.
    for _ in 0..60 {
        for none in [None, Some("Bearer "), Some("Basic dXNlcjpwYXNz")] {
            assert_eq!(browser.call(none, "1.1.1.1").await, (401, None));
        }
    }
    assert_eq!(browser.sign_in(ADMIN_TOKEN, "1.1.1.1").await, 303);

    // Wrong tokens at one door say nothing about the other.
    for number in 0..20 {
        let expected = match number < 5 {
            true => (401, None),
            false => (429, Some("60".to_owned())),
        };
        let from = format!("1.1.1.{number}");
        assert_eq!(browser.call(Some("Bearer wrong"), &from).await, expected);
    }
    assert_eq!(browser.call(None, "1.1.1.1").await, (401, None));
    assert_eq!(browser.call(Some(&right), "1.1.1.1").await.0, 200);
    for number in 0..20 {
        let expected = if number < 5 { 401 } else { 429 };
        assert_eq!(browser.sign_in("wrong", "1.1.1.1").await, expected);
    }
    assert_eq!(browser.sign_in("", "1.1.1.1").await, 401);
    assert_eq!(browser.sign_in(ADMIN_TOKEN, "1.1.1.1").await, 303);
    assert_eq!(browser.call(Some(&right), "1.1.1.1").await.0, 200);
    vendor.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn behind_trusted_proxies_the_callers_count_and_are_named() {
    let directory = tempfile::tempdir().unwrap();
    let port = free_port();
    let mut command = Command::new(env!("CARGO_BIN_EXE_license-server"));
    command
        .args(["serve", "--port", &port.to_string()])
        .env("STATE_DIR", directory.path().join("state"))
        .env("ADMIN_TOKEN", ADMIN_TOKEN)
        .env("TRUSTED_PROXIES", "2")
        .current_dir(directory.path())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let server = Process::start(&mut command, port).await;
    let browser = Browser::new(&server.url);
    // What stands further left was written by the caller.
    let from = |number: usize, caller: &str| format!("10.9.8.{number}, {caller}, 192.0.2.2");
    for number in 0..8 {
        let expected = if number < 5 { 401 } else { 429 };
        let tried = browser.sign_in("wrong", &from(number, "203.0.113.7")).await;
        assert_eq!(tried, expected, "{number}");
    }
    assert_eq!(browser.sign_in("wrong", &from(9, "203.0.113.8")).await, 401);
    let v6 = |host: usize| from(1, &format!("2001:db8::{host}"));
    for host in 0..8 {
        let expected = if host < 5 { 401 } else { 429 };
        assert_eq!(browser.sign_in("wrong", &v6(host)).await, expected);
    }

    let request = browser
        .http
        .post(format!("{}/api/admin/licenses", server.url));
    let request = request
        .bearer_auth(ADMIN_TOKEN)
        .header("x-forwarded-for", "10.9.8.1")
        .header("x-forwarded-for", "::ffff:203.0.113.9, 192.0.2.2")
        .json(&json!({"tier": "standard", "customer": "Harbour Ltd"}));
    assert_eq!(request.send().await.unwrap().status(), 201);
    let log = browser.http.get(format!("{}/api/admin/audit", server.url));
    let log: Value = log
        .bearer_auth(ADMIN_TOKEN)
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    assert_eq!(log["entries"][0]["actor"], "break-glass");
    assert_eq!(log["entries"][0]["source"], "API from 203.0.113.9");

    let refused = Command::new(env!("CARGO_BIN_EXE_license-server"))
        .arg("serve")
        .env("TRUSTED_PROXIES", "many")
        .current_dir(directory.path())
        .output()
        .unwrap();
    assert_eq!(refused.status.code(), Some(2));
    let said = String::from_utf8(refused.stderr).unwrap();
    assert!(said.contains("--trusted-proxies"), "{said}");
}

/// A browser that keeps its cookie, and looks at the fleet.
struct Session {
    http: reqwest::Client,
    cookie: String,
}

impl Session {
    async fn begin(vendor: &Vendor) -> Self {
        let http = reqwest::Client::builder().no_proxy();
        let http = http.redirect(Policy::none()).build().unwrap();
        // All servers have one address, such as a load balancer's.
        let request = http.post(format!("{}/console/sign-in", vendor.url));
        let request = request.header(HOST, "localhost");
        let request = request.header(CONTENT_TYPE, "application/x-www-form-urlencoded");
        let request = request.body(format!("token={ADMIN_TOKEN}"));
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), 303);
        let cookie = answer.headers()[SET_COOKIE].to_str().unwrap();
        let cookie = cookie.split(';').next().unwrap().to_owned();
        Self { http, cookie }
    }

    async fn open(&self, vendor: &Vendor, refresh: bool) -> u16 {
        let request = self.http.get(&vendor.url).header(COOKIE, &self.cookie);
        let request = request.header(HOST, "localhost");
        let request = match refresh {
            true => request.header("x-refresh", "1"),
            false => request,
        };
        request.send().await.unwrap().status().as_u16()
    }

    async fn sign_out(&self, vendor: &Vendor) {
        let request = self.http.post(format!("{}/console/sign-out", vendor.url));
        let request = request.header(HOST, "localhost");
        let answer = request.header(COOKIE, &self.cookie).send().await.unwrap();
        assert_eq!(
            answer.headers()[LOCATION],
            "/console/sign-in?done=signed-out"
        );
        let cookie = answer.headers()[SET_COOKIE].to_str().unwrap();
        assert!(cookie.contains("Max-Age=0"), "{cookie}");
    }
}

on_both_engines! {
    a_session_is_known_to_every_server_and_ends_on_all_of_them;
}

async fn a_session_is_known_to_every_server_and_ends_on_all_of_them(engine: Engine) {
    let first = Vendor::start(engine).await;
    let second = first.twin().await;
    let session = Session::begin(&first).await;
    for server in [&first, &second, &first] {
        assert_eq!(session.open(server, false).await, 200);
    }
    // Half an hour without a request, whichever server has heard the last one.
    first.clock.advance(TimeDelta::minutes(29));
    assert_eq!(session.open(&second, false).await, 200);
    first.clock.advance(TimeDelta::minutes(29));
    assert_eq!(
        session.open(&first, true).await,
        200,
        "a page that is left open"
    );
    first.clock.advance(TimeDelta::minutes(1));
    for server in [&second, &first] {
        assert_eq!(session.open(server, false).await, 303);
    }
    // Twelve hours in any case.
    let session = Session::begin(&second).await;
    for quarter in 1..=48 {
        first.clock.advance(TimeDelta::minutes(15));
        let server = if quarter % 2 == 0 { &first } else { &second };
        let expected = if quarter < 48 { 200 } else { 303 };
        assert_eq!(session.open(server, false).await, expected, "{quarter}");
    }
    // Signing out on one ends the session on the other, even with the cookie.
    let (session, other) = (Session::begin(&first).await, Session::begin(&first).await);
    assert_eq!(session.open(&second, false).await, 200);
    session.sign_out(&second).await;
    for server in [&first, &second] {
        assert_eq!(session.open(server, false).await, 303);
        assert_eq!(other.open(server, false).await, 200, "another browser");
    }
    // The database has nothing that lets anyone in.
    let kept = first
        .database
        .texts("SELECT id FROM console_sessions")
        .await;
    let name = other.cookie.split_once('=').unwrap().1;
    assert!(
        kept.iter()
            .flatten()
            .all(|id| !other.cookie.contains(id.as_str()))
    );
    assert!(kept.len() <= 3 && name.len() > 80);
    second.stop().await;
    first.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_address_is_not_repeated_to_anonymous_users() {
    let vendor = Vendor::start(Engine::Sqlite).await;
    let browser = Browser::new(&vendor.url);
    let get = async |path: String| {
        let url = format!("{}{path}", browser.url);
        browser.http.get(url).send().await.unwrap()
    };
    let usual = get("/console/sign-in?next=%2Fconsole%2Faudit".to_owned()).await;
    let usual = usual.text().await.unwrap();
    assert!(usual.contains("value=\"/console/audit\""), "{usual}");
    for next in [
        format!("/console/{}", "'".repeat(8_000)),
        format!("/?{}", "x".repeat(30_000)),
        "'".repeat(20_000),
    ] {
        let page = get(format!("/console/sign-in?next={next}")).await;
        let page = page.text().await.unwrap();
        assert!(page.contains("name=\"next\" value=\"/\""), "{}", page.len());
        assert!(page.len() < usual.len() + 100);
    }
    let request = browser
        .http
        .post(format!("{}/console/sign-in", browser.url));
    let request = request.header(CONTENT_TYPE, "application/x-www-form-urlencoded");
    let long = request.try_clone().unwrap();
    let answer = request.body(format!("token=&next=/console/{}", "'".repeat(7_000)));
    let answer = answer.send().await.unwrap();
    assert_eq!(answer.status(), 401);
    let length = answer.text().await.unwrap().len();
    assert!(length < usual.len() + 1_000, "{length}");
    let answer = long.body(format!("token=&next={}", "'".repeat(65_000)));
    assert_eq!(answer.send().await.unwrap().status(), 413);

    let back = |answer: &reqwest::Response| answer.headers()[LOCATION].to_str().unwrap().to_owned();
    let answer = get("/console/audit?x=1".to_owned()).await;
    assert_eq!(
        back(&answer),
        "/console/sign-in?next=%2Fconsole%2Faudit%3Fx%3D1"
    );
    let answer = get(format!("/console/audit?x={}", "x".repeat(40_000))).await;
    assert_eq!(back(&answer), "/console/sign-in?next=%2F");
    vendor.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_browser_that_keeps_no_cookie_learns_why_it_is_asked_again() {
    let vendor = Vendor::start(Engine::Sqlite).await;
    let browser = Browser::new(&vendor.url);
    for (page, next) in [
        ("/?done=signed-in", "/"),
        ("/console/audit?x=1&done=signed-in", "/console/audit?x=1"),
    ] {
        let asked = browser.http.get(format!("{}{page}", vendor.url));
        let asked = asked.send().await.unwrap();
        let form = asked.headers()[LOCATION].to_str().unwrap().to_owned();
        let shown = browser.http.get(format!("{}{form}", vendor.url)).send();
        let shown = shown.await.unwrap().text().await.unwrap();
        assert!(
            shown.contains("your browser did not keep the cookie"),
            "{shown}"
        );
        assert!(
            shown.contains(&format!("name=\"next\" value=\"{next}\"")),
            "{shown}"
        );
    }
    let usual = browser
        .http
        .get(format!("{}/console/sign-in?next=%2F", vendor.url));
    let usual = usual.send().await.unwrap().text().await.unwrap();
    assert!(!usual.contains("did not keep the cookie"), "{usual}");
    vendor.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn other_cookies_of_any_name_neither_hide_a_session_nor_keep_it() {
    let vendor = Vendor::start(Engine::Sqlite).await;
    let browser = Browser::new(&vendor.url);
    let mut cookies = Vec::new();
    for _ in 0..2 {
        let request = browser.http.post(format!("{}/console/sign-in", vendor.url));
        let request = request.header(CONTENT_TYPE, "application/x-www-form-urlencoded");
        let signed_in = request.body(format!("token={ADMIN_TOKEN}")).send().await;
        let signed_in = signed_in.unwrap();
        let cookie = signed_in.headers()[SET_COOKIE].to_str().unwrap();
        cookies.push(cookie.split_once(';').unwrap().0.to_owned());
    }
    let name = cookies[0].split_once('=').unwrap().0;
    let part = "A".repeat(43);
    let forged = format!("{name}={part}.{part}; ");
    let ask = async |sent: &str| {
        let asked = browser.http.get(format!("{}/console/licenses", vendor.url));
        let answer = asked.header(COOKIE, sent).send().await.unwrap();
        answer.status().as_u16()
    };
    let ended = format!("{}; ", cookies[1]);
    let sign_out = browser
        .http
        .post(format!("{}/console/sign-out", vendor.url));
    let signed_out = sign_out.header(COOKIE, &cookies[1]).send().await.unwrap();
    assert_eq!(signed_out.status(), 303);
    let others = [forged.repeat(8), "other=1; ".repeat(200), ended];
    for others in &others {
        let sent = format!("{others}{}", cookies[0]);
        assert_eq!(ask(&sent).await, 200, "{others}");
    }
    let sign_out = browser
        .http
        .post(format!("{}/console/sign-out", vendor.url));
    let sent = format!("{}{}", others.concat(), cookies[0]);
    let signed_out = sign_out.header(COOKIE, sent).send().await.unwrap();
    assert_eq!(signed_out.status(), 303);
    assert_ne!(ask(&cookies[0]).await, 200);
    vendor.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_link_of_another_site_is_opened_again_and_only_once() {
    let vendor = Vendor::start(Engine::Sqlite).await;
    let browser = Browser::new(&vendor.url);
    let request = browser.http.post(format!("{}/console/sign-in", vendor.url));
    let request = request.header(CONTENT_TYPE, "application/x-www-form-urlencoded");
    let answer = request.body(format!("token={ADMIN_TOKEN}"));
    let answer = answer.send().await.unwrap();
    let cookie = answer.headers()["set-cookie"].to_str().unwrap();
    let cookie = cookie.split(';').next().unwrap().to_owned();
    // A proxy that claims that every request comes from another site makes no loop.
    let get = async |path: &str, cookie: Option<&str>| {
        let request = browser.http.get(format!("{}{path}", vendor.url));
        let request = request.header("sec-fetch-site", "cross-site");
        let request = request.header("sec-fetch-mode", "navigate");
        let request = match cookie {
            Some(cookie) => request.header("cookie", cookie),
            None => request,
        };
        request.send().await.unwrap()
    };
    let again = "/console/sign-in?next=%2Fconsole%2Faudit%3Fx%3D1";
    let first = get("/console/audit?x=1", None).await;
    assert_eq!(first.status(), 200);
    let first = first.text().await.unwrap();
    let refresh = format!("content=\"0;url={again}\"");
    assert!(first.contains(&refresh), "{first}");
    let second = get(again, Some(&cookie)).await;
    assert_eq!(second.status(), 303);
    assert_eq!(second.headers()[LOCATION], "/console/audit?x=1");
    let third = get("/console/audit", Some(&cookie)).await.text().await;
    assert!(third.unwrap().contains("<h1>Audit"));
    // Without a session, and for addresses elsewhere.
    let page = get(again, None).await.text().await.unwrap();
    assert!(
        page.contains("id=\"token\"") && !page.contains("refresh"),
        "{page}"
    );
    for other in ["https://evil.example/", "//evil.example", "/\\evil.example"] {
        let next = format!("/console/sign-in?next={other}");
        let answer = get(&next, Some(&cookie)).await;
        assert_eq!(answer.headers()[LOCATION], "/", "{other}");
    }
    vendor.end().await;
}
