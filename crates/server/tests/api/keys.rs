//! Signing keys: safe where they are, and taken up while the service runs.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use chrono::{DateTime, TimeDelta, Utc};
use license_core::keyring::{JwkSet, Keyring};
use license_core::rotation::walk;
use license_server::licensing::catalogue::Tier;
use license_server::licensing::issue::IssueRequest;
use license_server::signing::{SigningError, SigningKeys};
use license_service::clock::Clock as _;

use crate::database::Engine;
use crate::harness::Vendor;

fn key_file(directory: &Path) -> PathBuf {
    let mut files = std::fs::read_dir(directory).unwrap().flatten();
    let is_key = |path: &PathBuf| path.extension().is_some_and(|it| it == "jwk");
    files
        .find_map(|file| Some(file.path()).filter(is_key))
        .unwrap()
}

fn states(keys: &SigningKeys, now: DateTime<Utc>) -> Vec<&'static str> {
    keys.list(now).iter().map(|key| key.state).collect()
}

#[test]
fn keys_overlap_when_they_are_rotated_and_a_revoked_one_is_gone_for_good() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    let now: DateTime<Utc> = "2026-11-24T12:00:00Z".parse().unwrap();
    let first = SigningKeys::create(directory, now).unwrap();
    assert!(matches!(
        SigningKeys::create(directory, now),
        Err(SigningError::Exists(_))
    ));
    let root = Keyring::from_jwk_set(SigningKeys::load(directory).unwrap().public()).unwrap();
    assert!(matches!(
        SigningKeys::revoke(directory, "test", &first, now),
        Err(SigningError::OnlyKey(_))
    ));

    // The old key signs for a week more, and the set says until when.
    let week = TimeDelta::days(7);
    let (second, from) = SigningKeys::rotate(directory, "test", now, week).unwrap();
    assert_eq!(from, now + week);
    let keys = SigningKeys::load(directory).unwrap();
    assert_eq!(states(&keys, now), ["next", "signs"]);
    assert_eq!(states(&keys, now + week), ["signs", "retired"]);
    assert!(matches!(
        SigningKeys::revoke(directory, "test", &first, now),
        Err(SigningError::OnlyKey(_))
    ));

    let later = now + week + TimeDelta::days(1);
    SigningKeys::revoke(directory, "test", &first, later).unwrap();
    assert!(matches!(
        SigningKeys::revoke(directory, "test", &first, later),
        Err(SigningError::UnknownKey(_))
    ));
    let keys = SigningKeys::load(directory).unwrap();
    assert_eq!(states(&keys, later), ["signs", "revoked"]);
    assert_eq!(keys.chain(1).len(), 2);
    assert_eq!(keys.chain(2).len(), 1);
    assert!(keys.chain(3).is_empty());
    let walk = walk(root, keys.chain(0));
    assert_eq!((walk.keyring.version(), walk.error), (3, None));
    assert!(walk.keyring.is_revoked(&first) && walk.keyring.get(&second).is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_start_makes_a_key_that_only_its_owner_can_read() {
    let vendor = Vendor::start(Engine::Sqlite).await;
    let directory = vendor.keys_dir();
    let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&directory), 0o700);
    let file = key_file(&directory);
    for file in std::fs::read_dir(&directory).unwrap().flatten() {
        assert_eq!(mode(&file.path()), 0o600);
    }

    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o640)).unwrap();
    let error = SigningKeys::load(&directory).unwrap_err();
    assert!(matches!(error, SigningError::ReadableByOthers(_)));
    assert!(error.to_string().contains("chmod 600"));
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();

    let secret = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, secret.replace("\"x\": \"", "\"x\": \"A")).unwrap();
    let error = SigningKeys::load(&directory).unwrap_err();
    assert!(matches!(error, SigningError::NotAKey { .. }));
    vendor.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn published_keys_hold_nothing_private_and_a_new_key_signs_soon() {
    let vendor = Vendor::start(Engine::Sqlite).await;
    let published = async || {
        let url = format!("{}/api/licenses/keys?after=0", vendor.url);
        let text = vendor
            .http
            .get(url)
            .send()
            .await
            .unwrap()
            .text()
            .await
            .unwrap();
        assert!(!text.contains("\"d\""), "{text}");
        serde_json::from_str::<JwkSet>(&text).unwrap()
    };
    let before = published().await;
    assert_eq!(before.keys.len(), 1);
    Keyring::from_jwk_set(&before).unwrap();

    vendor.clock.advance(TimeDelta::seconds(1));
    let now = vendor.clock.now();
    let rotated = SigningKeys::rotate(&vendor.keys_dir(), "test", now, TimeDelta::zero());
    let (kid, _) = rotated.unwrap();
    for _ in 0..100 {
        if published().await.keys.len() == 2 {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    let after = published().await;
    assert_eq!(after.keys[0].kid.as_deref(), Some(kid.as_str()));
    assert_eq!(after.keys[1].x, before.keys[0].x);
    assert_eq!(after.version, Some(2));
    let key = vendor.issue(IssueRequest::of(Tier::Standard)).await;
    assert_eq!(vendor.activate(&key, "machine").await.word(), "yes");
    vendor.end().await;
}

#[test]
fn secrets_are_not_shown() {
    let directory = tempfile::tempdir().unwrap();
    let now = "2026-11-24T12:00:00Z".parse().unwrap();
    SigningKeys::create(directory.path(), now).unwrap();
    let text = std::fs::read_to_string(key_file(directory.path())).unwrap();
    let secret: serde_json::Value = serde_json::from_str(&text).unwrap();
    let keys = SigningKeys::load(directory.path()).unwrap();
    let shown = format!("{keys:?}{:?}", keys.public());
    assert!(!shown.contains(secret["d"].as_str().unwrap()));
}
