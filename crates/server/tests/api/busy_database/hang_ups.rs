//! Callers who hang up while the database works for them.

use std::time::Duration;

use futures_util::future::join_all;
use license_service::database::{Database, Timeouts};
use sea_orm::ConnectionTrait as _;
use tokio::time::Instant;

use crate::database::{Engine, TestDatabase};

/// A statement ends with its turn when the caller is gone: the library would clean its connection
/// without one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn callers_who_hang_up_take_no_connections_from_others() {
    let test = TestDatabase::new(Engine::Postgres).await;
    let url = test.url.parse().unwrap();
    let database = Database::connect(&url, Timeouts::default()).await.unwrap();
    let hanging_up = (0..24_u64).map(|caller| {
        let database = database.clone();
        async move {
            for call in 0.. {
                let looking_up = database.execute_unprepared("SELECT pg_sleep(0.02)");
                let microseconds = (call * 130 + caller * 50) % 1500;
                // It has hung up by then.
                let limit = Duration::from_micros(microseconds);
                drop(tokio::time::timeout(limit, looking_up).await);
            }
        }
    });
    let watch = async {
        let mut busy = 0;
        for _ in 0..50 {
            // Pools with callers who wait for a turn and not for a connection are not starved.
            // An autovacuum worker is active in the same view.
            let connections = "SELECT count(*)::text FROM pg_stat_activity \
                               WHERE datname = current_database() AND state = 'active' \
                               AND backend_type = 'client backend'";
            let active = test.texts(connections).await.remove(0).unwrap();
            busy = active.parse::<u32>().unwrap().max(busy);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        busy
    };
    let busy = tokio::select! {
        _ = join_all(hanging_up) => unreachable!("they never end"),
        busy = watch => busy,
    };
    // Nine that work, and the one that asks.
    assert!(busy <= 10, "{busy}");
    let start = Instant::now();
    database.execute_unprepared("SELECT 1").await.unwrap();
    assert!(start.elapsed() < Duration::from_secs(1));
    database.close().await;
    test.drop_database().await;
}
