//! The four tables are those of version 1.0.0.

use std::collections::BTreeSet;

use crate::database::{Engine, TestDatabase};
use crate::harness::{HARDWARE_ID, INSTALLATION_ID, KEY, Site};
use crate::scripted_cloud::ScriptedCloud;

const COLUMNS: &str = "SELECT concat_ws(' ', table_name, ordinal_position, column_name, data_type, \
     character_maximum_length, is_nullable, column_default) \
     FROM information_schema.columns WHERE table_schema = 'public'";
const INDEXES: &str = "SELECT indexdef FROM pg_indexes WHERE schemaname = 'public'";

async fn set(database: &TestDatabase, sql: &str) -> BTreeSet<String> {
    let texts = database.texts(sql).await;
    texts.into_iter().flatten().collect()
}

/// The recorded dump, without what names its owner or the dump itself.
fn recorded_schema() -> String {
    include_str!("../fixtures/contract/schema.sql")
        .lines()
        .filter(|line| !line.contains(" OWNER TO ") && !line.contains("search_path"))
        .collect::<Vec<_>>()
        .join("\n")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_postgres_the_tables_equal_the_recorded_ones() {
    let cloud = ScriptedCloud::start().await;
    let site = Site::start(Engine::Postgres, &cloud.url, &[]).await;
    let recorded = TestDatabase::new(Engine::Postgres).await;
    recorded.execute(&recorded_schema()).await;
    let (columns, indexes) = (set(&recorded, COLUMNS).await, set(&recorded, INDEXES).await);
    assert_eq!(columns.len(), 28);
    assert_eq!(set(&site.database, COLUMNS).await, columns);
    assert_eq!(set(&site.database, INDEXES).await, indexes);
    recorded.drop_database().await;
    site.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_license_of_the_python_service_is_adopted() {
    let cloud = ScriptedCloud::start().await;
    let database = TestDatabase::new(Engine::Postgres).await;
    let data = include_str!("../fixtures/contract/activated-database.sql");
    let data = data.replace(
        "SELECT pg_catalog.set_config('search_path', '', false);",
        "",
    );
    database.execute(&recorded_schema()).await;
    database.execute(&data).await;
    let site = Site::start_on(database, &cloud.url, &[]).await;
    site.until("the adopted license is confirmed", async || {
        site.standing().await == "active"
    })
    .await;
    let status = site.status().await;
    assert_eq!(status["licenseKey"], KEY);
    assert!(site.is_available("module.map_view").await);
    assert_eq!(
        cloud.arrived().len(),
        1,
        "validated immediately, and only one time"
    );
    let (_, health) = site.get("/health").await;
    assert_eq!(health["installationId"], INSTALLATION_ID);
    assert_eq!(health["hardwareId"], HARDWARE_ID);
    site.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_sqlite_there_are_four_tables_and_no_more() {
    let cloud = ScriptedCloud::start().await;
    let site = Site::start(Engine::Sqlite, &cloud.url, &[]).await;
    site.activate(KEY).await;
    let tables = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'";
    let expected = [
        "local_feature_flags",
        "local_license_cache",
        "local_license_validation_attempts",
        "system_config",
    ];
    let found = set(&site.database, tables).await;
    assert!(found.iter().map(String::as_str).eq(expected), "{found:?}");
    site.end().await;
}
