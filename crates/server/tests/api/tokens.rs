//! Named tokens: who made a change, and who may make any.

mod by_command;
mod limits;
mod revoked;
mod sessions;
mod sign_ins;

use std::time::Duration;

use chrono::TimeDelta;
use license_server::audit::Actor;
use license_server::licensing::tokens::{self, TokenRequest};
use license_service::clock::Clock as _;
use reqwest::header::{CONTENT_TYPE, COOKIE, LOCATION, SET_COOKIE};
use reqwest::redirect::Policy;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::database::{Engine, on_both_engines};
use crate::harness::{ADMIN_TOKEN, Vendor};

on_both_engines! {
    changes_have_the_name_of_the_token_as_their_author;
    a_revoked_token_is_refused_and_its_sessions_end_on_every_server;
    an_expired_token_is_refused_and_its_sessions_end;
    a_text_that_is_no_token_is_refused_without_the_database;
    of_two_callers_with_one_name_one_gets_a_token;
    tokens_are_listed_in_pages_also_those_that_were_revoked;
    the_last_use_is_stored_once_a_minute;
    an_invalid_token_is_not_created;
}

/// Creates a token as another process does; returns its text.
async fn added(vendor: &Vendor, name: &str, days: Option<i64>) -> String {
    let now = vendor.clock.now();
    let request = TokenRequest {
        name: name.to_owned(),
        expires_at: days.map(|days| now + TimeDelta::days(days)),
        note: None,
    };
    let change = vendor.app.change(Actor::CommandLine);
    let added = tokens::add(&vendor.app.store, &request, &change).await;
    added.unwrap().0
}

/// Calls the API with a token.
async fn call(
    vendor: &Vendor,
    token: &str,
    method: Method,
    path: &str,
    body: Value,
) -> (StatusCode, Value) {
    let request = vendor
        .http
        .request(method, format!("{}/api/admin{path}", vendor.url))
        .bearer_auth(token);
    let answer = request.json(&body).send().await.unwrap();
    (answer.status(), answer.json().await.unwrap())
}

/// The status of a call that changes nothing.
async fn status(vendor: &Vendor, token: &str) -> u16 {
    let request = vendor.http.get(format!("{}/api/admin/keys", vendor.url));
    let answer = request.bearer_auth(token).send().await.unwrap();
    answer.status().as_u16()
}

/// A browser.
struct Browser {
    http: reqwest::Client,
    cookie: String,
}

impl Browser {
    /// Signs in at the console.
    async fn sign_in(vendor: &Vendor, token: &str) -> Option<Self> {
        let http = reqwest::Client::builder().no_proxy();
        let http = http.redirect(Policy::none()).build().unwrap();
        let request = http.post(format!("{}/console/sign-in", vendor.url));
        // All servers have one address, such as a load balancer's.
        let request = request.header("host", "localhost");
        let request = request.header(CONTENT_TYPE, "application/x-www-form-urlencoded");
        let answer = request.body(format!("token={token}")).send().await.unwrap();
        let cookie = answer.headers().get(SET_COOKIE)?.to_str().unwrap();
        let cookie = cookie.split(';').next().unwrap().to_owned();
        Some(Self { http, cookie })
    }

    /// Whether a server shows a page instead of the sign-in form.
    async fn is_signed_in(&self, vendor: &Vendor) -> bool {
        let request = self.http.get(format!("{}/console/audit", vendor.url));
        let request = request.header("host", "localhost");
        let answer = request.header(COOKIE, &self.cookie).send().await.unwrap();
        match answer.headers().get(LOCATION) {
            Some(to) => {
                assert!(to.to_str().unwrap().starts_with("/console/sign-in"));
                false
            }
            None => {
                assert_eq!(answer.status(), StatusCode::OK);
                true
            }
        }
    }
}

