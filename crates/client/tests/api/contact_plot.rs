//! The plot of the last thirty days is counted by the database.

use license_service::database::Timeouts;
use std::time::Duration;

use futures_util::future::join_all;
use license_client::store::Store;
use license_client::store::local_license_validation_attempts::{
    count_by_day, newest, newest_failures,
};
use reqwest::StatusCode;
use tokio::time::Instant;

use crate::database::{Engine, on_both_engines};
use crate::harness::{KEY, Site};
use crate::scripted_cloud::ScriptedCloud;

on_both_engines! {
    ten_thousand_lines_are_counted_by_the_database_and_refused_keys_are_no_lost_contact;
}

/// 10,000 lines, 250 on each of 40 days. The first one, which may be removed for a later line, is
/// older than what the plot shows.
fn lines(engine: Engine) -> String {
    let (numbers, at) = match engine {
        Engine::Sqlite => (
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 10000)",
            "datetime('2026-11-23 20:00:00', '-' || ((i + 33) % 40) || ' days')",
        ),
        Engine::Postgres => (
            "WITH n(i) AS (SELECT generate_series(1, 10000))",
            "TIMESTAMP '2026-11-23 20:00:00' - ((i + 33) % 40) * INTERVAL '1 day'",
        ),
    };
    format!(
        "INSERT INTO local_license_validation_attempts \
         (license_key, result, error_message, hardware_id, attempted_at) {numbers} \
         SELECT 'key', CASE i % 4 WHEN 0 THEN 'success' WHEN 1 THEN 'failed' WHEN 2 THEN 'offline' \
         ELSE 'denied' END, 'cause ' || i, 'machine', {at} FROM n"
    )
}

async fn ten_thousand_lines_are_counted_by_the_database_and_refused_keys_are_no_lost_contact(
    engine: Engine,
) {
    let cloud = ScriptedCloud::start().await;
    let site = Site::start(engine, &cloud.url, &[]).await;
    site.database.execute(&lines(engine)).await;
    // Reloads the log.
    site.activate(KEY).await;
    let start = Instant::now();
    let pages = join_all((0..16).map(|_| site.get("/"))).await;
    println!(
        "{engine:?}: 16 viewers have their pages after {:?}",
        start.elapsed()
    );
    for (status, page) in pages {
        assert_eq!(status, StatusCode::OK);
        let page = page.as_str().unwrap().to_owned();
        for expected in [
            "confirmed (2001)",
            "no contact (1750)",
            "denied (2000)",
            "failed activations (1750)",
            "cause 9995",
        ] {
            assert!(page.contains(expected), "{expected}: {page}");
        }
        assert_eq!(
            page.matches("<td>cause ").count(),
            5,
            "the newest failures alone"
        );
    }

    let store = Store::new(&site.database.url.parse().unwrap(), Timeouts::default()).unwrap();
    let (db, from) = (store.db(), "2026-10-25T00:00:00Z".parse().unwrap());
    let start = Instant::now();
    let whole = newest(&db).await.unwrap();
    let before = start.elapsed();
    let start = Instant::now();
    let days = count_by_day(&db, from, 30).await.unwrap();
    let failures = newest_failures(&db, from, 5).await.unwrap();
    let after = start.elapsed();
    println!(
        "{engine:?}: {} lines {before:?}, counted {after:?}",
        whole.len()
    );
    assert_eq!((days.len(), failures.len()), (30, 5));
    assert!(days.iter().all(|day| day.all >= 250));
    assert!(after < before + Duration::from_secs(1), "{after:?}");
    store.close().await;
    site.end().await;
}

/// A line that could not be read whole, as another program may write it, is counted.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_line_is_read_to_be_counted() {
    let cloud = ScriptedCloud::start().await;
    let site = Site::start(Engine::Sqlite, &cloud.url, &[]).await;
    site.database
        .execute(
            "INSERT INTO local_license_validation_attempts (id, result, attempted_at) \
             VALUES (3000000000, 'success', '2026-11-23 20:00:00')",
        )
        .await;
    let (_, page) = site.get("/").await;
    assert!(page.as_str().unwrap().contains("confirmed (1)"), "{page}");
    site.end().await;
}
