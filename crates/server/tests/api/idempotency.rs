//! Calls with an `Idempotency-Key`: they change something once, and their answers are repeated.

mod begun;
mod bounds;
mod kills;
mod routes;
mod sites;

use std::time::Duration;

use chrono::TimeDelta;
use license_server::licensing::catalogue::Tier;
use license_server::licensing::issue::IssueRequest;
use reqwest::header::RETRY_AFTER;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::database::{Engine, on_both_engines};
use crate::harness::{ADMIN_TOKEN, Vendor};

on_both_engines! {
    a_repeated_call_gets_the_first_answer_and_changes_nothing;
    a_key_is_for_one_request_of_one_caller;
    a_refused_call_may_be_repeated_and_is_judged_anew;
    two_calls_at_once_with_one_key_make_one_change;
    a_caller_who_disconnects_gets_the_answer_when_the_call_is_repeated;
    nothing_that_is_stored_reveals_a_key_or_an_answer;
    outsiders_store_nothing;
}

/// What staff with this token are answered.
async fn with_token(
    vendor: &Vendor,
    token: &str,
    key: &str,
    (method, path): (Method, &str),
    body: &Value,
) -> (StatusCode, Value) {
    let url = format!("{}/api/admin{path}", vendor.url);
    let request = vendor.http.request(method, url).bearer_auth(token);
    let request = request.header("idempotency-key", key).json(body);
    let response = request.send().await.unwrap();
    (response.status(), response.json().await.unwrap())
}

/// What staff are answered.
async fn keyed(vendor: &Vendor, key: &str, path: &str, body: &Value) -> (StatusCode, Value) {
    with_token(vendor, ADMIN_TOKEN, key, (Method::POST, path), body).await
}

fn code(answer: &Value) -> &str {
    answer["error"]["code"].as_str().unwrap_or_default()
}

/// How many licenses there are.
async fn licenses(vendor: &Vendor) -> u64 {
    vendor.look("/licenses").await["total"].as_u64().unwrap()
}

/// The number of calls that are stored.
async fn stored(vendor: &Vendor) -> usize {
    let rows = vendor.database.texts("SELECT id FROM idempotency_keys");
    rows.await.len()
}

fn standard() -> Value {
    json!({"plan": "standard", "customer": "Harbour Ltd"})
}

async fn a_repeated_call_gets_the_first_answer_and_changes_nothing(engine: Engine) {
    let vendor = Vendor::start(engine).await;
    let twin = vendor.twin().await;
    let (status, issued) = keyed(&vendor, "order-1", "/licenses", &standard()).await;
    assert_eq!(status, StatusCode::CREATED, "{issued}");
    for server in [&vendor, &twin] {
        let again = keyed(server, "order-1", "/licenses", &standard()).await;
        assert_eq!(again, (status, issued.clone()));
        let quoted = keyed(server, "\"order-1\"", "/licenses", &standard()).await;
        assert_eq!(quoted, (status, issued.clone()));
    }
    assert_eq!(licenses(&vendor).await, 1);
    // As it was answered, even if a later change has another result.
    let path = format!(
        "/licenses/{}/suspend",
        issued["licenseKey"].as_str().unwrap()
    );
    let suspended = keyed(&vendor, "s", &path, &json!({})).await;
    let back = keyed(
        &vendor,
        "r",
        &path.replace("suspend", "reinstate"),
        &json!({}),
    )
    .await;
    assert_eq!(back.1["status"], "active", "{}", back.1);
    assert_eq!(keyed(&vendor, "s", &path, &json!({})).await, suspended);
    assert_eq!(vendor.audit("").await[0]["action"], "reinstated");
    // A server that is started later knows the answer, for 24 hours.
    twin.stop().await;
    let vendor = vendor.restarted().await;
    vendor
        .clock
        .advance(TimeDelta::hours(24) - TimeDelta::seconds(1));
    let again = keyed(&vendor, "order-1", "/licenses", &standard()).await;
    assert_eq!(again, (status, issued.clone()));
    vendor.clock.advance(TimeDelta::seconds(1));
    let (status, other) = keyed(&vendor, "order-1", "/licenses", &standard()).await;
    assert_eq!(status, StatusCode::CREATED, "{other}");
    assert_ne!(other["licenseKey"], issued["licenseKey"]);
    assert_eq!(licenses(&vendor).await, 2);
    vendor.end().await;
}

