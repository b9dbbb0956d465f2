//! Many calls at the same time, rows that others hold, tables that others change, and
//! databases with settings of their own.

mod hang_ups;
mod locked_table;
mod staff;

use std::fs::File;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use license_core::amendment::TermChanges;
use license_core::license_key::LicenseKey;
use license_server::licensing::catalogue::Tier;
use license_server::licensing::issue::IssueRequest;
use license_server::store::Store;
use license_service::database::{Database, Failure, Timeouts};
use reqwest::{Method, StatusCode};
use sea_orm::{ConnectionTrait as _, TransactionTrait as _};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::database::{Engine, TestDatabase, on_both_engines};
use crate::database_gate::{Gate, Way};
use crate::gates::process::{Process, free_port};
use crate::harness::Vendor;

on_both_engines! {
    a_license_that_is_asked_about_three_hundred_times_leaves_others_alone;
    unknown_keys_share_a_few_turns_and_known_keys_need_none;
}

/// The status code, the code of an error, and how many seconds to wait.
type Outcome = (u16, Option<String>, Option<u64>);

fn busy() -> Outcome {
    (503, Some("busy".to_owned()), Some(5))
}

fn answered() -> Outcome {
    (200, None, None)
}

async fn validate(vendor: &Vendor, key: &str, machine: &str) -> Outcome {
    let url = format!("{}/api/licenses/validate", vendor.url);
    let body = json!({"licenseKey": key, "hardwareId": machine});
    let answer = vendor.http.post(url).json(&body).send().await.unwrap();
    let wait = answer.headers().get("retry-after");
    let wait = wait.map(|wait| wait.to_str().unwrap().parse().unwrap());
    let status = answer.status().as_u16();
    let body: Value = answer.json().await.unwrap();
    let code = body["error"]["code"].as_str().map(str::to_owned);
    (status, code, wait)
}

fn number_of(outcomes: &[Outcome], outcome: &Outcome) -> usize {
    outcomes.iter().filter(|it| *it == outcome).count()
}

async fn assert_ready(vendor: &Vendor) {
    let answer = vendor.http.get(format!("{}/readyz", vendor.url)).send();
    let answer = answer.await.unwrap();
    let status = answer.status();
    let body = answer.text().await.unwrap();
    assert_eq!(status, StatusCode::OK, "{body}");
}

/// With machines that hold its seats.
async fn license_of(vendor: &Vendor, seats: u32) -> String {
    let request = IssueRequest {
        terms: TermChanges {
            seats: Some(seats),
            ..TermChanges::default()
        },
        ..IssueRequest::of(Tier::Standard)
    };
    let key = vendor.issue(request).await;
    for number in 0..seats {
        let machine = format!("machine-{number}");
        assert_eq!(vendor.activate(&key, &machine).await.word(), "yes");
    }
    key
}

