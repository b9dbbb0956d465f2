//! Callers that are gone in the middle of their work on a PostgreSQL database: what others
//! do afterwards is stored.

use std::time::Duration;

use futures_util::future::join_all;
use license_server::licensing::catalogue::Tier;
use license_server::licensing::issue::IssueRequest;
use license_service::database::{Database, Timeouts};
use sea_orm::{ConnectionTrait as _, DbErr};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, timeout};

use crate::database::{Engine, TestDatabase};
use crate::harness::Vendor;

/// How late the database's answers are.
const DELAY: Duration = Duration::from_millis(6);
/// Longer than a transaction takes to begin then.
const LONGEST_MS: u64 = 70;
const STEP_MS: usize = 3;
const INCOMPLETE: &str =
    "part of the transaction could not be started; the whole transaction was rolled back";

/// The database ends no transaction before the test has seen it.
fn patient() -> Timeouts {
    Timeouts {
        idle_transaction: Duration::from_secs(60),
        ..Timeouts::default()
    }
}

/// The same database, far away.
async fn far(direct: &TestDatabase) -> TestDatabase {
    let url = reqwest::Url::parse(&direct.url).unwrap();
    let server = (url.host_str().unwrap().to_owned(), url.port().unwrap());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut far = TestDatabase::same_as(direct);
    let port = listener.local_addr().unwrap().port();
    let (old, new) = (format!(":{}/", server.1), format!(":{port}/"));
    far.url = far.url.replace(&old, &new);
    tokio::spawn(async move {
        loop {
            let (client, _) = listener.accept().await.unwrap();
            let server = TcpStream::connect(server.clone()).await.unwrap();
            let (mut asking, mut hearing) = client.into_split();
            let (mut answering, mut asked) = server.into_split();
            tokio::spawn(async move { tokio::io::copy(&mut asking, &mut asked).await });
            tokio::spawn(async move {
                let mut answer = vec![0; 1 << 16];
                while let Ok(length @ 1..) = answering.read(&mut answer).await {
                    tokio::time::sleep(DELAY).await;
                    if hearing.write_all(&answer[..length]).await.is_err() {
                        break;
                    }
                }
            });
        }
    });
    far
}

async fn number_of(direct: &TestDatabase, what: &str) -> usize {
    let count = format!("SELECT count(*)::text FROM {what}");
    let count = direct.texts(&count).await.remove(0).unwrap();
    count.parse().unwrap()
}