async fn a_key_is_for_one_request_of_one_caller(engine: Engine) {
    let vendor = Vendor::start(engine).await;
    let added = vendor.admin(Method::POST, "/tokens", json!({"name": "ana"}));
    let token = added.await.1["token"].as_str().unwrap().to_owned();
    let (status, issued) = keyed(&vendor, "k", "/licenses", &standard()).await;
    assert_eq!(status, StatusCode::CREATED, "{issued}");
    let (license, other) = (issued["id"].as_str().unwrap(), json!({"plan": "standard"}));
    let suspend = format!("/licenses/{license}/suspend");
    for (token, call, body, word) in [
        (
            ADMIN_TOKEN,
            (Method::POST, "/licenses"),
            other,
            "another method, path or body",
        ),
        (
            ADMIN_TOKEN,
            (Method::POST, &suspend),
            standard(),
            "another method, path or body",
        ),
        (
            ADMIN_TOKEN,
            (Method::DELETE, "/tokens/ana"),
            standard(),
            "another method, path or body",
        ),
        (
            &token,
            (Method::POST, "/licenses"),
            standard(),
            "another caller",
        ),
    ] {
        let (status, answer) = with_token(&vendor, token, "k", call, &body).await;
        assert_eq!(status, StatusCode::CONFLICT, "{answer}");
        assert_eq!(code(&answer), "idempotency_key_reused");
        let message = answer["error"]["message"].as_str().unwrap();
        assert!(
            message.contains(word) && message.contains("Use a new key"),
            "{message}"
        );
    }
    assert_eq!(licenses(&vendor).await, 1);
    // Reading needs no key, and ignores one.
    let look = with_token(&vendor, &token, "k", (Method::GET, "/licenses"), &json!({})).await;
    assert_eq!(look.0, StatusCode::OK);
    vendor.end().await;
}

async fn a_refused_call_may_be_repeated_and_is_judged_anew(engine: Engine) {
    let vendor = Vendor::start(engine).await;
    let first = vendor.admin(Method::POST, "/customers", json!({"name": "Harbour"}));
    let id = first.await.1["id"].as_str().unwrap().to_owned();
    let (status, _) = keyed(&vendor, "k", "/customers", &json!({"name": "Harbour"})).await;
    assert_eq!(status, StatusCode::CONFLICT);
    assert_eq!(stored(&vendor).await, 0);
    let rename = json!({"name": "Port"});
    let path = format!("/customers/{id}");
    let renamed = vendor.admin(Method::PATCH, &path, rename);
    assert_eq!(renamed.await.0, StatusCode::OK);
    let (status, added) = keyed(&vendor, "k", "/customers", &json!({"name": "Harbour"})).await;
    assert_eq!(status, StatusCode::CREATED, "{added}");
    let again = keyed(&vendor, "k", "/customers", &json!({"name": "Harbour"})).await;
    assert_eq!(again, (status, added));
    // A change that was only checked is stored as well: its answer is repeated.
    let key = vendor.issue(IssueRequest::of(Tier::Standard));
    let path = format!("/licenses/{}/amendments", key.await);
    let preview = json!({"preview": true, "add": [{"key": "cameras", "quantity": 1}]});
    let previewed = keyed(&vendor, "p", &path, &preview).await;
    assert!(previewed.0.is_success(), "{}", previewed.1);
    assert_eq!(keyed(&vendor, "p", &path, &preview).await, previewed);
    vendor.end().await;
}

async fn two_calls_at_once_with_one_key_make_one_change(engine: Engine) {
    let vendor = Vendor::start(engine).await;
    let twin = vendor.twin().await;
    for round in 0..4_u64 {
        let key = format!("order-{round}");
        let body = standard();
        let (a, b, c, d) = tokio::join!(
            keyed(&vendor, &key, "/licenses", &body),
            keyed(&twin, &key, "/licenses", &body),
            keyed(&vendor, &key, "/licenses", &body),
            keyed(&twin, &key, "/licenses", &body),
        );
        let answers = [a, b, c, d];
        let first = answers.iter().find(|it| it.0 == StatusCode::CREATED);
        let (_, first) = first.unwrap();
        for (status, answer) in &answers {
            // Another server may still be answering.
            let is_waiting = ["still_processing", "busy"].contains(&code(answer));
            assert!(*status == StatusCode::CREATED || is_waiting, "{answer}");
            assert!(answer == first || is_waiting, "{answer}");
        }
        assert_eq!(keyed(&twin, &key, "/licenses", &body).await.1, *first);
        assert_eq!(licenses(&vendor).await, round + 1);
        // What a second call would be refused for is no reason to refuse the repeated one.
        let name = json!({"name": format!("customer {round}")});
        let key = format!("customer-{round}");
        let both = tokio::join!(
            keyed(&vendor, &key, "/customers", &name),
            keyed(&twin, &key, "/customers", &name),
        );
        assert_eq!(both.0, both.1);
        assert_eq!(both.0.0, StatusCode::CREATED, "{}", both.0.1);
    }
    twin.stop().await;
    vendor.end().await;
}

