//! The database fails over, vanishes, freezes, is pooled, moved and deleted under the
//! running service.

mod damaged_files;
mod sqlite_file;

use std::time::Duration;

use license_core::amendment::TermChanges;
use license_server::audit::Actor;
use license_server::licensing::catalogue::Tier;
use license_server::licensing::issue;
use license_server::licensing::issue::IssueRequest;
use license_server::licensing::keys_error::KeysError;
use license_server::store::{Store, key_record};
use license_service::database::{Database, Timeouts};
use reqwest::{Method, StatusCode};
use sea_orm::{ConnectionTrait as _, DbBackend, Statement};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::database::{Engine, TestDatabase};
use crate::database_gate::{Gate, Way};
use crate::harness::{ADMIN_TOKEN, NONCE, Vendor};
use crate::pgbouncer::PgBouncer;

/// Times that a test can wait for.
fn short() -> Timeouts {
    let milliseconds = Duration::from_millis;
    Timeouts {
        wait: milliseconds(3000),
        ping: milliseconds(300),
        statement: milliseconds(3500),
        transaction: milliseconds(5000),
        idle_transaction: milliseconds(500),
        check: milliseconds(800),
        starved: milliseconds(2000),
        max_age: milliseconds(60_000),
        ..Timeouts::default()
    }
}

async fn readiness(vendor: &Vendor) -> (StatusCode, Value) {
    let answer = vendor.http.get(format!("{}/readyz", vendor.url)).send();
    let answer = answer.await.unwrap();
    (answer.status(), answer.json().await.unwrap())
}

