//! The vendor's commands, through the real program, while the service runs.

use std::process::{Command, Output};

use chrono::SecondsFormat;
use license_service::clock::{Clock as _, SystemClock};
use serde_json::Value;

use crate::database::{Engine, on_both_engines};
use crate::harness::Vendor;

on_both_engines! {
    a_license_goes_through_its_life_by_commands;
}

async fn run(vendor: &Vendor, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_license-server"));
    command.args(arguments).args(vendor.flags());
    tokio::task::spawn_blocking(move || command.output().unwrap())
        .await
        .unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

async fn json(vendor: &Vendor, arguments: &[&str]) -> Value {
    let output = run(vendor, &[arguments, &["--json"]].concat()).await;
    assert!(output.status.success(), "{arguments:?}: {}", said(&output));
    serde_json::from_slice(&output.stdout).unwrap()
}

async fn a_license_goes_through_its_life_by_commands(engine: Engine) {
    let vendor = Vendor::start(engine).await;
    let issue = [
        "issue",
        "--tier",
        "enterprise",
        "--customer",
        "Harbour Ltd",
        "--seats",
        "1",
    ];
    let issued = json(&vendor, &[&issue[..], &["--max-cameras", "-1"]].concat()).await;
    let key = issued["licenseKey"].as_str().unwrap();
    assert_eq!(issued["maxCameras"], -1);
    vendor.clock.advance(SystemClock.now() - vendor.clock.now());
    assert_eq!(vendor.activate(key, "machine").await.word(), "yes");

    let shown = json(&vendor, &["show", key]).await;
    assert_eq!(shown["license"]["customer"], "Harbour Ltd");
    assert_eq!(shown["seats"][0]["hardwareId"], "machine");
    let text = said(&run(&vendor, &["show", &key.to_lowercase()]).await);
    assert!(text.contains(key) && text.contains("unlimited"), "{text}");

    let message = ["suspend", key, "--message", "Your invoice is overdue"];
    assert_eq!(json(&vendor, &message).await["status"], "suspended");
    assert_eq!(vendor.validate(key, "machine").await.word(), "suspended");
    json(&vendor, &["reinstate", key]).await;
    assert_eq!(vendor.validate(key, "machine").await.word(), "yes");

    let list = said(&run(&vendor, &["list", "--customer", "Harbour"]).await);
    assert!(list.contains(key) && list.contains("enterprise"), "{list}");
    assert_eq!(
        json(&vendor, &["list", "--status", "revoked"]).await,
        Value::Array(vec![])
    );

    assert_eq!(shown["movesLeft"], 3);
    assert!(text.contains("3 in 365 days"), "{text}");
    let held = run(&vendor, &["seats", "release", key, "machine"]).await;
    assert!(said(&held).contains("free the seat first"), "{held:?}");
    json(&vendor, &["seats", "free", key, "machine"]).await;
    // The program's clock is the machine's: the lease has to run by that one.
    let asked = run(&vendor, &["seats", "release", key, "machine"]).await;
    let until = vendor.seat(key, "machine").await.unwrap().signed_until;
    let until = until.unwrap().to_rfc3339_opts(SecondsFormat::Secs, true);
    assert_eq!(asked.status.code(), Some(1));
    let repeat = format!("--confirm-until {until}");
    assert!(said(&asked).contains(&repeat), "{}", said(&asked));
    let release = [
        "seats",
        "release",
        key,
        "machine",
        "--confirm-until",
        &until,
    ];
    assert_eq!(json(&vendor, &release).await["overlap"], "released");
    assert_eq!(
        vendor.validate(key, "machine").await.word(),
        "hardware_mismatch"
    );
    let seats = said(&run(&vendor, &["seats", "list", key]).await);
    assert!(
        seats.contains("machine") && !seats.contains("held"),
        "{seats}"
    );

    let renewed = json(&vendor, &["renew", key, "--expires-at", "2031-01-01"]).await;
    assert_eq!(renewed["expiresAt"], "2031-01-01T23:59:59Z");
    let until = said(&run(&vendor, &["renew", key]).await);
    assert!(until.contains("--never"), "{until}");
    let renewed = json(&vendor, &["renew", key, "--never"]).await;
    assert_eq!(renewed["expiresAt"], Value::Null);

    json(&vendor, &["revoke", key]).await;
    assert_eq!(vendor.activate(key, "machine").await.word(), "revoked");
    let too_late = run(&vendor, &["renew", key, "--never"]).await;
    assert!(said(&too_late).contains("cannot be undone"));
    let log = run(&vendor, &["audit", key, "--json"]).await;
    let log: Vec<Value> = String::from_utf8(log.stdout)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let actions: Vec<_> = log
        .iter()
        .map(|it| it["action"].as_str().unwrap())
        .collect();
    let expected = [
        "issued",
        "seat_taken",
        "suspended",
        "reinstated",
        "seat_freed",
        "seat_released",
        "renewed",
        "renewed",
        "revoked",
    ];
    assert_eq!(actions, expected);
    assert_eq!(log[0]["actor"], "command line");
    let text = said(&run(&vendor, &["audit"]).await);
    assert!(
        text.contains("command line") && !text.contains(key),
        "{text}"
    );
    let undone = run(&vendor, &["reinstate", key]).await;
    assert_eq!(undone.status.code(), Some(1));
    assert!(said(&undone).contains("cannot be undone"));
    vendor.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_are_made_listed_and_exported_without_their_secrets() {
    let vendor = Vendor::start(Engine::Sqlite).await;
    let again = run(&vendor, &["keys", "create"]).await;
    assert!(!again.status.success() && said(&again).contains("rotate"));
    let made = json(&vendor, &["keys", "rotate", "--at-once"]).await;
    let listed = json(&vendor, &["keys", "list"]).await;
    assert_eq!(listed["keySet"], 2);
    assert_eq!(listed["keys"].as_array().unwrap().len(), 2);
    let exported = run(&vendor, &["keys", "export"]).await;
    let exported = said(&exported);
    assert!(exported.contains(made["kid"].as_str().unwrap()));
    assert!(!exported.contains("\"d\""));
    vendor.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mistakes_are_named_with_what_is_accepted() {
    let vendor = Vendor::start(Engine::Sqlite).await;
    for (arguments, code, expected) in [
        (&["issue", "--tier", "gold"][..], 2, "professional"),
        (
            &["issue", "--tier", "standard", "--seats", "0"],
            1,
            "1 to 1000000",
        ),
        (
            &["issue", "--tier", "standard", "--without", "x"],
            1,
            "no feature 'x'",
        ),
        (
            &["issue", "--tier", "standard", "--max-users", "-2"],
            1,
            "-1 for unlimited",
        ),
        (
            &["issue", "--tier", "standard", "--expires-at", "2020-01-01"],
            1,
            "has passed",
        ),
        (
            &[
                "issue",
                "--tier",
                "standard",
                "--expires-in-days",
                "4000000",
            ],
            1,
            "9999",
        ),
        (
            &["issue", "--tier", "standard", "--expires-at", "soon"],
            2,
            "2030-12-31",
        ),
        (
            &[
                "issue",
                "--tier",
                "standard",
                "--key",
                "FXSGHT-AAAA-BBBB-CCCC-DDDD",
            ],
            1,
            "typing error",
        ),
        (
            &["show", "FXSGHT-2222-2222-2222-2222"],
            1,
            "no license with the key",
        ),
        (
            &["issue", "--tier", "standard", "--moves", "1001"],
            1,
            "0 to 1000",
        ),
        (
            &["issue", "--tier", "standard", "--moves-period-days", "0"],
            1,
            "1 to 3650",
        ),
        (&["list", "--limit", "0"], 2, "1..=10000"),
        (&["suspicions", "--limit", "10001"], 2, "1..=10000"),
        (
            &[
                "seats",
                "list",
                "FXSGHT-2222-2222-2222-2222",
                "--limit",
                "1001",
            ],
            2,
            "1..=1000",
        ),
        (&["show", "nonsense"], 1, "FXSGHT-XXXX"),
        (
            &["seats", "free", "FXSGHT-2222-2222-2222-2222", "m"],
            1,
            "no license",
        ),
    ] {
        let output = run(&vendor, arguments).await;
        let said = said(&output);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {said}");
        assert!(said.contains(expected), "{arguments:?}: {said}");
    }
    vendor.end().await;
}

#[test]
fn help_shows_examples() {
    for command in [
        &["serve"][..],
        &["keys", "create"],
        &["keys", "list"],
        &["keys", "export"],
        &["issue"],
        &["list"],
        &["show"],
        &["suspend"],
        &["reinstate"],
        &["revoke"],
        &["seats", "list"],
        &["seats", "free"],
        &["seats", "release"],
        &["completions"],
    ] {
        let output = Command::new(env!("CARGO_BIN_EXE_license-server"))
            .args(command)
            .arg("--help")
            .output()
            .unwrap();
        assert!(said(&output).contains("Example"), "{command:?}");
    }
}
