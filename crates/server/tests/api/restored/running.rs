//! A backup that is restored under a running server.

use chrono::TimeDelta;
use license_core::restored::{MAX_LEAD, number_at};
use license_server::app::App;
use license_server::licensing::clock::{record_if_trusted, watch};
use license_server::store::{coverage, suspicions};
use license_service::clock::Clock as _;

use super::{OLDER, alerts, issue, ranges, seq, word};
use crate::database::{Engine, on_both_engines};
use crate::harness::Vendor;

on_both_engines! {
    a_backup_that_is_restored_under_a_running_server_is_noticed;
    a_backup_that_is_restored_under_a_server_that_then_stops_is_noticed;
    neither_a_restart_nor_a_command_makes_an_invented_number_possible;
}

/// A running service with what a restoration to nine minutes ago leaves behind: a site that the
/// database knows, one that it does not know, and its number.
async fn restored_while_running(engine: Engine) -> (Vendor, String, (String, u64)) {
    let vendor = Vendor::start(engine).await;
    let (known, lost) = (issue(&vendor, 1, None).await, issue(&vendor, 1, None).await);
    assert_eq!(vendor.activate(&known, "m").await.word(), "yes");
    watch(&vendor.app).await.unwrap();
    let backup = coverage::find(vendor.app.store.reader()).await;
    let backup = backup.unwrap().unwrap();
    vendor.clock.advance(TimeDelta::minutes(9));
    assert_eq!(vendor.activate(&lost, "m").await.word(), "yes");
    let of_lost = seq(&vendor, &lost, "m").await;
    watch(&vendor.app).await.unwrap();
    let text = backup.until.format("%Y-%m-%d %H:%M:%S%.6f");
    for sql in [
        format!("UPDATE signing_clock SET recorded_at = '{text}'"),
        format!(
            "UPDATE coverage SET covered_until = '{text}', version = {}",
            backup.version
        ),
        format!("DELETE FROM seats WHERE last_seq = {of_lost}"),
        format!(
            "DELETE FROM audit_log WHERE subject LIKE '%{}'",
            &lost[lost.len() - 4..]
        ),
        format!(
            "DELETE FROM amendments WHERE license_id = \
             (SELECT id FROM licenses WHERE license_key = '{lost}')"
        ),
        format!("DELETE FROM licenses WHERE license_key = '{lost}'"),
    ] {
        vendor.database.execute(&sql).await;
    }
    vendor.clock.advance(TimeDelta::minutes(1));
    // Another site may be answered before the server looks at its record again.
    assert_eq!(vendor.validate(&known, "m").await.word(), "yes");
    (vendor, known, (lost, of_lost))
}

async fn a_backup_that_is_restored_under_a_running_server_is_noticed(engine: Engine) {
    let (vendor, _, (lost, of_lost)) = restored_while_running(engine).await;
    for _ in 0..2 {
        let answered = word(&vendor, "validate", &lost, "m", Some(of_lost)).await;
        assert_eq!(answered, OLDER);
        watch(&vendor.app).await.unwrap();
    }
    // The lost server's clock may have been ahead.
    vendor.clock.advance(MAX_LEAD);
    let later = number_at(vendor.clock.now());
    watch(&vendor.app).await.unwrap();
    vendor.clock.advance(TimeDelta::minutes(1));
    watch(&vendor.app).await.unwrap();
    let answered = word(&vendor, "validate", &lost, "m", Some(later + 1)).await;
    assert_eq!(answered, "unknown_license", "issued by this server since");
    assert_eq!(ranges(&vendor).await, 1);
    vendor.end().await;
}

async fn a_backup_that_is_restored_under_a_server_that_then_stops_is_noticed(engine: Engine) {
    // It stops, or is killed before it looks at its record again.
    for is_killed in [false, true] {
        let (vendor, known, (lost, of_lost)) = restored_while_running(engine).await;
        let (vendor, killed) = match is_killed {
            true => (vendor.twin().await, Some(vendor)),
            false => (vendor.restarted().await, None),
        };
        for _ in 0..2 {
            let answered = word(&vendor, "validate", &lost, "m", Some(of_lost)).await;
            assert_eq!(answered, OLDER, "{is_killed}");
            assert_eq!(vendor.validate(&known, "m").await.word(), "yes");
            watch(&vendor.app).await.unwrap();
        }
        assert_eq!((ranges(&vendor).await, alerts(&vendor).await), (1, 1));
        if let Some(killed) = killed {
            killed.stop().await;
        }
        vendor.end().await;
    }
}

async fn neither_a_restart_nor_a_command_makes_an_invented_number_possible(engine: Engine) {
    let mut vendor = Vendor::start(engine).await;
    let key = issue(&vendor, 1, None).await;
    assert_eq!(vendor.activate(&key, "m").await.word(), "yes");
    for restart in 1..=3 {
        vendor.clock.advance(TimeDelta::days(3));
        watch(&vendor.app).await.unwrap();
        vendor = vendor.restarted().await;
        vendor.clock.advance(TimeDelta::seconds(5));
        let ahead = number_at(vendor.clock.now() + TimeDelta::minutes(1));
        assert_eq!(
            word(&vendor, "validate", &key, "m", Some(ahead)).await,
            "yes"
        );
        let found = suspicions::list(vendor.app.store.reader(), None, 9).await;
        let found: Vec<_> = found
            .unwrap()
            .rows
            .into_iter()
            .map(|it| (it.kind, it.times))
            .collect();
        assert_eq!(found, [("impossible_sequence".to_owned(), restart)]);
    }
    // A command beside the running server.
    vendor.clock.advance(TimeDelta::seconds(14));
    let storage = vendor.storage();
    let terms = vendor.app.terms.clone();
    let command = App::open(&storage, terms.clone(), vendor.clock.clone())
        .await
        .unwrap();
    record_if_trusted(&command).await;
    command.store.clone().close().await;
    let ahead = number_at(vendor.clock.now() + TimeDelta::minutes(1));
    let answered = word(&vendor, "validate", &key, "another", Some(ahead)).await;
    assert_eq!(
        (answered.as_str(), ranges(&vendor).await),
        ("hardware_mismatch", 0)
    );
    // One that runs hours after the last server stopped stores nothing, and hides nothing.
    let clock = vendor.clock.clone();
    let (vendor, copy) = vendor.backed_up().await;
    clock.advance(TimeDelta::hours(2));
    let lost = number_at(clock.now() - TimeDelta::hours(1));
    let directory = vendor.keys_dir();
    let storage = crate::harness::storage(&copy, directory.parent().unwrap());
    let command = App::open(&storage, terms, clock.clone()).await.unwrap();
    record_if_trusted(&command).await;
    command.store.clone().close().await;
    let vendor = vendor.restored(copy).await;
    // It answers after it has compared its records.
    vendor.look("/licenses").await;
    assert_eq!(ranges(&vendor).await, 1);
    let answered = word(&vendor, "validate", &key, "another", Some(lost)).await;
    assert_eq!(answered, OLDER);
    vendor.end().await;
}
