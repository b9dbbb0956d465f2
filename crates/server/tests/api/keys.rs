//! Signing keys: safe where they are, and taken up while the service runs.

use std::os::unix::fs::PermissionsExt as _;

use license_core::keyring::{JwkSet, Keyring};
use license_server::licensing::catalogue::Tier;
use license_server::licensing::issue::IssueRequest;
use license_server::signing::{SigningError, SigningKeys};
use license_service::clock::Clock as _;

use crate::database::Engine;
use crate::harness::Vendor;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_start_makes_a_key_that_only_its_owner_can_read() {
    let vendor = Vendor::start(Engine::Sqlite).await;
    let directory = vendor.keys_dir();
    let mode = |path: &std::path::Path| path.metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&directory), 0o700);
    let files: Vec<_> = std::fs::read_dir(&directory).unwrap().flatten().collect();
    assert_eq!(files.len(), 1);
    let file = files[0].path();
    assert_eq!(mode(&file), 0o600);

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

    vendor.clock.advance(chrono::TimeDelta::seconds(1));
    let kid = SigningKeys::create(&vendor.keys_dir(), vendor.clock.now()).unwrap();
    for _ in 0..100 {
        if published().await.keys.len() == 2 {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    let after = published().await;
    assert_eq!(after.keys[0].kid.as_deref(), Some(kid.as_str()));
    assert_eq!(after.keys[1], before.keys[0]);
    let key = vendor.issue(IssueRequest::of(Tier::Standard)).await;
    assert_eq!(vendor.activate(&key, "machine").await.word(), "yes");
    vendor.end().await;
}

#[test]
fn secrets_are_not_shown() {
    let directory = tempfile::tempdir().unwrap();
    let now = "2026-11-24T12:00:00Z".parse().unwrap();
    SigningKeys::create(directory.path(), now).unwrap();
    let file = std::fs::read_dir(directory.path())
        .unwrap()
        .next()
        .unwrap()
        .unwrap();
    let text = std::fs::read_to_string(file.path()).unwrap();
    let secret: serde_json::Value = serde_json::from_str(&text).unwrap();
    let keys = SigningKeys::load(directory.path()).unwrap();
    let shown = format!("{keys:?}{:?}", keys.public());
    assert!(!shown.contains(secret["d"].as_str().unwrap()));
}
