//! Copies that are licensed with request files are noticed.

use chrono::TimeDelta;
use license_core::offline::{OfflineRequest, Purpose, nonce};
use license_server::licensing::catalogue::Tier;
use license_server::licensing::issue::IssueRequest;
use license_service::clock::Clock as _;
use serde_json::json;

use super::{answered, by_file, by_file_of, licensed, noted, validate};
use crate::database::{Engine, on_both_engines};
use crate::harness::{INSTALLATION, Vendor};

on_both_engines! {
    copies_that_are_licensed_by_file_are_noted;
    any_number_of_machines_that_are_licensed_by_file_alone_are_noted_with_the_third;
    a_request_file_that_is_signed_again_is_one_machine;
    a_seat_that_is_given_back_around_a_request_file_hides_no_copy;
    renewals_by_file_that_repeat_an_old_number_and_its_time_are_noted_with_the_third;
}

async fn copies_that_are_licensed_by_file_are_noted(engine: Engine) {
    let vendor = Vendor::start(engine).await;
    let (key, seq) = licensed(&vendor).await;
    vendor.clock.advance(TimeDelta::hours(4));
    let mut known = validate(&vendor, &key, Some(seq), &[]).await;
    vendor.clock.advance(TimeDelta::hours(4));
    let mut copies = [0, 0];
    for copy in &mut copies {
        *copy = by_file(&vendor, &key, Purpose::Activate, None).await;
    }
    assert_eq!(noted(&vendor).await, [], "it may be the site, reinstalled");
    vendor.clock.advance(TimeDelta::hours(4));
    known = validate(&vendor, &key, Some(known), &[]).await;
    assert_eq!(noted(&vendor).await, [("shared_identity".to_owned(), 1)]);
    // Both renew months later, and are not denied.
    vendor.clock.advance(TimeDelta::days(60));
    for copy in &mut copies {
        vendor.clock.advance(TimeDelta::hours(4));
        let purpose = Purpose::Renew;
        let newer = by_file(&vendor, &key, purpose, Some(*copy)).await;
        assert!(newer > *copy);
        vendor.clock.advance(TimeDelta::hours(4));
        known = validate(&vendor, &key, Some(known), &[]).await;
    }
    assert_eq!(noted(&vendor).await, [("shared_identity".to_owned(), 3)]);

    // The site itself renews by file, imports it or not, and is reinstalled by file.
    let (key, seq) = licensed(&vendor).await;
    let mut known = validate(&vendor, &key, Some(seq), &[]).await;
    for is_imported in [true, true, false] {
        vendor.clock.advance(TimeDelta::hours(20));
        let file = by_file(&vendor, &key, Purpose::Renew, Some(known)).await;
        vendor.clock.advance(TimeDelta::hours(20));
        let said = if is_imported { file } else { known };
        known = validate(&vendor, &key, Some(said), &[]).await;
    }
    vendor.clock.advance(TimeDelta::hours(20));
    let anew = by_file(&vendor, &key, Purpose::Activate, None).await;
    validate(&vendor, &key, Some(anew), &[]).await;
    assert_eq!(noted(&vendor).await, [("shared_identity".to_owned(), 3)]);
    vendor.end().await;
}

async fn renewals_by_file_that_repeat_an_old_number_and_its_time_are_noted_with_the_third(
    engine: Engine,
) {
    let vendor = Vendor::start(engine).await;
    let (key, seq) = licensed(&vendor).await;
    let (mut known, copied_at) = (seq, vendor.clock.now());
    for copied in 1..=3 {
        assert_eq!(noted(&vendor).await, [], "{copied}");
        for _ in 0..3 {
            vendor.clock.advance(TimeDelta::hours(20));
            known = validate(&vendor, &key, Some(known), &[]).await;
        }
        by_file_of(&vendor, &key, (Purpose::Renew, Some(seq)), copied_at).await;
        if copied < 3 {
            vendor.clock.advance(TimeDelta::days(90));
        }
    }
    assert_eq!(noted(&vendor).await, [("shared_identity".to_owned(), 1)]);
    vendor.end().await;
}