async fn changes_have_the_name_of_the_token_as_their_author(engine: Engine) {
    let vendor = Vendor::start(engine).await;
    // Known to the server although another process has created it.
    let token = added(&vendor, "ana", None).await;
    let body = json!({"tier": "standard"});
    let (issued, license) = call(&vendor, &token, Method::POST, "/licenses", body).await;
    assert_eq!(issued, StatusCode::CREATED, "{license}");
    let key = license["licenseKey"].as_str().unwrap();
    let amendments = vendor.look(&format!("/licenses/{key}/amendments")).await;
    assert_eq!(amendments["amendments"][0]["author"], "ana");
    let suspend = format!("/licenses/{key}/suspend");
    vendor.admin(Method::POST, &suspend, Value::Null).await;
    let log = vendor.audit("").await;
    let authors = |number: usize| (&log[number]["actor"], &log[number]["source"]);
    let from = Value::from("API from 127.0.0.1");
    assert_eq!(authors(0), (&"break-glass".into(), &from));
    assert_eq!(authors(1), (&"ana".into(), &from));
    assert_eq!(authors(2), (&"command line".into(), &Value::Null));
    assert_eq!(
        (&log[2]["action"], &log[2]["subject"]),
        (&"token_added".into(), &"ana".into())
    );

    // And so have changes at the console.
    let browser = Browser::sign_in(&vendor, &token).await.unwrap();
    assert!(browser.is_signed_in(&vendor).await);
    let id = license["id"].as_str().unwrap();
    let path = format!("{}/console/licenses/{id}/reinstate", vendor.url);
    let request = browser.http.post(path).header(COOKIE, &browser.cookie);
    let request = request.header("host", "localhost");
    let request = request.header(CONTENT_TYPE, "application/x-www-form-urlencoded");
    assert_eq!(request.send().await.unwrap().status(), 303);
    let log = vendor.audit("").await;
    assert_eq!(
        (&log[0]["action"], &log[0]["actor"], &log[0]["source"]),
        (
            &"reinstated".into(),
            &"ana".into(),
            &"console from 127.0.0.1".into()
        )
    );
    vendor.end().await;
}

async fn a_revoked_token_is_refused_and_its_sessions_end_on_every_server(engine: Engine) {
    let vendor = Vendor::start(engine).await;
    let twin = vendor.twin().await;
    let (first, second) = (
        added(&vendor, "ana", None).await,
        added(&vendor, "ben", None).await,
    );
    let sessions = [
        Browser::sign_in(&vendor, &first).await.unwrap(),
        Browser::sign_in(&vendor, ADMIN_TOKEN).await.unwrap(),
        Browser::sign_in(&vendor, &second).await.unwrap(),
    ];
    for server in [&vendor, &twin] {
        for session in &sessions {
            assert!(session.is_signed_in(server).await);
        }
        assert_eq!(status(server, &first).await, 200);
    }
    // Anyone who has a token may manage tokens.
    let (revoked, token) = call(&vendor, &second, Method::DELETE, "/tokens/ana", json!({})).await;
    assert_eq!(
        (revoked, &token["status"]),
        (StatusCode::OK, &"revoked".into()),
        "{token}"
    );
    assert_eq!(status(&vendor, &first).await, 401, "at once on this server");
    for server in [&vendor, &twin] {
        let signed_in = [
            sessions[0].is_signed_in(server).await,
            sessions[1].is_signed_in(server).await,
            sessions[2].is_signed_in(server).await,
        ];
        assert_eq!(signed_in, [false, true, true]);
    }
    let refused = async {
        // Only what was refused before counts as a guess.
        while status(&twin, &first).await == 200 {
            tokio::task::yield_now().await;
        }
    };
    let refused = tokio::time::timeout(Duration::from_secs(5), refused).await;
    refused.expect("the other server goes on accepting the token");
    assert!(Browser::sign_in(&twin, &first).await.is_none());
    assert_eq!(status(&twin, &second).await, 200);
    let (again, answer) = call(&twin, &second, Method::DELETE, "/tokens/ana", json!({})).await;
    assert_eq!(again, StatusCode::NOT_FOUND, "{answer}");
    let log = vendor.audit("").await;
    assert_eq!(
        (&log[0]["action"], &log[0]["actor"], &log[0]["subject"]),
        (&"token_revoked".into(), &"ben".into(), &"ana".into())
    );
    // Its name can be given to another one, which does not revive anything.
    let third = added(&vendor, "ana", None).await;
    assert_eq!(status(&twin, &third).await, 200);
    assert_eq!(status(&vendor, &first).await, 401);
    assert!(!sessions[0].is_signed_in(&vendor).await);
    twin.stop().await;
    vendor.end().await;
}