async fn a_caller_who_disconnects_gets_the_answer_when_the_call_is_repeated(engine: Engine) {
    let vendor = Vendor::start(engine).await;
    for round in 0..6_u64 {
        let key = format!("order-{round}");
        let body = standard();
        let call = keyed(&vendor, &key, "/licenses", &body);
        let timeout = Duration::from_millis(2 * round);
        let _ = tokio::time::timeout(timeout, call).await;
        let (status, issued) = keyed(&vendor, &key, "/licenses", &body).await;
        assert_eq!(status, StatusCode::CREATED, "{issued}");
        assert_eq!(licenses(&vendor).await, round + 1);
    }
    vendor.end().await;
}

async fn nothing_that_is_stored_reveals_a_key_or_an_answer(engine: Engine) {
    let vendor = Vendor::start(engine).await;
    let (_, issued) = keyed(&vendor, "a-secret-order", "/licenses", &standard()).await;
    let token = keyed(&vendor, "t", "/tokens", &json!({"name": "ana"})).await;
    assert_eq!(
        keyed(&vendor, "t", "/tokens", &json!({"name": "ana"})).await,
        token
    );
    let camera = json!({"add": [{"key": "cameras", "quantity": 1}]});
    let add_on = keyed(&vendor, "a", "/addons", &camera).await;
    assert_eq!(keyed(&vendor, "a", "/addons", &camera).await, add_on);
    let columns = [
        "id", "caller", "request", "headers", "attempt", "done", "answer",
    ];
    let secrets = [
        "a-secret-order",
        ADMIN_TOKEN,
        issued["licenseKey"].as_str().unwrap(),
        token.1["token"].as_str().unwrap(),
        add_on.1["addOnKey"].as_str().unwrap(),
        "Harbour",
    ];
    for column in columns {
        let texts = format!("SELECT {column} FROM idempotency_keys");
        let texts = vendor.database.texts(&texts).await;
        assert_eq!(texts.len(), 3);
        for text in texts.into_iter().flatten() {
            for secret in secrets {
                assert!(!text.contains(secret), "{column}: {text}");
            }
        }
    }
    // An answer that was replaced in the database is not repeated.
    let other = "UPDATE idempotency_keys SET answer = 'AAAA'";
    vendor.database.execute(other).await;
    let (status, answer) = keyed(&vendor, "t", "/tokens", &json!({"name": "ana"})).await;
    assert_eq!(
        (status, code(&answer)),
        (StatusCode::CONFLICT, "answer_missing")
    );
    vendor.end().await;
}

async fn outsiders_store_nothing(engine: Engine) {
    let vendor = Vendor::start(engine).await;
    let (token, call) = ("a-wrong-token-of-sixteen", (Method::POST, "/licenses"));
    let wrong = with_token(&vendor, token, "k", call, &standard()).await;
    assert_eq!(wrong.0, StatusCode::UNAUTHORIZED);
    let unknown = "FXSGHT-2222-2222-2222-2222";
    for call in [
        "activate",
        "validate",
        "deactivate",
        "heartbeat",
        "redeem",
        "preview",
    ] {
        for key in [unknown, "nonsense", ""] {
            let body = json!({
                "licenseKey": key, "hardwareId": "m", "installationId": "i", "addOnKey": "x",
                "installationName": "n", "installationVersion": "1",
                "usageMetrics": {"camerasInUse": 0, "usersActive": 0, "storageUsedGb": 0},
                "systemInfo": crate::harness::system_info(),
            });
            let (status, answer) = sites::sent(&vendor, call, "k", "n", &body).await;
            assert!(status == 200 || status == 429, "{call} {status} {answer}");
        }
    }
    assert_eq!(stored(&vendor).await, 0);
    vendor.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_has_to_wait_is_told_how_long() {
    let vendor = Vendor::start(Engine::Sqlite).await;
    let (status, _) = keyed(&vendor, "k", "/licenses", &standard()).await;
    assert_eq!(status, StatusCode::CREATED);
    // As if another server had just made the change and not yet answered.
    let lost = "UPDATE idempotency_keys SET status = NULL, answer = NULL";
    vendor.database.execute(lost).await;
    let url = format!("{}/api/admin/licenses", vendor.url);
    let request = vendor.http.post(url).bearer_auth(ADMIN_TOKEN);
    let request = request.header("idempotency-key", "k").json(&standard());
    let response = request.send().await.unwrap();
    assert_eq!(response.status(), StatusCode::CONFLICT);
    assert_eq!(response.headers()[RETRY_AFTER], "5");
    vendor.end().await;
}
