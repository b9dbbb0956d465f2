//! The vendor's commands, through the real program, while the service runs.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Output};

use chrono::SecondsFormat;
use license_core::amendment::TermChanges;
use license_core::offline::{OfflineRequest, Purpose};
use license_server::licensing::catalogue::Tier;
use license_server::licensing::issue::IssueRequest;
use license_service::clock::{Clock as _, SystemClock};
use serde_json::Value;

use crate::PROGRAM;
use crate::database::{Engine, TestDatabase, on_both_engines};
use crate::harness::{NONCE, Vendor};

on_both_engines! {
    a_license_goes_through_its_life_by_commands;
    a_machine_is_named_by_the_beginning_of_its_hardware_id;
    only_public_files_of_commands_are_open_to_others;
    no_command_makes_a_database_but_init_and_serve;
    ids_that_begin_with_a_hyphen_are_ids;
}

/// Runs a command on the vendor's database.
pub async fn run(vendor: &Vendor, arguments: &[&str]) -> Output {
    let mut command = Command::new(PROGRAM);
    command.args(arguments).args(vendor.flags());
    tokio::task::spawn_blocking(move || command.output().unwrap())
        .await
        .unwrap()
}

/// What a command has printed.
pub fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// What a command has printed for programs.
pub async fn json(vendor: &Vendor, arguments: &[&str]) -> Value {
    let output = run(vendor, &[arguments, &["--json"]].concat()).await;
    assert!(output.status.success(), "{arguments:?}: {}", said(&output));
    serde_json::from_slice(&output.stdout).unwrap()
}

async fn a_license_goes_through_its_life_by_commands(engine: Engine) {
    let vendor = Vendor::in_the_present(engine).await;
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

async fn a_machine_is_named_by_the_beginning_of_its_hardware_id(engine: Engine) {
    let vendor = Vendor::in_the_present(engine).await;
    let request = IssueRequest {
        terms: TermChanges {
            seats: Some(4),
            ..TermChanges::default()
        },
        ..IssueRequest::of(Tier::Standard)
    };
    let key = &*vendor.issue(request).await;
    let machines = [
        "42aac9ae7f559498",
        "42aac9ae7fffffff",
        "42AAC9AE7F000000",
        "%_aac9ae",
    ];
    for machine in machines {
        assert_eq!(vendor.activate(key, machine).await.word(), "yes");
    }
    for (machine, expected) in [
        ("42aac9ae7f", "hardware ids begin with"),
        ("42aac9a", "does not hold a seat"),
        ("", "does not hold a seat"),
        ("…", "does not hold a seat"),
        ("________", "does not hold a seat"),
        ("%%%%%%%%", "does not hold a seat"),
        ("42aac9ae7f5594980", "does not hold a seat"),
    ] {
        let output = run(&vendor, &["seats", "free", key, machine]).await;
        assert_eq!(output.status.code(), Some(1), "{machine}");
        assert!(
            said(&output).contains(expected),
            "{machine}: {}",
            said(&output)
        );
    }
    let freed = run(&vendor, &["seats", "free", key, "42aac9ae7f55…"]).await;
    assert_eq!(freed.status.code(), Some(0), "{}", said(&freed));
    assert!(
        said(&freed).contains("Freed the seat of 42aac9ae7f559498"),
        "{}",
        said(&freed)
    );
    assert!(!vendor.seat(key, machines[0]).await.unwrap().is_held());
    for machine in &machines[1..] {
        assert!(
            vendor.seat(key, machine).await.unwrap().is_held(),
            "{machine}"
        );
    }
    // One that is freed makes nothing ambiguous.
    let freed = run(&vendor, &["seats", "free", key, "42aac9ae7f"]).await;
    assert!(
        said(&freed).contains("Freed the seat of 42aac9ae7fffffff"),
        "{}",
        said(&freed)
    );
    let asked = run(&vendor, &["seats", "release", key, "42aac9ae7ff"]).await;
    assert!(
        !said(&asked).contains("nothing to release"),
        "{}",
        said(&asked)
    );
    vendor.end().await;
}

async fn ids_that_begin_with_a_hyphen_are_ids(engine: Engine) {
    let vendor = Vendor::in_the_present(engine).await;
    let key = vendor.issue(IssueRequest::of(Tier::Standard)).await;
    assert_eq!(vendor.activate(&key, "-h-m").await.word(), "yes");
    let output = run(&vendor, &["seats", "free", &key, "-h-m"]).await;
    assert!(output.status.success(), "{}", said(&output));
    for kid in ["-h2Vq", "--V", "-"] {
        let output = run(&vendor, &["keys", "revoke", kid]).await;
        let said = said(&output);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains(&format!("'{kid}'")), "{said}");
    }
    vendor.end().await;
}

