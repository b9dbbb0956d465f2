//! Two machines that share one identity are noticed, and never denied for it.

mod by_file;
mod heartbeats;

use std::sync::atomic::{AtomicU64, Ordering};

use chrono::{DateTime, TimeDelta, Utc};
use license_core::offline::{OfflineRequest, Purpose, from_file, nonce};
use license_core::restored::number_at;
use license_core::suspicion::Suspicion;
use license_server::licensing::catalogue::Tier;
use license_server::licensing::history::forget;
use license_server::licensing::issue::IssueRequest;
use license_server::licensing::look_up::look_up;
use license_server::store::suspicions;
use license_service::clock::Clock as _;
use reqwest::header::HeaderMap;
use serde_json::{Value, json};

use crate::database::{Engine, on_both_engines};
use crate::harness::{INSTALLATION, NONCE, Vendor, system_info};

on_both_engines! {
    a_copy_is_recorded_for_staff_and_still_served;
    a_copy_that_hides_its_number_is_noted;
    a_number_that_was_never_issued_accuses_no_site;
    suspicions_about_a_license_are_bounded;
    an_honest_site_that_loses_answers_is_not_noted;
    renewals_by_file_and_a_reinstalled_machine_are_not_noted;
    numbers_that_were_never_issued_and_changed_hardware_are_noted;
    copies_that_invent_a_number_or_repeat_one_are_noted;
    copies_beside_a_site_that_calls_more_often_are_noted_by_their_third_call;
    machines_that_activate_one_seat_in_turn_are_noted_and_each_change_is_in_the_audit_log;
}

/// A validation by a site that says that it knows `seq`; answers the new one.
async fn validate(vendor: &Vendor, key: &str, seq: Option<u64>, headers: &[(&str, &str)]) -> u64 {
    let mut all = HeaderMap::new();
    let seq = seq.map(|seq| seq.to_string());
    let said = [
        ("x-installation-id", INSTALLATION),
        ("x-license-nonce", NONCE),
    ];
    for (name, value) in said.iter().chain(headers) {
        let name = name.parse::<reqwest::header::HeaderName>().unwrap();
        all.insert(name, value.parse().unwrap());
    }
    if let Some(seq) = &seq {
        all.insert("x-license-seq", seq.parse().unwrap());
    }
    let answer = vendor
        .http
        .post(format!("{}/api/licenses/validate", vendor.url))
        .headers(all)
        .json(&json!({"licenseKey": key, "hardwareId": "machine"}))
        .send()
        .await
        .unwrap();
    let answer: Value = answer.json().await.unwrap();
    assert_eq!(answer["data"]["isValid"], true, "{answer}");
    let jws = answer["data"]["license"]["signature"].as_str().unwrap();
    let document = license_core::document::verify_license(jws, &vendor.keyring()).unwrap();
    document.claims().seq
}

/// A heartbeat of a site that knows `seq`; returns the license in the answer.
async fn heartbeat(vendor: &Vendor, key: &str, seq: u64) -> Value {
    let body = json!({
        "licenseKey": key, "hardwareId": "machine", "installationId": INSTALLATION,
        "usageMetrics": {"camerasInUse": 1, "usersActive": 1, "storageUsedGb": 1},
        "systemInfo": system_info(),
    });
    let sent = vendor
        .http
        .post(format!("{}/api/licenses/heartbeat", vendor.url))
        .header("x-license-seq", seq)
        .json(&body);
    let answer: Value = sent.send().await.unwrap().json().await.unwrap();
    assert_eq!(answer["data"]["isValid"], true, "{answer}");
    answer["data"]["license"].clone()
}

/// A lease by file, signed when it is asked for; answers its number.
async fn by_file(vendor: &Vendor, key: &str, purpose: Purpose, newest_seq: Option<u64>) -> u64 {
    let written_at = vendor.clock.now();
    by_file_of(vendor, key, (purpose, newest_seq), written_at).await
}

/// One whose request says when it was written.
async fn by_file_of(
    vendor: &Vendor,
    key: &str,
    (purpose, newest_seq): (Purpose, Option<u64>),
    created_at: DateTime<Utc>,
) -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let mut random = [0; 24];
    random[..8].copy_from_slice(&NEXT.fetch_add(1, Ordering::Relaxed).to_be_bytes());
    let request = OfflineRequest {
        purpose,
        license_key: key.to_owned(),
        add_on_key: None,
        trial_secret: None,
        hardware_id: "machine".to_owned(),
        installation_id: INSTALLATION.to_owned(),
        installation_name: String::new(),
        installation_version: String::new(),
        nonce: nonce(random, created_at),
        created_at,
        key_set: 1,
        newest_seq,
        entitlements: false,
    };
    answered(vendor, &request).await
}

