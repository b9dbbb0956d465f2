//! A database that loses what running servers have committed seconds before: the failover to a
//! standby that lags, or a snapshot that is seconds old.

use std::time::Duration;

use chrono::TimeDelta;
use license_core::offline::{OfflineRequest, Purpose, RequestFile};
use license_core::restored::{MAX_UNRECORDED, number_at};
use license_server::app::App;
use license_server::audit::Actor;
use license_server::licensing::clock::watch;
use license_server::licensing::offline::sign;
use license_server::licensing::restored;
use license_service::clock::Clock as _;

use crate::database::{Engine, TestDatabase, on_both_engines};
use crate::harness::{INSTALLATION, NONCE, Vendor};
use crate::restored::{OLDER, alerts, issue, ranges, seq, suspected, word};

on_both_engines! {
    what_is_lost_between_two_records_is_not_denied;
    a_lost_record_whose_version_another_server_uses_again_is_noticed;
    concurrent_answers_records_and_hang_ups_lose_nothing;
    what_another_process_has_answered_is_not_denied;
    what_a_killed_server_has_answered_is_not_hidden_by_one_that_stopped_before;
    only_the_last_server_that_stops_closes_the_record;
}

/// All tables with rows that the tests write; those that refer to others come first.
const TABLES: [&str; 11] = [
    "amendments",
    "seat_moves",
    "site_entries",
    "suspicions",
    "usage_days",
    "seats",
    "licenses",
    "audit_log",
    "coverage",
    "signing_clock",
    "commit_proofs",
];

/// Keeps a copy of all rows.
async fn copy_rows(vendor: &Vendor) {
    for table in TABLES {
        let copy = format!("CREATE TABLE kept_{table} AS SELECT * FROM {table}");
        vendor.database.execute(&copy).await;
    }
}

/// Puts the copied rows back under the running servers.
async fn lose_newer_rows(vendor: &Vendor) {
    let remove = TABLES.map(|table| format!("DELETE FROM {table};"));
    let mut put_back = TABLES.map(|table| {
        format!("INSERT INTO {table} SELECT * FROM kept_{table}; DROP TABLE kept_{table};")
    });
    put_back.reverse();
    let all = format!("BEGIN; {} {} COMMIT", remove.concat(), put_back.concat());
    vendor.database.execute(&all).await;
}

/// Licenses that sites use while the newest rows are lost, and what the sites know.
struct Sites {
    known: (String, u64),
    seat_lost: (String, u64),
    license_lost: (String, u64),
}

/// Answers three sites in one second, and loses it.
async fn lose_a_second(vendor: &Vendor, is_recorded: bool) -> Sites {
    let (known, seat_lost) = (issue(vendor, 1, None).await, issue(vendor, 1, None).await);
    assert_eq!(vendor.activate(&known, "m").await.word(), "yes");
    vendor.clock.advance(TimeDelta::seconds(1));
    watch(&vendor.app).await.unwrap();
    copy_rows(vendor).await;
    vendor.clock.advance(TimeDelta::seconds(1));
    let license_lost = issue(vendor, 1, None).await;
    if is_recorded {
        watch(&vendor.app).await.unwrap();
    }
    for key in [&seat_lost, &license_lost] {
        assert_eq!(vendor.activate(key, "m").await.word(), "yes");
    }
    assert_eq!(vendor.validate(&known, "m").await.word(), "yes");
    let mut numbers = Vec::new();
    for key in [&known, &seat_lost, &license_lost] {
        numbers.push(seq(vendor, key, "m").await);
    }
    lose_newer_rows(vendor).await;
    vendor.clock.advance(TimeDelta::seconds(1));
    Sites {
        known: (known, numbers[0]),
        seat_lost: (seat_lost, numbers[1]),
        license_lost: (license_lost, numbers[2]),
    }
}

