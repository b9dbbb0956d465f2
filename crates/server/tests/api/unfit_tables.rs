//! Tables that do not fit the program, as after a bulk migration, or a restore in which indexes
//! failed: everything can be read, and no change succeeds.

use std::time::Duration;

use license_server::licensing::catalogue::Tier;
use license_server::licensing::issue::IssueRequest;
use license_server::store::Store;
use license_service::database::Timeouts;
use reqwest::StatusCode;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::database::{Engine, TestDatabase, on_both_engines};
use crate::harness::{INSTALLATION, Vendor, system_info};

on_both_engines! {
    new_tables_fit;
    tables_of_another_program_are_named_before_anything_is_created;
    one_missing_primary_key_is_named_and_its_repair_helps;
    a_server_on_tables_without_keys_is_not_ready_and_says_so_to_sites;
}

/// The indexes of `tables`, as the server names them.
fn repairs(said: &str) -> Vec<&str> {
    let statements = said.split("; ").flat_map(|part| part.split(": "));
    let is_repair = |it: &&str| it.starts_with("CREATE UNIQUE INDEX");
    statements.filter(is_repair).collect()
}

/// Copies a table as other programs do: without keys, indexes and constraints.
async fn strip(database: &TestDatabase, table: &str) {
    let statements = format!(
        "CREATE TABLE stripped AS SELECT * FROM {table}; DROP TABLE {table}; \
         ALTER TABLE stripped RENAME TO {table}"
    );
    database.execute(&statements).await;
}

async fn readiness(vendor: &Vendor) -> (StatusCode, Value) {
    let answer = vendor.http.get(format!("{}/readyz", vendor.url)).send();
    let answer = answer.await.unwrap();
    (answer.status(), answer.json().await.unwrap())
}

