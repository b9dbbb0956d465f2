//! A server whose database was restored from a backup denies no site because of lost data, and
//! alerts staff.

use chrono::{DateTime, TimeDelta, Utc};
use license_core::restored::{LostNumbers, MAX_LEAD, number_at};
use license_server::app::App;
use license_server::licensing::catalogue::Tier;
use license_server::licensing::clock::{accept, record_if_trusted, watch};
use license_server::licensing::issue::IssueRequest;
use license_server::licensing::renew::renew;
use license_server::store::audit_log::{Filter, newest};
use license_server::store::licenses::Status;
use license_server::store::{coverage, lost_numbers, suspicions};
use license_service::clock::{Clock as _, ManualClock};
use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::database::{Engine, on_both_engines};
use crate::harness::{INSTALLATION, NONCE, Vendor, system_info};

on_both_engines! {
    what_was_lost_with_the_database_is_not_denied_and_staff_are_alerted;
    a_backup_that_is_restored_under_a_running_server_is_noticed;
    a_backup_that_is_restored_under_a_server_that_then_stops_is_noticed;
    neither_a_restart_nor_a_command_makes_an_invented_number_possible;
    a_server_beside_a_running_one_loses_nothing_and_one_beside_a_failed_one_may;
    a_backup_of_a_server_whose_clock_was_ahead_denies_no_site;
    accepting_the_clock_after_a_long_rest_hides_no_lost_number;
    seats_taken_after_the_backup_are_taken_again_within_the_limit;
    an_invented_number_takes_no_seat_and_raises_no_alert;
    seats_that_are_taken_with_lost_numbers_are_taken_as_slowly_as_by_activation;
}

const CALLS: [&str; 4] = ["activate", "validate", "heartbeat", "deactivate"];

/// What a call comes to: `yes`, the reason of a signed denial, or the code of an error.
pub async fn word(
    vendor: &Vendor,
    call: &str,
    key: &str,
    machine: &str,
    seq: Option<u64>,
) -> String {
    let (status, answer, _) = ask(vendor, call, key, machine, seq).await;
    let data = &answer["data"];
    if data["license"]["signature"].is_string() {
        return "yes".to_owned();
    }
    if let Some(jws) = data["signature"].as_str() {
        let denial = license_core::document::verify_denial(jws, &vendor.keyring()).unwrap();
        return denial.claims().reason.as_str().to_owned();
    }
    assert!(!status.is_success(), "{answer}");
    assert!(answer.get("success").is_none(), "{answer}");
    answer["error"]["code"].as_str().unwrap().to_owned()
}

async fn ask(
    vendor: &Vendor,
    call: &str,
    key: &str,
    machine: &str,
    seq: Option<u64>,
) -> (StatusCode, Value, Option<String>) {
    let body = json!({
        "licenseKey": key,
        "hardwareId": machine,
        "installationId": INSTALLATION,
        "installationName": "Test",
        "installationVersion": "1.0.0",
        "usageMetrics": {"camerasInUse": 1, "usersActive": 2, "storageUsedGb": 100},
        "systemInfo": system_info(),
    });
    let mut request = vendor
        .http
        .post(format!("{}/api/licenses/{call}", vendor.url))
        .header("x-installation-id", INSTALLATION)
        .header("x-license-nonce", NONCE)
        .json(&body);
    if let Some(seq) = seq {
        request = request.header("x-license-seq", seq);
    }
    let response = request.send().await.unwrap();
    let status = response.status();
    let wait = response.headers().get("retry-after");
    let wait = wait.map(|wait| wait.to_str().unwrap().to_owned());
    (status, response.json().await.unwrap(), wait)
}

/// The number of the newest document for a machine.
pub async fn seq(vendor: &Vendor, key: &str, machine: &str) -> u64 {
    vendor.seat(key, machine).await.unwrap().last_seq
}

pub async fn alerts(vendor: &Vendor) -> usize {
    let filter = Filter::default();
    let entries = newest(vendor.app.store.reader(), &filter, 1000).await;
    let entries = entries.unwrap().into_iter();
    entries
        .filter(|it| it.action == "answer_withheld" && it.actor == "service")
        .count()
}

pub async fn suspected(vendor: &Vendor) -> usize {
    let found = suspicions::list(vendor.app.store.reader(), None, 100).await;
    found.unwrap().len()
}

pub async fn issue(vendor: &Vendor, seats: u32, expires_at: Option<DateTime<Utc>>) -> String {
    let request = IssueRequest {
        seats: Some(seats),
        expires_at,
        ..IssueRequest::of(Tier::Standard)
    };
    vendor.issue(request).await
}

