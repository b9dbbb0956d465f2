//! The four tables are those of version 1.0.0.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::database::{Engine, TestDatabase};
use crate::harness::{HARDWARE_ID, INSTALLATION_ID, KEY, Site};
use crate::program::Program;
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

/// On a slow disk, no table is read before it is created, and none is reported as gone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tables_that_take_long_to_create_are_no_outage() {
    let database = TestDatabase::new(Engine::Postgres).await;
    database
        .execute(
            "CREATE FUNCTION slow() RETURNS event_trigger LANGUAGE plpgsql AS $$ \
             BEGIN PERFORM pg_sleep(0.8); END $$; \
             CREATE EVENT TRIGGER slow ON ddl_command_end WHEN TAG IN ('CREATE TABLE') \
             EXECUTE FUNCTION slow()",
        )
        .await;
    let program = Program::start(&["--database-url", &database.url]).await;
    let mut was_unready = false;
    let mut is_ready = false;
    for _ in 0..600 {
        let readiness = program.json("/readyz").await;
        for path in ["/api/license/attempts", "/api/license/status", "/metrics"] {
            let answer = program.text(path).await;
            assert!(!answer.contains("are gone"), "{path}: {answer}");
        }
        is_ready = readiness["ready"] == true;
        if is_ready {
            break;
        }
        was_unready = true;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(is_ready && was_unready);
    let log = program.log();
    assert!(log.contains("created the missing tables"), "{log}");
    for said in [
        "ERROR",
        "does not exist",
        "are gone",
        "restore",
        "available again",
    ] {
        assert!(!log.contains(said), "{said}: {log}");
    }
    database.drop_database().await;
}
