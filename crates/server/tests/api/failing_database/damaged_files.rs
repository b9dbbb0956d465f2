//! Files of the database are damaged or missing, and only some statements need them.

use std::fs::File;
use std::os::unix::fs::FileExt as _;

use license_server::licensing::catalogue::Tier;
use license_server::licensing::issue::IssueRequest;
use reqwest::StatusCode;
use sea_orm::ConnectionTrait as _;
use serde_json::{Value, json};

use super::readiness;
use crate::database::Engine;
use crate::harness::{ADMIN_TOKEN, Vendor};

/// SQLite's default.
const PAGE_BYTES: usize = 4096;

/// The readiness that administrators see.
async fn explained(vendor: &Vendor) -> String {
    let asking = vendor.http.get(format!("{}/readyz", vendor.url));
    let answer = asking.bearer_auth(ADMIN_TOKEN).send().await.unwrap();
    let answer: Value = answer.json().await.unwrap();
    answer["database"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_whose_licenses_cannot_be_read_is_not_ready() {
    for (code, message, advice) in [
        (
            "XX001",
            "invalid page in block 0 of relation base/1/2",
            "restore the database",
        ),
        (
            "58P01",
            "could not open file \"base/1/2\": No such file or directory",
            "see PostgreSQL's log, and restore the database from a backup",
        ),
    ] {
        let vendor = Vendor::start(Engine::Postgres).await;
        assert_eq!(readiness(&vendor).await.0, StatusCode::OK);
        let reading =
            format!("DO $$ BEGIN RAISE EXCEPTION '{message}' USING ERRCODE = '{code}'; END $$");
        let store = &vendor.app.store;
        store
            .reader()
            .execute_unprepared(&reading)
            .await
            .unwrap_err();
        // Other statements succeed.
        store.reader().execute_unprepared("SELECT 1").await.unwrap();
        store.check_writable().await.unwrap();
        let (status, body) = readiness(&vendor).await;
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{body}");
        assert_eq!(body["database"], "is damaged");
        let explained = explained(&vendor).await;
        assert!(explained.starts_with("is damaged: "), "{explained}");
        assert!(explained.contains(message), "{explained}");
        assert!(explained.contains(advice), "{explained}");
        vendor.end().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_page_of_an_sqlite_file_makes_the_server_not_ready() {
    let vendor = Vendor::start(Engine::Sqlite).await;
    let key = vendor.issue(IssueRequest::of(Tier::Standard)).await;
    let page = "SELECT CAST(rootpage AS TEXT) FROM sqlite_schema WHERE name = 'licenses'";
    let page = vendor.database.texts(page).await[0].clone().unwrap();
    let page: u64 = page.parse().unwrap();
    let path = vendor
        .database
        .url
        .strip_prefix("sqlite:")
        .unwrap()
        .to_owned();
    let vendor = vendor.restarted_after(|| {
        let file = File::options().write(true).open(path).unwrap();
        file.write_all_at(&[0xff; PAGE_BYTES], (page - 1) * PAGE_BYTES as u64)
            .unwrap();
    });
    let vendor = vendor.await;
    let body = json!({"licenseKey": key, "hardwareId": "m"});
    let (status, answer) = vendor.post("validate", body).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{answer}");
    let (status, body) = readiness(&vendor).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{body}");
    assert_eq!(body["database"], "is damaged");
    let explained = explained(&vendor).await;
    assert!(
        explained.contains("Recovering a damaged SQLite file"),
        "{explained}"
    );
    vendor.stop().await;
}
