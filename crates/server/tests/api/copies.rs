//! Two machines that share one identity are noticed, and never denied for it.

use license_server::licensing::catalogue::Tier;
use license_server::licensing::issue::IssueRequest;
use license_server::store::suspicions;
use reqwest::header::HeaderMap;
use serde_json::{Value, json};

use crate::database::{Engine, on_both_engines};
use crate::harness::{INSTALLATION, NONCE, Vendor};

on_both_engines! {
    a_copy_is_noted_for_a_person_and_goes_on_being_served;
    an_honest_site_that_loses_answers_is_not_noted;
    numbers_that_were_never_issued_and_changed_hardware_are_noted;
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

async fn licensed(vendor: &Vendor) -> (String, u64) {
    let key = vendor.issue(IssueRequest::of(Tier::Standard)).await;
    let seq = vendor.activate(&key, "machine").await.seq();
    (key, seq)
}

async fn noted(vendor: &Vendor) -> Vec<(String, u64)> {
    let found = suspicions::list(vendor.app.store.reader(), None, 100).await;
    let found = found.unwrap().into_iter();
    found.map(|it| (it.kind, it.times)).collect()
}

async fn a_copy_is_noted_for_a_person_and_goes_on_being_served(engine: Engine) {
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

async fn an_honest_site_that_loses_answers_is_not_noted(engine: Engine) {
    let vendor = Vendor::start(engine).await;
    let (key, mut known) = licensed(&vendor).await;
    for lost in [0, 1, 5, 0, 2] {
        for _ in 0..lost {
            validate(&vendor, &key, Some(known), &[]).await;
        }
        known = validate(&vendor, &key, Some(known), &[]).await;
        // A heartbeat, whose document a site does not keep.
        let body = json!({
            "licenseKey": key, "hardwareId": "machine", "installationId": INSTALLATION,
            "usageMetrics": {"camerasInUse": 1, "usersActive": 1, "storageUsedGb": 1},
            "systemInfo": {"os_platform": "Linux", "os_release": "6", "os_version": "6", "cpu_count": 2,
                "total_memory_gb": 4.0, "hostname": "h", "architecture": "x86_64"},
        });
        vendor.told("heartbeat", body).await;
    }
    // One of version 1.0.0 says nothing about numbers.
    validate(&vendor, &key, None, &[]).await;
    validate(&vendor, &key, None, &[("x-license-seq", "many")]).await;
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
