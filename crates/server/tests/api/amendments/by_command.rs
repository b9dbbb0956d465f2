//! Licenses are amended by command.

use std::process::Output;

use license_server::licensing::catalogue::Tier;
use license_server::licensing::issue::IssueRequest;
use serde_json::{Value, json};

use super::ANALYTICS;
use crate::commands::{run, said};
use crate::database::{Engine, on_both_engines};
use crate::harness::Vendor;
use crate::offers::sell;

on_both_engines! {
    a_license_is_amended_and_its_amendments_are_listed_by_command;
    dates_belong_to_what_is_added_before_them;
}

async fn sold(engine: Engine) -> (Vendor, String) {
    let vendor = Vendor::start(engine).await;
    sell(&vendor, &[], &["anpr_lanes"]).await;
    let key = vendor.issue(IssueRequest::of(Tier::Professional)).await;
    (vendor, key)
}

fn json_of(output: &Output) -> Value {
    assert!(output.status.success(), "{}", said(output));
    serde_json::from_slice(&output.stdout).unwrap()
}

async fn a_license_is_amended_and_its_amendments_are_listed_by_command(engine: Engine) {
    let (vendor, key) = sold(engine).await;
    let key = key.as_str();
    vendor.to_the_present();
    vendor.activate(key, "machine").await;
    vendor.heartbeat(key, "machine", 60).await;
    let lower = [
        "amend",
        key,
        "--end",
        "cameras",
        "--add",
        "cameras=48",
        "--effective",
        "2099-01-01",
        "--reason",
        "A smaller site",
        "--order",
        "4711",
        "--preview",
    ];
    let text = said(&run(&vendor, &lower).await);
    for part in [
        "Preview: nothing was changed. This would be amendment 2 of",
        "cameras ended",
        "From 2099-01-01 00:00:00 UTC\n  cameras: 48 instead of 64",
        "cameras 60 of 48 (12 over) from 2099-01-01",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let list = run(&vendor, &["amendments", key, "--json"]).await;
    assert_eq!(json_of(&list).as_array().unwrap().len(), 1);

    let [stored @ .., _preview] = lower;
    let text = said(&run(&vendor, &stored).await);
    assert!(text.contains("Amendment 2 of"), "{text}");
    let undo = [
        "amend",
        key,
        "--undo",
        "2",
        "--expires",
        "2098-12-31",
        "--seats",
        "3",
        "--json",
    ];
    let undone = json_of(&run(&vendor, &undo).await);
    assert_eq!(
        (&undone["stored"], &undone["license"]["seats"]),
        (&json!(true), &json!(3))
    );
    assert_eq!(undone["license"]["expiresAt"], "2098-12-31T23:59:59Z");
    let list = said(&run(&vendor, &["amendments", key]).await);
    for part in [
        "NUMBER",
        "4711",
        "A smaller site",
        "amendment 2 undone",
        "ends 31 December 2098",
    ] {
        assert!(list.contains(part), "{part}: {list}");
    }
    let log = said(&run(&vendor, &["audit", key]).await);
    assert_eq!(log.matches("  amended ").count(), 2, "{log}");

    let never = ["amend", key, "--expires", "never", "--after", "2"];
    let late = run(&vendor, &never).await;
    assert_eq!(late.status.code(), Some(1));
    let message = said(&late);
    assert!(
        message.contains("3 by command line (amendment 2 undone"),
        "{message}"
    );
    vendor.end().await;
}

async fn dates_belong_to_what_is_added_before_them(engine: Engine) {
    let (vendor, key) = sold(engine).await;
    let add = [
        "amend",
        &key,
        "--add",
        "cameras=32",
        "--from",
        "2098-05-01",
        "--add",
        ANALYTICS,
        "--until",
        "2098-07-29",
        "--from",
        "2098-05-02",
        "--add",
        "anpr_lanes=unlimited",
        "--json",
    ];
    let answer = json_of(&run(&vendor, &add).await);
    let expected = json!([
        {"grant": {"key": "cameras", "quantity": 32, "from": "2098-05-01T00:00:00Z"}},
        {"grant": {
            "key": ANALYTICS, "from": "2098-05-02T00:00:00Z", "until": "2098-07-29T23:59:59Z",
        }},
        {"grant": {"key": "anpr_lanes", "quantity": "unlimited"}},
    ]);
    assert_eq!(answer["amendment"]["changes"], expected);
    for (arguments, expected) in [
        (
            &["--from", "2098-05-01", "--add", "cameras=1"][..],
            "--from must follow the --add",
        ),
        (
            &[
                "--add",
                "cameras=1",
                "--until",
                "2098-05-01",
                "--until",
                "2098-05-02",
            ],
            "--until is given twice",
        ),
        (&["--add", "cameras=-1"], "invalid number '-1'"),
        (&["--add", "cameras=1", "--from", "soon"], "expected a date"),
    ] {
        let command = [&["amend", &key], arguments].concat();
        let refused = run(&vendor, &command).await;
        assert_eq!(refused.status.code(), Some(2), "{arguments:?}");
        let message = said(&refused);
        assert!(message.contains(expected), "{message}");
    }
    vendor.end().await;
}