/// None of the sites is denied by a server, now or later, and a number that was never issued is.
async fn check_answers(servers: &[&Vendor], sites: &Sites) {
    let (key, number) = &sites.license_lost;
    let mut invented = None;
    for wait in [TimeDelta::zero(), TimeDelta::hours(3), TimeDelta::days(2)] {
        servers[0].clock.advance(wait);
        for server in servers {
            watch(&server.app).await.unwrap();
            let answered = word(server, "validate", key, "m", Some(*number)).await;
            assert_eq!(answered, OLDER, "{wait}");
            if let Some(invented) = invented {
                let answered = word(server, "validate", key, "m", Some(invented)).await;
                assert_eq!(answered, "unknown_license", "{wait}");
            }
            for (key, number) in [&sites.known, &sites.seat_lost] {
                let answered = word(server, "validate", key, "m", Some(*number)).await;
                assert_eq!(answered, "yes", "{wait}");
                assert!(seq(server, key, "m").await > *number);
            }
        }
        invented = Some(number_at(servers[0].clock.now() + TimeDelta::minutes(11)));
    }
    assert_eq!(ranges(servers[0]).await, 1);
    assert_eq!(suspected(servers[0]).await, 0);
    assert!(alerts(servers[0]).await >= 1);
}

async fn what_is_lost_between_two_records_is_not_denied(engine: Engine) {
    // The first to notice it is the answer to another site, the answer itself, the check, or the
    // record.
    for first in ["another site", "the site", "the check", "the record"] {
        let vendor = Vendor::start(engine).await;
        let sites = lose_a_second(&vendor, false).await;
        if first == "another site" {
            let (key, number) = &sites.known;
            let answered = word(&vendor, "validate", key, "m", Some(*number)).await;
            assert_eq!(answered, "yes");
        }
        if first == "the check" {
            restored::watch(&vendor.app).await.unwrap();
            assert_eq!(ranges(&vendor).await, 1);
        }
        if first != "the record" {
            let (key, number) = &sites.license_lost;
            let answered = word(&vendor, "validate", key, "m", Some(*number)).await;
            assert_eq!(answered, OLDER, "{first}");
        }
        check_answers(&[&vendor], &sites).await;
        vendor.end().await;
    }
}

async fn a_lost_record_whose_version_another_server_uses_again_is_noticed(engine: Engine) {
    for is_recorded in [true, false] {
        let vendor = Vendor::start(engine).await;
        let second = vendor.twin().await;
        watch(&vendor.app).await.unwrap();
        watch(&second.app).await.unwrap();
        assert_eq!(ranges(&vendor).await, 0);
        let sites = lose_a_second(&vendor, is_recorded).await;
        watch(&second.app).await.unwrap();
        vendor.clock.advance(TimeDelta::seconds(1));
        watch(&vendor.app).await.unwrap();
        check_answers(&[&second, &vendor], &sites).await;
        second.stop().await;
        vendor.end().await;
    }
}

async fn concurrent_answers_records_and_hang_ups_lose_nothing(engine: Engine) {
    let vendor = Vendor::start(engine).await;
    let second = vendor.twin().await;
    watch(&vendor.app).await.unwrap();
    watch(&second.app).await.unwrap();
    let mut keys = Vec::new();
    for _ in 0..6 {
        keys.push(issue(&vendor, 1, None).await);
    }
    for round in 0..8_u64 {
        vendor.clock.advance(TimeDelta::seconds(40));
        let answers = keys.iter().enumerate().map(async |(number, key)| {
            let server = if number % 2 == 0 { &vendor } else { &second };
            let asking = word(server, "activate", key, "m", None);
            // Some hang up at an instant that differs each time.
            let limit = match number {
                0 | 1 => Duration::from_micros(700 * (round + 1)),
                _ => Duration::from_secs(60),
            };
            match tokio::time::timeout(limit, asking).await {
                Ok(answered) => assert_eq!(answered, "yes"),
                Err(_) => assert!(number < 2),
            }
        });
        let record = async |server: &Vendor| {
            watch(&server.app).await.unwrap();
            restored::watch(&server.app).await.unwrap();
        };
        tokio::join!(
            futures_util::future::join_all(answers),
            record(&vendor),
            record(&vendor),
            record(&second),
        );
        let ahead = number_at(vendor.clock.now() + TimeDelta::minutes(1));
        for server in [&vendor, &second] {
            let answered = word(server, "validate", &keys[2], "another", Some(ahead)).await;
            assert_eq!(answered, "hardware_mismatch", "{round}");
        }
    }
    assert_eq!((ranges(&vendor).await, alerts(&vendor).await), (0, 0));
    second.stop().await;
    vendor.end().await;
}

