//! Customers are locked before their licenses, so that no two changes wait for each other.

use std::time::Duration;

use license_server::audit::Actor;
use license_server::licensing::customers::merge;
use reqwest::{Method, StatusCode};
use sea_orm::{ConnectionTrait as _, TransactionTrait as _};
use serde_json::json;

use super::{added, issued};
use crate::database::Engine;
use crate::harness::Vendor;

/// Waits until so many connections wait for others.
async fn until_waiting(vendor: &Vendor, count: &str) {
    let waiting = "SELECT count(*)::text FROM pg_stat_activity \
                   WHERE datname = current_database() AND wait_event_type = 'Lock'";
    while vendor.database.texts(waiting).await[0].as_deref() != Some(count) {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Whether others have locked what this finds.
async fn is_locked(vendor: &Vendor, table: &str, filter: &str) -> bool {
    let free = format!("SELECT 'free' FROM {table} WHERE {filter} FOR UPDATE SKIP LOCKED");
    vendor.database.texts(&free).await.is_empty()
}

/// Amends a license, or merges its customer, while another transaction holds the license; then
/// renames a customer. What is locked meanwhile is `expected`.
async fn check(vendor: &Vendor, change: Changing<'_>, expected: (&str, &str), renamed: &str) {
    let license = issued(vendor, "Harbor").await;
    let id = license["id"].as_str().unwrap();
    let outside = vendor.database.connect().await;
    let holding = outside.begin().await.unwrap();
    let hold = format!("UPDATE licenses SET customer = customer WHERE id = '{id}'");
    holding.execute_unprepared(&hold).await.unwrap();
    let changing = async {
        match change {
            Changing::Customer(customer) => {
                let path = format!("/licenses/{id}/amendments");
                let body = json!({"customer": customer});
                let (status, answer) = vendor.admin(Method::POST, &path, body).await;
                assert_eq!(status, StatusCode::CREATED, "{answer}");
            }
            Changing::MergedInto(into) => {
                let author = vendor.app.author(Actor::CommandLine);
                let merging = merge(&vendor.app.store, "Harbor", into, false, &author);
                assert_eq!(merging.await.unwrap().amended, 1);
            }
        }
    };
    let renaming = async {
        until_waiting(vendor, "1").await;
        let (table, filter) = expected;
        assert!(is_locked(vendor, table, filter).await, "{table}: {filter}");
        let path = format!("/customers/{renamed}");
        let renaming = vendor.admin(Method::PATCH, &path, json!({"name": "Renamed"}));
        let released = async {
            until_waiting(vendor, "2").await;
            holding.rollback().await.unwrap();
        };
        let ((status, answer), ()) = tokio::join!(renaming, released);
        assert_eq!(status, StatusCode::OK, "{answer}");
        let back = json!({"name": renamed});
        vendor
            .admin(Method::PATCH, "/customers/renamed", back)
            .await;
    };
    tokio::join!(changing, renaming);
    outside.close().await.unwrap();
}

enum Changing<'a> {
    Customer(&'a str),
    MergedInto(&'a str),
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn customers_are_locked_before_licenses() {
    let vendor = Vendor::start(Engine::Postgres).await;
    added(&vendor, json!({"name": "Museum"})).await;
    let names = ("locks", "name = 'customer_names'");
    check(&vendor, Changing::Customer("New Ltd"), names, "Harbor").await;
    let museum = ("customers", "name = 'Museum'");
    check(&vendor, Changing::Customer("Museum"), museum, "Museum").await;
    check(&vendor, Changing::MergedInto("Museum"), museum, "Museum").await;
    vendor.end().await;
}