async fn a_license_that_is_asked_about_three_hundred_times_leaves_others_alone(engine: Engine) {
    let database = TestDatabase::new(engine).await;
    let timeouts = Timeouts {
        wait: Duration::from_secs(4),
        ..Timeouts::default()
    };
    let vendor = Vendor::start_before(database, timeouts).await;
    let (large, other) = (license_of(&vendor, 20).await, license_of(&vendor, 1).await);
    // Another process has frozen while it holds the row. An SQLite file cannot be held for
    // one license.
    let outside = vendor.database.connect().await;
    let held = match engine {
        Engine::Postgres => {
            let held = outside.begin().await.unwrap();
            let hold = format!("UPDATE licenses SET id = id WHERE license_key = '{large}'");
            held.execute_unprepared(&hold).await.unwrap();
            Some(held)
        }
        Engine::Sqlite => None,
    };
    let refused = AtomicUsize::new(0);
    let flood = join_all((0..300).map(|number| {
        let (vendor, large, refused) = (&vendor, &large, &refused);
        async move {
            let outcome = validate(vendor, large, &format!("machine-{}", number % 20)).await;
            if outcome == busy() {
                refused.fetch_add(1, Ordering::Relaxed);
            }
            outcome
        }
    }));
    let watch = async {
        for _ in 0..10 {
            assert_eq!(validate(&vendor, &other, "machine-0").await, answered());
            assert_ready(&vendor).await;
        }
        if let Some(held) = held {
            // One connection waits for the row, and no more.
            let waiting = "SELECT count(*)::text FROM pg_stat_activity \
                           WHERE datname = current_database() AND wait_event_type = 'Lock'";
            let start = Instant::now();
            loop {
                let waiting = vendor.database.texts(waiting).await.remove(0).unwrap();
                if waiting != "0" {
                    assert_eq!(waiting, "1");
                    break;
                }
                assert!(start.elapsed() < Duration::from_secs(10), "no call waits");
            }
            // One at work, 256 in the queue, and the rest is refused.
            while refused.load(Ordering::Relaxed) < 300 - 257 {
                assert!(start.elapsed() < Duration::from_secs(10), "all calls wait");
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            held.rollback().await.unwrap();
        }
    };
    let (outcomes, ()) = tokio::join!(flood, watch);
    let (yes, no) = (
        number_of(&outcomes, &answered()),
        number_of(&outcomes, &busy()),
    );
    assert_eq!(yes + no, 300, "{outcomes:?}");
    assert!(yes > 0, "{outcomes:?}");
    assert_eq!(validate(&vendor, &other, "machine-0").await, answered());
    outside.close().await.unwrap();
    vendor.end().await;
}

async fn unknown_keys_share_a_few_turns_and_known_keys_need_none(engine: Engine) {
    let vendor = Vendor::start(engine).await;
    let key = license_of(&vendor, 1).await;
    let unknown = |number: usize| {
        let mut bytes = [7; 15];
        bytes[0] = u8::try_from(number % 200).unwrap();
        bytes[1] = u8::try_from(number / 200).unwrap();
        LicenseKey::from_random(&bytes).unwrap()
    };
    let mut turns = Vec::new();
    for number in 500..503 {
        let turn = vendor.app.queues.enter(&unknown(number), "m", false).await;
        turns.push(turn.unwrap());
    }
    let flood = join_all((0..300).map(|number| {
        let (vendor, key) = (&vendor, unknown(number).to_string());
        async move { validate(vendor, &key, "machine-0").await }
    }));
    let watch = async {
        // Of the flood, 256 wait and 44 are refused by now or soon.
        for _ in 0..5 {
            assert_eq!(validate(&vendor, &key, "machine-0").await, answered());
            assert_ready(&vendor).await;
        }
        drop(turns);
    };
    let (outcomes, ()) = tokio::join!(flood, watch);
    let too_many = (429, Some("too_many_calls".to_owned()), Some(10));
    assert_eq!(number_of(&outcomes, &answered()), 30, "{outcomes:?}");
    let refused = number_of(&outcomes, &busy());
    let throttled = number_of(&outcomes, &too_many);
    assert_eq!(refused + throttled, 270, "{outcomes:?}");
    // A new license of an honest site is found behind the same address.
    let new = vendor.issue(IssueRequest::of(Tier::Standard)).await;
    assert_eq!(vendor.activate(&new, "new machine").await.word(), "yes");
    vendor.end().await;
}

/// The row with which readiness is found out is held by a process that has frozen.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readiness_does_not_wait_for_a_process_that_has_frozen() {
    let vendor = Vendor::start(Engine::Postgres).await;
    let outside = vendor.database.connect().await;
    let held = outside.begin().await.unwrap();
    let hold = "UPDATE license_server_migrations SET applied_at = applied_at";
    held.execute_unprepared(hold).await.unwrap();
    assert_ready(&vendor).await;
    held.rollback().await.unwrap();
    assert_ready(&vendor).await;
    outside.close().await.unwrap();
    vendor.end().await;
}

