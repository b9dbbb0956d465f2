//! Signing keys: safe where they are, and taken up while the service runs.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use ed25519_dalek::SigningKey;
use license_core::document::{DocumentType, MAX_BYTES, key_id};
use license_core::keyring::{Jwk, JwkSet, Keyring, MAX_KEYS};
use license_core::offline::{MAX_FILE_BYTES, OfflineRequest, Purpose};
use license_core::rotation::{MAX_KEY_SETS_BYTES, MAX_NAMED_REVOKED, follow, walk};
use license_core::signing_clock::{ClockWatch, Reading};
use license_server::app::App;
use license_server::licensing::catalogue::Tier;
use license_server::licensing::issue::IssueRequest;
use license_server::signing::{SigningError, SigningKeys};
use license_service::clock::Clock as _;

use crate::database::Engine;
use crate::harness::{INSTALLATION, NONCE, Vendor};
use crate::told::Told;

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
    vendor.app.reload_keys().unwrap();

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
    vendor.app.reload_keys().unwrap();
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
    assert!(matches!(rotated, Err(SigningError::NoneSignsNow)));
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

/// Adds keys without private parts to the first set, with ids of this length: sets are as long as
/// after a long history.
fn fill_first_set(directory: &Path, keys: usize, id_chars: usize, revoked: usize) {
    let file = directory.join("set-000001.json");
    let mut set: JwkSet = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    for number in 0..keys {
        let secret = SigningKey::from_bytes(&[u8::try_from(number).unwrap() + 1; 32]);
        let mut key = Jwk::from_verifying_key(&secret.verifying_key());
        key.kid = key.kid.map(|kid| format!("{kid:_<id_chars$}"));
        set.keys.push(key);
    }
    set.revoked = (0..revoked)
        .map(|number| format!("{number:_<43}"))
        .collect();
    std::fs::write(&file, serde_json::to_vec(&set).unwrap()).unwrap();
}

/// So many rotations, each of which may revoke the key before; answers when they end.
fn rotations(
    directory: &Path,
    rounds: usize,
    revokes: bool,
    start: DateTime<Utc>,
) -> DateTime<Utc> {
    let mut now = start;
    for _ in 0..rounds {
        now += TimeDelta::days(1);
        let keys = SigningKeys::load(directory).unwrap();
        let before = keys.list(now).into_iter().find(|key| key.state == "signs");
        SigningKeys::rotate(directory, "test", now, TimeDelta::zero()).unwrap();
        if revokes {
            SigningKeys::revoke(directory, "test", &before.unwrap().kid, now).unwrap();
        }
    }
    now
}

/// The keys after each published set.
fn keyrings(directory: &Path) -> Vec<Keyring> {
    let first = std::fs::read_to_string(directory.join("set-000001.json")).unwrap();
    let mut keyrings = vec![Keyring::from_json(&first).unwrap()];
    let newest = SigningKeys::load(directory).unwrap().version();
    for version in 2..=newest {
        let file = directory.join(format!("set-{version:06}.jws"));
        let jws = std::fs::read_to_string(file).unwrap();
        keyrings.push(follow(keyrings.last().unwrap(), &jws).unwrap().0);
    }
    keyrings
}

#[test]
fn a_site_with_any_set_follows_a_history_longer_than_an_answer() {
    for revokes in [false, true] {
        let directory = tempfile::tempdir().unwrap();
        let directory = directory.path();
        let start: DateTime<Utc> = "2026-11-24T12:00:00Z".parse().unwrap();
        let first = SigningKeys::create(directory, start).unwrap();
        let (keys, rounds) = if revokes { (61, 10) } else { (45, 18) };
        fill_first_set(directory, keys, 500, 0);
        let end = rotations(directory, rounds, revokes, start);

        let loaded = SigningKeys::load(directory).unwrap();
        let newest = loaded.version();
        let keyrings = keyrings(directory);
        let published = std::fs::read_dir(directory).unwrap().flatten();
        let bytes: u64 = published.map(|file| file.metadata().unwrap().len()).sum();
        assert!(bytes > 600_000, "{bytes}");
        let reaches = |loaded: &SigningKeys, root: &Keyring| {
            let path = loaded.path_from(root.version());
            let documents = sets_after(loaded, root.version());
            let bytes: usize = documents.iter().map(String::len).sum();
            assert!(bytes <= MAX_KEY_SETS_BYTES, "{bytes}");
            let walk = walk(root.clone(), &documents);
            assert_eq!(walk.error, None, "from {}", root.version());
            assert!(walk.keyring.version() > root.version() || documents.is_empty());
            let is_there = walk.keyring.version() == newest;
            assert_eq!(path.is_complete, is_there);
            is_there.then_some(documents)
        };
        for root in &keyrings {
            let documents = reaches(&loaded, root).unwrap();
            let answer: Vec<u8> = loaded.answer(Some(root.version())).concat();
            assert!(answer.len() < 1024 * 1024 - 100_000, "{}", answer.len());
            let answer: serde_json::Value = serde_json::from_slice(&answer).unwrap();
            assert_eq!(answer["chain"], serde_json::json!(documents));
            assert_eq!(answer["version"], newest);
        }
        // Where a key that is still trusted can sign it, no revoked one does.
        let shortcut = key_id(&sets_after(&loaded, 1)[0]).unwrap();
        assert_eq!(shortcut, first);
        assert_eq!(keyrings.last().unwrap().is_revoked(&first), revokes);

        // Whose private keys are gone gets there in more than one answer.
        for key in loaded.list(end).iter().filter(|key| key.state != "signs") {
            std::fs::remove_file(directory.join(format!("{}.jwk", key.kid))).unwrap();
        }
        let loaded = SigningKeys::load(directory).unwrap();
        assert_eq!(reaches(&loaded, &keyrings[0]), None);
        assert!(reaches(&loaded, &keyrings[keyrings.len() - 5]).is_some());
    }
}

