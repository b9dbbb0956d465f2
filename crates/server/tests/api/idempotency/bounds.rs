//! What is stored, and for how long.

use chrono::{DateTime, TimeDelta, Utc};
use license_core::idempotency::{IdempotencyKey, KeyOwner, Keyed, KeyedRequest};
use license_server::keyed_call::prune;
use license_server::store::idempotency_keys::{self, Bounds, NewCall};
use license_service::clock::Clock as _;
use reqwest::StatusCode;
use serde_json::json;

use super::{code, keyed, standard, stored};
use crate::database::{Engine, on_both_engines};
use crate::harness::Vendor;

on_both_engines! {
    the_oldest_calls_are_removed_when_there_are_too_many;
    calls_are_removed_after_24_hours;
}

/// Stores a call of a caller.
async fn store(vendor: &Vendor, owner: KeyOwner<'_>, key: &str, at: DateTime<Utc>) {
    let asked = KeyedRequest {
        method: "POST",
        path: "/",
        body: b"",
        headers: &[],
    };
    let key = IdempotencyKey::parse(key.as_bytes()).unwrap();
    let call = NewCall {
        keyed: &Keyed::new(&key, &owner, &asked),
        attempt: "attempt",
        at,
        done: None,
        answer: None,
    };
    let added = idempotency_keys::insert(vendor.app.store.reader(), &call).await;
    assert!(added.unwrap());
}

async fn the_oldest_calls_are_removed_when_there_are_too_many(engine: Engine) {
    let vendor = Vendor::start(engine).await;
    let now = vendor.clock.now();
    let staff = |token| KeyOwner::Staff {
        token: Some(token),
        secret: "s",
    };
    let machine = |hardware_id| KeyOwner::Machine {
        license_key: "L",
        hardware_id,
    };
    for number in 0..6_i64 {
        let at = now + TimeDelta::seconds(number);
        store(&vendor, staff(1), &format!("a{number}"), at).await;
        store(&vendor, staff(2), &format!("b{number}"), at).await;
        store(&vendor, machine("m"), &format!("m{number}"), at).await;
        store(&vendor, machine("n"), &format!("n{number}"), at).await;
    }
    let db = vendor.app.store.reader();
    let count = async |bounds| {
        idempotency_keys::prune(db, now, &bounds).await.unwrap();
        let of = |staff: &str| {
            format!("SELECT id FROM idempotency_keys WHERE of_staff = {staff} ORDER BY id")
        };
        let (staff, sites) = (of("TRUE"), of("FALSE"));
        let staff = vendor.database.texts(&staff).await;
        (staff.len(), vendor.database.texts(&sites).await.len())
    };
    let wide = Bounds {
        of_token: 6,
        of_machine: 6,
        of_all: 12,
    };
    assert_eq!(count(wide).await, (12, 12));
    let of_callers = Bounds {
        of_token: 4,
        of_machine: 2,
        ..wide
    };
    assert_eq!(count(of_callers).await, (8, 4));
    let of_all = Bounds {
        of_all: 4,
        ..of_callers
    };
    assert_eq!(count(of_all).await, (4, 4));
    let oldest = "SELECT CAST(MIN(noted_at) AS TEXT) FROM idempotency_keys WHERE of_staff = TRUE";
    let oldest = vendor.database.texts(oldest).await;
    let oldest = oldest[0].clone().unwrap();
    let kept = (now + TimeDelta::seconds(4)).format("%H:%M:%S").to_string();
    assert!(oldest.contains(&kept), "{oldest}");
    vendor.end().await;
}

async fn calls_are_removed_after_24_hours(engine: Engine) {
    let vendor = Vendor::start(engine).await;
    keyed(&vendor, "k", "/licenses", &standard()).await;
    for (later, left) in [(TimeDelta::hours(24), 1), (TimeDelta::seconds(1), 0)] {
        vendor.clock.advance(later);
        let now = vendor.permitted();
        prune(&vendor.app.store, now).await.unwrap();
        assert_eq!(stored(&vendor).await, left);
    }
    vendor.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_is_too_long_is_not_kept_and_what_was_done_is_named() {
    let vendor = Vendor::start(Engine::Sqlite).await;
    let body = json!({"name": "Harbour"});
    let (status, answer) = keyed(&vendor, "k", "/customers", &body).await;
    assert_eq!(status, StatusCode::CREATED, "{answer}");
    // As if it had been one.
    let long = "UPDATE idempotency_keys SET answer = NULL";
    vendor.database.execute(long).await;
    let (status, answer) = keyed(&vendor, "k", "/customers", &body).await;
    assert_eq!(
        (status, code(&answer)),
        (StatusCode::CONFLICT, "answer_missing")
    );
    let message = answer["error"]["message"].as_str().unwrap();
    assert!(message.contains("customer_added"), "{message}");
    vendor.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn malformed_keys_are_refused() {
    let vendor = Vendor::start(Engine::Sqlite).await;
    let longest = "x".repeat(255);
    for (key, status) in [
        ("", 400),
        ("\"\"", 400),
        ("a b", 400),
        ("\u{e4}", 400),
        (&format!("{longest}x"), 400),
        (&longest, 201),
    ] {
        let (answered, answer) = keyed(&vendor, key, "/licenses", &standard()).await;
        assert_eq!(answered, status, "{key}: {answer}");
        if status == 400 {
            let message = answer["error"]["message"].as_str().unwrap();
            assert!(message.starts_with("Invalid Idempotency-Key"), "{message}");
        }
    }
    let twice = vendor
        .http
        .post(format!("{}/api/admin/licenses", vendor.url))
        .bearer_auth(crate::harness::ADMIN_TOKEN)
        .header("idempotency-key", "a")
        .header("idempotency-key", "a")
        .json(&standard());
    assert_eq!(
        twice.send().await.unwrap().status(),
        StatusCode::BAD_REQUEST
    );
    vendor.end().await;
}
