//! Changes of keys by people who have no access to the key directory.

use chrono::TimeDelta;
use license_server::audit::Actor;
use license_server::licensing::key_changes::{rotate, rotate_in};
use license_server::signing::rotate::MAX_KEYS_A_DAY;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::database::Engine;
use crate::harness::Vendor;

/// Each key makes the chain of key sets longer, which every start and every change reads.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_so_many_keys_are_created_over_http_within_a_day() {
    let vendor = Vendor::start(Engine::Sqlite).await;
    // The first key was created with the service.
    for _ in 1..MAX_KEYS_A_DAY {
        let by = Actor::CommandLine;
        rotate_in(&vendor.app, TimeDelta::zero(), by).await.unwrap();
    }
    let rotation = || vendor.admin(Method::POST, "/keys/rotate", json!({"overlapDays": 0}));
    let (status, answer) = rotation().await;
    assert_eq!(status, StatusCode::CONFLICT, "{answer}");
    let message = answer["error"]["message"].as_str().unwrap();
    assert!(message.contains("license-server keys rotate"), "{message}");
    // Each of them can be revoked, and there is always a way out.
    let keys = vendor.look("/keys").await;
    let listed = keys["keys"].as_array().unwrap();
    let retired = listed.iter().find(|key| key["state"] == "retired").unwrap();
    let path = format!("/keys/{}/revoke", retired["kid"].as_str().unwrap());
    let (status, answer) = vendor.admin(Method::POST, &path, Value::Null).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    let (store, keys) = (&vendor.app.store, vendor.keys_dir());
    let (by, at) = (Actor::CommandLine, vendor.permitted());
    let by_command = rotate(store, &keys, "test", TimeDelta::zero(), by, at);
    by_command.await.unwrap();
    vendor.clock.advance(TimeDelta::hours(25));
    let (status, answer) = rotation().await;
    assert!(status.is_success(), "{answer}");
    vendor.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unknown_key_is_refused_by_what_is_loaded() {
    let vendor = Vendor::start(Engine::Sqlite).await;
    // Made by a command, and not noticed yet.
    let (store, keys) = (&vendor.app.store, vendor.keys_dir());
    let (by, at) = (Actor::CommandLine, vendor.permitted());
    let (kid, _) = rotate(store, &keys, "test", TimeDelta::days(7), by, at)
        .await
        .unwrap();
    let (status, answer) = vendor
        .admin(Method::POST, "/keys/no-such-key/revoke", Value::Null)
        .await;
    assert_eq!(status, StatusCode::NOT_FOUND, "{answer}");
    let path = format!("/keys/{kid}/revoke");
    let (status, answer) = vendor.admin(Method::POST, &path, Value::Null).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    vendor.end().await;
}
