//! Trial codes by command.

use chrono::TimeDelta;
use license_service::clock::{Clock as _, SystemClock};

use super::{code, told};
use crate::commands::{json, run, said};
use crate::database::{Engine, on_both_engines};
use crate::harness::Vendor;

on_both_engines! {
    a_trial_code_goes_through_its_life_by_commands;
    an_installation_whose_trial_is_forgotten_starts_another_one;
}

async fn a_trial_code_goes_through_its_life_by_commands(engine: Engine) {
    let vendor = Vendor::start(engine).await;
    // The program's clock is the machine's.
    // The other code is older by more than the second to which the list is sorted.
    let before = SystemClock.now() - TimeDelta::seconds(5);
    vendor.clock.advance(before - vendor.clock.now());
    code(&vendor, serde_json::json!({"max": 1})).await;
    let add = [
        "trial-codes",
        "add",
        "--plan",
        "trial",
        "--max",
        "2",
        "--max-a-day",
        "2",
        "--ends",
        "2099-06-30",
        "--note",
        "Fair",
    ];
    let output = run(&vendor, &add).await;
    assert!(output.status.success(), "{}", said(&output));
    let added = String::from_utf8(output.stdout.clone()).unwrap();
    let added = added.trim();
    assert!(added.starts_with("FXSTRY-"), "{added}");
    assert!(said(&output).contains("the only time"), "{}", said(&output));
    assert_eq!(told(&vendor, added, "one", "machine").await.word(), "yes");
    let listed = json(&vendor, &["trial-codes", "list"]).await;
    assert_eq!(
        (&listed[0]["started"], &listed[0]["note"]),
        (&1.into(), &"Fair".into())
    );
    let table = said(&run(&vendor, &["trial-codes", "list"]).await);
    assert!(table.contains("1 of 2"), "{table}");
    let id = listed[0]["id"].as_str().unwrap();
    let withdrawn = said(&run(&vendor, &["trial-codes", "withdraw", id]).await);
    assert!(
        withdrawn.contains("can no longer start trials"),
        "{withdrawn}"
    );
    let word = told(&vendor, added, "two", "machine")
        .await
        .word()
        .to_owned();
    assert_eq!(word, "trial_code_used_up");
    let unknown = run(&vendor, &["trial-codes", "withdraw", "FXSTRY-2222"]).await;
    assert_eq!(unknown.status.code(), Some(1), "{}", said(&unknown));
    vendor.end().await;
}

async fn an_installation_whose_trial_is_forgotten_starts_another_one(engine: Engine) {
    let vendor = Vendor::start(engine).await;
    let code = code(&vendor, serde_json::json!({"max": 5})).await;
    // Another machine was faster with the public id of the installation.
    assert_eq!(told(&vendor, &code, "one", "other").await.word(), "yes");
    let refused = told(&vendor, &code, "one", "machine").await;
    assert_eq!(refused.word(), "trial_elsewhere");
    let forget = ["trial-codes", "forget-trial", "one"];
    let output = run(&vendor, &forget).await;
    assert!(output.status.success(), "{}", said(&output));
    assert_eq!(told(&vendor, &code, "one", "machine").await.word(), "yes");
    assert_eq!(vendor.look("/licenses").await["total"], 2);
    let log = vendor.audit("?limit=50").await;
    let mut log = log.as_array().unwrap().iter();
    let entry = log.find(|it| it["action"] == "trial_forgotten").unwrap();
    assert_eq!(
        (&entry["subject"], &entry["details"]["hardwareId"]),
        (&"one".into(), &"other".into())
    );
    let unknown = run(&vendor, &["trial-codes", "forget-trial", "two"]).await;
    assert_eq!(unknown.status.code(), Some(1), "{}", said(&unknown));
    assert!(said(&unknown).contains("has not started a trial"));
    vendor.end().await;
}
