//! A key directory that goes back or is another one: no revoked key signs again, and nothing
//! is signed that sites would not trust.

use std::path::{Path, PathBuf};

use chrono::{DateTime, TimeDelta, Utc};
use license_core::signing_clock::{ClockWatch, Reading, SigningTime};
use license_server::app::App;
use license_server::audit::Actor;
use license_server::licensing::catalogue::Tier;
use license_server::licensing::issue::IssueRequest;
use license_server::licensing::key_changes::{revoke, rotate};
use license_server::licensing::key_record::{accept, watch};
use license_server::signing::SigningKeys;
use license_server::store::key_record;
use license_service::clock::Clock as _;
use serde_json::Value;

use crate::database::{Engine, on_both_engines};
use crate::harness::Vendor;

on_both_engines! {
    a_gap_in_the_key_sets_is_refused_and_not_filled;
    an_older_key_directory_never_signs;
    another_key_directory_never_signs_until_it_is_accepted;
    a_server_stops_signing_when_another_directory_was_accepted;
    an_accepted_older_directory_brings_no_revoked_key_back;
    a_database_that_is_older_than_the_key_directory_is_brought_up_to_date;
}

fn permitted(at: DateTime<Utc>) -> SigningTime {
    let reading = Reading {
        wall: at,
        since_boot: std::time::Duration::ZERO,
    };
    ClockWatch::started(reading, None)
        .permit(reading, at)
        .unwrap()
}

/// The vendor's key is replaced and revoked: sets 2 and 3. Answers both ids.
async fn replaced(vendor: &Vendor) -> (String, String) {
    vendor.clock.advance(TimeDelta::seconds(1));
    let (store, directory) = (&vendor.app.store, vendor.keys_dir());
    let now = vendor.clock.now();
    let first = SigningKeys::load(&directory).unwrap().list(now)[0]
        .kid
        .clone();
    let (by, at) = (Actor::CommandLine, permitted(now));
    let rotated = rotate(store, &directory, "test", TimeDelta::zero(), by.clone(), at).await;
    let (second, _) = rotated.unwrap();
    let revoked = revoke(store, &directory, "test", &first, by, at).await;
    assert_eq!(revoked.unwrap(), 3);
    watch(&vendor.app).await.unwrap();
    (first, second)
}

async fn recorded(vendor: &Vendor) -> (u64, Vec<String>) {
    let record = key_record::find(vendor.app.store.reader()).await;
    let record = record.unwrap().unwrap();
    (record.version, record.revoked)
}

/// A process that starts now.
async fn open(vendor: &Vendor, keys_dir: &Path) -> Result<u64, String> {
    let mut storage = vendor.storage();
    storage.keys_dir = Some(keys_dir.to_owned());
    let app = App::open(&storage, vendor.app.terms.clone(), vendor.clock.clone()).await;
    app.map(|app| app.keys().version())
        .map_err(|error| error.to_string())
}

async fn change_keys(vendor: &Vendor, keys_dir: &Path) -> Vec<String> {
    let (store, at) = (&vendor.app.store, permitted(vendor.clock.now()));
    let (by, now) = (Actor::CommandLine, TimeDelta::zero());
    let kid = "any".to_owned();
    let rotated = rotate(store, keys_dir, "test", now, by.clone(), at).await;
    let revoked = revoke(store, keys_dir, "test", &kid, by, at).await;
    let said = [rotated.map(drop), revoked.map(drop)];
    said.map(|it| it.unwrap_err().to_string()).to_vec()
}

async fn ready(vendor: &Vendor) -> (u16, String) {
    let url = format!("{}/readyz", vendor.url);
    let answer = vendor.http.get(url).send().await.unwrap();
    let status = answer.status().as_u16();
    let body: Value = answer.json().await.unwrap();
    (status, body["signing"].as_str().unwrap().to_owned())
}

