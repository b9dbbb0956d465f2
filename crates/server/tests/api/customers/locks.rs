//! The locks of this program, which others cannot hold.

use license_server::store::locks::Lock;
use reqwest::{Method, StatusCode};
use sea_orm::{ConnectionTrait as _, TransactionTrait as _};
use serde_json::json;

use super::{added, issued};
use crate::database::{Engine, on_both_engines};
use crate::harness::Vendor;

on_both_engines! {
    without_the_row_of_a_lock_nothing_that_needs_it_is_changed;
}

async fn without_the_row_of_a_lock_nothing_that_needs_it_is_changed(engine: Engine) {
    let vendor = Vendor::start(engine).await;
    vendor.database.execute("DELETE FROM locks").await;
    for (path, body) in [
        ("/customers", json!({"name": "Harbour"})),
        ("/tokens", json!({"name": "ana"})),
    ] {
        let (status, answer) = vendor.admin(Method::POST, path, body).await;
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{path} {answer}");
    }
    for lock in Lock::ALL {
        let row = format!("INSERT INTO locks (name) VALUES ('{}')", lock.name());
        vendor.database.execute(&row).await;
    }
    added(&vendor, json!({"name": "Harbour"})).await;
    vendor.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_may_only_connect_to_the_database_delays_no_change() {
    let vendor = Vendor::start(Engine::Postgres).await;
    let other = vendor.database.connect().await;
    let holding = other.begin().await.unwrap();
    // The numbers of the advisory locks that this program has ever used after its migrations.
    let lock = "SELECT pg_advisory_xact_lock(4000731402)";
    holding.execute_unprepared(lock).await.unwrap();
    added(&vendor, json!({"name": "Harbour", "reference": "K-1"})).await;
    issued(&vendor, "Museum").await;
    let body = json!({"reference": "K-2"});
    let (status, answer) = vendor.admin(Method::PATCH, "/customers/museum", body).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    holding.rollback().await.unwrap();
    other.close().await.unwrap();
    vendor.end().await;
}