pub const OLDER: &str = "database_older_than_site";

async fn what_was_lost_with_the_database_is_not_denied_and_staff_are_alerted(engine: Engine) {
    let vendor = Vendor::start(engine).await;
    let soon = vendor.clock.now() + TimeDelta::minutes(90);
    let known = issue(&vendor, 1, None).await;
    let renewed = issue(&vendor, 1, Some(soon)).await;
    let (suspended, freed) = (issue(&vendor, 1, None).await, issue(&vendor, 1, None).await);
    for key in [&known, &renewed, &suspended, &freed] {
        assert_eq!(vendor.activate(key, "m").await.word(), "yes");
    }
    vendor.set_status(&suspended, Status::Suspended).await;
    vendor.free(&freed, "m").await.unwrap();
    let newest_before = number_at(vendor.clock.now());
    let (vendor, copy) = vendor.backed_up().await;

    // After the backup.
    vendor.clock.advance(TimeDelta::hours(1));
    let lost = issue(&vendor, 1, None).await;
    assert_eq!(vendor.activate(&lost, "m").await.word(), "yes");
    let change = vendor.app.change(license_server::audit::Actor::CommandLine);
    renew(&vendor.app.store, &renewed, None, &change)
        .await
        .unwrap();
    let mut numbers = Vec::new();
    for key in [&lost, &renewed, &known] {
        assert_eq!(vendor.validate(key, "m").await.word(), "yes");
        numbers.push(seq(&vendor, key, "m").await);
    }
    let [of_lost, of_renewed, of_known] = numbers[..] else {
        unreachable!()
    };

    vendor.clock.advance(TimeDelta::hours(1));
    let vendor = vendor.restored(copy).await;
    let restored = number_at(vendor.clock.now());
    for call in CALLS {
        assert_eq!(word(&vendor, call, &lost, "m", Some(of_lost)).await, OLDER);
    }
    let (status, answer, wait) = ask(&vendor, "validate", &lost, "m", Some(of_lost)).await;
    assert_eq!(
        (status, wait),
        (StatusCode::SERVICE_UNAVAILABLE, Some("60".into()))
    );
    assert!(
        answer["error"]["message"]
            .as_str()
            .unwrap()
            .contains("older")
    );
    assert_eq!(
        word(&vendor, "validate", &renewed, "m", Some(of_renewed)).await,
        OLDER
    );
    assert_eq!((alerts(&vendor).await, suspected(&vendor).await), (1, 0));

    // A site that the backup knows is confirmed, with a number that it does not take for
    // a replay, and is not accused; what is newer than the backup stays unknown after it.
    assert_eq!(
        word(&vendor, "validate", &known, "m", Some(of_known)).await,
        "yes"
    );
    assert!(seq(&vendor, &known, "m").await > of_known);
    assert_eq!(suspected(&vendor).await, 0);
    assert_eq!(
        word(&vendor, "heartbeat", &lost, "m", Some(of_lost)).await,
        OLDER
    );
    vendor.clock.advance(TimeDelta::minutes(1));
    assert_eq!(word(&vendor, "validate", &known, "m", None).await, "yes");
    assert_eq!(
        word(&vendor, "validate", &lost, "m", Some(of_lost)).await,
        OLDER
    );

    // Decisions in the database are signed regardless of the number; so are all answers to sites
    // that report no number, an old one, or an impossible one.
    let lead = u64::try_from(MAX_LEAD.num_milliseconds()).unwrap();
    let beyond = restored + lead;
    let malformed = "FXSGHT-AAAA-BBBB-CCCC-DDDD".to_owned();
    for (key, number, expected) in [
        (&suspended, Some(of_lost), "suspended"),
        (&freed, Some(of_lost), "hardware_mismatch"),
        (&malformed, Some(of_lost), "unknown_license"),
        (&lost, None, "unknown_license"),
        (&lost, Some(newest_before), "unknown_license"),
        (&lost, Some(0), "unknown_license"),
        (&lost, Some(beyond), "unknown_license"),
        (&renewed, None, "expired"),
    ] {
        let answered = word(&vendor, "validate", key, "m", number).await;
        assert_eq!(answered, expected, "{key} {number:?}");
    }
    let ahead = Some(beyond - 1);
    assert_eq!(word(&vendor, "validate", &lost, "m", ahead).await, OLDER);

    // Staff see it: once an hour, and counted.
    assert_eq!(alerts(&vendor).await, 1);
    vendor.clock.advance(TimeDelta::hours(1));
    assert_eq!(
        word(&vendor, "validate", &lost, "m", Some(of_lost)).await,
        OLDER
    );
    assert_eq!(
        word(&vendor, "validate", &lost, "m", Some(of_lost)).await,
        OLDER
    );
    assert_eq!(alerts(&vendor).await, 2);
    let scraped = vendor.http.get(format!("{}/metrics", vendor.url));
    let scraped = scraped.send().await.unwrap().text().await.unwrap();
    let counted = "foxsight_license_server_answers_withheld_total 11\n";
    assert!(scraped.contains(counted), "{scraped}");
    assert_eq!(vendor.look("/fleet").await["withheld"], 11);

    // Issued again with the same key, the site is confirmed without changes.
    let again = IssueRequest {
        key: Some(lost.clone()),
        ..IssueRequest::of(Tier::Standard)
    };
    vendor.issue(again).await;
    assert_eq!(
        word(&vendor, "validate", &lost, "m", Some(of_lost)).await,
        "yes"
    );
    assert!(vendor.seat(&lost, "m").await.unwrap().is_held());
    vendor.end().await;
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
        format!("DELETE FROM licenses WHERE license_key = '{lost}'"),
    ] {
        vendor.database.execute(&sql).await;
    }
    vendor.clock.advance(TimeDelta::minutes(1));
    // Another site may be answered before the server looks at its record again.
    assert_eq!(vendor.validate(&known, "m").await.word(), "yes");
    (vendor, known, (lost, of_lost))
}