async fn an_expired_token_is_refused_and_its_sessions_end(engine: Engine) {
    let vendor = Vendor::start(engine).await;
    let token = added(&vendor, "ana", Some(1)).await;
    vendor
        .clock
        .advance(TimeDelta::days(1) - TimeDelta::minutes(1));
    let session = Browser::sign_in(&vendor, &token).await.unwrap();
    vendor.clock.advance(TimeDelta::minutes(1));
    // The end itself is included.
    assert_eq!(status(&vendor, &token).await, 200);
    assert!(session.is_signed_in(&vendor).await);
    vendor.clock.advance(TimeDelta::seconds(1));
    assert!(!session.is_signed_in(&vendor).await);
    assert!(Browser::sign_in(&vendor, &token).await.is_none());
    // It is no guess, however often it is shown.
    for _ in 0..20 {
        let (refused, answer) = call(&vendor, &token, Method::GET, "/keys", json!({})).await;
        assert_eq!(refused, StatusCode::UNAUTHORIZED);
        assert_eq!(answer["error"]["code"], "token_expired");
        let message = answer["error"]["message"].as_str().unwrap();
        assert!(message.contains("'ana' has expired"), "{message}");
    }
    let listed = vendor.look("/tokens").await;
    assert_eq!(listed["tokens"][0]["status"], "expired");
    vendor.end().await;
}

async fn a_text_that_is_no_token_is_refused_without_the_database(engine: Engine) {
    let vendor = Vendor::start(engine).await;
    let token = added(&vendor, "ana", None).await;
    assert_eq!(status(&vendor, &token).await, 200);
    let away = "ALTER TABLE admin_tokens RENAME TO moved";
    vendor.database.execute(away).await;
    for wrong in [
        &token[..token.len() - 1],
        &format!("{token}A"),
        &token.to_uppercase(),
        "fxt_",
    ] {
        assert_eq!(status(&vendor, wrong).await, 401, "{wrong}");
    }
    // A token that may be one is not refused while it cannot be looked for.
    let unknown = license_service::token_text::new_token();
    let (refused, answer) = call(&vendor, &unknown, Method::GET, "/keys", json!({})).await;
    assert_eq!(refused, StatusCode::SERVICE_UNAVAILABLE, "{answer}");
    let back = "ALTER TABLE moved RENAME TO admin_tokens";
    vendor.database.execute(back).await;
    // Only wrong tokens were counted.
    for expected in [401, 429] {
        assert_eq!(status(&vendor, &unknown).await, expected);
    }
    assert_eq!(status(&vendor, &token).await, 200);
    vendor.end().await;
}

async fn of_two_callers_with_one_name_one_gets_a_token(engine: Engine) {
    let vendor = Vendor::start(engine).await;
    let twin = vendor.twin().await;
    let body = json!({"name": "ana", "note": "Sales"});
    let (one, other) = tokio::join!(
        vendor.admin(Method::POST, "/tokens", body.clone()),
        twin.admin(Method::POST, "/tokens", body),
    );
    let mut statuses = [one.0.as_u16(), other.0.as_u16()];
    statuses.sort_unstable();
    assert_eq!(statuses, [201, 409], "{} {}", one.1, other.1);
    let created = if one.0 == 201 { one.1 } else { other.1 };
    let token = created["token"].as_str().unwrap();
    assert_eq!(status(&twin, token).await, 200);
    let listed = vendor.look("/tokens").await;
    assert_eq!(listed["total"], 1);
    assert!(!listed.to_string().contains(token), "{listed}");
    assert!(!vendor.audit("").await.to_string().contains(token));
    twin.stop().await;
    vendor.end().await;
}