/// The number of the answer to a request.
async fn answered(vendor: &Vendor, request: &OfflineRequest) -> u64 {
    let body = json!({"request": request.to_file()});
    let (_, answer) = vendor.post("offline", body).await;
    assert_eq!(answer["data"]["granted"], true, "{answer}");
    let (_, jws) = from_file(answer["data"]["file"].as_str().unwrap()).unwrap();
    let document = license_core::document::verify_license(&jws, &vendor.keyring()).unwrap();
    document.claims().seq
}

async fn licensed(vendor: &Vendor) -> (String, u64) {
    let key = vendor.issue(IssueRequest::of(Tier::Standard)).await;
    let seq = vendor.activate(&key, "machine").await.seq();
    (key, seq)
}

async fn noted(vendor: &Vendor) -> Vec<(String, u64)> {
    let found = suspicions::list(vendor.app.store.reader(), None, 100).await;
    let found = found.unwrap().rows.into_iter();
    found.map(|it| (it.kind, it.times)).collect()
}

async fn a_copy_is_recorded_for_staff_and_still_served(engine: Engine) {
    let vendor = Vendor::start(engine).await;
    let (key, seq) = licensed(&vendor).await;
    let mut known = [seq, seq];
    for call in 0..10 {
        let machine = call % 2;
        known[machine] = validate(&vendor, &key, Some(known[machine]), &[]).await;
    }
    let found = noted(&vendor).await;
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].0, "shared_identity");
    assert!(found[0].1 > 1);
    vendor.end().await;
}

async fn a_copy_that_hides_its_number_is_noted(engine: Engine) {
    let vendor = Vendor::start(engine).await;
    for hidden in [
        &[][..],
        &[("x-license-seq", "-1")],
        &[("x-license-seq", "")],
    ] {
        let before: u64 = noted(&vendor).await.iter().map(|it| it.1).sum();
        let (key, seq) = licensed(&vendor).await;
        let mut known = validate(&vendor, &key, Some(seq), &[]).await;
        for _ in 0..2 {
            validate(&vendor, &key, None, hidden).await;
            known = validate(&vendor, &key, Some(known), &[]).await;
        }
        let found = noted(&vendor).await;
        assert!(found.iter().all(|it| it.0 == "shared_identity"));
        assert!(found.iter().map(|it| it.1).sum::<u64>() > before);
    }
    // One that activates every time instead.
    let (key, seq) = licensed(&vendor).await;
    validate(&vendor, &key, Some(seq), &[]).await;
    for _ in 0..3 {
        vendor.activate(&key, "machine").await;
    }
    assert_eq!(noted(&vendor).await.len(), 4);
    vendor.end().await;
}

async fn a_number_that_was_never_issued_accuses_no_site(engine: Engine) {
    let vendor = Vendor::start(engine).await;
    let (key, seq) = licensed(&vendor).await;
    let known = validate(&vendor, &key, Some(seq), &[]).await;
    let trail = vendor.seat(&key, "machine").await.unwrap().trail();
    for huge in ["18446744073709551615", "9999999999999999"] {
        validate(&vendor, &key, Some(huge.parse().unwrap()), &[]).await;
    }
    let now = vendor.seat(&key, "machine").await.unwrap().trail();
    assert_eq!((now.behind, now.behind_at), (trail.behind, trail.behind_at));
    let shown = vendor.look(&format!("/licenses/{key}")).await;
    let found = &shown["suspicions"];
    assert_eq!(found.as_array().unwrap().len(), 1, "{found}");
    assert_eq!(found[0]["kind"], "impossible_sequence");
    assert_eq!(
        (&found[0]["hardwareId"], &found[0]["times"]),
        (&json!(""), &json!(2))
    );
    assert_eq!(vendor.look("/fleet").await["suspected"], 0);
    // The number after that of an answer which the site has is behind once, at most.
    validate(&vendor, &key, Some(known), &[]).await;
    assert_eq!(noted(&vendor).await.len(), 1);
    vendor.end().await;
}