async fn only_public_files_of_commands_are_open_to_others(engine: Engine) {
    let vendor = Vendor::in_the_present(engine).await;
    let key = vendor.issue(IssueRequest::of(Tier::Standard)).await;
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name).display().to_string();
    let written = OfflineRequest {
        purpose: Purpose::Activate,
        license_key: key,
        add_on_key: None,
        trial_secret: None,
        hardware_id: "m".to_owned(),
        installation_id: "i".to_owned(),
        installation_name: String::new(),
        installation_version: String::new(),
        nonce: NONCE.to_owned(),
        key_set: 1,
        newest_seq: None,
        entitlements: false,
        created_at: SystemClock.now(),
    };
    std::fs::write(path("request"), written.to_file()).unwrap();
    for (arguments, name, mode) in [
        (&["offline", "sign", &path("request")][..], "license", 0o600),
        (&["keys", "export"], "keys", 0o644),
    ] {
        // One that is there already, with another mode.
        let file = path(name);
        std::fs::write(&file, "").unwrap();
        std::fs::set_permissions(&file, Permissions::from_mode(0o666)).unwrap();
        let output = run(&vendor, &[arguments, &["--output", &file]].concat()).await;
        assert!(output.status.success(), "{arguments:?}: {}", said(&output));
        let found = std::fs::metadata(&file).unwrap();
        assert!(found.len() > 0);
        assert_eq!(found.permissions().mode() & 0o777 & !mode, 0, "{name}");
    }
    vendor.stop().await;
}

async fn no_command_makes_a_database_but_init_and_serve(engine: Engine) {
    let database = TestDatabase::new(engine).await;
    let directory = tempfile::tempdir().unwrap();
    let state = directory.path().join("state");
    let program = |arguments: &[&str]| {
        let mut command = Command::new(PROGRAM);
        command.args(arguments).arg("--state-dir").arg(&state);
        if engine == Engine::Postgres {
            command.args(["--database-url", &database.url]);
        }
        command.stdin(std::process::Stdio::null()).output().unwrap()
    };
    let key = "FXSGHT-2222-2222-2222-2222";
    let request = directory.path().join("request");
    let purpose = Purpose::Activate;
    let written = OfflineRequest {
        purpose,
        license_key: key.to_owned(),
        add_on_key: None,
        trial_secret: None,
        hardware_id: "m".to_owned(),
        installation_id: "i".to_owned(),
        installation_name: String::new(),
        installation_version: String::new(),
        nonce: NONCE.to_owned(),
        key_set: 1,
        newest_seq: None,
        entitlements: false,
        created_at: SystemClock.now(),
    };
    std::fs::write(&request, written.to_file()).unwrap();
    let request = request.display().to_string();
    for arguments in [
        &["issue", "--tier", "standard"][..],
        &["list"],
        &["list", "--json"],
        &["show", key],
        &["suspend", key],
        &["reinstate", key],
        &["revoke", key],
        &["renew", key, "--never"],
        &["seats", "list", key],
        &["seats", "free", key, "m"],
        &["seats", "release", key, "m"],
        &["suspicions"],
        &["audit"],
        &["clock", "status"],
        &["clock", "accept"],
        &["keys", "create"],
        &["keys", "export"],
        &["keys", "rotate"],
        &["keys", "revoke", "k"],
        &["offline", "sign", &request],
    ] {
        let output = program(arguments);
        assert_eq!(
            output.status.code(),
            Some(1),
            "{arguments:?}: {}",
            said(&output)
        );
        assert!(output.stdout.is_empty(), "{arguments:?}: {}", said(&output));
        assert!(
            said(&output).contains("license-server init"),
            "{arguments:?}: {}",
            said(&output)
        );
        assert!(!state.exists(), "{arguments:?}");
    }
    if engine == Engine::Postgres {
        let tables =
            "SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'";
        assert_eq!(database.texts(tables).await, []);
    }
    for _ in 0..2 {
        let made = program(&["init"]);
        assert_eq!(made.status.code(), Some(0), "{}", said(&made));
    }
    let issued = program(&["issue", "--tier", "standard"]);
    assert_eq!(issued.status.code(), Some(0), "{}", said(&issued));
    assert_eq!(program(&["keys", "export"]).status.code(), Some(0));
    database.drop_database().await;
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
