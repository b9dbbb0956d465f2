//! A server whose database was restored from a backup denies no site because of lost data, and
//! alerts staff.

mod lost_numbers;
mod running;

use chrono::{DateTime, TimeDelta, Utc};
use license_core::amendment::TermChanges;
use license_core::restored::{MAX_LEAD, number_at};
use license_server::licensing::catalogue::Tier;
use license_server::licensing::clock::{accept, watch};
use license_server::licensing::issue::IssueRequest;
use license_server::licensing::renew::{RenewRequest, renew};
use license_server::store::audit_log::{Filter, newest};
use license_server::store::licenses::Status;
use license_server::store::suspicions;
use license_service::clock::{Clock as _, ManualClock};
use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::database::{Engine, on_both_engines};
use crate::harness::{INSTALLATION, NONCE, Vendor, system_info};

on_both_engines! {
    what_was_lost_with_the_database_is_not_denied_and_staff_are_alerted;
    a_server_beside_a_running_one_loses_nothing_and_one_beside_a_failed_one_may;
    a_backup_of_a_server_whose_clock_was_ahead_denies_no_site;
    accepting_the_clock_after_a_long_rest_hides_no_lost_number;
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
    let is_signed = data["license"]["signature"].is_string();
    if data["isValid"] == true {
        assert_eq!(is_signed, call != "heartbeat", "{answer}");
    }
    if is_signed || data["isValid"] == true {
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
    found.unwrap().rows.len()
}

pub async fn issue(vendor: &Vendor, seats: u32, expires_at: Option<DateTime<Utc>>) -> String {
    let request = IssueRequest {
        terms: TermChanges {
            seats: Some(seats),
            ..TermChanges::default()
        },
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
    let change = vendor
        .app
        .permitted_change(license_server::audit::Actor::CommandLine)
        .unwrap();
    renew(
        &vendor.app.store,
        &renewed,
        &RenewRequest::default(),
        &change,
    )
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
    let validated = async |key: &str, number| word(&vendor, "validate", key, "m", number).await;
    for call in CALLS {
        assert_eq!(word(&vendor, call, &lost, "m", Some(of_lost)).await, OLDER);
    }
    let (status, answer, wait) = ask(&vendor, "validate", &lost, "m", Some(of_lost)).await;
    assert_eq!((status.as_u16(), wait.as_deref()), (503, Some("60")));
    let message = answer["error"]["message"].as_str().unwrap();
    assert!(message.contains("older"), "{message}");
    assert_eq!(validated(&renewed, Some(of_renewed)).await, OLDER);
    assert_eq!((alerts(&vendor).await, suspected(&vendor).await), (1, 0));

    // A site that the backup knows is confirmed, with a number that it does not take for
    // a replay, and is not accused; what is newer than the backup stays unknown after it.
    assert_eq!(validated(&known, Some(of_known)).await, "yes");
    assert!(seq(&vendor, &known, "m").await > of_known);
    assert_eq!(suspected(&vendor).await, 0);
    let heartbeat = word(&vendor, "heartbeat", &lost, "m", Some(of_lost)).await;
    assert_eq!(heartbeat, OLDER);
    vendor.clock.advance(TimeDelta::minutes(1));
    assert_eq!(validated(&known, None).await, "yes");
    assert_eq!(validated(&lost, Some(of_lost)).await, OLDER);

    // Decisions in the database are signed regardless of the number.
    for (key, expected) in [
        (&*suspended, "suspended"),
        (&freed, "hardware_mismatch"),
        ("FXSGHT-AAAA-BBBB-CCCC-DDDD", "unknown_license"),
    ] {
        assert_eq!(validated(key, Some(of_lost)).await, expected, "{key}");
    }
    assert_eq!(validated(&renewed, None).await, "expired");
    only_lost_numbers_are_withheld(&vendor, &lost, newest_before, restored).await;
    staff_are_alerted_again_after_an_hour(&vendor, &lost, of_lost).await;

    // Issued again with the same key, the site is confirmed without changes.
    let again = IssueRequest {
        key: Some(lost.clone()),
        ..IssueRequest::of(Tier::Standard)
    };
    vendor.issue(again).await;
    assert_eq!(validated(&lost, Some(of_lost)).await, "yes");
    assert!(vendor.seat(&lost, "m").await.unwrap().is_held());
    vendor.end().await;
}

/// Sites that report no number, an old one, or an impossible one get the database's answer.
async fn only_lost_numbers_are_withheld(vendor: &Vendor, lost: &str, before: u64, restored: u64) {
    let lead = u64::try_from(MAX_LEAD.num_milliseconds()).unwrap();
    let beyond = restored + lead;
    for (number, expected) in [
        (None, "unknown_license"),
        (Some(before), "unknown_license"),
        (Some(0), "unknown_license"),
        (Some(beyond), "unknown_license"),
        (Some(beyond - 1), OLDER),
    ] {
        let answered = word(vendor, "validate", lost, "m", number).await;
        assert_eq!(answered, expected, "{number:?}");
    }
}

/// After nine answers that were withheld.
async fn staff_are_alerted_again_after_an_hour(vendor: &Vendor, lost: &str, number: u64) {
    assert_eq!(alerts(vendor).await, 1);
    vendor.clock.advance(TimeDelta::hours(1));
    for _ in 0..2 {
        let answered = word(vendor, "validate", lost, "m", Some(number)).await;
        assert_eq!(answered, OLDER);
    }
    assert_eq!(alerts(vendor).await, 2);
    let scraped = vendor.http.get(format!("{}/metrics", vendor.url));
    let scraped = scraped.send().await.unwrap().text().await.unwrap();
    let counted = "foxsight_license_server_answers_withheld_total 11\n";
    assert!(scraped.contains(counted), "{scraped}");
    assert_eq!(vendor.look("/fleet").await["withheld"], 11);
}

pub async fn ranges(vendor: &Vendor) -> usize {
    let all = "SELECT CAST(until_number AS TEXT) FROM lost_numbers";
    vendor.database.texts(all).await.len()
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
