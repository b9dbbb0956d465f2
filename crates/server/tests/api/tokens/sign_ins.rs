//! Correct sign-ins: a flood of them delays neither sites nor the owners of other tokens.

use std::time::Duration;

use chrono::TimeDelta;
use futures_util::future::{join, join_all};
use license_server::licensing::catalogue::Tier;
use license_server::licensing::issue::IssueRequest;
use reqwest::header::{CONTENT_TYPE, RETRY_AFTER};
use sea_orm::{ConnectionTrait as _, TransactionTrait as _};

use super::{Browser, added, status};
use crate::database::{Engine, on_both_engines};
use crate::harness::{ADMIN_TOKEN, Vendor};

on_both_engines! {
    each_token_begins_ten_sessions_and_then_one_a_second;
}

async fn each_token_begins_ten_sessions_and_then_one_a_second(engine: Engine) {
    let vendor = Vendor::start(engine).await;
    let (ana, ben) = (
        added(&vendor, "ana", None).await,
        added(&vendor, "ben", None).await,
    );
    for token in [&*ana, ADMIN_TOKEN] {
        let mut sessions = Vec::new();
        for _ in 0..10 {
            sessions.push(Browser::sign_in(&vendor, token).await.unwrap());
        }
        let request = vendor.http.post(format!("{}/console/sign-in", vendor.url));
        let request = request.header(CONTENT_TYPE, "application/x-www-form-urlencoded");
        let answer = request.body(format!("token={token}")).send().await.unwrap();
        assert_eq!(answer.status(), 429);
        assert_eq!(answer.headers()[RETRY_AFTER], "1");
        let page = answer.text().await.unwrap();
        assert!(page.contains("Too many sign-ins with this token; wait 1 s"));
        // What was begun stays, and so does everything that needs no session.
        assert!(sessions[0].is_signed_in(&vendor).await);
        assert_eq!(status(&vendor, token).await, 200);
        assert!(Browser::sign_in(&vendor, &ben).await.is_some());
    }
    vendor.clock.advance(TimeDelta::seconds(1));
    for token in [&*ana, ADMIN_TOKEN] {
        assert!(Browser::sign_in(&vendor, token).await.is_some());
        assert!(Browser::sign_in(&vendor, token).await.is_none());
    }
    vendor.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sessions_are_begun_and_ended_within_the_share_of_their_token() {
    let vendor = Vendor::start(Engine::Postgres).await;
    let key = vendor.issue(IssueRequest::of(Tier::Standard)).await;
    assert_eq!(vendor.activate(&key, "machine").await.word(), "yes");
    let (ana, ben) = (
        added(&vendor, "ana", None).await,
        added(&vendor, "ben", None).await,
    );
    let session = Browser::sign_in(&vendor, &ana).await.unwrap();
    let outside = vendor.database.connect().await;
    let locking = outside.begin().await.unwrap();
    let lock = "LOCK TABLE console_sessions IN ACCESS EXCLUSIVE MODE";
    locking.execute_unprepared(lock).await.unwrap();
    let tokens = [&*ana, &*ben, ADMIN_TOKEN];
    let beginning = (0..24).map(|place| Browser::sign_in(&vendor, tokens[place % 3]));
    let ending = (0..8).map(|_| {
        let request = session
            .http
            .post(format!("{}/console/sign-out", vendor.url));
        let request = request.header("host", "localhost");
        request.header("cookie", &session.cookie).send()
    });
    let flood = join(join_all(beginning), join_all(ending));
    let site = async {
        let waiting = "SELECT count(*)::text FROM pg_stat_activity \
                       WHERE datname = current_database() AND wait_event_type = 'Lock'";
        while vendor.database.texts(waiting).await[0].as_deref() != Some("3") {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        for _ in 0..3 {
            let validating = vendor.validate(&key, "machine");
            let answer = tokio::time::timeout(Duration::from_secs(1), validating).await;
            assert_eq!(answer.expect("a site waits").word(), "yes");
        }
        locking.rollback().await.unwrap();
    };
    let site = tokio::time::timeout(Duration::from_secs(4), site);
    let ((begun, _), site) = tokio::join!(flood, site);
    site.expect("more than three connections wait");
    assert_eq!(begun.iter().flatten().count(), 24);
    outside.close().await.unwrap();
    vendor.end().await;
}