pub async fn ranges(vendor: &Vendor) -> usize {
    let all = "SELECT CAST(until_number AS TEXT) FROM lost_numbers";
    vendor.database.texts(all).await.len()
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
    assert_eq!(ranges(&vendor).await, 1);
    let answered = word(&vendor, "validate", &key, "another", Some(lost)).await;
    assert_eq!(answered, OLDER);
    vendor.end().await;
}

async fn a_server_beside_a_running_one_loses_nothing_and_one_beside_a_failed_one_may(
    engine: Engine,
) {
    for is_running in [true, false] {
        let vendor = Vendor::start(engine).await;
        let key = issue(&vendor, 1, None).await;
        assert_eq!(vendor.activate(&key, "m").await.word(), "yes");
        vendor.clock.advance(TimeDelta::seconds(10));
        let second = vendor.twin().await;
        let ahead = number_at(vendor.clock.now() + TimeDelta::minutes(1));
        // Until it is known, nothing is denied.
        let answered = word(&second, "validate", &key, "another", Some(ahead)).await;
        assert_eq!(answered, OLDER);
        for (seconds, stored) in [(15, 0), (14, 0), (1, 1)] {
            vendor.clock.advance(TimeDelta::seconds(seconds));
            if is_running {
                watch(&vendor.app).await.unwrap();
            }
            watch(&second.app).await.unwrap();
            let expected = if is_running { 0 } else { stored };
            assert_eq!(ranges(&second).await, expected, "{is_running} {seconds}");
        }
        let answered = word(&second, "validate", &key, "another", Some(ahead)).await;
        let expected = if is_running {
            "hardware_mismatch"
        } else {
            OLDER
        };
        assert_eq!(answered, expected);
        second.stop().await;
        vendor.end().await;
    }
}

async fn a_backup_of_a_server_whose_clock_was_ahead_denies_no_site(engine: Engine) {
    // The record is in the future when the backup is restored, or the number is.
    for (ahead, until_backup) in [(5, 1), (9, 60)] {
        let vendor = Vendor::start(engine).await;
        let right = |clock: &ManualClock| clock.now() - TimeDelta::minutes(ahead);
        vendor
            .clock
            .set_wall(vendor.clock.now() + TimeDelta::minutes(ahead));
        let vendor = vendor.restarted().await;
        let known = issue(&vendor, 1, None).await;
        assert_eq!(vendor.activate(&known, "m").await.word(), "yes");
        let (vendor, copy) = vendor.backed_up().await;
        vendor.clock.advance(TimeDelta::minutes(until_backup));
        let lost = issue(&vendor, 1, None).await;
        assert_eq!(vendor.activate(&lost, "m").await.word(), "yes");
        let of_lost = Some(seq(&vendor, &lost, "m").await);
        // Another server with the right clock.
        vendor.clock.set_wall(right(&vendor.clock));
        let vendor = vendor.restored(copy).await;
        for wait in [1, ahead, 15, 3 * 60] {
            vendor.clock.advance(TimeDelta::minutes(wait));
            watch(&vendor.app).await.unwrap();
            assert_eq!(vendor.validate(&known, "m").await.word(), "yes");
            let answered = word(&vendor, "validate", &lost, "m", of_lost).await;
            assert_eq!(answered, OLDER, "{ahead} {wait}");
        }
        assert_eq!(ranges(&vendor).await, 1, "{ahead}");
        vendor.end().await;
    }
}

