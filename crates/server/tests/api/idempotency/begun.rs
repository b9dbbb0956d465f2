//! Calls that fail after their first change are completed when they are repeated.

use chrono::TimeDelta;
use reqwest::StatusCode;
use sea_orm::{ConnectionTrait as _, TransactionTrait as _};
use serde_json::json;

use super::{code, keyed};
use crate::customers::issued;
use crate::database::Engine;
use crate::harness::Vendor;
use crate::trials;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_merge_that_was_interrupted_is_completed_with_the_same_key() {
    let vendor = Vendor::start(Engine::Postgres).await;
    let mut licenses = Vec::new();
    for _ in 0..4 {
        licenses.push(issued(&vendor, "From").await["id"].clone());
    }
    let into = issued(&vendor, "Into").await;
    licenses.sort_unstable_by_key(|id| id.as_str().unwrap().to_owned());
    let outside = vendor.database.connect().await;
    let locking = outside.begin().await.unwrap();
    let locked = licenses[2].as_str().unwrap();
    let lock = format!("SELECT id FROM licenses WHERE id = '{locked}' FOR UPDATE");
    locking.execute_unprepared(&lock).await.unwrap();
    let (path, body) = ("/customers/From/merge", json!({"into": "Into"}));
    let (status, answer) = keyed(&vendor, "merge-1", path, &body).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{answer}");
    locking.rollback().await.unwrap();
    let (status, answer) = keyed(&vendor, "merge-1", path, &body).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    for id in &licenses {
        let path = format!("/licenses/{}", id.as_str().unwrap());
        let shown = vendor.look(&path).await;
        assert_eq!(shown["license"]["customerId"], into["customerId"]);
    }
    // From now on, it is answered once.
    assert_eq!(
        keyed(&vendor, "merge-1", path, &body).await,
        (status, answer)
    );
    outside.close().await.unwrap();
    vendor.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_trial_file_that_was_not_signed_is_signed_with_the_same_key() {
    let vendor = Vendor::start(Engine::Postgres).await;
    let trial = trials::code(&vendor, json!({"max": 1})).await;
    let file = trials::request(&vendor, &trial, "one").to_file();
    let outside = vendor.database.connect().await;
    let locking = outside.begin().await.unwrap();
    let lock = "LOCK TABLE seats IN ACCESS EXCLUSIVE MODE";
    locking.execute_unprepared(lock).await.unwrap();
    let body = json!({"request": file});
    let (status, answer) = keyed(&vendor, "trial-1", "/offline", &body).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{answer}");
    locking.rollback().await.unwrap();
    let (status, answer) = keyed(&vendor, "trial-1", "/offline", &body).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    assert_eq!(answer["granted"], true, "{answer}");
    outside.close().await.unwrap();
    vendor.end().await;
}

/// Two servers that change the keys at once: the one that is too late has changed nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rotation_that_came_too_late_is_made_with_the_same_key() {
    let vendor = Vendor::start(Engine::Sqlite).await;
    let twin = vendor.twin().await;
    let body = json!({"overlapDays": 0});
    let mut late = 0;
    for round in 0..40 {
        if late > 0 {
            break;
        }
        // Only so many keys are created within a day.
        vendor.clock.advance(TimeDelta::hours(4));
        let (one, other) = (format!("one-{round}"), format!("other-{round}"));
        let (first, second) = tokio::join!(
            keyed(&vendor, &one, "/keys/rotate", &body),
            keyed(&twin, &other, "/keys/rotate", &body),
        );
        for (server, key, answered) in [(&vendor, one, first), (&twin, other, second)] {
            if answered.0 == StatusCode::OK || answered.0 == StatusCode::CREATED {
                continue;
            }
            assert_eq!(code(&answered.1), "conflict", "{answered:?}");
            late += 1;
            let (status, answer) = keyed(server, &key, "/keys/rotate", &body).await;
            assert!(status.is_success(), "{answer}");
        }
    }
    assert!(late > 0, "no two rotations met");
    twin.stop().await;
    vendor.end().await;
}