async fn until_ready(vendor: &Vendor, within: Duration) {
    let start = Instant::now();
    while readiness(vendor).await.0 != StatusCode::OK {
        assert!(start.elapsed() < within, "it is not ready after {within:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Callers within a second share one answer.
async fn until_not_ready(vendor: &Vendor) {
    let start = Instant::now();
    while readiness(vendor).await.0 == StatusCode::OK {
        assert!(start.elapsed() < Duration::from_secs(2), "it is ready");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn activation(key: &str, machine: &str) -> Value {
    json!({"licenseKey": key, "hardwareId": machine, "installationId": "",
           "installationName": "Test", "installationVersion": "1.0.0"})
}

/// How a site and the vendor's staff are answered, with the time to wait.
async fn answers(vendor: &Vendor, key: &str) -> Vec<(StatusCode, Option<String>, Value)> {
    let site = vendor
        .http
        .post(format!("{}/api/licenses/activate", vendor.url));
    let site = site
        .header("x-license-nonce", NONCE)
        .json(&activation(key, "m"));
    let staff = vendor
        .http
        .get(format!("{}/api/admin/licenses", vendor.url));
    let mut answers = Vec::new();
    for request in [site, staff.bearer_auth(ADMIN_TOKEN)] {
        let answer = request.send().await.unwrap();
        let wait = answer.headers().get("retry-after");
        let wait = wait.map(|it| it.to_str().unwrap().to_owned());
        answers.push((answer.status(), wait, answer.json().await.unwrap()));
    }
    answers
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_that_vanishes_under_load_is_forgotten_when_there_is_another() {
    let direct = TestDatabase::new(Engine::Postgres).await;
    let gate = Gate::before(&direct, Way::Open).await;
    let through = TestDatabase::same_as(&gate.database);
    let vendor = Vendor::start_before(through, short()).await;
    let request = IssueRequest {
        terms: TermChanges {
            seats: Some(50),
            ..TermChanges::default()
        },
        ..IssueRequest::of(Tier::Standard)
    };
    let key = vendor.issue(request).await;
    let burst = async |name: &str| -> Vec<StatusCode> {
        let calls = (0..14).map(|number| {
            let body = activation(&key, &format!("{name}-{number}"));
            async { vendor.post("activate", body).await.0 }
        });
        futures_util::future::join_all(calls).await
    };
    assert_eq!(burst("before").await, [StatusCode::OK; 14]);

    gate.set(Way::Vanished);
    assert_eq!(burst("lost").await, [StatusCode::SERVICE_UNAVAILABLE; 14]);
    let start = Instant::now();
    assert_eq!(readiness(&vendor).await.0, StatusCode::SERVICE_UNAVAILABLE);
    assert!(start.elapsed() < Duration::from_secs(2));
    for (status, wait, body) in answers(&vendor, &key).await {
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{body}");
        assert_eq!(wait.as_deref(), Some("10"), "{body}");
        assert_eq!(body["error"]["code"], "unavailable");
    }

    gate.set(Way::Open);
    until_ready(&vendor, Duration::from_secs(8)).await;
    assert_eq!(burst("after").await, [StatusCode::OK; 14]);
    vendor.stop().await;
    direct.drop_database().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sessions_of_a_server_that_takes_no_changes_are_left() {
    let vendor = Vendor::start(Engine::Postgres).await;
    let key = vendor.issue(IssueRequest::of(Tier::Standard)).await;
    let name = vendor.database.url.rsplit('/').next().unwrap().to_owned();
    let set = |value: &str| {
        format!(
            "BEGIN READ WRITE; ALTER DATABASE {name} SET default_transaction_read_only = {value}; COMMIT"
        )
    };
    vendor.database.execute(&set("on")).await;
    let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
               WHERE datname = current_database() AND pid <> pg_backend_pid()";
    vendor.database.execute(end).await;
    for _ in 0..20 {
        let (status, body) = vendor.post("activate", activation(&key, "m")).await;
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{body}");
    }
    let (status, body) = readiness(&vendor).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(body["database"], "does not accept changes");
    let asked = vendor.http.get(format!("{}/readyz", vendor.url));
    let asked = asked.bearer_auth(ADMIN_TOKEN).send().await.unwrap();
    let body: Value = asked.json().await.unwrap();
    let said = body["database"].as_str().unwrap();
    assert!(
        said.contains("the database is read-only; connect to the primary"),
        "{said}"
    );

    // Sessions created in between are not ended.
    vendor.database.execute(&set("off")).await;
    assert_eq!(vendor.activate(&key, "m").await.word(), "yes");
    until_ready(&vendor, Duration::from_secs(2)).await;
    vendor.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_database_ends_a_transaction_whose_process_is_frozen() {
    let database = TestDatabase::new(Engine::Postgres).await;
    let url = database.url.parse().unwrap();
    let frozen = Store::open_within(&url, short()).await.unwrap();
    let other = Store::open_within(&url, short()).await.unwrap();
    let lock = "UPDATE license_server_migrations SET applied_at = applied_at";
    let held = frozen.begin().await.unwrap();
    held.execute_unprepared(lock).await.unwrap();
    // Which of its settings the server knows, in milliseconds.
    let mut set = Vec::new();
    for name in [
        "idle_in_transaction_session_timeout",
        "lock_timeout",
        "statement_timeout",
        "tcp_user_timeout",
    ] {
        let ask = format!("SELECT setting FROM pg_settings WHERE name = '{name}'");
        let ask = Statement::from_string(DbBackend::Postgres, ask);
        let row = held.query_one_raw(ask).await.unwrap().unwrap();
        set.push(row.try_get_by_index::<String>(0).unwrap());
    }
    assert_eq!(set, ["500", "3000", "3500", "500"]);

    // The one that is frozen says nothing more, and its connection stands.
    let start = Instant::now();
    let changed = async || {
        let transaction = other.begin().await?;
        transaction.execute_unprepared(lock).await?;
        transaction.commit().await?;
        Ok::<_, license_server::store::StoreError>(())
    };
    while let Err(error) = changed().await {
        assert!(start.elapsed() < Duration::from_secs(8), "{error}");
    }
    let error = held.execute_unprepared(lock).await.unwrap_err();
    assert!(!error.to_string().is_empty());
    drop(held);
    // It continues with another connection.
    frozen.check_writable().await.unwrap();
    frozen.close().await;
    other.close().await;
    database.drop_database().await;
}

/// The license is stored, whether or not the answer arrived.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_whose_answer_is_lost_may_have_stored_the_license() {
    let direct = TestDatabase::new(Engine::Postgres).await;
    let gate = Gate::before(&direct, Way::Open).await;
    let through = TestDatabase::same_as(&gate.database);
    let timeouts = Timeouts {
        statement: Duration::from_millis(1500),
        ..short()
    };
    let vendor = Vendor::start_before(through, timeouts).await;
    let issue = async |customer: &str| {
        let request = vendor
            .http
            .post(format!("{}/api/admin/licenses", vendor.url))
            .bearer_auth(ADMIN_TOKEN)
            .json(&json!({"tier": "standard", "customer": customer}));
        let answer = request.send().await.unwrap();
        let has_wait = answer.headers().contains_key("retry-after");
        let status = answer.status();
        (status, has_wait, answer.json::<Value>().await.unwrap())
    };
    for (way, customer) in [(Way::CommitUnanswered, "Quay"), (Way::CommitCut, "Mole")] {
        gate.set(way);
        let (status, has_wait, answer) = issue(customer).await;
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{answer}");
        assert_eq!(answer["error"]["code"], "outcome_unknown", "{answer}");
        let message = answer["error"]["message"].as_str().unwrap();
        assert!(message.contains("may have been stored"), "{message}");
        assert!(message.contains("before you repeat it"), "{message}");
        // A program that repeats the call automatically would issue a second one.
        assert!(!has_wait);
        gate.set(Way::Open);
        until_ready(&vendor, Duration::from_secs(8)).await;
        let found = vendor.look(&format!("/licenses?search={customer}")).await;
        assert_eq!(found["total"], 1, "{found}");
    }
    // What commands say.
    gate.set(Way::CommitUnanswered);
    let request = IssueRequest::of(Tier::Standard);
    let change = vendor.app.permitted_change(Actor::CommandLine).unwrap();
    let error = issue::issue(&vendor.app.store, request, &change).await;
    let error = error.unwrap_err().to_string();
    assert_eq!(
        error,
        "the change may have been stored: the database has not answered within 1.5 s; check \
         whether it was stored before you repeat it"
    );
    // Before a commit, nothing is stored.
    gate.set(Way::Cut);
    let (status, has_wait, answer) = issue("None").await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{answer}");
    assert_eq!(answer["error"]["code"], "unavailable", "{answer}");
    assert!(has_wait);
    gate.set(Way::Open);
    vendor.stop().await;
    direct.drop_database().await;
}

/// The database of a running server was dropped, and created again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn missing_tables_say_what_to_do() {
    let vendor = Vendor::start(Engine::Postgres).await;
    let key = vendor.issue(IssueRequest::of(Tier::Standard)).await;
    let empty = "DROP SCHEMA public CASCADE; CREATE SCHEMA public";
    vendor.database.execute(empty).await;
    for (status, _, body) in answers(&vendor, &key).await {
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{body}");
        assert_eq!(body["error"]["code"], "unavailable", "{body}");
    }
    let (status, body) = readiness(&vendor).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(body["database"], "does not accept changes");
    assert_eq!(body["signing"], "ok");
    let store = &vendor.app.store;
    for error in [
        store.check_writable().await.unwrap_err(),
        key_record::find(store.reader()).await.unwrap_err(),
    ] {
        assert!(error.is_outage());
        let error = error.to_string();
        assert!(error.contains("does not exist"), "{error}");
        let advice = "; the tables are gone: restore the database, or restart the service to \
                      create them";
        assert!(error.ends_with(advice), "{error}");
    }
    // Nothing is said about the key directory, which is as it was.
    let watched = license_server::licensing::key_record::watch(&vendor.app).await;
    assert!(matches!(watched, Err(KeysError::Store(error)) if error.is_outage()));
    vendor.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pooler_in_transaction_mode_is_recognised_and_one_in_session_mode_serves() {
    let database = TestDatabase::new(Engine::Postgres).await;
    let pooler = PgBouncer::before(&database, "transaction").await;
    let error = Store::open(&pooler.url.parse().unwrap()).await.unwrap_err();
    let error = error.to_string();
    assert!(error.contains("set pool_mode = session"), "{error}");
    assert_eq!(error.lines().count(), 1);
    drop(pooler);

    let pooler = PgBouncer::before(&database, "session").await;
    let mut through = TestDatabase::same_as(&database);
    through.url.clone_from(&pooler.url);
    let vendor = Vendor::start_before(through, Timeouts::default()).await;
    let request = IssueRequest {
        terms: TermChanges {
            seats: Some(20),
            ..TermChanges::default()
        },
        ..IssueRequest::of(Tier::Standard)
    };
    let key = vendor.issue(request).await;
    let machines: Vec<String> = (0..12).map(|number| format!("m-{number}")).collect();
    let calls = machines
        .iter()
        .map(|machine| vendor.activate(&key, machine));
    for told in futures_util::future::join_all(calls).await {
        assert_eq!(told.word(), "yes");
    }
    assert_eq!(readiness(&vendor).await.0, StatusCode::OK);
    vendor.stop().await;
    database.drop_database().await;
}

/// A database that is like PostgreSQL may hold times that no type of ours has.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_time_that_cannot_be_read_is_an_error_and_no_panic() {
    let database = TestDatabase::new(Engine::Postgres).await;
    let url = database.url.parse().unwrap();
    let door = Database::connect(&url, Timeouts::default()).await.unwrap();
    for time in [
        "'infinity'::timestamp",
        "'-infinity'::timestamptz",
        "'infinity'::date",
        "'294000-01-01'::timestamp",
    ] {
        let ask = Statement::from_string(DbBackend::Postgres, format!("SELECT {time}"));
        let error = door.query_all_raw(ask.clone()).await.unwrap_err();
        assert!(
            error.to_string().contains("unreadable value"),
            "{time}: {error}"
        );
        let transaction = door.begin().await.unwrap();
        let error = transaction.query_one_raw(ask).await.unwrap_err();
        assert!(
            error.to_string().contains("unreadable value"),
            "{time}: {error}"
        );
    }
    door.close().await;
    database.drop_database().await;
}

/// As after a restore of the rows alone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sequences_that_are_behind_their_tables_are_advanced() {
    let vendor = Vendor::start(Engine::Postgres).await;
    let key = vendor.issue(IssueRequest {
        terms: TermChanges {
            seats: Some(9),
            ..TermChanges::default()
        },
        ..IssueRequest::of(Tier::Standard)
    });
    let key = key.await;
    let tables = ["seats", "audit_log", "seat_moves", "suspicions"];
    for round in 0..3 {
        for table in tables {
            let restart = format!("ALTER SEQUENCE {table}_id_seq RESTART");
            vendor.database.execute(&restart).await;
        }
        let machine = format!("m{round}");
        assert_eq!(vendor.activate(&key, &machine).await.word(), "yes");
        assert_eq!(vendor.heartbeat(&key, &machine, 3).await.word(), "yes");
        assert_eq!(
            vendor.deactivate(&key, &machine).await.word(),
            "deactivated"
        );
        let (status, answer) = vendor
            .admin(
                Method::POST,
                "/licenses",
                json!({"tier": "standard", "customer": "H"}),
            )
            .await;
        assert_eq!(status, StatusCode::CREATED, "{answer}");
    }
    vendor.end().await;
}
