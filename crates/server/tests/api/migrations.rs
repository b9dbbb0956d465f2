//! Every version of the tables, with data in it, becomes the newest one and
//! keeps its data.

mod checks;
mod first_amendments;
mod former_customers;

use license_server::store::{Migrator, Store};
use license_service::database_url::DatabaseUrl;
use sea_orm::{ConnectionTrait as _, Database, DatabaseConnection, Statement};
use sea_orm_migration::MigratorTrait as _;

use self::checks::{
    check_add_ons, check_customers, check_history, check_license, check_plans, check_searches,
    check_seats, check_signing, check_staff, check_trials, check_wide_ids,
};
use crate::database::{Engine, TestDatabase, on_both_engines};

macro_rules! samples {
    ($($name:literal),* $(,)?) => {
        [$(($name, include_str!(concat!("../migrations/", $name, ".sql")))),*]
    };
}

/// Sample rows of each migration, in order. Databases record these names.
const SAMPLES: [(&str, &str); 32] = samples![
    "m0001_licenses_and_seats",
    "m0002_suspicions",
    "m0003_audit_and_history",
    "m0004_leases_and_moves",
    "m0005_signing_clock",
    "m0006_lost_numbers",
    "m0007_console_sessions",
    "m0008_former_installations",
    "m0009_request_files",
    "m0010_key_record",
    "m0011_regression_times",
    "m0012_coverage",
    "m0013_folded_names",
    "m0014_commit_proofs",
    "m0015_amendments",
    "m0016_plans",
    "m0017_admin_tokens",
    "m0018_customers",
    "m0019_judged_licenses",
    "m0020_excused_amendments",
    "m0021_reference_keys",
    "m0022_license_status",
    "m0023_unknown_usage",
    "m0024_bulk_lines",
    "m0025_first_activation",
    "m0026_add_ons",
    "m0027_trials",
    "m0028_trial_secrets",
    "m0029_locks",
    "m0030_more_locks",
    "m0031_idempotency_keys",
    "m0032_installation_keys",
];

on_both_engines! {
    sample_data_of_every_version_survives_all_later_migrations;
    two_processes_that_start_together_make_the_tables_once;
    another_program_on_the_database_keeps_its_migrations;
    a_table_of_migrations_that_is_ours_gets_its_own_name;
}

async fn another_program_on_the_database_keeps_its_migrations(engine: Engine) {
    let database = TestDatabase::new(engine).await;
    let foreign = "CREATE TABLE seaql_migrations (version VARCHAR(255) PRIMARY KEY, \
         applied_at BIGINT NOT NULL); \
         INSERT INTO seaql_migrations VALUES ('m20220101_000001_create_table', 1)";
    let connection = connect(&database).await;
    connection.execute_unprepared(foreign).await.unwrap();
    let store = Store::open(&database.url.parse().unwrap()).await.unwrap();
    store.check_writable().await.unwrap();
    assert_eq!(versions(&connection, "seaql_migrations").await, 1);
    let ours = versions(&connection, "license_server_migrations").await;
    assert_eq!(ours, SAMPLES.len());
    store.close().await;
    database.drop_database().await;
}

async fn a_table_of_migrations_that_is_ours_gets_its_own_name(engine: Engine) {
    let database = TestDatabase::new(engine).await;
    let store = Store::open(&database.url.parse().unwrap()).await.unwrap();
    store.close().await;
    let connection = connect(&database).await;
    let rename = "ALTER TABLE license_server_migrations RENAME TO seaql_migrations";
    connection.execute_unprepared(rename).await.unwrap();
    let (last, _) = SAMPLES[SAMPLES.len() - 1];
    let remove = format!(
        "DELETE FROM seaql_migrations WHERE version = '{last}'; \
         ALTER TABLE seats DROP COLUMN bound_key; ALTER TABLE seats DROP COLUMN former_key; ALTER TABLE seats DROP COLUMN document_hash; \
         ALTER TABLE seats DROP COLUMN activated_seq; \
         ALTER TABLE licenses DROP COLUMN requires_proof"
    );
    connection.execute_unprepared(&remove).await.unwrap();
    let store = Store::open_existing(&database.url.parse().unwrap()).await;
    let store = store.unwrap();
    let ours = versions(&connection, "license_server_migrations").await;
    assert_eq!(ours, SAMPLES.len());
    store.close().await;
    database.drop_database().await;
}

async fn connect(database: &TestDatabase) -> DatabaseConnection {
    let create = if database.url.starts_with("sqlite:") {
        "?mode=rwc"
    } else {
        ""
    };
    Database::connect(format!("{}{create}", database.url))
        .await
        .unwrap()
}

async fn versions(connection: &DatabaseConnection, table: &str) -> usize {
    let select = format!("SELECT version FROM {table}");
    let statement = Statement::from_string(connection.get_database_backend(), select);
    connection.query_all_raw(statement).await.unwrap().len()
}

async fn sample_data_of_every_version_survives_all_later_migrations(engine: Engine) {
    let migrations = Migrator::migrations();
    let names: Vec<_> = migrations.iter().map(|it| it.name()).collect();
    assert_eq!(names, SAMPLES.map(|(name, _)| name));
    let database = TestDatabase::new(engine).await;
    let url = if engine == Engine::Sqlite {
        format!("{}?mode=rwc", database.url)
    } else {
        database.url.clone()
    };
    let connection = Database::connect(&url).await.unwrap();
    for (_, sample) in SAMPLES {
        Migrator::up(&connection, Some(1)).await.unwrap();
        connection.execute_unprepared(sample).await.unwrap();
    }
    connection.close().await.unwrap();

    let store = Store::open(&database.url.parse().unwrap()).await.unwrap();
    let license = check_license(&store).await;
    check_plans(&store, &license).await;
    let seats = check_seats(&store, &license).await;
    let seen = seats.iter().map(|seat| seat.last_seen_at).max().unwrap();
    check_history(&store, &license).await;
    check_staff(&store).await;
    check_add_ons(&store, &license).await;
    check_trials(&store, &license).await;
    check_customers(&store, &database, &license).await;
    check_signing(&store, seen).await;
    check_searches(&store, &database).await;
    check_wide_ids(engine, &store, &database).await;
    store.close().await;
    database.drop_database().await;
}

async fn two_processes_that_start_together_make_the_tables_once(engine: Engine) {
    let database = TestDatabase::new(engine).await;
    let url: DatabaseUrl = database.url.parse().unwrap();
    let opening = (0..8).map(|_| {
        let url = url.clone();
        tokio::spawn(async move { Store::open(&url).await })
    });
    for store in opening.collect::<Vec<_>>() {
        let store = store.await.unwrap().unwrap();
        store.check_writable().await.unwrap();
        store.close().await;
    }
    database.drop_database().await;
}