/// Another process on the same database: a command, or a server that never does anything without
/// being told.
async fn another_process(vendor: &Vendor) -> App {
    let terms = vendor.app.terms.clone();
    let opened = App::open(&vendor.storage(), terms, vendor.clock.clone()).await;
    opened.unwrap()
}

async fn record(app: &App, is_stopping: bool) {
    restored::record(&app.store, &app.numbering, &app.signing_clock, is_stopping)
        .await
        .unwrap();
}

/// Signs a request file for the machine `m`.
async fn sign_by_file(app: &App, key: &str) {
    let request = OfflineRequest {
        purpose: Purpose::Activate,
        license_key: key.to_owned(),
        add_on_key: None,
        trial_secret: None,
        hardware_id: "m".to_owned(),
        installation_id: INSTALLATION.to_owned(),
        installation_name: "Site".to_owned(),
        installation_version: "1".to_owned(),
        nonce: NONCE.to_owned(),
        created_at: app.clock.now(),
        key_set: 1,
        newest_seq: None,
        entitlements: false,
    };
    let lease = app.terms.offline_days;
    let request = RequestFile::read(&request.to_file()).unwrap();
    let signed = sign(app, request, lease, Actor::CommandLine).await;
    signed.unwrap();
}

/// No server denies the machine `m`, which has these keys and numbers, now or later, and a number
/// that was never issued is denied.
async fn check_withheld(servers: &[&Vendor], lost: &[(String, u64)]) {
    let mut invented = None;
    for wait in [TimeDelta::zero(), TimeDelta::hours(3), TimeDelta::days(2)] {
        servers[0].clock.advance(wait);
        for server in servers {
            for (key, number) in lost {
                let answered = word(server, "validate", key, "m", Some(*number)).await;
                assert_eq!(answered, OLDER, "{wait}");
            }
            watch(&server.app).await.unwrap();
            if let Some(invented) = invented {
                let key = &lost[1].0;
                let answered = word(server, "validate", key, "m", Some(invented)).await;
                assert_eq!(answered, "unknown_license", "{wait}");
            }
        }
        invented = Some(number_at(servers[0].clock.now() + TimeDelta::minutes(11)));
    }
    let vendor = servers[0];
    assert_eq!((ranges(vendor).await, suspected(vendor).await), (1, 0));
    assert!(alerts(vendor).await >= 1);
}

