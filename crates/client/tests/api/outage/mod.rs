//! The database is away, slow, read-only or full of others: checks and status
//! are answered from memory, and what could not be written is written later.

mod connections;
mod damage;
mod memory;

use std::time::Duration;

use license_service::database::Timeouts;
use reqwest::StatusCode;
use tokio::time::Instant;

use crate::database::{Engine, TestDatabase};
use crate::database_gate::{Gate, Way};
use crate::harness::Site;
use crate::scripted_cloud::ScriptedCloud;

/// A fifth of the real ones.
fn short() -> Timeouts {
    let real = Timeouts::default();
    Timeouts {
        wait: real.wait / 5,
        ping: real.ping / 5,
        statement: real.statement / 5,
        transaction: real.transaction / 5,
        check: real.check / 4,
        starved: real.starved / 5,
        ..real
    }
}

async fn site_behind_gate(cloud: &ScriptedCloud, flags: &[&str]) -> (Site, Gate, TestDatabase) {
    let direct = TestDatabase::new(Engine::Postgres).await;
    let gate = Gate::before(&direct, Way::Open).await;
    let through = TestDatabase::same_as(&gate.database);
    let site = Site::start_on(through, &cloud.url, flags).await;
    (site, gate, direct)
}

/// Checks and status are answered immediately.
async fn answers_from_memory(site: &Site) {
    let start = Instant::now();
    for _ in 0..10 {
        assert!(site.is_available("module.map_view").await);
        assert_eq!(site.get("/livez").await.0, StatusCode::OK);
        assert_eq!(site.status().await["hasLicense"], true);
    }
    let each = start.elapsed() / 30;
    assert!(each < Duration::from_millis(100), "{each:?}");
}

async fn ready(site: &Site) -> bool {
    site.get("/readyz").await.0 == StatusCode::OK
}

async fn until_ready(site: &Site) {
    site.until("the service is ready", async || ready(site).await)
        .await;
}

async fn rows(database: &TestDatabase, sql: &str) -> Vec<String> {
    database.texts(sql).await.into_iter().flatten().collect()
}

const RESULTS: &str = "SELECT result FROM local_license_validation_attempts ORDER BY id";
const GRACE: &str = "SELECT grace_period_started_at::text FROM local_license_cache";