async fn tokens_are_listed_in_pages_also_those_that_were_revoked(engine: Engine) {
    let vendor = Vendor::start(engine).await;
    for name in ["a", "b", "c", "d", "e"] {
        added(&vendor, name, None).await;
    }
    vendor.admin(Method::DELETE, "/tokens/c", Value::Null).await;
    added(&vendor, "c", None).await;
    let mut names = Vec::new();
    let mut path = "/tokens?limit=2".to_owned();
    loop {
        let page = vendor.look(&path).await;
        assert_eq!(page["total"], 6);
        let tokens = page["tokens"].as_array().unwrap().iter();
        let text = |it: &Value| it.as_str().unwrap().to_owned();
        names.extend(tokens.map(|it| (text(&it["name"]), text(&it["status"]))));
        let Some(cursor) = page["nextCursor"].as_str() else {
            break;
        };
        path = format!("/tokens?limit=2&cursor={cursor}");
    }
    let names: Vec<_> = names
        .iter()
        .map(|(a, b)| (a.as_str(), b.as_str()))
        .collect();
    assert_eq!(
        names,
        [
            ("c", "active"),
            ("e", "active"),
            ("d", "active"),
            ("c", "revoked"),
            ("b", "active"),
            ("a", "active"),
        ]
    );
    vendor.end().await;
}

async fn the_last_use_is_stored_once_a_minute(engine: Engine) {
    let vendor = Vendor::start(engine).await;
    let token = added(&vendor, "ana", None).await;
    let last_use = async || vendor.look("/tokens").await["tokens"][0]["lastUsedAt"].take();
    assert_eq!(last_use().await, Value::Null);
    for (seconds, expected) in [
        (0, "2026-11-24T12:00:00.500Z"),
        (59, "2026-11-24T12:00:00.500Z"),
        (1, "2026-11-24T12:01:00.500Z"),
        (30, "2026-11-24T12:01:00.500Z"),
    ] {
        vendor.clock.advance(TimeDelta::seconds(seconds));
        assert_eq!(status(&vendor, &token).await, 200);
        assert_eq!(last_use().await, expected, "after {seconds} s");
    }
    vendor.end().await;
}

async fn an_invalid_token_is_not_created(engine: Engine) {
    let vendor = Vendor::start(engine).await;
    let long = "a".repeat(65);
    for (body, expected) in [
        (json!({"name": ""}), "invalid name"),
        (json!({"name": "Ana"}), "invalid name"),
        (json!({"name": "7"}), "invalid name"),
        (json!({"name": "command line"}), "invalid name"),
        (json!({"name": long}), "invalid name"),
        (json!({"name": "break-glass"}), "reserved"),
        (json!({"name": "break_glass"}), "looks like"),
        (json!({"name": "command-line"}), "reserved"),
        (json!({"name": "adm1n1strator"}), "looks like"),
        (json!({"name": "con-sole"}), "looks like"),
        (json!({"name": "site"}), "reserved"),
        (json!({"name": "ana", "note": "x".repeat(1001)}), "note"),
        (
            json!({"name": "ana", "expiresAt": "2020-01-01"}),
            "has passed",
        ),
        (json!({"name": "ana", "roles": []}), "unknown field"),
        (json!({}), "missing field"),
    ] {
        let (refused, answer) = vendor.admin(Method::POST, "/tokens", body.clone()).await;
        let message = answer["error"]["message"].as_str().unwrap().to_lowercase();
        assert_eq!(refused, StatusCode::BAD_REQUEST, "{body} {message}");
        assert!(message.contains(expected), "{body}: {message}");
    }
    for unknown in ["nobody", "break-glass", "%C3%A4"] {
        let path = format!("/tokens/{unknown}");
        let (refused, _) = vendor.admin(Method::DELETE, &path, Value::Null).await;
        assert_eq!(refused, StatusCode::NOT_FOUND, "{unknown}");
    }
    assert_eq!(vendor.look("/tokens").await["total"], 0);
    vendor.end().await;
}