#[test]
fn a_key_can_be_revoked_after_any_number_of_others() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    let start: DateTime<Utc> = "2026-11-24T12:00:00Z".parse().unwrap();
    let first = SigningKeys::create(directory, start).unwrap();
    fill_first_set(directory, MAX_KEYS - 3, 43, 1000);
    let now = rotations(directory, 2, false, start);
    let before = SigningKeys::load(directory).unwrap();
    assert_eq!(before.public().keys.len(), MAX_KEYS);

    SigningKeys::revoke(directory, "test", &first, now).unwrap();
    let loaded = SigningKeys::load(directory).unwrap();
    assert_eq!(loaded.list(now).last().unwrap().state, "revoked");
    let set = loaded.public();
    assert_eq!(set.revoked.len(), MAX_NAMED_REVOKED);
    assert_eq!(set.revoked.last(), Some(&first));
    let jws = &sets_after(&loaded, loaded.version() - 1)[0];
    assert!(jws.len() < MAX_BYTES * 3 / 4, "{}", jws.len());
    // A site that has followed knows of the others as well.
    let keyrings = keyrings(directory);
    let newest = keyrings.last().unwrap();
    assert!(newest.get(&first).is_none() && newest.is_revoked(&first));
    assert_eq!(newest.revoked().count(), 1001);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_the_site_could_not_read_is_refused_before_it_takes_a_seat() {
    let vendor = Vendor::start(Engine::Sqlite).await;
    let directory = vendor.keys_dir();
    let key = vendor.issue(IssueRequest::of(Tier::Standard)).await;
    let fill = |directory: &Path| fill_first_set(directory, 61, 500, 0);
    let vendor = vendor.with_other_keys(fill).await;
    let start = vendor.clock.now();
    vendor.clock.advance(TimeDelta::days(10));
    let now = rotations(&directory, 10, true, start);
    let loaded = SigningKeys::load(&directory).unwrap();
    for gone in loaded.list(now).iter().filter(|key| key.state != "signs") {
        std::fs::remove_file(directory.join(format!("{}.jwk", gone.kid))).unwrap();
    }
    vendor.app.reload_keys().unwrap();
    let newest = vendor.app.keys().version();
    let request = |key_set| OfflineRequest {
        purpose: Purpose::Activate,
        license_key: key.clone(),
        hardware_id: "machine".to_owned(),
        installation_id: INSTALLATION.to_owned(),
        installation_name: String::new(),
        installation_version: String::new(),
        nonce: NONCE.to_owned(),
        created_at: now,
        key_set,
        newest_seq: None,
    };
    for key_set in [0, 1, 5] {
        let body = serde_json::json!({"request": request(key_set).to_file()});
        let (status, answer) = vendor.post("offline", body).await;
        assert_eq!(status, 409, "{answer}");
        let message = answer["error"]["message"].as_str().unwrap();
        assert!(
            message.contains(&format!("version {key_set} of the key set")),
            "{message}"
        );
        assert!(vendor.seat(&key, "machine").await.is_none());
    }
    let body = serde_json::json!({"request": request(newest - 5).to_file()});
    let (status, answer) = vendor.post("offline", body).await;
    assert_eq!(status, 200, "{answer}");
    assert!(answer["data"]["file"].as_str().unwrap().len() < MAX_FILE_BYTES);
    vendor.end().await;
}
