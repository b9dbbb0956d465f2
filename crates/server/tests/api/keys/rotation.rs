//! Some key signs, regardless of what is rotated, revoked or interrupted.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use license_core::document::{DocumentType, key_id};
use license_core::keyring::Keyring;
use license_core::rotation::walk;
use license_core::signing_clock::{ClockWatch, Reading};
use license_server::licensing::catalogue::Tier;
use license_server::licensing::issue::IssueRequest;
use license_server::signing::{SigningError, SigningKeys};
use license_service::clock::Clock as _;

use super::{sets_after, states};
use crate::database::Engine;
use crate::harness::Vendor;
use crate::told::Told;

/// Every minute from `from` to `to` some key signs, and clients believe it.
fn signs_throughout(directory: &Path, root: &Keyring, from: DateTime<Utc>, to: DateTime<Utc>) {
    let keys = SigningKeys::load(directory).unwrap();
    let walk = walk(root.clone(), &sets_after(&keys, 0));
    assert_eq!(walk.error, None);
    let mut now = from;
    while now <= to {
        keys.check(now).unwrap();
        let claims = serde_json::json!({"iat": now.timestamp()});
        let reading = Reading {
            wall: now,
            since_boot: Duration::ZERO,
        };
        let at = ClockWatch::started(reading, None)
            .permit(reading, now)
            .unwrap();
        let jws = keys.sign(DocumentType::License, &claims, at).unwrap();
        let kid = key_id(&jws).unwrap();
        let key = walk.keyring.get(&kid).unwrap();
        assert!(key.covers(now), "{now}");
        now += TimeDelta::minutes(10);
    }
}

#[test]
fn some_key_signs_whichever_is_revoked_or_added() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    let now: DateTime<Utc> = "2026-11-24T12:00:00Z".parse().unwrap();
    SigningKeys::create(directory, now).unwrap();
    let root = Keyring::from_jwk_set(SigningKeys::load(directory).unwrap().public()).unwrap();
    let week = TimeDelta::days(7);
    let end = now + week * 2;

    // The next one is revoked before it has signed anything.
    let (next, _) = SigningKeys::rotate(directory, "test", now, week).unwrap();
    signs_throughout(directory, &root, now, end);
    SigningKeys::revoke(directory, "test", &next, now).unwrap();
    signs_throughout(directory, &root, now, end);

    // A key that signs immediately comes before the next one, which keeps its start time.
    let (next, _) = SigningKeys::rotate(directory, "test", now, week).unwrap();
    let soon = now + TimeDelta::hours(2);
    let (hurried, _) = SigningKeys::rotate(directory, "test", soon, TimeDelta::zero()).unwrap();
    signs_throughout(directory, &root, now, end);
    let keys = SigningKeys::load(directory).unwrap();
    let signer = |now| keys.list(now).into_iter().find(|key| key.state == "signs");
    assert_eq!(signer(soon).unwrap().kid, hurried);
    assert_eq!(signer(end).unwrap().kid, next);
    SigningKeys::revoke(directory, "test", &hurried, soon).unwrap();
    signs_throughout(directory, &root, soon, end);

    // What has ended stays ended: the first key's last hour is over.
    let later = now + week + TimeDelta::hours(2);
    let (_, _) = SigningKeys::rotate(directory, "test", later, TimeDelta::zero()).unwrap();
    SigningKeys::revoke(directory, "test", &next, later).unwrap();
    let keys = SigningKeys::load(directory).unwrap();
    assert_eq!(
        states(&keys, later),
        ["signs", "revoked", "revoked", "revoked", "retired"]
    );
    let first = keys.public().keys.last().unwrap();
    assert_eq!(first.exp, Some(now + week + TimeDelta::hours(1)));
}

/// Of two servers that share their keys, the one whose clock is behind keeps signing after the
/// other has created a key that signs immediately.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_two_minutes_behind_a_rotation_keeps_signing() {
    let vendor = Vendor::start(Engine::Sqlite).await;
    let directory = vendor.keys_dir();
    let key = vendor.issue(IssueRequest::of(Tier::Standard)).await;
    assert_eq!(vendor.activate(&key, "machine").await.word(), "yes");
    let first = vendor.app.keys().list(vendor.clock.now())[0].kid.clone();
    let ahead = vendor.clock.now() + TimeDelta::minutes(2);
    let (second, _) = SigningKeys::rotate(&directory, "test", ahead, TimeDelta::zero()).unwrap();
    SigningKeys::revoke(&directory, "test", &first, ahead).unwrap();
    vendor.app.reload_changed_keys().unwrap();

    // The documents are genuine to a client that trusts the newest set.
    let told = vendor.validate(&key, "machine").await;
    let Told::License(license, _) = told else {
        panic!("{told:?}");
    };
    let trusted = vendor.keyring();
    assert!(trusted.get(&second).unwrap().covers(license.claims().iat));
    let denied = vendor.validate(&key, "a stranger").await;
    assert_eq!(denied.word(), "hardware_mismatch");
    let url = format!("{}/readyz", vendor.url);
    assert_eq!(vendor.http.get(&url).send().await.unwrap().status(), 200);
    // It makes and revokes keys as well.
    let now = vendor.clock.now();
    let (third, _) = SigningKeys::rotate(&directory, "test", now, TimeDelta::zero()).unwrap();
    assert!(matches!(
        SigningKeys::revoke(&directory, "test", &first, now),
        Err(SigningError::UnknownKey(_))
    ));
    SigningKeys::revoke(&directory, "test", &third, now).unwrap();
    vendor.app.reload_changed_keys().unwrap();
    assert_eq!(vendor.validate(&key, "machine").await.word(), "yes");

    // Beyond ten minutes nothing is signed, and sites must retry.
    vendor.clock.advance(-TimeDelta::minutes(9));
    let body = serde_json::json!({"licenseKey": key, "hardwareId": "machine"});
    let (status, answer) = vendor.post("validate", body).await;
    assert_eq!(status, 503);
    assert_eq!(answer["error"]["code"], "not_signing");
    vendor.end().await;
}

#[test]
fn a_rotation_that_is_killed_leaves_keys_that_sign_and_a_chain_that_is_followed() {
    let directory = tempfile::tempdir().unwrap();
    let state = directory.path().display().to_string();
    let run = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_license-server"));
        command.args(arguments).args(["--state-dir", &state]);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        command
    };
    assert!(run(&["init"]).status().unwrap().success());
    let keys_dir = directory.path().join("keys");
    let root = Keyring::from_jwk_set(SigningKeys::load(&keys_dir).unwrap().public()).unwrap();
    for delay in 0..12 {
        let mut rotation = run(&["keys", "rotate", "--at-once"]).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(4 * delay));
        rotation.kill().unwrap();
        rotation.wait().unwrap();
        let keys = SigningKeys::load(&keys_dir).unwrap();
        let walk = walk(root.clone(), &sets_after(&keys, 1));
        assert!(walk.error.is_none(), "{:?}", walk.error);
        assert_eq!(walk.keyring.version(), keys.version());
    }
    // After any killed command, the next one works.
    assert!(
        run(&["keys", "rotate", "--at-once"])
            .status()
            .unwrap()
            .success()
    );
    SigningKeys::load(&keys_dir).unwrap();
}
