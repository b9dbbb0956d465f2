//! Signing keys: safe where they are, and taken up while the service runs.

mod changes;
mod long_history;
mod lost;
mod rotation;

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use license_core::keyring::{JwkSet, Keyring, MAX_KEYS};
use license_core::rotation::walk;
use license_server::app::App;
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

/// The documents for a site that has set `known`.
fn sets_after(keys: &SigningKeys, known: u64) -> Vec<String> {
    let documents = keys.path_from(known).documents.into_iter();
    documents.map(|set| set.as_ref().to_owned()).collect()
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
    assert_eq!(sets_after(&keys, 1).len(), 2);
    assert_eq!(sets_after(&keys, 2).len(), 1);
    assert!(sets_after(&keys, 3).is_empty());
    let walk = walk(root, &sets_after(&keys, 0));
    assert_eq!((walk.keyring.version(), walk.error), (3, None));
    assert!(walk.keyring.is_revoked(&first) && walk.keyring.get(&second).is_some());
}

#[test]
fn a_set_is_never_longer_than_clients_read() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    let mut now: DateTime<Utc> = "2026-11-24T12:00:00Z".parse().unwrap();
    let first = SigningKeys::create(directory, now).unwrap();
    let rotate = |now| SigningKeys::rotate(directory, "test", now, TimeDelta::zero());
    let files = || std::fs::read_dir(directory).unwrap().count();
    for _ in 1..MAX_KEYS {
        now += TimeDelta::days(1);
        rotate(now).unwrap();
    }
    let before = files();
    assert!(matches!(rotate(now), Err(SigningError::TooManyKeys)));
    assert_eq!(files(), before);
    SigningKeys::revoke(directory, "test", &first, now).unwrap();
    rotate(now).unwrap();
    assert_eq!(
        SigningKeys::load(directory).unwrap().public().keys.len(),
        MAX_KEYS
    );
}

