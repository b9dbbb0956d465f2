//! Files for staff are read page by page while they are sent: only as long as the reader may read
//! them, and within the reader's share of the connections.

use std::time::Duration;

use chrono::TimeDelta;
use futures_util::future::join_all;
use license_server::licensing::catalogue::Tier;
use license_server::licensing::issue::IssueRequest;
use license_service::clock::Clock as _;
use reqwest::header::{CONTENT_TYPE, COOKIE, SET_COOKIE};
use reqwest::redirect::Policy;
use reqwest::{Method, Response, StatusCode};
use sea_orm::{ConnectionTrait as _, TransactionTrait as _};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::database::{Engine, on_both_engines};
use crate::harness::{ADMIN_TOKEN, Vendor};

on_both_engines! {
    a_file_is_not_sent_to_the_end_if_its_reader_may_not_read_it_any_more;
    a_file_that_is_not_read_in_time_is_not_sent_to_the_end;
}

/// More than sockets keep, and less than the server keeps of all unread responses.
const ROWS: usize = 3_001;

/// What only the last row contains.
const LAST: &str = "the last row";

/// Adds rows of 2.5 KB to the amendments and the audit log.
async fn fill(vendor: &Vendor) {
    let key = vendor.issue(IssueRequest::of(Tier::Standard)).await;
    let text = "x".repeat(2_500);
    let numbers = format!(
        "WITH RECURSIVE numbers (n) AS (SELECT 2 UNION ALL SELECT n + 1 FROM numbers WHERE n < \
         {ROWS})"
    );
    let amendments = format!(
        "{numbers} INSERT INTO amendments (license_id, number, author, reason, recorded_at, \
         effective_at, changes) SELECT licenses.id, n, 'test', '{text}', CURRENT_TIMESTAMP, \
         CURRENT_TIMESTAMP, '[]' FROM numbers, licenses WHERE license_key = '{key}' ORDER BY n"
    );
    let log = format!(
        "{numbers} INSERT INTO audit_log (at, actor, action, subject, details) SELECT \
         CURRENT_TIMESTAMP, 'test', 'issued', '-', '{{\"text\": \"{text}\"}}' FROM numbers"
    );
    let last = format!("UPDATE amendments SET reason = '{LAST}' WHERE number = {ROWS}");
    let last_entry = format!(
        "UPDATE audit_log SET subject = '{LAST}' WHERE id = (SELECT MAX(id) FROM audit_log)"
    );
    for sql in [amendments, log, last, last_entry] {
        vendor.database.execute(&sql).await;
    }
}

async fn token(vendor: &Vendor, name: &str, expires_at: Value) -> String {
    let body = json!({"name": name, "expiresAt": expires_at});
    let (status, answer) = vendor.admin(Method::POST, "/tokens", body).await;
    assert_eq!(status, StatusCode::CREATED, "{answer}");
    answer["token"].as_str().unwrap().to_owned()
}

/// Begins to read a file of the API.
async fn begun(vendor: &Vendor, path: &str, token: &str) -> Response {
    let request = vendor.http.get(format!("{}/api/admin{path}", vendor.url));
    let answer = request.bearer_auth(token).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    answer
}

/// A browser with a session, by its cookie.
async fn session(vendor: &Vendor, token: &str) -> (reqwest::Client, String) {
    let http = reqwest::Client::builder().no_proxy();
    let http = http.redirect(Policy::none()).build().unwrap();
    let request = http.post(format!("{}/console/sign-in", vendor.url));
    let request = request.header(CONTENT_TYPE, "application/x-www-form-urlencoded");
    let answer = request.body(format!("token={token}")).send().await.unwrap();
    let cookie = answer.headers()[SET_COOKIE].to_str().unwrap();
    let cookie = cookie.split(';').next().unwrap().to_owned();
    (http, cookie)
}

