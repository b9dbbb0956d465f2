//! Trials that are started at once, on two servers.

use futures_util::future::join_all;
use license_server::licensing::document::Addressee;
use license_server::licensing::site_answer::SiteAnswer;
use license_server::licensing::site_question::CallDetails;
use license_server::licensing::start_trial::{TrialStart, answer_trial};
use reqwest::StatusCode;
use serde_json::json;

use super::{ask, ask_with, code};
use crate::database::{Engine, on_both_engines};
use crate::harness::Vendor;

on_both_engines! {
    the_limits_of_a_code_hold_however_many_start_at_once;
    an_installation_that_asks_many_times_at_once_has_one_trial;
}

async fn two(engine: Engine) -> (Vendor, Vendor) {
    let vendor = Vendor::start(engine).await;
    let twin = vendor.twin().await;
    (vendor, twin)
}

/// `yes`, or the reason of the refusal, for a caller whose address does not matter.
async fn started(vendor: &Vendor, code: &str, installation: &str) -> String {
    let start = TrialStart {
        code: Some(code.to_owned()),
        secret: None,
        installation_id: installation.to_owned(),
        installation_name: "Test".to_owned(),
        installation_version: "1.0.0".to_owned(),
        hardware_id: "machine".to_owned(),
        address: None,
    };
    let to = Addressee {
        nonce: None,
        license_key: code.to_owned(),
        sent_key: None,
        code: Some(code.to_owned()),
        installation_id: installation.to_owned(),
        hardware_id: "machine".to_owned(),
    };
    let details = CallDetails::default();
    match answer_trial(&vendor.app, &start, to, &details)
        .await
        .unwrap()
    {
        SiteAnswer::License(_) => "yes".to_owned(),
        SiteAnswer::Denied { reason, .. } => reason.as_str().to_owned(),
        other => panic!("{other:?}"),
    }
}

/// The reasons of all answers; `yes` for a trial.
async fn words(vendors: [&Vendor; 2], code: &str, installations: &[String]) -> Vec<String> {
    let asking = installations
        .iter()
        .enumerate()
        .map(async |(place, installation)| {
            let vendor = vendors[place % 2];
            started(vendor, code, installation).await
        });
    join_all(asking).await
}

async fn the_limits_of_a_code_hold_however_many_start_at_once(engine: Engine) {
    let (vendor, twin) = two(engine).await;
    let names = |from: usize| -> Vec<String> {
        (from..from + 20)
            .map(|number| format!("installation {number}"))
            .collect()
    };
    for (limits, reason, from) in [
        (json!({"max": 7}), "trial_code_used_up", 0),
        (json!({"max": 1000, "maxADay": 7}), "trials_of_the_day", 100),
    ] {
        let code = code(&vendor, limits).await;
        let words = words([&vendor, &twin], &code, &names(from)).await;
        let started = words.iter().filter(|word| *word == "yes").count();
        assert_eq!(started, 7, "{words:?}");
        assert!(
            words.iter().all(|word| word == "yes" || word == reason),
            "{words:?}"
        );
        let shown = vendor.look(&format!("/trial-codes/{code}")).await;
        assert_eq!(shown["started"], 7);
    }
    assert_eq!(vendor.look("/licenses").await["total"], 14);
    twin.stop().await;
    vendor.end().await;
}

async fn an_installation_that_asks_many_times_at_once_has_one_trial(engine: Engine) {
    let (vendor, twin) = two(engine).await;
    let first = code(&vendor, json!({"max": 50})).await;
    let second = code(&vendor, json!({"max": 50})).await;
    // With two codes, whose rows are not locked together.
    let asking = (0..8).map(async |place: usize| {
        let vendor = [&vendor, &twin][place % 2];
        let code = [&first, &second][place / 2 % 2];
        let secret = "s".repeat(43);
        let asking = ask_with(vendor, Some(&secret), Some(code), "one", "machine");
        let (_, answer) = asking.await;
        answer["data"]["license"]["licenseKey"].clone()
    });
    let keys = join_all(asking).await;
    assert!(keys[0].is_string(), "{keys:?}");
    assert!(keys.iter().all(|key| *key == keys[0]), "{keys:?}");
    assert_eq!(vendor.look("/licenses").await["total"], 1);
    let mut started = 0;
    for code in [&first, &second] {
        let shown = vendor.look(&format!("/trial-codes/{code}")).await;
        started += shown["started"].as_u64().unwrap();
    }
    assert_eq!(started, 1);
    let (status, _) = ask(&vendor, None, "two", "machine").await;
    assert_eq!(status, StatusCode::OK);
    twin.stop().await;
    vendor.end().await;
}
