//! A table that others lock for long, as `VACUUM FULL` and waiting migrations do.

use std::time::Duration;

use futures_util::future::join_all;
use sea_orm::{ConnectionTrait as _, TransactionTrait as _};
use tokio::time::Instant;

use super::{answered, assert_ready, busy, license_of, validate};
use crate::database::Engine;
use crate::harness::Vendor;

/// Longer than a statement may take, so that none of them ends on its own.
const LOCKED: Duration = Duration::from_secs(16);
/// As the documents say, and as many for the test itself.
const MAX_CONNECTIONS: u32 = 10 + 2;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn statements_that_wait_for_a_locked_table_end_and_are_no_outage() {
    let vendor = Vendor::start(Engine::Postgres).await;
    let key = license_of(&vendor, 1).await;
    let outside = vendor.database.connect().await;
    let locking = outside.begin().await.unwrap();
    let lock = "LOCK TABLE licenses IN ACCESS EXCLUSIVE MODE";
    locking.execute_unprepared(lock).await.unwrap();
    let start = Instant::now();
    let callers = join_all((0..12).map(|_| async {
        let mut outcomes = Vec::new();
        while start.elapsed() < LOCKED {
            outcomes.push(validate(&vendor, &key, "machine-0").await);
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
        outcomes
    }));
    let watching = async {
        let connections = "SELECT count(*)::text FROM pg_stat_activity \
                           WHERE datname = current_database()";
        let mut most = 0;
        while start.elapsed() < LOCKED {
            let open = vendor.database.texts(connections).await[0].clone();
            most = most.max(open.unwrap().parse().unwrap());
            assert_ready(&vendor).await;
            tokio::time::sleep(Duration::from_millis(250)).await;
        }
        most
    };
    let (outcomes, most) = tokio::join!(callers, watching);
    let outcomes = outcomes.concat();
    assert!(outcomes.iter().all(|it| *it == busy()), "{outcomes:?}");
    assert!(most <= MAX_CONNECTIONS, "{most} connections");
    locking.rollback().await.unwrap();
    assert_eq!(validate(&vendor, &key, "machine-0").await, answered());
    outside.close().await.unwrap();
    vendor.end().await;
}
