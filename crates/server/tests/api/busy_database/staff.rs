//! The queries of the vendor's staff do not delay sites.

use std::time::Duration;

use futures_util::future::join_all;
use reqwest::StatusCode;
use sea_orm::{ConnectionTrait as _, TransactionTrait as _};
use tokio::time::Instant;

use super::{answered, license_of, validate};
use crate::database::{Engine, on_both_engines};
use crate::harness::{ADMIN_TOKEN, Vendor};

on_both_engines! {
    sites_are_answered_while_sixty_connections_evaluate_the_fleet;
}

/// The outcome of a query: the status, and how many seconds to wait.
async fn ask(vendor: &Vendor, query: &str) -> (StatusCode, Option<u64>) {
    let url = format!("{}/api/admin/installations?{query}", vendor.url);
    let answer = vendor.http.get(url).bearer_auth(ADMIN_TOKEN).send();
    let answer = answer.await.unwrap();
    let wait = answer.headers().get("retry-after");
    let wait = wait.map(|wait| wait.to_str().unwrap().parse().unwrap());
    let status = answer.status();
    answer.bytes().await.unwrap();
    (status, wait)
}

async fn sites_are_answered_while_sixty_connections_evaluate_the_fleet(engine: Engine) {
    const INSTALLATIONS: u32 = 4000;
    let vendor = Vendor::start(engine).await;
    let key = license_of(&vendor, 1).await;
    let large = license_of(&vendor, 1).await;
    let numbers = match engine {
        Engine::Postgres => format!("SELECT generate_series(1, {INSTALLATIONS}) AS n"),
        Engine::Sqlite => format!(
            "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c \
             WHERE n < {INSTALLATIONS}) SELECT n FROM c"
        ),
    };
    let columns = "license_id, installation_id, installation_name, installation_name_folded, \
                   installation_version, activated_at, last_seen_at, last_seq, answered_seq, \
                   behind, says_seq, acknowledged_seq";
    let insert = format!(
        "INSERT INTO seats (hardware_id, {columns}) SELECT 'n-' || n, {columns} FROM seats, \
         ({numbers}) AS numbers WHERE license_id = \
         (SELECT id FROM licenses WHERE license_key = '{large}')"
    );
    vendor.database.execute(&insert).await;
    let staff = join_all((0..60).map(async |number: usize| {
        // Half of them ask for the same.
        let query = match number % 2 {
            0 => "overLimit=true".to_owned(),
            _ => format!("installationVersion=1.{number}"),
        };
        ask(&vendor, &query).await
    }));
    let sites = async {
        for _ in 0..20 {
            let start = Instant::now();
            assert_eq!(validate(&vendor, &key, "machine-0").await, answered());
            assert!(
                start.elapsed() < Duration::from_secs(4),
                "{:?}",
                start.elapsed()
            );
        }
    };
    let (staff, ()) = tokio::join!(staff, sites);
    let number_of = |outcome| staff.iter().filter(|it| **it == outcome).count();
    let found = number_of((StatusCode::OK, None));
    let busy = number_of((StatusCode::SERVICE_UNAVAILABLE, Some(5)));
    assert_eq!(found + busy, 60, "{staff:?}");
    // One evaluation may be shared by all who ask for the same.
    assert!(found > 0, "{staff:?}");
    vendor.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn queries_of_one_token_that_do_not_end_leave_connections_to_sites_and_other_staff() {
    let vendor = Vendor::start(Engine::Postgres).await;
    let key = license_of(&vendor, 1).await;
    let other = vendor.admin(
        reqwest::Method::POST,
        "/tokens",
        serde_json::json!({"name": "ana"}),
    );
    let (_, other) = other.await;
    let other = other["token"].as_str().unwrap();
    let outside = vendor.database.connect().await;
    let locking = outside.begin().await.unwrap();
    let lock = "LOCK TABLE suspicions IN ACCESS EXCLUSIVE MODE";
    locking.execute_unprepared(lock).await.unwrap();
    let staff = join_all((0..120).map(|number| {
        let vendor = &vendor;
        async move { ask(vendor, &format!("installationVersion=1.{number}")).await }
    }));
    let others = async {
        // Two wait for the table, and no more.
        let waiting = "SELECT count(*)::text FROM pg_stat_activity \
                       WHERE datname = current_database() AND wait_event_type = 'Lock'";
        let start = Instant::now();
        while vendor.database.texts(waiting).await[0].as_deref() != Some("2") {
            assert!(start.elapsed() < Duration::from_secs(10), "no query waits");
        }
        for _ in 0..5 {
            assert_eq!(validate(&vendor, &key, "machine-0").await, answered());
            let url = format!("{}/api/admin/licenses", vendor.url);
            let listed = vendor.http.get(url).bearer_auth(other).send().await;
            assert_eq!(listed.unwrap().status(), StatusCode::OK);
            let waiting = vendor.database.texts(waiting).await;
            assert_eq!(waiting[0].as_deref(), Some("2"));
        }
        assert!(
            start.elapsed() < Duration::from_secs(4),
            "{:?}",
            start.elapsed()
        );
        locking.rollback().await.unwrap();
    };
    let (staff, ()) = tokio::join!(staff, others);
    let busy = (StatusCode::SERVICE_UNAVAILABLE, Some(5));
    let refused = staff.iter().filter(|it| **it == busy).count();
    // Two at work, and 100 in the queue, from which some may have left after 5 s.
    assert!(refused >= 120 - 102, "{refused}");
    let found = staff.iter().filter(|it| it.0 == StatusCode::OK).count();
    assert_eq!(found + refused, 120);
    outside.close().await.unwrap();
    vendor.end().await;
}