/// Asks until the answer is this one: callers within a second share one.
async fn until(vendor: &Vendor, is_expected: impl Fn(StatusCode, &Value) -> bool) -> Value {
    let start = Instant::now();
    loop {
        let (status, body) = readiness(vendor).await;
        if is_expected(status, &body) {
            return body;
        }
        assert!(start.elapsed() < Duration::from_secs(10), "{body}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn activation(key: &str) -> Value {
    json!({"licenseKey": key, "hardwareId": "m", "installationId": "",
           "installationName": "Test", "installationVersion": "1.0.0"})
}

async fn new_tables_fit(engine: Engine) {
    let vendor = Vendor::start(engine).await;
    let database = vendor.app.store.reader();
    database.check_schema().await.unwrap();
    // It does see what is missing.
    strip(&vendor.database, "calls").await;
    database.check_schema().await.unwrap_err();
    vendor.end().await;
}

async fn one_missing_primary_key_is_named_and_its_repair_helps(engine: Engine) {
    let vendor = Vendor::start(engine).await;
    let key = vendor.issue(IssueRequest::of(Tier::Standard)).await;
    assert_eq!(vendor.activate(&key, "m").await.word(), "yes");
    assert_eq!(readiness(&vendor).await.0, StatusCode::OK);

    strip(&vendor.database, "usage_days").await;
    let usage = json!({"camerasInUse": 3, "usersActive": 2, "storageUsedGb": 100});
    let body = json!({"licenseKey": key, "hardwareId": "m", "installationId": INSTALLATION,
                      "usageMetrics": usage, "systemInfo": system_info()});
    let (status, answer) = vendor.post("heartbeat", body).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{answer}");
    assert_eq!(answer["error"]["code"], "unavailable");
    let body = until(&vendor, |status, _| status != StatusCode::OK).await;
    let said = body["database"].as_str().unwrap().to_owned();
    let index = "CREATE UNIQUE INDEX usage_days_license_id_hardware_id_day ON usage_days \
                 (license_id, hardware_id, day)";
    assert_eq!(repairs(&said), [index], "{said}");

    vendor.database.execute(index).await;
    let body = until(&vendor, |status, _| status == StatusCode::OK).await;
    assert_eq!(body["database"], "ok");
    assert_eq!(vendor.heartbeat(&key, "m", 3).await.word(), "yes");
    vendor.end().await;
}

async fn a_server_on_tables_without_keys_is_not_ready_and_says_so_to_sites(engine: Engine) {
    let vendor = Vendor::start(engine).await;
    let key = vendor.issue(IssueRequest::of(Tier::Standard)).await;
    for table in ["signing_clock", "coverage", "commit_proofs", "key_record"] {
        strip(&vendor.database, table).await;
    }
    let vendor = vendor.restarted().await;
    let (status, body) = readiness(&vendor).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{body}");
    let said = body["database"].as_str().unwrap().to_owned();
    for table in ["signing_clock", "coverage", "commit_proofs", "key_record"] {
        let index = format!("CREATE UNIQUE INDEX {table}_id ON {table} (id)");
        assert!(repairs(&said).contains(&&*index), "{table}: {said}");
    }
    // What is recorded with the comparison cannot be stored.
    let is_compared = |body: &Value| body["clock"] == "ok";
    until(&vendor, |_, body| !is_compared(body)).await;
    let (status, answer) = vendor.post("activate", activation(&key)).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{answer}");
    assert_eq!(answer["error"]["code"], "unavailable");

    for index in repairs(&said) {
        vendor.database.execute(index).await;
    }
    until(&vendor, |status, body| {
        status == StatusCode::OK && is_compared(body)
    })
    .await;
    assert_eq!(vendor.activate(&key, "m").await.word(), "yes");
    vendor.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_column_that_must_be_filled_is_named_unless_a_trigger_fills_it() {
    let vendor = Vendor::start(Engine::Postgres).await;
    let key = vendor.issue(IssueRequest::of(Tier::Standard)).await;
    let database = &vendor.database;
    let add = "ALTER TABLE seats ADD COLUMN tenant int; \
               ALTER TABLE seats ALTER COLUMN tenant SET NOT NULL";
    database.execute(add).await;
    let error = vendor.app.store.reader().check_schema().await.unwrap_err();
    assert!(
        error.to_string().ends_with("does not fill: seats.tenant"),
        "{error}"
    );
    let fill = "CREATE FUNCTION fill() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
                NEW.tenant := FILLED; RETURN NEW; END $$; \
                CREATE TRIGGER fill BEFORE INSERT ON seats FOR EACH ROW EXECUTE FUNCTION fill()";
    database.execute(&fill.replace("FILLED", "NULL")).await;
    vendor.app.store.reader().check_schema().await.unwrap();

    // The database's own words, without the row.
    let (status, _) = vendor.post("activate", activation(&key)).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    let body = until(&vendor, |status, _| status != StatusCode::OK).await;
    let said = body["database"].as_str().unwrap();
    assert!(said.contains("null value in column \"tenant\""), "{said}");
    assert!(!said.contains("Failing row"), "{said}");
    let filled = "CREATE OR REPLACE FUNCTION fill() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
                  NEW.tenant := 7; RETURN NEW; END $$";
    database.execute(filled).await;
    assert_eq!(vendor.activate(&key, "m").await.word(), "yes");
    vendor.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn permissions_that_are_missing_are_named_and_their_grants_help() {
    let vendor = Vendor::start(Engine::Postgres).await;
    let name = vendor.database.url.rsplit('/').next().unwrap().to_owned();
    let role = format!("granted_{name}");
    // As a DBA grants them, who forgets the sequences, and what is created later.
    let grant = format!(
        "CREATE ROLE {role} LOGIN; \
         GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {role}; \
         REVOKE INSERT, DELETE ON seats FROM {role}; REVOKE ALL ON customers FROM {role}; \
         REVOKE UPDATE, DELETE ON audit_log FROM {role}; \
         REVOKE UPDATE ON licenses FROM {role}; GRANT UPDATE (status) ON licenses TO {role}"
    );
    vendor.database.execute(&grant).await;
    let url = vendor
        .database
        .url
        .replace("postgres@", &format!("{role}@"));
    let store = Store::open(&url.parse().unwrap()).await.unwrap();
    let error = store.reader().check_schema().await.unwrap_err().to_string();
    let (_, grants) = error.split_once("does not have: ").unwrap();
    let grants: Vec<&str> = grants.split("; ").collect();
    for expected in [
        "GRANT INSERT, DELETE ON seats",
        "GRANT SELECT, INSERT, UPDATE, DELETE ON customers",
        "GRANT USAGE ON SEQUENCE public.audit_log_id_seq",
    ] {
        assert!(grants.contains(&expected), "{expected}: {error}");
    }
    // A log may be append-only, and some columns may be enough.
    let others = ["ON audit_log", "ON licenses"];
    let is_other = |grant: &&&str| others.iter().any(|it| grant.ends_with(it));
    assert_eq!(grants.iter().find(is_other), None, "{error}");
    for grant in grants {
        vendor.database.execute(&format!("{grant} TO {role}")).await;
    }
    store.reader().check_schema().await.unwrap();
    store.close().await;
    let clean = format!("DROP OWNED BY {role}; DROP ROLE {role}");
    vendor.database.execute(&clean).await;
    vendor.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_connection_limit_that_is_exhausted_is_named() {
    let database = TestDatabase::new(Engine::Postgres).await;
    let name = database.url.rsplit('/').next().unwrap();
    let role = format!("limited_{name}");
    let create = format!("CREATE ROLE {role} LOGIN CONNECTION LIMIT 0");
    database.execute(&create).await;
    let url = database.url.replace("postgres@", &format!("{role}@"));
    let url = url.parse().unwrap();
    let refused = async || {
        let opened = Store::open_within(&url, Timeouts::default()).await;
        opened.unwrap_err().to_string()
    };
    let error = refused().await;
    assert!(
        error.contains("(ALTER ROLE name CONNECTION LIMIT"),
        "{error}"
    );
    let limit =
        format!("ALTER ROLE {role} CONNECTION LIMIT -1; ALTER DATABASE {name} CONNECTION LIMIT 0");
    database.execute(&limit).await;
    let error = refused().await;
    assert!(
        error.contains("(ALTER DATABASE name CONNECTION LIMIT"),
        "{error}"
    );
    assert!(!error.contains("max_connections"), "{error}");
    database.execute(&format!("DROP ROLE {role}")).await;
    database.drop_database().await;
}

async fn tables_of_another_program_are_named_before_anything_is_created(engine: Engine) {
    let database = TestDatabase::new(engine).await;
    database
        .execute("CREATE TABLE customers (email TEXT); CREATE TABLE plans (price INT)")
        .await;
    let error = Store::open(&database.url.parse().unwrap()).await.err();
    let said = error.unwrap().to_string();
    for part in [
        "customers, plans.",
        "a separate database",
        "-csearch_path=NAME",
    ] {
        assert!(said.contains(part), "{said}");
    }
    assert!(
        !said.contains("DATABASE_URL, and that the database is running"),
        "{said}"
    );
    database
        .execute("CREATE TABLE licenses (id TEXT); DROP TABLE customers; DROP TABLE plans")
        .await;
    database.execute("DROP TABLE licenses").await;
    let store = Store::open(&database.url.parse().unwrap()).await.unwrap();
    store.close().await;
    database.drop_database().await;
}
