//! Where PostgreSQL finds the tables, and what else it would find there.

use std::process::Command;

use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::PROGRAM;
use crate::database::{Engine, TestDatabase};
use crate::harness::Site;
use crate::traps;
use crate::vendor::Vendor;

/// Everything that a License Client reads and writes.
async fn live(site: &mut Site, vendor: &Vendor) {
    let key = vendor.issue_professional().await;
    let (status, answer) = site.activate(&key).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    site.validate().await;
    let switch = json!({"systemEnabled": false});
    let (status, answer) = site
        .put("/api/license/features/module.map_view", switch)
        .await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    let (status, answer) = site.post("/api/license/heartbeat", None).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    let (_, document) = site.get("/openapi.json").await;
    let paths = document["paths"].as_object().unwrap().iter();
    let read = paths.filter(|(path, methods)| {
        methods.get("get").is_some() && !path.contains('{') && !path.contains("events")
    });
    for (path, _) in read {
        let answer = site.http.get(format!("{}{path}", site.url)).send().await;
        let answer = answer.unwrap();
        let (status, body) = (answer.status(), answer.text().await);
        // The gateway's question names no feature.
        let is_forbidden = status == StatusCode::FORBIDDEN && path.contains("authorize");
        assert!(is_forbidden || status == StatusCode::OK, "{path}: {body:?}");
    }
    site.restart().await;
    assert_eq!(site.standing().await, "active");
    let (status, answer) = site.post("/api/license/deactivate", None).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn operators_and_functions_of_other_database_users_are_not_called() {
    let of_site = TestDatabase::new(Engine::Postgres).await;
    let of_vendor = TestDatabase::new(Engine::Postgres).await;
    traps::set(&of_site).await;
    traps::set(&of_vendor).await;
    let vendor = Vendor::start_on(&of_vendor).await;
    let keys = vendor.trusted_keys();
    let flags = ["--license-trusted-keys", keys.as_str()];
    let mut site = Site::start_on(of_site, &vendor.url, &flags).await;
    live(&mut site, &vendor).await;
    assert_eq!(traps::sprung(&site.database).await, [""; 0]);
    assert_eq!(traps::sprung(&of_vendor).await, [""; 0]);
    traps::remove(&site.database).await;
    traps::remove(&of_vendor).await;
    site.end().await;
    drop(vendor);
    of_vendor.drop_database().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_doctor_names_who_may_create_objects_in_a_schema_and_how_to_revoke_it() {
    let vendor = Vendor::start().await;
    let database = TestDatabase::new(Engine::Postgres).await;
    let site = Site::start_on(database, &vendor.url, &[]).await;
    let user = traps::user(&site.database);
    let revoke = "REVOKE CREATE ON SCHEMA public FROM PUBLIC";
    let allow = format!("CREATE ROLE {user}; GRANT CREATE ON SCHEMA public TO {user}, PUBLIC");
    for (change, expected) in [
        (revoke.to_owned(), None),
        (allow, Some(format!("{revoke}, {user}"))),
    ] {
        site.database.execute(&change).await;
        // The service would answer the next few seconds with the same findings.
        let mut command = Command::new(PROGRAM);
        command.args(["doctor", "--json", "--url", "http://127.0.0.1:1"]);
        command.env("DATABASE_URL", &site.database.url);
        let output = tokio::task::spawn_blocking(move || command.output().unwrap());
        let findings: Vec<Value> = serde_json::from_slice(&output.await.unwrap().stdout).unwrap();
        let finding = findings.iter().find(|it| it["what"] == "database schemas");
        let advice = finding.map(|it| it["advice"].as_str().unwrap().to_owned());
        assert_eq!(advice, expected, "{finding:?}");
    }
    traps::remove(&site.database).await;
    site.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tables_are_created_and_found_where_the_search_path_says() {
    let vendor = Vendor::start().await;
    let mut database = TestDatabase::new(Engine::Postgres).await;
    database.execute("CREATE SCHEMA vms").await;
    database.url += "?options=-csearch_path%3Dvms,public";
    let mut site = Site::start_on(database, &vendor.url, &[]).await;
    live(&mut site, &vendor).await;
    let schemas = "SELECT DISTINCT schemaname::text FROM pg_tables \
                   WHERE tablename IN ('system_config', 'local_license_cache')";
    let expected = [Some("vms".to_owned())];
    assert_eq!(site.database.texts(schemas).await, expected);
    // A table that is moved is found again.
    let move_it = "ALTER TABLE vms.system_config SET SCHEMA public";
    site.database.execute(move_it).await;
    let key = vendor.issue_professional().await;
    site.until("the table is found", async || {
        site.activate(&key).await.0 == StatusCode::OK
    })
    .await;
    live(&mut site, &vendor).await;
    let tables = "SELECT count(*)::text FROM pg_tables WHERE tablename = 'system_config'";
    assert_eq!(site.database.texts(tables).await, [Some("1".to_owned())]);
    site.end().await;
}
