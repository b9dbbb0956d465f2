//! Lists whose rows are as large as they may be are read in pages of about 2 MiB, and no row is missing.

use std::collections::BTreeSet;

use license_server::licensing::catalogue::Tier;
use license_server::licensing::issue::IssueRequest;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::database::{Engine, on_both_engines};
use crate::exports::exported;
use crate::harness::Vendor;

on_both_engines! {
    pages_of_large_rows_end_early_and_have_each_row_one_time;
    large_licenses_are_listed_exported_and_named_by_a_merge;
}

/// What the rows of a page hold, with what JSON and the last row add.
const MAX_PAGE_BYTES: usize = 2_400_000;

/// The values of a field of all rows of a list. No page is larger than it may be.
async fn paged(vendor: &Vendor, path: &str, rows: &str, field: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut page = vendor.look(path).await;
    let mut pages = 1;
    loop {
        let bytes = page.to_string().len();
        assert!(
            bytes < MAX_PAGE_BYTES,
            "{path}: page {pages} has {bytes} bytes"
        );
        let shown = page[rows].as_array().unwrap();
        assert!(!shown.is_empty(), "{path}: page {pages} is empty");
        for row in shown {
            let value = row[field].to_string();
            assert!(found.insert(value), "{path}: a row twice: {}", row[field]);
        }
        let Some(cursor) = page["nextCursor"].as_str() else {
            break;
        };
        page = vendor.look(&format!("{path}&cursor={cursor}")).await;
        pages += 1;
    }
    assert!(1 < pages, "{path}: only one page");
    assert_eq!(page["total"], found.len(), "{path}");
    found
}

/// The rows of a statement that has the numbers up to `count` as `i`.
fn numbered(engine: Engine, count: usize) -> String {
    match engine {
        Engine::Sqlite => format!(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {count}) SELECT"
        ),
        Engine::Postgres => format!("WITH n(i) AS (SELECT generate_series(1, {count})) SELECT"),
    }
}

async fn pages_of_large_rows_end_early_and_have_each_row_one_time(engine: Engine) {
    const COUNT: usize = 60;
    let vendor = Vendor::start(engine).await;
    let text = "x".repeat(60_000);
    let body = json!({"name": "Harbour", "notes": "n"});
    let (status, answer) = vendor.admin(Method::POST, "/customers", body).await;
    assert_eq!(status, StatusCode::CREATED, "{answer}");
    let body = json!({"add": [{"key": "cameras", "quantity": 4}], "note": "n"});
    let (status, answer) = vendor.admin(Method::POST, "/addons", body).await;
    assert_eq!(status, StatusCode::CREATED, "{answer}");
    let numbers = numbered(engine, COUNT);
    let others = "contacts, notes, created_at, updated_at";
    let customers = format!(
        "INSERT INTO customers (id, name, name_folded, name_key, {others}) {numbers} 'cus_' || i, \
         'name ' || i, 'name ' || i, 'name ' || i, {others} FROM customers, n"
    );
    let others = "key_masked, grants, note, created_at, created_by";
    let add_ons = format!(
        "INSERT INTO add_ons (key_hash, {others}) {numbers} 'hash-' || i, {others} FROM add_ons, n"
    );
    for sql in [
        customers,
        add_ons,
        format!("UPDATE customers SET notes = '{text}'"),
        format!("UPDATE add_ons SET note = '{text}'"),
    ] {
        vendor.database.execute(&sql).await;
    }
    let found = paged(&vendor, "/customers?limit=500", "customers", "id").await;
    assert_eq!(found.len(), COUNT + 1);
    let sorted = "/customers?limit=500&sort=createdAt";
    assert_eq!(paged(&vendor, sorted, "customers", "id").await, found);
    let found = paged(&vendor, "/addons?limit=500", "addOns", "id").await;
    assert_eq!(found.len(), COUNT + 1);
    vendor.end().await;
}

async fn large_licenses_are_listed_exported_and_named_by_a_merge(engine: Engine) {
    const COUNT: usize = 950;
    const REVOKED: usize = 120;
    let vendor = Vendor::start(engine).await;
    for customer in ["Harbour", "Museum"] {
        vendor
            .issue(IssueRequest {
                customer: customer.to_owned(),
                ..IssueRequest::of(Tier::Standard)
            })
            .await;
    }
    add_copies(&vendor, engine, COUNT).await;
    let listed = paged(&vendor, "/licenses?limit=500", "licenses", "id").await;
    assert_eq!(listed.len(), COUNT + 2);
    let rows = exported(&vendor, "/licenses/export").await;
    let ids = rows.iter().map(|row| format!("\"{}\"", row["id"]));
    assert_eq!(ids.collect::<BTreeSet<_>>(), listed);

    let theirs = format!(
        "UPDATE licenses SET status = 'revoked', customer_id = (SELECT id FROM customers WHERE name = \
         'Harbour') WHERE id IN (SELECT id FROM licenses WHERE id LIKE 'id-%' ORDER BY id LIMIT \
         {REVOKED})"
    );
    vendor.database.execute(&theirs).await;
    let body = json!({"into": "Museum", "dryRun": true});
    let (status, dry) = vendor
        .admin(Method::POST, "/customers/Harbour/merge", body)
        .await;
    assert_eq!(status, StatusCode::OK, "{dry}");
    assert_eq!(dry["amended"], 1);
    let named = dry["notAmended"].as_array().unwrap();
    let ids: BTreeSet<_> = named.iter().map(|it| it["licenseId"].to_string()).collect();
    assert_eq!((named.len(), ids.len()), (REVOKED, REVOKED));
    assert!(ids.is_subset(&listed));
    vendor.end().await;
}

/// Adds so many copies of Harbour's license, with about as many features as a license can have.
async fn add_copies(vendor: &Vendor, engine: Engine, count: usize) {
    let features: Vec<String> = (0..620).map(|it| format!("f{it:0>59}")).collect();
    let features = Value::from(features);
    let others = "customer, tier, max_cameras, max_users, max_storage_gb, seats, status, \
                  created_at, updated_at, moves, moves_period_days";
    let numbers = numbered(engine, count);
    let copies = format!(
        "INSERT INTO licenses (id, license_key, features, is_plain, {others}) {numbers} 'id-' || i, \
         'key-' || i, '{features}', TRUE, {others} FROM licenses, n WHERE customer = 'Harbour'"
    );
    vendor.database.execute(&copies).await;
}
