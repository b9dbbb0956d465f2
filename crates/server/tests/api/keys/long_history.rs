//! A history of rotations and revocations that is longer than one answer.

use std::path::Path;

use chrono::{DateTime, TimeDelta, Utc};
use ed25519_dalek::SigningKey;
use license_core::document::{MAX_BYTES, key_id};
use license_core::keyring::{Jwk, JwkSet, Keyring, MAX_KEYS};
use license_core::offline::{MAX_FILE_BYTES, OfflineRequest, Purpose};
use license_core::rotation::{MAX_KEY_SETS_BYTES, MAX_NAMED_REVOKED, follow, walk};
use license_server::licensing::catalogue::Tier;
use license_server::licensing::issue::IssueRequest;
use license_server::signing::SigningKeys;
use license_service::clock::Clock as _;

use super::sets_after;
use crate::database::Engine;
use crate::harness::{INSTALLATION, NONCE, Vendor};

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
    vendor.app.reload_changed_keys().unwrap();
    let newest = vendor.app.keys().version();
    let request = |key_set| OfflineRequest {
        purpose: Purpose::Activate,
        license_key: key.clone(),
        add_on_key: None,
        trial_secret: None,
        hardware_id: "machine".to_owned(),
        installation_id: INSTALLATION.to_owned(),
        installation_name: String::new(),
        installation_version: String::new(),
        nonce: NONCE.to_owned(),
        created_at: now,
        key_set,
        newest_seq: None,
        entitlements: false,
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