/// Reads the rest; returns whether that is all of the file.
async fn is_complete(mut answer: Response) -> bool {
    let mut read = Vec::new();
    let ended = loop {
        match answer.chunk().await {
            Ok(Some(chunk)) => read.extend_from_slice(&chunk),
            Ok(None) => break true,
            Err(_) => break false,
        }
    };
    let text = String::from_utf8_lossy(&read);
    assert!(!text.is_empty(), "nothing was sent");
    assert_eq!(ended, text.contains(LAST), "{} bytes", text.len());
    ended
}

async fn a_file_is_not_sent_to_the_end_if_its_reader_may_not_read_it_any_more(engine: Engine) {
    let vendor = Vendor::start(engine).await;
    fill(&vendor).await;
    let revoked = token(&vendor, "ana", Value::Null).await;
    let end = vendor.clock.now() + TimeDelta::seconds(60);
    let expired = token(&vendor, "ben", json!(end)).await;
    let (http, cookie) = session(&vendor, &token(&vendor, "eva", Value::Null).await).await;
    let page = http.get(format!("{}/console/amendments/export", vendor.url));
    let reading = [
        begun(&vendor, "/amendments/export", &revoked).await,
        begun(&vendor, "/audit/export", &revoked).await,
        begun(&vendor, "/amendments/export", &expired).await,
        page.header(COOKIE, &cookie).send().await.unwrap(),
    ];
    let whole = begun(&vendor, "/amendments/export", ADMIN_TOKEN).await;
    let (status, _) = vendor
        .admin(Method::DELETE, "/tokens/ana", Value::Null)
        .await;
    assert_eq!(status, StatusCode::OK);
    vendor.clock.advance(TimeDelta::seconds(61));
    let sign_out = http.post(format!("{}/console/sign-out", vendor.url));
    let signed_out = sign_out.header(COOKIE, &cookie).send().await.unwrap();
    assert_eq!(signed_out.status(), StatusCode::SEE_OTHER);
    for (place, answer) in reading.into_iter().enumerate() {
        assert!(!is_complete(answer).await, "{place}");
    }
    assert!(is_complete(whole).await);
    vendor.end().await;
}

async fn a_file_that_is_not_read_in_time_is_not_sent_to_the_end(engine: Engine) {
    let vendor = Vendor::start(engine).await;
    fill(&vendor).await;
    for (minutes, expected) in [(29, true), (31, false)] {
        let answer = begun(&vendor, "/audit/export", ADMIN_TOKEN).await;
        vendor.clock.advance(TimeDelta::minutes(minutes));
        assert_eq!(is_complete(answer).await, expected, "{minutes}");
    }
    vendor.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_page_of_a_file_is_read_within_the_share_of_its_reader() {
    let vendor = Vendor::start(Engine::Postgres).await;
    fill(&vendor).await;
    let token = token(&vendor, "ana", Value::Null).await;
    let begin = (0..4).map(|_| begun(&vendor, "/amendments/export", &token));
    let reading = join_all(begin).await;
    let outside = vendor.database.connect().await;
    let locking = outside.begin().await.unwrap();
    let lock = "LOCK TABLE amendments IN ACCESS EXCLUSIVE MODE";
    locking.execute_unprepared(lock).await.unwrap();
    let read = join_all(reading.into_iter().map(is_complete));
    let watch = async {
        let waiting = "SELECT count(*)::text FROM pg_stat_activity \
                       WHERE datname = current_database() AND wait_event_type = 'Lock'";
        let start = Instant::now();
        let mut most = 0_u32;
        while start.elapsed() < Duration::from_secs(2) {
            let count = vendor.database.texts(waiting).await[0].clone();
            most = most.max(count.unwrap().parse().unwrap());
        }
        locking.rollback().await.unwrap();
        most
    };
    let (complete, most) = tokio::join!(read, watch);
    assert_eq!(most, 2, "connections that wait for the table");
    assert_eq!(complete, [true; 4]);
    outside.close().await.unwrap();
    vendor.end().await;
}
