//! Commands that change something, and whose result cannot be written.

use std::fs::File;
use std::process::Command;

use license_core::offline::{OfflineRequest, Purpose};
use license_server::licensing::catalogue::Tier;
use license_server::licensing::issue::IssueRequest;
use license_service::clock::{Clock as _, SystemClock};

use crate::PROGRAM;
use crate::database::Engine;
use crate::harness::{NONCE, Vendor};

/// Runs a command whose standard output is full; answers its standard error.
async fn run(vendor: &Vendor, arguments: &[&str]) -> String {
    let mut command = Command::new(PROGRAM);
    command.args(arguments).args(vendor.flags());
    command.stdout(File::options().write(true).open("/dev/full").unwrap());
    let output = tokio::task::spawn_blocking(move || command.output().unwrap());
    let output = output.await.unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{arguments:?}: {text}");
    text
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_whose_result_is_lost_is_named() {
    let vendor = Vendor::start(Engine::Sqlite).await;
    let key = vendor.issue(IssueRequest::of(Tier::Standard)).await;
    for (arguments, note) in [
        (
            &["issue", "--tier", "standard"][..],
            "the license was issued",
        ),
        (&["suspend", &key], "the status of the license was changed"),
        (
            &["renew", &key, "--never"],
            "the end date of the license was changed",
        ),
        (&["keys", "rotate"], "the next signing key was created"),
        (&["clock", "accept", "--json"], "the clock was accepted"),
    ] {
        let text = run(&vendor, arguments).await;
        assert!(
            text.contains("error: cannot write to standard output"),
            "{text}"
        );
        assert!(text.contains(&format!("note: {note}; see '")), "{text}");
    }
    // Nothing was changed.
    let text = run(&vendor, &["show", &key]).await;
    assert!(!text.contains("note:"), "{text}");
    vendor.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_signed_for_a_file_that_cannot_be_written() {
    let vendor = Vendor::start(Engine::Sqlite).await;
    let key = vendor.issue(IssueRequest::of(Tier::Standard)).await;
    let request = OfflineRequest {
        purpose: Purpose::Activate,
        license_key: key.clone(),
        add_on_key: None,
        trial_secret: None,
        hardware_id: "machine".to_owned(),
        installation_id: "i".to_owned(),
        installation_name: String::new(),
        installation_version: String::new(),
        nonce: NONCE.to_owned(),
        key_set: 1,
        newest_seq: None,
        entitlements: false,
        created_at: SystemClock.now(),
    };
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name).display().to_string();
    std::fs::write(path("request"), request.to_file()).unwrap();
    let output = ["--output", &path("none/license")];
    let text = run(
        &vendor,
        &[&["offline", "sign", &path("request")], &output[..]].concat(),
    )
    .await;
    assert!(text.starts_with("error: cannot write '"), "{text}");
    assert!(!text.contains("note:"), "{text}");
    let list = ["seats", "list", &key];
    let mut command = Command::new(PROGRAM);
    command.args(list).args(vendor.flags());
    let listed = command.output().unwrap();
    let listed = String::from_utf8(listed.stdout).unwrap();
    assert!(listed.contains("No machine has activated"), "{listed}");
    vendor.stop().await;
}

#[test]
fn no_key_is_created_for_a_file_that_cannot_be_written() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name).display().to_string();
    let run = |arguments: &[&str]| {
        let mut command = Command::new(PROGRAM);
        command
            .args(arguments)
            .args(["--state-dir", &path("state")]);
        command.output().unwrap()
    };
    assert!(run(&["init"]).status.success());
    std::fs::remove_dir_all(path("state/keys")).unwrap();
    let exported = run(&["keys", "export", "--output", &path("none/keys.json")]);
    assert_eq!(exported.status.code(), Some(1));
    assert!(!directory.path().join("state/keys").exists());
}
