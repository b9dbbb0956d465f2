//! Licenses from before there were amendments consist of their first one.

use std::time::Duration;

use chrono::{DateTime, Utc};
use license_core::amendment::{Amendment, Change, PlanVersion, Terms, contents};
use license_core::plan::{self, LicenseEnd, Order, Plan};
use license_server::store::licenses::{self, License, MAX_LISTED, Search};
use license_server::store::page::PageStart;
use license_server::store::{Migrator, Store, amendments};
use license_service::clock::{Clock as _, SystemClock};
use sea_orm::{ConnectionTrait as _, DatabaseConnection, DbBackend};
use sea_orm_migration::MigratorTrait as _;
use serde_json::json;

use super::connect;
use crate::database::{Engine, TestDatabase, on_both_engines};

on_both_engines! {
    every_license_consists_of_its_first_amendment;
}

/// Licenses in a default run; `MIGRATED_LICENSES` changes it.
const MIGRATED_LICENSES: usize = 2_500;
/// Maximum time that a migration may take.
pub(super) const MIGRATION_TIMEOUT: Duration = Duration::from_secs(60);

#[expect(clippy::disallowed_methods, reason = "a test has no config.rs")]
pub(super) fn migrated_licenses() -> usize {
    let number = std::env::var("MIGRATED_LICENSES").ok();
    number.map_or(MIGRATED_LICENSES, |number| number.parse().unwrap())
}

/// Adds licenses of many kinds in one statement.
pub(super) async fn add_licenses(connection: &DatabaseConnection, count: usize) {
    let (numbers, json, timestamp) = match connection.get_database_backend() {
        DbBackend::Postgres => (
            format!("generate_series(1, {count}) AS n(i)"),
            "::json",
            "::timestamp",
        ),
        _ => (
            format!(
                "(WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n \
                 WHERE i < {count}) SELECT i FROM n) AS n"
            ),
            "",
            "",
        ),
    };
    let insert = format!(
        "INSERT INTO licenses (id, license_key, customer, customer_folded, tier, features, \
         max_cameras, max_users, max_storage_gb, seats, moves, moves_period_days, status, \
         expires_at, created_at, updated_at) \
         SELECT 'id-' || i, 'key-' || i, 'Söhne \"' || i || '\"', 'x', 'professional', \
         (CASE i % 3 WHEN 0 THEN '[]' WHEN 1 THEN '[\"z.last\", \"module.map_view\"]' \
         ELSE '[\"module.map_view\"]' END){json}, i % 5 - 1, i % 7 - 1, \
         CAST(i AS BIGINT) * 1000000000000, i % 9 + 1, i % 4, i % 365 + 1, 'active', \
         (CASE i % 2 WHEN 0 THEN '2030-12-31 23:59:59.25' END){timestamp}, \
         '2026-11-24 12:00:00.75', '2026-11-24 12:00:00.75' FROM {numbers}"
    );
    connection.execute_unprepared(&insert).await.unwrap();
}

async fn every_license_consists_of_its_first_amendment(engine: Engine) {
    let database = TestDatabase::new(engine).await;
    let connection = connect(&database).await;
    Migrator::up(&connection, Some(14)).await.unwrap();
    let count = migrated_licenses();
    add_licenses(&connection, count).await;
    connection.close().await.unwrap();

    let begun = SystemClock.running();
    let store = Store::open(&database.url.parse().unwrap()).await.unwrap();
    let took = SystemClock.running() - begun;
    println!("{count} licenses: {took:?}");
    assert!(took < MIGRATION_TIMEOUT, "{took:?}");
    let (db, all) = (store.reader(), Search::default());
    let mut found = Vec::new();
    let mut start = Some(PageStart::default());
    while let Some(from) = start {
        let left = MAX_LISTED - found.len() as u64;
        let page = licenses::list(db, &all, &from, left).await.unwrap();
        let last = page.last_of_more().map(|last| all.cursor(last));
        found.extend(page.rows);
        let last = last.filter(|_| (found.len() as u64) < MAX_LISTED);
        start = last.map(PageStart::After);
    }
    assert!(found.len() == count || found.len() == 10_000);
    for license in found {
        let amendments = amendments::of_license(db, &license.id).await.unwrap();
        check(&store, &license, &amendments).await;
    }
    store.close().await;
    database.drop_database().await;
}

async fn check(store: &Store, license: &License, amendments: &[Amendment]) {
    let at: DateTime<Utc> = "2026-11-24T12:00:00Z".parse().unwrap();
    let [first] = amendments else {
        panic!("{amendments:?}");
    };
    assert_eq!((first.number, &*first.author), (1, "migration"));
    assert_eq!((first.recorded_at, first.effective_at), (at, at));
    assert_eq!((&*license.plan, license.amendment), ("professional@1", 1));
    // Rebuilt from nothing but the amendment, it is the same.
    let blank = License {
        customer: String::new(),
        customer_id: None,
        tier: String::new(),
        plan: String::new(),
        features: Vec::new(),
        max_cameras: 7,
        max_users: 7,
        max_storage_gb: 7,
        seats: 0,
        moves: 7,
        moves_period_days: 0,
        expires_at: None,
        is_plain: false,
        ..license.clone()
    };
    let db = store.reader();
    let whole = licenses::amended(db, blank, amendments, license.created_at).await;
    // The row of a license without dates is the same at all times.
    let whole = License {
        judged_at: None,
        ..whole.unwrap()
    };
    assert_eq!(whole, *license);
    // And a license that is issued now begins with the same changes.
    let issued = Amendment {
        changes: issued(license),
        ..first.clone()
    };
    let of = |amendment: &Amendment| contents(std::slice::from_ref(amendment), at);
    assert_eq!(of(&issued), of(first));
}

/// The changes with which a license like this one is issued.
fn issued(license: &License) -> Vec<Change> {
    let features = license.features.iter().map(|key| json!({"key": key}));
    let counts = [
        ("cameras", license.max_cameras),
        ("users", license.max_users),
        ("storage_gb", license.max_storage_gb),
    ];
    let counts = counts.map(|(key, limit)| match u64::try_from(limit) {
        Ok(number) => json!({"key": key, "quantity": number}),
        Err(_) => json!({"key": key, "quantity": "unlimited"}),
    });
    let plan: Plan = serde_json::from_value(json!({
        "title": "As migrated", "terms": {"seats": 1},
        "entitlements": features.chain(counts).collect::<Vec<_>>(),
    }))
    .unwrap();
    let order = Order {
        customer: license.customer_id.clone().unwrap_or_default(),
        end: LicenseEnd::At(license.expires_at),
        terms: Terms {
            seats: license.seats,
            moves: license.moves,
            moves_period_days: license.moves_period_days,
            ..Terms::default()
        },
        ..Order::default()
    };
    let version = PlanVersion {
        name: license.tier.clone(),
        version: 1,
    };
    plan::issued(version, &plan, order, license.created_at).unwrap()
}