async fn any_number_of_machines_that_are_licensed_by_file_alone_are_noted_with_the_third(
    engine: Engine,
) {
    let vendor = Vendor::start(engine).await;
    let long_ago = vendor.clock.now() - TimeDelta::days(300);
    for is_online in [false, true] {
        for (purpose, days) in [
            (Purpose::Activate, 0),
            (Purpose::Activate, 1),
            (Purpose::Renew, 0),
            (Purpose::Renew, 30),
        ] {
            let before = noted(&vendor).await.len();
            let key = vendor.issue(IssueRequest::of(Tier::Standard)).await;
            let mut known = None;
            if is_online {
                known = Some(vendor.activate(&key, "machine").await.seq());
            }
            for machine in 1..=5 {
                let purpose = if machine == 1 {
                    Purpose::Activate
                } else {
                    purpose
                };
                // The machine itself is up to date, and the requests may say any time.
                if known.is_some() {
                    known = Some(validate(&vendor, &key, known, &[]).await);
                }
                by_file_of(&vendor, &key, (purpose, None), long_ago).await;
                let count = noted(&vendor).await.len() - before;
                assert_eq!(
                    count,
                    usize::from(machine >= 3),
                    "{is_online} {purpose:?} {machine}"
                );
                vendor.clock.advance(TimeDelta::days(days));
            }
            let found = noted(&vendor).await;
            assert!(found.iter().all(|it| it.0 == "shared_identity"));
        }
    }
    vendor.end().await;
}

async fn a_request_file_that_is_signed_again_is_one_machine(engine: Engine) {
    let vendor = Vendor::start(engine).await;
    let key = vendor.issue(IssueRequest::of(Tier::Standard)).await;
    let request = |number: u8, newest_seq: Option<u64>| OfflineRequest {
        purpose: if newest_seq.is_none() {
            Purpose::Activate
        } else {
            Purpose::Renew
        },
        license_key: key.clone(),
        add_on_key: None,
        trial_secret: None,
        hardware_id: "machine".to_owned(),
        installation_id: INSTALLATION.to_owned(),
        installation_name: String::new(),
        installation_version: String::new(),
        nonce: nonce([number; 24], vendor.clock.now()),
        created_at: vendor.clock.now(),
        key_set: 1,
        newest_seq,
        entitlements: false,
    };
    let mut known = None;
    for number in 0..6 {
        let request = request(number, known);
        for _ in 0..3 {
            vendor.clock.advance(TimeDelta::hours(1));
            known = Some(answered(&vendor, &request).await);
        }
    }
    assert_eq!(noted(&vendor).await, []);
    vendor.end().await;
}

/// The lease that was signed for the seat runs on after it was given back.
async fn a_seat_that_is_given_back_around_a_request_file_hides_no_copy(engine: Engine) {
    let vendor = Vendor::start(engine).await;
    let (key, seq) = licensed(&vendor).await;
    let known = validate(&vendor, &key, Some(seq), &[]).await;
    vendor.clock.advance(TimeDelta::hours(3));
    assert_eq!(
        vendor.deactivate(&key, "machine").await.word(),
        "deactivated"
    );
    by_file(&vendor, &key, Purpose::Activate, None).await;
    let activation = vendor
        .http
        .post(format!("{}/api/licenses/activate", vendor.url))
        .header("x-installation-id", INSTALLATION)
        .header("x-license-seq", known)
        .json(&json!({
            "licenseKey": key, "hardwareId": "machine", "installationId": INSTALLATION,
            "installationName": "Test", "installationVersion": "1.0.0",
        }));
    assert!(activation.send().await.unwrap().status().is_success());
    assert_eq!(noted(&vendor).await, [("shared_identity".to_owned(), 1)]);
    vendor.end().await;
}