async fn suspicions_about_a_license_are_bounded(engine: Engine) {
    let vendor = Vendor::start(engine).await;
    let key = vendor.issue(IssueRequest::of(Tier::Standard)).await;
    let license = look_up(&vendor.app.store, &key).await.unwrap();
    let db = vendor.app.store.reader();
    for machine in 0..suspicions::MAX_OF_KIND + 5 {
        vendor.clock.advance(TimeDelta::seconds(1));
        let (machine, now) = (format!("machine-{machine}"), vendor.clock.now());
        let drift = Suspicion::HardwareDrift;
        assert!(
            suspicions::note(db, &license.id, &machine, drift, now)
                .await
                .unwrap()
        );
        // Once more on the same day is nothing new.
        assert!(
            !suspicions::note(db, &license.id, &machine, drift, now)
                .await
                .unwrap()
        );
    }
    let found = suspicions::list(db, Some(&license.id), u64::MAX)
        .await
        .unwrap()
        .rows;
    assert_eq!(u64::try_from(found.len()).unwrap(), suspicions::MAX_OF_KIND);
    assert_eq!(
        found[0].hardware_id, "machine-104",
        "those seen last are kept"
    );
    // What anyone with a key can cause displaces no evidence of a copy.
    let now = vendor.clock.now();
    let shared = Suspicion::SharedIdentity;
    let noting = suspicions::note(db, &license.id, "machine", shared, now);
    assert!(noting.await.unwrap());
    for machine in 0..suspicions::MAX_OF_KIND + 5 {
        vendor.clock.advance(TimeDelta::seconds(1));
        let (machine, now) = (format!("other-{machine}"), vendor.clock.now());
        for noted in [Suspicion::HardwareDrift, Suspicion::ImpossibleSequence] {
            suspicions::note(db, &license.id, &machine, noted, now)
                .await
                .unwrap();
        }
    }
    let found = suspicions::list(db, Some(&license.id), u64::MAX).await;
    let found = found.unwrap().rows;
    assert!(found.len() as u64 <= suspicions::MAX_PER_LICENSE);
    let shared = found.iter().filter(|it| it.kind == "shared_identity");
    let shared: Vec<_> = shared.map(|it| it.hardware_id.as_str()).collect();
    assert_eq!(shared, ["machine"]);
    vendor.clock.advance(TimeDelta::days(401));
    forget(&vendor.app).await.unwrap();
    assert_eq!(noted(&vendor).await, []);
    vendor.end().await;
}

async fn an_honest_site_that_loses_answers_is_not_noted(engine: Engine) {
    let vendor = Vendor::start(engine).await;
    let (key, mut known) = licensed(&vendor).await;
    for lost in [0, 1, 5, 0, 2] {
        for _ in 0..lost {
            validate(&vendor, &key, Some(known), &[]).await;
        }
        known = validate(&vendor, &key, Some(known), &[]).await;
        // A heartbeat says the number, too.
        heartbeat(&vendor, &key, known).await;
    }
    // One of version 1.0.0 says nothing about numbers.
    let (key, _) = licensed(&vendor).await;
    for _ in 0..5 {
        validate(&vendor, &key, None, &[]).await;
        validate(&vendor, &key, None, &[("x-license-seq", "many")]).await;
    }
    assert_eq!(noted(&vendor).await, []);
    vendor.end().await;
}

async fn renewals_by_file_and_a_reinstalled_machine_are_not_noted(engine: Engine) {
    let vendor = Vendor::start(engine).await;
    let (key, seq) = licensed(&vendor).await;
    let known = validate(&vendor, &key, Some(seq), &[]).await;
    for purpose in [Purpose::Renew, Purpose::Activate] {
        by_file(&vendor, &key, purpose, None).await;
        assert_eq!(noted(&vendor).await, []);
        let seat = vendor.seat(&key, "machine").await.unwrap();
        assert_eq!(seat.trail().behind, 0);
    }
    // The files were never imported: what the site knows is up to date.
    validate(&vendor, &key, Some(known), &[]).await;
    assert_eq!(
        vendor.seat(&key, "machine").await.unwrap().trail().behind,
        0
    );

    // An answer is lost; then the machine is reinstalled, and another answer is lost.
    validate(&vendor, &key, Some(known), &[]).await;
    let body = json!({
        "licenseKey": key, "hardwareId": "machine", "installationId": "reinstalled",
        "installationName": "Test", "installationVersion": "1.0.0",
    });
    for _ in 0..2 {
        let activate = format!("{}/api/licenses/activate", vendor.url);
        let answer = vendor.http.post(activate).json(&body).send().await.unwrap();
        assert_eq!(answer.status(), 200);
    }
    assert_eq!(noted(&vendor).await, []);
    vendor.end().await;
}

async fn numbers_that_were_never_issued_and_changed_hardware_are_noted(engine: Engine) {
    let vendor = Vendor::start(engine).await;
    let (key, seq) = licensed(&vendor).await;
    validate(&vendor, &key, Some(seq + 1_000_000_000), &[]).await;
    let drift = [("x-license-drift", "machine_id,root_disk")];
    validate(&vendor, &key, None, &drift).await;
    validate(&vendor, &key, None, &drift).await;
    let mut found = noted(&vendor).await;
    found.sort();
    let expected = [
        ("hardware_drift".to_owned(), 2),
        ("impossible_sequence".to_owned(), 1),
    ];
    assert_eq!(found, expected);
    vendor.end().await;
}