#[test]
fn nothing_is_left_behind_when_no_key_may_sign_the_next_set() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    let now: DateTime<Utc> = "2026-11-24T12:00:00Z".parse().unwrap();
    SigningKeys::create(directory, now).unwrap();
    // The clock is a year behind what the key says.
    let files = || std::fs::read_dir(directory).unwrap().count();
    let before = files();
    let early = now - TimeDelta::days(365);
    let rotated = SigningKeys::rotate(directory, "test", early, TimeDelta::zero());
    assert!(matches!(rotated, Err(SigningError::NoneSignsYet { from }) if from == now));
    assert_eq!(files(), before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_that_are_gone_are_not_replaced() {
    let vendor = Vendor::start(Engine::Sqlite).await;
    let directory = vendor.keys_dir();
    let key = vendor.issue(IssueRequest::of(Tier::Standard)).await;
    assert_eq!(vendor.activate(&key, "machine").await.word(), "yes");
    let open = async || {
        let terms = vendor.app.terms.clone();
        let app = App::open(&vendor.storage(), terms, vendor.clock.clone()).await;
        app.map(|_| ()).map_err(|error| error.to_string())
    };
    open().await.unwrap();

    // A set is gone.
    let now = vendor.clock.now() + TimeDelta::seconds(1);
    SigningKeys::rotate(&directory, "test", now, TimeDelta::zero()).unwrap();
    let first = directory.join("set-000001.json");
    let aside = directory.join("aside");
    std::fs::rename(&first, &aside).unwrap();
    assert!(open().await.unwrap_err().contains("from a backup"));
    std::fs::rename(&aside, &first).unwrap();
    open().await.unwrap();

    // All are gone: a new key would sign what no site believes.
    std::fs::rename(&directory, directory.with_extension("lost")).unwrap();
    let is_refused = async || {
        let error = open().await.unwrap_err();
        assert!(error.contains("there was one before"), "{error}");
        assert!(!directory.exists());
    };
    is_refused().await;
    vendor.database.execute("DELETE FROM key_record").await;
    is_refused().await;
    // Also where no seat is held, or there never was one, and for the command that exports.
    vendor.deactivate(&key, "machine").await;
    is_refused().await;
    vendor.database.execute("DELETE FROM seats").await;
    is_refused().await;
    let mut export = Command::new(env!("CARGO_BIN_EXE_license-server"));
    let export = export.args(["keys", "export"]).args(vendor.flags());
    let exported = export.output().unwrap();
    assert!(!exported.status.success());
    let said = String::from_utf8(exported.stderr).unwrap();
    assert!(said.contains("there was one before"), "{said}");
    assert!(!directory.exists());
    // Seats alone tell of a key, too: the audit log began after the first one.
    vendor.database.execute("DELETE FROM audit_log").await;
    assert_eq!(vendor.activate(&key, "machine").await.word(), "yes");
    vendor.deactivate(&key, "machine").await;
    vendor.database.execute("DELETE FROM audit_log").await;
    is_refused().await;
    SigningKeys::create(&directory, now).unwrap();
    open().await.unwrap();
    vendor.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reload_that_fails_is_tried_again_and_the_service_is_not_ready_until_it_succeeds() {
    let vendor = Vendor::start(Engine::Sqlite).await;
    let directory = vendor.keys_dir();
    let ready = async || {
        let url = format!("{}/readyz", vendor.url);
        let answer = vendor.http.get(url).send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    };
    let set_mode = |path: &Path, mode| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    vendor.clock.advance(TimeDelta::seconds(1));
    let now = vendor.clock.now();
    let first = vendor.app.keys().list(now)[0].kid.clone();
    // The new key, made on another machine, arrives with the wrong mode.
    let (second, _) = SigningKeys::rotate(&directory, "test", now, TimeDelta::zero()).unwrap();
    let file = directory.join(format!("{second}.jwk"));
    SigningKeys::revoke(&directory, "test", &first, now).unwrap();
    set_mode(&file, 0o644);
    for _ in 0..2 {
        let error = vendor.app.reload_changed_keys().unwrap_err();
        assert!(
            matches!(error, SigningError::ReadableByOthers(_)),
            "{error}"
        );
        let (status, text) = ready().await;
        assert_eq!(status, 503);
        assert!(text.contains("cannot reload"), "{text}");
    }
    // This changes no time of the directory. The service's own job may be faster.
    set_mode(&file, 0o600);
    vendor.app.reload_changed_keys().unwrap();
    assert_eq!(vendor.app.keys().version(), 3);
    assert_eq!(vendor.app.keys().list(now)[0].kid, second);
    assert_eq!(ready().await.0, 200);
    assert!(!vendor.app.reload_changed_keys().unwrap());
    // A file that changes in place is noticed as well.
    std::fs::write(&file, "{}").unwrap();
    let error = vendor.app.reload_changed_keys().unwrap_err();
    assert!(matches!(error, SigningError::NotAKey { .. }));
    vendor.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_that_cannot_sign_is_not_ready() {
    let vendor = Vendor::start(Engine::Sqlite).await;
    let ready = async || {
        let url = format!("{}/readyz", vendor.url);
        let answer = vendor.http.get(url).send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    };
    assert_eq!(ready().await.0, 200);
    vendor.clock.advance(-TimeDelta::days(1));
    let (status, text) = ready().await;
    assert_eq!(status, 503);
    assert!(text.contains("no key may sign"), "{text}");
    vendor.end().await;
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

    let set_mode = |mode| {
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    for others in [0o444, 0o604, 0o641] {
        set_mode(others);
        let error = SigningKeys::load(&directory).unwrap_err();
        assert!(matches!(error, SigningError::ReadableByOthers(_)));
        assert!(error.to_string().contains("chmod 400"));
    }
    // A group of the process, as Kubernetes makes it (`fsGroup`).
    for own_group in [0o440, 0o640, 0o660] {
        set_mode(own_group);
        SigningKeys::load(&directory).unwrap();
    }
    // Only root may give the file to another group.
    if std::os::unix::fs::chown(&file, None, Some(54_321)).is_ok() {
        let error = SigningKeys::load(&directory).unwrap_err();
        assert!(matches!(error, SigningError::ReadableByOthers(_)));
    }
    set_mode(0o600);

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
        tokio::time::sleep(Duration::from_millis(100)).await;
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