async fn accepting_the_clock_after_a_long_rest_hides_no_lost_number(engine: Engine) {
    let vendor = Vendor::start(engine).await;
    let known = issue(&vendor, 1, None).await;
    assert_eq!(vendor.activate(&known, "m").await.word(), "yes");
    let (vendor, copy) = vendor.backed_up().await;
    vendor.clock.advance(TimeDelta::hours(1));
    let lost = issue(&vendor, 1, None).await;
    assert_eq!(vendor.activate(&lost, "m").await.word(), "yes");
    let of_lost = seq(&vendor, &lost, "m").await;
    vendor.clock.advance(TimeDelta::days(2));
    // Before the server starts on the backup, as the runbook says.
    let clock = vendor.clock.clone();
    let storage = crate::harness::storage(&copy, &vendor.keys_dir());
    let store = license_server::open::open_store(&storage).await.unwrap();
    let change = vendor.app.change(license_server::audit::Actor::CommandLine);
    accept(&store, &*clock, &change).await.unwrap();
    store.close().await;
    let vendor = vendor.restored(copy).await;
    assert_eq!(vendor.validate(&known, "m").await.word(), "yes");
    let answered = word(&vendor, "validate", &lost, "m", Some(of_lost)).await;
    assert_eq!(answered, OLDER);
    vendor.end().await;
}