async fn what_another_process_has_answered_is_not_denied(engine: Engine) {
    for kind in ["a command", "a killed server", "a server that stops"] {
        for servers in [1, 2] {
            let vendor = Vendor::start(engine).await;
            let second = match servers {
                2 => Some(vendor.twin().await),
                _ => None,
            };
            vendor.clock.advance(TimeDelta::seconds(1));
            watch(&vendor.app).await.unwrap();
            let another = another_process(&vendor).await;
            if kind != "a command" {
                record(&another, false).await;
            }
            let seat_lost = issue(&vendor, 1, None).await;
            restored::watch(&vendor.app).await.unwrap();
            copy_rows(&vendor).await;
            vendor.clock.advance(TimeDelta::seconds(1));
            let license_lost = issue(&vendor, 1, None).await;
            let mut lost = Vec::new();
            for key in [seat_lost, license_lost] {
                sign_by_file(&another, &key).await;
                let number = seq(&vendor, &key, "m").await;
                lost.push((key, number));
            }
            if kind == "a server that stops" {
                record(&another, true).await;
            }
            another.store.clone().close().await;
            // The servers see it before it is lost.
            let running: Vec<_> = [Some(&vendor), second.as_ref()]
                .into_iter()
                .flatten()
                .collect();
            for server in &running {
                restored::watch(&server.app).await.unwrap();
            }
            assert_eq!(ranges(&vendor).await, 0, "{kind}");
            lose_newer_rows(&vendor).await;
            vendor.clock.advance(TimeDelta::seconds(1));

            // Another machine takes the seat that is free again.
            assert_eq!(vendor.activate(&lost[0].0, "another").await.word(), "yes");
            check_withheld(&running, &lost).await;
            if let Some(second) = second {
                second.stop().await;
            }
            vendor.end().await;
        }
    }
}

async fn what_a_killed_server_has_answered_is_not_hidden_by_one_that_stopped_before(
    engine: Engine,
) {
    // Without another server, nothing is issued after the record that the stop closes.
    for (has_another, expected) in [(true, OLDER), (false, "unknown_license")] {
        let vendor = Vendor::start(engine).await;
        watch(&vendor.app).await.unwrap();
        if has_another {
            let another = another_process(&vendor).await;
            record(&another, false).await;
            another.store.clone().close().await;
        }
        let (vendor, copy) = vendor.backed_up().await;
        vendor.clock.advance(TimeDelta::seconds(1));
        let key = issue(&vendor, 1, None).await;
        assert_eq!(vendor.activate(&key, "m").await.word(), "yes");
        let number = seq(&vendor, &key, "m").await;
        let vendor = vendor.restored(copy).await;
        for wait in [TimeDelta::zero(), MAX_UNRECORDED, TimeDelta::hours(3)] {
            vendor.clock.advance(wait);
            watch(&vendor.app).await.unwrap();
            let answered = word(&vendor, "validate", &key, "m", Some(number)).await;
            assert_eq!(answered, expected, "{wait}");
        }
        assert_eq!(ranges(&vendor).await, usize::from(has_another));
        vendor.end().await;
    }
}

async fn is_closed(database: &TestDatabase) -> bool {
    let closed = "SELECT CAST(version AS TEXT) FROM coverage WHERE is_closed";
    !database.texts(closed).await.is_empty()
}

async fn only_the_last_server_that_stops_closes_the_record(engine: Engine) {
    let vendor = Vendor::start(engine).await;
    let database = vendor.database.clone();
    let second = vendor.twin().await;
    for server in [&vendor, &second] {
        vendor.clock.advance(TimeDelta::seconds(1));
        watch(&server.app).await.unwrap();
    }
    second.stop().await;
    assert!(!is_closed(&database).await, "the first one is running");
    // A server is running even while it waits for another one to show itself.
    let third = vendor.twin().await;
    vendor.stop().await;
    assert!(!is_closed(&database).await, "the third one is running");
    third.clock.advance(TimeDelta::seconds(15));
    watch(&third.app).await.unwrap();
    let command = another_process(&third).await;
    let key = issue(&third, 1, None).await;
    sign_by_file(&command, &key).await;
    command.store.clone().close().await;
    let clock = third.clock.clone();
    let third = third.restarted().await;
    assert_eq!(ranges(&third).await, 0);
    // A killed server counts as running until its record is old.
    let killed = another_process(&third).await;
    record(&killed, false).await;
    killed.store.clone().close().await;
    clock.advance(MAX_UNRECORDED);
    let fourth = third.restarted().await;
    assert!(!is_closed(&database).await);
    clock.advance(TimeDelta::milliseconds(1));
    fourth.stop().await;
    assert!(is_closed(&database).await, "no other one is running");
    database.drop_database().await;
}