fn names(directory: &Path) -> Vec<String> {
    let files = std::fs::read_dir(directory).unwrap();
    let mut names: Vec<String> = files
        .map(|it| it.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

fn copy(from: &Path, to: &Path) -> PathBuf {
    let made = std::process::Command::new("cp")
        .arg("-a")
        .args([from, to])
        .status();
    assert!(made.unwrap().success());
    to.to_owned()
}

async fn a_gap_in_the_key_sets_is_refused_and_not_filled(engine: Engine) {
    let vendor = Vendor::start(engine).await;
    let (first, second) = replaced(&vendor).await;
    let directory = vendor.keys_dir();
    for (name, version) in [("set-000001.json", 1), ("set-000002.jws", 2)] {
        let (set, aside) = (directory.join(name), directory.join("aside"));
        std::fs::rename(&set, &aside).unwrap();
        let before = names(&directory);
        let is_missing = |error: &str| {
            assert!(
                error.contains(&format!("'{}' is missing", set.display())),
                "{error}"
            );
            assert!(error.contains("from a backup"), "{error}");
        };
        is_missing(&watch(&vendor.app).await.unwrap_err().to_string());
        // What is in memory is newer than the files, and signs.
        assert_eq!(vendor.app.keys().version(), 3, "without set {version}");
        assert!(!vendor.app.keys().is_revoked(&second) && vendor.app.keys().is_revoked(&first));
        let unready = (503, "cannot reload the signing keys".to_owned());
        assert_eq!(ready(&vendor).await, unready);
        is_missing(&open(&vendor, &directory).await.unwrap_err());
        for error in change_keys(&vendor, &directory).await {
            is_missing(&error);
        }
        assert_eq!(names(&directory), before);
        std::fs::rename(&aside, &set).unwrap();
        watch(&vendor.app).await.unwrap();
        assert_eq!(ready(&vendor).await, (200, "ok".to_owned()));
    }
    vendor.end().await;
}

async fn an_older_key_directory_never_signs(engine: Engine) {
    let vendor = Vendor::start(engine).await;
    let directory = vendor.keys_dir();
    let backup = copy(&directory, &directory.with_extension("backup"));
    let (first, second) = replaced(&vendor).await;
    assert_eq!(recorded(&vendor).await, (3, vec![first.clone()]));
    let key = vendor.issue(IssueRequest::of(Tier::Standard)).await;

    // The last set is gone, or all but the first.
    let newest = copy(&directory, &directory.with_extension("newest"));
    for (gone, found) in [(vec![3], 2), (vec![2, 3], 1)] {
        for version in gone {
            std::fs::remove_file(directory.join(format!("set-{version:06}.jws"))).unwrap();
        }
        let before = names(&directory);
        let expected = format!(
            "the directory ends with key set {found}, but key set 3 was already \
            in use"
        );
        let error = watch(&vendor.app).await.unwrap_err().to_string();
        assert!(error.contains(&expected), "{error}");
        assert_eq!(vendor.app.keys().version(), 3);
        assert_eq!(
            vendor.app.keys().signer_id(vendor.clock.now()).unwrap(),
            second
        );
        assert_eq!(ready(&vendor).await.0, 503);
        let error = open(&vendor, &directory).await.unwrap_err();
        assert!(error.contains(&expected), "{error}");
        assert!(error.contains("KEYS_DIR"), "{error}");
        for error in change_keys(&vendor, &directory).await {
            assert!(error.contains(&expected), "{error}");
        }
        assert_eq!(names(&directory), before);
        std::fs::remove_dir_all(&directory).unwrap();
        copy(&newest, &directory);
    }
    // A backup from before the rotation is recognised, and so is the newest one.
    assert!(open(&vendor, &backup).await.is_err());
    assert_eq!(open(&vendor, &newest).await, Ok(3));
    // A set that was made from the backup is not the next one, however high its number.
    let now = vendor.clock.now();
    for _ in 0..3 {
        SigningKeys::rotate(&backup, "test", now, TimeDelta::days(1)).unwrap();
    }
    let error = open(&vendor, &backup).await.unwrap_err();
    assert!(
        error.contains("key set 3 in the directory differs"),
        "{error}"
    );
    watch(&vendor.app).await.unwrap();
    assert_eq!(vendor.activate(&key, "machine").await.word(), "yes");
    vendor.end().await;
}

async fn another_key_directory_never_signs_until_it_is_accepted(engine: Engine) {
    let vendor = Vendor::start(engine).await;
    let other = vendor.keys_dir().with_extension("other");
    vendor.clock.advance(TimeDelta::seconds(1));
    let now = vendor.clock.now();
    let kid = SigningKeys::create(&other, now).unwrap();
    let error = open(&vendor, &other).await.unwrap_err();
    assert!(
        error.contains("key set 1 in the directory differs"),
        "{error}"
    );
    assert!(error.contains("license-server keys accept"), "{error}");
    for error in change_keys(&vendor, &other).await {
        assert!(
            error.contains("key set 1 in the directory differs"),
            "{error}"
        );
    }
    let accepted = accept(
        &vendor.app.store,
        &other,
        Actor::CommandLine,
        permitted(now),
    )
    .await;
    assert_eq!(accepted.unwrap(), 1);
    assert_eq!(open(&vendor, &other).await, Ok(1));
    assert!(open(&vendor, &vendor.keys_dir()).await.is_err());
    let log = vendor.audit("?limit=1").await;
    let entry = &log[0];
    assert_eq!(
        (entry["action"].as_str(), entry["subject"].as_str()),
        (Some("keys_accepted"), Some(kid.as_str()))
    );
    assert_eq!(
        entry["details"],
        serde_json::json!({"keySet": 1, "recorded": 1})
    );
    vendor.end().await;
}

async fn a_server_stops_signing_when_another_directory_was_accepted(engine: Engine) {
    let vendor = Vendor::start(engine).await;
    let key = vendor.issue(IssueRequest::of(Tier::Standard)).await;
    let own = key_record::find(vendor.app.store.reader())
        .await
        .unwrap()
        .unwrap();
    let other = vendor.keys_dir().with_extension("other");
    vendor.clock.advance(TimeDelta::seconds(1));
    let now = vendor.clock.now();
    SigningKeys::create(&other, now).unwrap();
    let accepted = accept(
        &vendor.app.store,
        &other,
        Actor::CommandLine,
        permitted(now),
    )
    .await;
    accepted.unwrap();
    let error = watch(&vendor.app).await.unwrap_err().to_string();
    assert!(
        error.contains("key set 1 in the directory differs"),
        "{error}"
    );
    let unready = (
        503,
        "the key directory does not match the database".to_owned(),
    );
    assert_eq!(ready(&vendor).await, unready);
    let body = serde_json::json!({"licenseKey": key, "hardwareId": "machine"});
    let (status, answer) = vendor.post("validate", body).await;
    assert_eq!(
        (status.as_u16(), &answer["error"]["code"]),
        (503, &"not_signing".into())
    );
    // It signs again when the record is what it was.
    key_record::replace(vendor.app.store.reader(), &own)
        .await
        .unwrap();
    watch(&vendor.app).await.unwrap();
    assert_eq!(ready(&vendor).await, (200, "ok".to_owned()));
    assert_eq!(vendor.activate(&key, "machine").await.word(), "yes");
    vendor.end().await;
}

async fn an_accepted_older_directory_brings_no_revoked_key_back(engine: Engine) {
    let vendor = Vendor::start(engine).await;
    let directory = vendor.keys_dir();
    let backup = copy(&directory, &directory.with_extension("backup"));
    let (first, second) = replaced(&vendor).await;
    let (store, now) = (&vendor.app.store, vendor.clock.now());
    // It has no other key than the revoked one.
    let refused = accept(store, &backup, Actor::CommandLine, permitted(now)).await;
    let refused = refused.unwrap_err().to_string();
    assert!(refused.contains("move the directory away"), "{refused}");
    assert_eq!(recorded(&vendor).await.0, 3);
    // The set that revoked it is lost.
    std::fs::remove_file(directory.join("set-000003.jws")).unwrap();
    let accepted = accept(store, &directory, Actor::CommandLine, permitted(now)).await;
    assert_eq!(accepted.unwrap(), 2);
    assert_eq!(recorded(&vendor).await, (2, vec![first.clone()]));
    let mut storage = vendor.storage();
    storage.keys_dir = Some(directory.clone());
    let terms = vendor.app.terms.clone();
    let app = App::open(&storage, terms, vendor.clock.clone())
        .await
        .unwrap();
    assert!(app.keys().is_revoked(&first));
    assert_eq!(app.keys().signer_id(now).unwrap(), second);
    // Not even where it is the only one.
    assert!(!app.keys().can_do_without(&second, now));
    vendor.end().await;
}

async fn a_database_that_is_older_than_the_key_directory_is_brought_up_to_date(engine: Engine) {
    let vendor = Vendor::start(engine).await;
    let (vendor, copy) = vendor.backed_up().await;
    let (first, _) = replaced(&vendor).await;
    let vendor = vendor.restored(copy).await;
    assert_eq!(vendor.app.keys().version(), 3);
    assert_eq!(recorded(&vendor).await, (3, vec![first]));
    // A database from before there was a record, or one whose server was away.
    vendor.database.execute("DELETE FROM key_record").await;
    watch(&vendor.app).await.unwrap();
    assert_eq!(recorded(&vendor).await.0, 3);
    let now = vendor.clock.now();
    let directory = vendor.keys_dir();
    SigningKeys::rotate(&directory, "test", now, TimeDelta::days(1)).unwrap();
    watch(&vendor.app).await.unwrap();
    assert_eq!(
        (vendor.app.keys().version(), recorded(&vendor).await.0),
        (4, 4)
    );
    vendor.end().await;
}

#[test]
fn a_key_that_is_made_beside_the_one_in_use_signs_after_it_was_accepted() {
    let directory = tempfile::tempdir().unwrap();
    let state = directory.path().join("state").display().to_string();
    let other = directory.path().join("other").display().to_string();
    let run = |arguments: &[&str], keys_dir: Option<&str>| {
        let mut command = std::process::Command::new(crate::PROGRAM);
        command.args(arguments).args(["--state-dir", &state]);
        if let Some(keys_dir) = keys_dir {
            command.args(["--keys-dir", keys_dir]);
        }
        let output = command.output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        (output.status.code(), said)
    };
    assert_eq!(run(&["init"], None).0, Some(0));
    let (code, said) = run(&["keys", "create"], Some(&other));
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("the key cannot sign anything yet"), "{said}");
    for refused in [&["init"][..], &["keys", "rotate"]] {
        let (code, said) = run(refused, Some(&other));
        assert_eq!(code, Some(1), "{refused:?}");
        assert!(
            said.contains("key set 1 in the directory differs"),
            "{said}"
        );
        assert!(said.contains("'license-server keys accept'"), "{said}");
    }
    assert_eq!(run(&["keys", "rotate"], None).0, Some(0));
    assert_eq!(run(&["keys", "accept"], Some(&other)).0, Some(0));
    assert_eq!(run(&["keys", "rotate"], Some(&other)).0, Some(0));
    assert_eq!(run(&["init"], None).0, Some(1));
}

/// As macOS writes them beside the files that it copies.
#[test]
fn hidden_files_beside_the_keys_are_ignored() {
    let directory = tempfile::tempdir().unwrap();
    let run = |arguments: &[&str]| {
        let mut command = std::process::Command::new(crate::PROGRAM);
        command
            .args(arguments)
            .arg("--state-dir")
            .arg(directory.path());
        let output = command.output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(0), "{said}");
    };
    run(&["init"]);
    std::fs::write(directory.path().join("keys/._a.jwk"), b"\0\x05\x16\x07\0").unwrap();
    run(&["keys", "list"]);
    run(&["keys", "rotate"]);
}