/// No transaction stays open, and what is acknowledged on any connection is stored.
async fn assert_clean(direct: &TestDatabase, database: &Database) {
    let start = Instant::now();
    let open = "pg_stat_activity WHERE datname = current_database() \
                AND state LIKE 'idle in transaction%'";
    while number_of(direct, open).await > 0 {
        let waited = start.elapsed();
        assert!(waited < Duration::from_secs(3), "a transaction stays open");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let before = number_of(direct, "noted").await;
    let note = || database.execute_unprepared("INSERT INTO public.noted VALUES ('single')");
    for noted in join_all((0..20).map(|_| note())).await {
        noted.unwrap();
    }
    assert_eq!(number_of(direct, "noted").await, before + 20);
}

async fn direct() -> TestDatabase {
    let direct = TestDatabase::new(Engine::Postgres).await;
    direct.execute("CREATE TABLE noted (what text)").await;
    direct
}

async fn near_and_far() -> (TestDatabase, Database) {
    let direct = direct().await;
    let far = far(&direct).await;
    let database = Database::new(&far.url.parse().unwrap(), patient()).unwrap();
    (direct, database)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caller_who_is_gone_while_a_transaction_begins_leaves_none_open() {
    let (direct, database) = near_and_far().await;
    for milliseconds in (0..LONGEST_MS).step_by(STEP_MS) {
        let limit = Duration::from_millis(milliseconds);
        // Whether it has begun by then is not asked.
        let (_, _, _) = tokio::join!(
            timeout(limit, async { database.begin().await.map(drop) }),
            timeout(limit, async { database.begin_reading().await.map(drop) }),
            timeout(limit, async { database.begin_migration(1).await.map(drop) }),
        );
        // Immediately: the next transaction on the connection would end the one that is open.
        assert_clean(&direct, &database).await;
    }
    database.close().await;
    direct.drop_database().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transaction_that_has_lost_a_part_stores_nothing() {
    let (direct, database) = near_and_far().await;
    let note = "INSERT INTO public.noted VALUES ('lost')";
    for milliseconds in [0, 1, 3] {
        let limit = Duration::from_millis(milliseconds);
        let mut attempts = 0;
        let transaction = loop {
            let transaction = database.begin().await.unwrap();
            transaction.execute_unprepared(note).await.unwrap();
            if timeout(limit, transaction.begin()).await.is_err() {
                break transaction;
            }
            // The timer was late, because the machine is busy.
            attempts += 1;
            assert!(attempts < 50, "it begins within {limit:?}");
        };
        let incomplete = Err(DbErr::Custom(INCOMPLETE.to_owned()));
        let later = transaction.execute_unprepared(note).await.map(drop);
        assert_eq!(later, incomplete);
        assert_eq!(transaction.begin().await.map(drop), incomplete);
        assert_eq!(transaction.commit().await, incomplete);
    }
    assert_clean(&direct, &database).await;
    assert_eq!(number_of(&direct, "noted WHERE what = 'lost'").await, 0);
    // One whose part was refused.
    let transaction = database.begin().await.unwrap();
    transaction
        .execute_unprepared("nonsense")
        .await
        .unwrap_err();
    transaction.begin().await.map(drop).unwrap_err();
    let later = transaction.execute_unprepared(note).await.map(drop);
    assert_eq!(later, Err(DbErr::Custom(INCOMPLETE.to_owned())));
    drop(transaction);
    // One that is complete.
    let transaction = database.begin().await.unwrap();
    let part = transaction.begin().await.unwrap();
    part.execute_unprepared(note).await.unwrap();
    part.commit().await.unwrap();
    transaction.commit().await.unwrap();
    assert_clean(&direct, &database).await;
    assert_eq!(number_of(&direct, "noted WHERE what = 'lost'").await, 1);
    database.close().await;
    direct.drop_database().await;
}

/// However it has come to that.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_in_the_middle_of_a_transaction_is_not_used_again() {
    let (direct, database) = near_and_far().await;
    for begin in ["BEGIN", "BEGIN READ ONLY", "BEGIN; SAVEPOINT one"] {
        database.execute_unprepared(begin).await.unwrap();
        assert_clean(&direct, &database).await;
    }
    // One that has failed and not ended.
    let failed = database.execute_unprepared("BEGIN; SELECT 1 / 0").await;
    failed.unwrap_err();
    assert_clean(&direct, &database).await;
    // Those outside of one are kept.
    let pids = async || {
        let pids = "SELECT pid::text FROM pg_stat_activity \
                    WHERE datname = current_database() AND pid <> pg_backend_pid() ORDER BY pid";
        direct.texts(pids).await
    };
    let kept = pids().await;
    assert_clean(&direct, &database).await;
    assert_eq!(pids().await, kept);
    database.close().await;
    direct.drop_database().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sites_that_hang_up_at_any_instant_leave_no_transaction_open() {
    let direct = direct().await;
    let vendor = Vendor::start_before(far(&direct).await, patient()).await;
    let key = vendor.issue(IssueRequest::of(Tier::Standard)).await;
    assert_eq!(vendor.activate(&key, "machine").await.word(), "yes");
    let address = vendor.url.strip_prefix("http://").unwrap();
    let body = json!({"licenseKey": key, "hardwareId": "machine"}).to_string();
    let head = format!(
        "POST /api/licenses/validate HTTP/1.1\r\nHost: {address}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    for milliseconds in (0..LONGEST_MS).step_by(STEP_MS) {
        let mut site = TcpStream::connect(address).await.unwrap();
        site.write_all(format!("{head}{body}").as_bytes())
            .await
            .unwrap();
        tokio::time::sleep(Duration::from_millis(milliseconds)).await;
        // It resets the connection.
        site.set_zero_linger().unwrap();
        drop(site);
        assert_clean(&direct, vendor.app.store.reader()).await;
    }
    vendor.stop().await;
    direct.drop_database().await;
}
