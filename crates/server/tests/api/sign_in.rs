//! Who is locked out by wrong tokens: nobody who has the right one.

use std::process::{Command, Stdio};

use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, LOCATION};
use reqwest::redirect::Policy;
use serde_json::{Value, json};

use crate::database::Engine;
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
async fn calls_without_a_token_lock_nobody_out_and_the_right_token_is_never_refused() {
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
    assert_eq!(log[0]["actor"], "API from 203.0.113.9");

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