/// Both engines distinguish waiting for others from a failing database.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_row_that_others_hold_is_busy_and_no_outage() {
    for engine in [Engine::Sqlite, Engine::Postgres] {
        let database = TestDatabase::new(engine).await;
        let timeouts = Timeouts {
            wait: Duration::from_secs(2),
            ..Timeouts::default()
        };
        let url = database.url.parse().unwrap();
        let store = Store::open_within(&url, timeouts).await.unwrap();
        let outside = database.connect().await;
        let held = outside.begin().await.unwrap();
        let hold = "UPDATE license_server_migrations SET applied_at = applied_at";
        held.execute_unprepared(hold).await.unwrap();
        let change = async {
            let transaction = store.begin().await?;
            transaction.execute_unprepared(hold).await?;
            Ok::<_, license_server::store::StoreError>(())
        };
        let error = change.await.unwrap_err();
        assert!(error.is_busy() && !error.is_outage(), "{engine:?}: {error}");
        held.rollback().await.unwrap();

        // So is a queue for connections that does not move.
        let mut kept = Vec::new();
        let error = loop {
            match store.begin().await {
                Ok(transaction) => kept.push(transaction),
                Err(error) => break error,
            }
        };
        assert!(error.is_busy() && !error.is_outage(), "{engine:?}: {error}");
        assert!(error.to_string().contains("is busy"), "{error}");
        let expected = match engine {
            Engine::Sqlite => 1,
            Engine::Postgres => 8,
        };
        assert_eq!(kept.len(), expected, "{engine:?}");
        if engine == Engine::Postgres {
            store.check_writable().await.unwrap();
        }
        drop(kept);
        store.check_writable().await.unwrap();
        outside.close().await.unwrap();
        store.close().await;
        database.drop_database().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tables_may_be_changed_under_a_running_service() {
    let vendor = Vendor::start(Engine::Postgres).await;
    let key = license_of(&vendor, 12).await;
    let calls = async || {
        let calls = (0..12).map(|number| {
            let (vendor, key) = (&vendor, &key);
            async move { validate(vendor, key, &format!("machine-{number}")).await }
        });
        let staff = vendor.admin(Method::GET, "/licenses", Value::Null);
        let issued = json!({"tier": "standard", "customer": "Harbour Ltd"});
        let issued = vendor.admin(Method::POST, "/licenses", issued);
        let renewed = json!({"expiresAt": "2030-12-31"});
        let path = format!("/licenses/{key}/renew");
        let renewed = vendor.admin(Method::POST, &path, renewed);
        let (calls, staff, issued, renewed) = tokio::join!(join_all(calls), staff, issued, renewed);
        assert_eq!(number_of(&calls, &answered()), 12, "{calls:?}");
        assert_eq!(staff.0, StatusCode::OK, "{}", staff.1);
        assert_eq!(issued.0, StatusCode::CREATED, "{}", issued.1);
        assert_eq!(renewed.0, StatusCode::OK, "{}", renewed.1);
    };
    calls().await;
    for table in [
        "licenses ALTER customer TYPE text",
        "licenses ALTER tier TYPE text",
        "seats ALTER installation_name TYPE text",
    ] {
        let alter = format!("ALTER TABLE {table}");
        vendor.database.execute(&alter).await;
        calls().await;
    }
    // The sessions lose what they have prepared, as with DISCARD ALL.
    let db = vendor.app.store.reader();
    let lose = join_all((0..9).map(|_| db.execute_unprepared("DEALLOCATE ALL")));
    for lost in lose.await {
        lost.unwrap();
    }
    calls().await;
    assert_ready(&vendor).await;
    vendor.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stricter_isolation_level_of_the_database_fails_no_call() {
    for level in ["serializable", "repeatable read"] {
        let database = TestDatabase::new(Engine::Postgres).await;
        let name = database.url.rsplit('/').next().unwrap();
        let set = format!("ALTER DATABASE {name} SET default_transaction_isolation = '{level}'");
        database.execute(&set).await;
        let through = TestDatabase::same_as(&database);
        let vendor = Vendor::start_before(through, Timeouts::default()).await;
        let request = IssueRequest {
            terms: TermChanges {
                seats: Some(18),
                ..TermChanges::default()
            },
            ..IssueRequest::of(Tier::Standard)
        };
        let key = vendor.issue(request).await;
        let issues = (0..60).map(|_| {
            let request = json!({"tier": "standard", "customer": "Harbour Ltd"});
            vendor.admin(Method::POST, "/licenses", request)
        });
        let machines: Vec<_> = (0..18).map(|number| format!("machine-{number}")).collect();
        let activations = machines
            .iter()
            .map(|machine| vendor.activate(&key, machine));
        let (issued, activated) = tokio::join!(join_all(issues), join_all(activations));
        for (status, body) in issued {
            assert_eq!(status, StatusCode::CREATED, "{level}: {body}");
        }
        assert!(activated.iter().all(|told| told.word() == "yes"), "{level}");
        vendor.stop().await;
        database.drop_database().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_cannot_hold_every_text_is_refused_at_the_start() {
    let server = TestDatabase::new(Engine::Postgres).await;
    for encoding in ["LATIN1", "SQL_ASCII"] {
        let name = format!("{}_{}", server.url.rsplit('/').next().unwrap(), encoding);
        let name = name.to_lowercase();
        let create = format!(
            "CREATE DATABASE {name} ENCODING '{encoding}' LC_COLLATE 'C' LC_CTYPE 'C' \
             TEMPLATE template0"
        );
        server.execute(&create).await;
        let (base, _) = server.url.rsplit_once('/').unwrap();
        let url = format!("{base}/{name}").parse().unwrap();
        let error = Store::open(&url).await.unwrap_err().to_string();
        let expected = format!("the database has the encoding {encoding}, but UTF8 is required");
        assert!(error.contains(&expected), "{error}");
        // What the License Client's doctor says.
        let door = Database::new(&url, Timeouts::default()).unwrap();
        let why = door.why_not().await.unwrap();
        assert!(why.to_string().contains(&expected), "{why}");
        door.close().await;
        server.execute(&format!("DROP DATABASE {name}")).await;
    }
    server.drop_database().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_service_waits_at_its_start_for_a_database_that_is_not_there() {
    let direct = TestDatabase::new(Engine::Postgres).await;
    let gate = Gate::before(&direct, Way::Cut).await;
    let directory = tempfile::tempdir().unwrap();
    let log = directory.path().join("log");
    let port = free_port();
    let mut command = Command::new(env!("CARGO_BIN_EXE_license-server"));
    command
        .args(["serve", "--port", &port.to_string()])
        .env("STATE_DIR", directory.path().join("state"))
        .env("DATABASE_URL", &gate.database.url)
        .current_dir(directory.path())
        .stdout(Stdio::null())
        .stderr(File::create(&log).unwrap());
    let open = async {
        let start = Instant::now();
        loop {
            let log = std::fs::read_to_string(&log).unwrap();
            if log.contains("waiting for the database") {
                break;
            }
            assert!(start.elapsed() < Duration::from_secs(20), "{log}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        gate.set(Way::Open);
    };
    let (server, ()) = tokio::join!(Process::start(&mut command, port), open);
    drop(server);
    let log = std::fs::read_to_string(&log).unwrap();
    assert!(log.contains("cannot reach the database"), "{log}");

    // One that refuses us is not waited for.
    let url = format!("{}_missing", direct.url);
    let error = Store::open(&url.parse().unwrap()).await.unwrap_err();
    assert!(error.to_string().contains("does not exist"), "{error}");
    direct.drop_database().await;
}

/// A read is repeated with another connection, and says which kind of error it was if that
/// does not help.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_single_statement_that_is_outdated_is_prepared_again() {
    let database = TestDatabase::new(Engine::Postgres).await;
    database
        .execute("CREATE TABLE notes (text varchar(9))")
        .await;
    let url = database.url.parse().unwrap();
    let door = Database::connect(&url, Timeouts::default()).await.unwrap();
    let ask = || {
        let backend = sea_orm::DbBackend::Postgres;
        sea_orm::Statement::from_sql_and_values(backend, "SELECT * FROM public.notes", [])
    };
    for column in ["TYPE text", "TYPE varchar(20)", "TYPE varchar(30)"] {
        door.query_all_raw(ask()).await.unwrap();
        let alter = format!("ALTER TABLE notes ALTER text {column}");
        database.execute(&alter).await;
    }
    door.query_one_raw(ask()).await.unwrap();
    database.execute("DROP TABLE notes").await;
    let error = door.query_all_raw(ask()).await.unwrap_err();
    assert_eq!(Failure::of(&error), Failure::NoTable);
    door.close().await;
    database.drop_database().await;
}