async fn machines_that_activate_one_seat_in_turn_are_noted_and_each_change_is_in_the_audit_log(
    engine: Engine,
) {
    let vendor = Vendor::start(engine).await;
    for is_fresh in [false, true] {
        let key = vendor.issue(IssueRequest::of(Tier::Standard)).await;
        let license = look_up(&vendor.app.store, &key).await.unwrap();
        let mut calls = 0;
        for round in 0..3 {
            for machine in 0..3 {
                let installation = match is_fresh {
                    false => format!("installation-{machine}"),
                    true => format!("installation-{machine}-{round}"),
                };
                let body = json!({
                    "licenseKey": key, "hardwareId": "machine", "installationId": installation,
                    "installationName": "Test", "installationVersion": "1.0.0",
                });
                let activate = format!("{}/api/licenses/activate", vendor.url);
                let answer = vendor.http.post(activate).json(&body).send().await.unwrap();
                let answer: Value = answer.json().await.unwrap();
                // It is still served: staff decide.
                assert_eq!(answer["success"], true, "{answer}");
                vendor.clock.advance(TimeDelta::hours(30));
                calls += 1;
                let db = vendor.app.store.reader();
                let found = suspicions::list(db, Some(&license.id), 9).await;
                let found = found.unwrap().rows;
                let kinds: Vec<&str> = found.iter().map(|it| it.kind.as_str()).collect();
                // With the first that comes back, or the fourth change.
                let noticed_with = if is_fresh { 5 } else { 4 };
                match calls >= noticed_with {
                    true => assert_eq!(kinds, ["shared_identity"], "call {calls}"),
                    false => assert_eq!(kinds, [""; 0], "call {calls}"),
                }
            }
        }
        let log = vendor.audit(&format!("?license={key}&limit=500")).await;
        let is_change = |it: &&Value| it["action"] == "installation_changed";
        let changed: Vec<&Value> = log.as_array().unwrap().iter().filter(is_change).collect();
        assert_eq!(changed.len(), calls - 1);
        let last = changed[0];
        assert_eq!(
            (&last["subject"], &last["actor"]),
            (&json!("machine"), &json!("site"))
        );
        let (from, to) = match is_fresh {
            false => ("installation-1", "installation-2"),
            true => ("installation-1-2", "installation-2-2"),
        };
        assert_eq!(last["details"], json!({"from": from, "to": to}));
    }
    vendor.end().await;
}

async fn copies_that_invent_a_number_or_repeat_one_are_noted(engine: Engine) {
    let vendor = Vendor::start(engine).await;
    let (key, seq) = licensed(&vendor).await;
    validate(&vendor, &key, Some(seq), &[]).await;
    for _ in 0..4 {
        vendor.clock.advance(TimeDelta::hours(20));
        let ahead = number_at(vendor.clock.now() + TimeDelta::minutes(5));
        validate(&vendor, &key, Some(ahead), &[]).await;
    }
    let invented = ("impossible_sequence".to_owned(), 4);
    assert_eq!(noted(&vendor).await, std::slice::from_ref(&invented));
    let seat = vendor.seat(&key, "machine").await.unwrap();
    assert!(seat.last_seq <= number_at(vendor.clock.now()));

    let (key, seq) = licensed(&vendor).await;
    let known = validate(&vendor, &key, Some(seq), &[]).await;
    for day in 0..13 {
        validate(&vendor, &key, Some(known), &[]).await;
        let is_noted = noted(&vendor).await.len() == 2;
        assert_eq!(is_noted, day >= 8, "day {day}");
        vendor.clock.advance(TimeDelta::hours(23));
    }
    let found = noted(&vendor).await;
    assert!(found.contains(&invented) && found.iter().any(|it| it.0 == "shared_identity"));
    vendor.end().await;
}

async fn copies_beside_a_site_that_calls_more_often_are_noted_by_their_third_call(engine: Engine) {
    let vendor = Vendor::start(engine).await;
    for hides in [true, false] {
        let before = noted(&vendor).await.len();
        let (key, seq) = licensed(&vendor).await;
        let old = (!hides).then_some(seq);
        let mut known = validate(&vendor, &key, Some(seq), &[]).await;
        for copied in 1..=3 {
            for _ in 0..2 {
                vendor.clock.advance(TimeDelta::hours(20));
                known = validate(&vendor, &key, Some(known), &[]).await;
            }
            assert_eq!(noted(&vendor).await.len(), before, "{hides} {copied}");
            vendor.clock.advance(TimeDelta::hours(20));
            validate(&vendor, &key, old, &[]).await;
        }
        let found = noted(&vendor).await;
        assert_eq!(found.len(), before + 1);
        assert!(found.iter().all(|it| it.0 == "shared_identity"));
    }
    vendor.end().await;
}
