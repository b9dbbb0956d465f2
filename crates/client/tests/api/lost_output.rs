//! Commands that change something, and whose result cannot be written.

use std::fs::File;
use std::process::Command;

use crate::PROGRAM;
use crate::database::Engine;
use crate::harness::Site;
use crate::vendor::Vendor;

/// Runs a command whose standard output is full; answers its standard error.
async fn run(site: &Site, arguments: &[&str]) -> String {
    let mut command = Command::new(PROGRAM);
    command.args(arguments).args(["--url", &site.url]);
    command.stdout(File::options().write(true).open("/dev/full").unwrap());
    let output = tokio::task::spawn_blocking(move || command.output().unwrap());
    let output = output.await.unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{arguments:?}: {text}");
    text
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_is_named_if_its_result_is_lost_and_not_made_for_a_file_that_cannot_be_written() {
    let vendor = Vendor::start().await;
    let keys = vendor.trusted_keys();
    let flags = ["--license-trusted-keys", keys.as_str()];
    let site = Site::start(Engine::Sqlite, &vendor.url, &flags).await;
    let key = vendor.issue_professional().await;
    let text = run(&site, &["activate", &key]).await;
    assert!(
        text.contains("error: cannot write to standard output"),
        "{text}"
    );
    assert!(
        text.contains("note: the License Client has carried out the command"),
        "{text}"
    );
    let text = run(&site, &["status"]).await;
    assert!(!text.contains("note: the License Client"), "{text}");

    let directory = tempfile::tempdir().unwrap();
    let nowhere = directory.path().join("none/request.txt");
    let nowhere = nowhere.display().to_string();
    let deactivate = ["offline", "request", "deactivate"];
    let text = run(&site, &[&deactivate[..], &["--output", &nowhere]].concat()).await;
    assert!(text.contains("error: cannot write '"), "{text}");
    assert_eq!(site.standing().await, "active");

    let text = run(&site, &deactivate).await;
    assert!(
        text.contains("note: the license is deactivated on this machine; repeat the command"),
        "{text}"
    );
    assert_ne!(site.standing().await, "active");
    site.end().await;
}
