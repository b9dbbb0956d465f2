//! What a site gets with a number that the database has lost, or with an invented one.

use chrono::TimeDelta;
use license_core::offline::Purpose;
use license_core::restored::{LostNumbers, number_at};
use license_server::store::lost_numbers;
use license_service::clock::Clock as _;
use reqwest::StatusCode;
use serde_json::json;

use super::{OLDER, alerts, ask, issue, seq, suspected, word};
use crate::add_ons::{cameras, word as redeemed};
use crate::database::{Engine, on_both_engines};
use crate::harness::{Vendor, offline_request};

on_both_engines! {
    seats_taken_after_the_backup_are_taken_again_within_the_limit;
    no_seat_is_taken_without_its_entry_by_a_call_that_is_refused_afterwards;
    an_invented_number_takes_no_seat_and_raises_no_alert;
    seats_that_are_taken_with_lost_numbers_are_taken_as_slowly_as_by_activation;
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

async fn no_seat_is_taken_without_its_entry_by_a_call_that_is_refused_afterwards(engine: Engine) {
    let vendor = Vendor::start(engine).await;
    let (key, other) = (issue(&vendor, 2, None).await, issue(&vendor, 1, None).await);
    for key in [&key, &other] {
        assert_eq!(vendor.activate(key, "first").await.word(), "yes");
    }
    let add_on = cameras(&vendor, 16).await;
    assert_eq!(
        redeemed(&vendor, &other, &add_on, "first").await,
        "redeemed"
    );
    let (vendor, copy) = vendor.backed_up().await;
    vendor.clock.advance(TimeDelta::hours(1));
    assert_eq!(vendor.activate(&key, "machine").await.word(), "yes");
    let known = seq(&vendor, &key, "machine").await;
    vendor.clock.advance(TimeDelta::hours(1));
    let vendor = vendor.restored(copy).await;

    let mut request = offline_request(Purpose::Redeem, &key, vendor.clock.now());
    request.add_on_key = Some(add_on);
    request.newest_seq = Some(known);
    let (status, answer) = vendor
        .post("offline", json!({"request": request.to_file()}))
        .await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    assert_eq!(answer["data"]["granted"], false, "{answer}");
    let is_held = vendor
        .seat(&key, "machine")
        .await
        .is_some_and(|it| it.is_held());
    let entries = vendor.audit(&format!("?license={key}&limit=500")).await;
    let taken = entries.as_array().unwrap().iter();
    let taken = taken.filter(|it| it["action"] == "seat_taken" && it["subject"] == "machine");
    assert_eq!(taken.count(), usize::from(is_held), "{entries}");
    vendor.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unknown_keys_with_lost_numbers_are_bounded_like_all_unknown_keys() {
    let vendor = Vendor::start(Engine::Sqlite).await;
    let key = issue(&vendor, 1, None).await;
    for sql in [
        "DELETE FROM amendments".to_owned(),
        format!("DELETE FROM licenses WHERE license_key = '{key}'"),
    ] {
        vendor.database.execute(&sql).await;
    }
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