async fn seats_taken_after_the_backup_are_taken_again_within_the_limit(engine: Engine) {
    let vendor = Vendor::start(engine).await;
    let (two, moved) = (issue(&vendor, 2, None).await, issue(&vendor, 1, None).await);
    for key in [&two, &moved] {
        assert_eq!(vendor.activate(key, "first").await.word(), "yes");
    }
    let (vendor, copy) = vendor.backed_up().await;
    vendor.clock.advance(TimeDelta::hours(1));
    assert_eq!(vendor.activate(&two, "second").await.word(), "yes");
    vendor.deactivate(&moved, "first").await;
    assert_eq!(vendor.activate(&moved, "second").await.word(), "yes");
    let of_two = Some(seq(&vendor, &two, "second").await);
    let of_moved = Some(seq(&vendor, &moved, "second").await);
    vendor.clock.advance(TimeDelta::hours(1));
    let vendor = vendor.restored(copy).await;

    // A seat is free: the machine gets it again. No other machine gets one this way.
    let heard = word(&vendor, "heartbeat", &two, "second", of_two).await;
    assert_eq!(heard, "yes");
    assert!(vendor.seat(&two, "second").await.unwrap().is_held());
    for (call, number, expected) in [
        ("validate", None, "hardware_mismatch"),
        ("validate", of_two, OLDER),
        ("activate", None, "seat_limit"),
        ("activate", of_two, OLDER),
    ] {
        let answered = word(&vendor, call, &two, "third", number).await;
        assert_eq!(answered, expected, "{call} {number:?}");
    }
    // The backup says that another machine has it: staff free that seat.
    let answered = word(&vendor, "validate", &moved, "second", of_moved).await;
    assert_eq!(answered, OLDER);
    let answered = word(&vendor, "deactivate", &moved, "second", of_moved).await;
    assert_eq!(answered, OLDER);
    vendor.free(&moved, "first").await.unwrap();
    let answered = word(&vendor, "validate", &moved, "second", of_moved).await;
    assert_eq!(answered, "yes");
    assert_eq!(suspected(&vendor).await, 0);
    vendor.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unknown_keys_with_lost_numbers_are_bounded_like_all_unknown_keys() {
    let vendor = Vendor::start(Engine::Sqlite).await;
    let key = issue(&vendor, 1, None).await;
    vendor
        .database
        .execute(&format!("DELETE FROM licenses WHERE license_key = '{key}'"))
        .await;
    let ahead = number_at(vendor.clock.now()) + 1;
    let answered = word(&vendor, "validate", &key, "m", Some(ahead)).await;
    assert_eq!(answered, "unknown_license", "nothing is lost");
    assert_eq!(alerts(&vendor).await, 0);
    vendor.clock.advance(TimeDelta::minutes(5));
    let lost = lose_an_hour(&vendor).await;
    let mut withheld = 0;
    for _ in 0..40 {
        match &*word(&vendor, "validate", &key, "m", Some(lost)).await {
            OLDER => withheld += 1,
            other => assert_eq!(other, "too_many_calls"),
        }
    }
    assert_eq!((withheld, alerts(&vendor).await), (30, 1));
    vendor.end().await;
}

/// Stores that the numbers of the last hour may be lost; answers one of them.
async fn lose_an_hour(vendor: &Vendor) -> u64 {
    let now = vendor.clock.now();
    let lost = LostNumbers {
        after: number_at(now - TimeDelta::hours(1)),
        until: number_at(now) - 1,
    };
    let db = vendor.app.store.reader();
    lost_numbers::add(db, lost).await.unwrap();
    lost.until - 60_000
}

/// A machine that is denied knows the number of the denial when it asks again.
async fn is_denied_again(vendor: &Vendor, key: &str, hardware_id: &str) {
    let (_, answer, _) = ask(vendor, "validate", key, hardware_id, None).await;
    let jws = answer["data"]["signature"].as_str().unwrap();
    let denial = license_core::document::verify_denial(jws, &vendor.keyring()).unwrap();
    vendor.clock.advance(TimeDelta::seconds(10));
    let number = Some(denial.claims().seq);
    let answered = word(vendor, "validate", key, hardware_id, number).await;
    assert_eq!(answered, "hardware_mismatch");
}

async fn an_invented_number_takes_no_seat_and_raises_no_alert(engine: Engine) {
    let vendor = Vendor::start(engine).await;
    let key = issue(&vendor, 30, None).await;
    assert_eq!(vendor.activate(&key, "first").await.word(), "yes");
    for lead in [-1, 0, 5, 10] {
        vendor.clock.advance(TimeDelta::minutes(1));
        let number = number_at(vendor.clock.now() + TimeDelta::minutes(lead));
        for call in ["validate", "heartbeat"] {
            let answered = word(&vendor, call, &key, "m", Some(number)).await;
            assert_eq!(answered, "hardware_mismatch", "{call} {lead}");
        }
    }
    // One that was denied knows the number of the denial, which is recorded nowhere.
    is_denied_again(&vendor, &key, "m").await;
    // So does one that was denied while the numbers of a restored backup are checked.
    lose_an_hour(&vendor).await;
    vendor.activate(&key, "first").await;
    is_denied_again(&vendor, &key, "m").await;
    assert!(vendor.seat(&key, "m").await.is_none());
    assert_eq!((alerts(&vendor).await, suspected(&vendor).await), (0, 0));
    vendor.end().await;
}

async fn seats_that_are_taken_with_lost_numbers_are_taken_as_slowly_as_by_activation(
    engine: Engine,
) {
    let vendor = Vendor::start(engine).await;
    let key = issue(&vendor, 30, None).await;
    let lost = lose_an_hour(&vendor).await;
    for machine in 0..49 {
        // Activations and lost numbers have one allowance, of a burst of 50.
        let call = if machine < 10 { "validate" } else { "activate" };
        let answered = word(&vendor, call, &key, &format!("m-{machine}"), Some(lost)).await;
        let expected = if machine < 30 { "yes" } else { OLDER };
        assert_eq!(answered, expected, "{machine}");
    }
    vendor.free(&key, "m-0").await.unwrap();
    vendor.release(&key, "m-0").await.unwrap();
    let heard = word(&vendor, "heartbeat", &key, "late", Some(lost)).await;
    assert_eq!(heard, "yes");
    vendor.free(&key, "m-1").await.unwrap();
    vendor.release(&key, "m-1").await.unwrap();
    let heard = word(&vendor, "heartbeat", &key, "later", Some(lost)).await;
    assert_eq!(heard, "too_many_calls");
    assert!(vendor.seat(&key, "later").await.is_none());
    // A held seat needs no waiting, and has one lost number.
    for (number, behind) in [(lost + 1, 0), (lost + 2, 1)] {
        // As a backup leaves it.
        let older = "UPDATE seats SET last_seq = 5 WHERE hardware_id = 'late'";
        vendor.database.execute(older).await;
        let heard = word(&vendor, "validate", &key, "late", Some(number)).await;
        assert_eq!(heard, "yes");
        let seat = vendor.seat(&key, "late").await.unwrap();
        assert_eq!(seat.trail().behind, behind + 1);
    }
    vendor.clock.advance(TimeDelta::minutes(1));
    let heard = word(&vendor, "heartbeat", &key, "later", Some(lost)).await;
    assert_eq!(heard, "yes");
    vendor.end().await;
}
