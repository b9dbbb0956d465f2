//! The key with which a site proves its calls, against the real License Server.

use std::os::unix::fs::PermissionsExt as _;

use license_core::installation_key::InstallationKey;
use license_core::thumbprint::Thumbprint;
use license_server::licensing::catalogue::Tier;
use license_server::licensing::issue::IssueRequest;
use license_server::licensing::look_up::look_up;
use license_server::store::seats;
use reqwest::StatusCode;

use crate::database::{Engine, on_both_engines};
use crate::harness::Site;
use crate::tampering::security_events;
use crate::vendor::Vendor;

on_both_engines! {
    a_site_proves_its_calls_with_one_key_from_its_first_start_on;
    a_row_with_another_key_is_put_back_while_the_license_names_the_right_one;
    a_site_with_another_key_is_told_so_and_activates_again;
}

const FILE: &str = "installation-key.json";

async fn site(engine: Engine) -> (Vendor, Site, String) {
    let vendor = Vendor::start().await;
    let keys = vendor.trusted_keys();
    let flags = ["--license-trusted-keys", keys.as_str()];
    let site = Site::start(engine, &vendor.url, &flags).await;
    let key = vendor.issue(IssueRequest::of(Tier::Standard)).await;
    (vendor, site, key)
}

/// The key in the row.
async fn row(site: &Site) -> InstallationKey {
    let select = "SELECT value FROM system_config WHERE key = 'license_client.installation_key'";
    let rows = site.database.texts(select).await;
    InstallationKey::parse(rows[0].as_ref().unwrap()).unwrap()
}

async fn set_row(site: &Site, key: &InstallationKey) {
    let text = key.to_secret_text();
    let set = format!(
        "UPDATE system_config SET value = '{text}' WHERE key = 'license_client.installation_key'"
    );
    site.database.execute(&set).await;
}

/// The key that is bound to the seat of the license.
async fn bound(vendor: &Vendor, key: &str) -> Option<Thumbprint> {
    let db = vendor.app.store.reader();
    let license = look_up(&vendor.app.store, key).await.unwrap();
    let all = seats::list(db, &license.id, &seats::SeatsQuery::default(), 9).await;
    let seat = all.unwrap().rows.into_iter().find(seats::Seat::is_held);
    seat.unwrap().bound_key.map(|bound| bound.jkt())
}

async fn a_site_proves_its_calls_with_one_key_from_its_first_start_on(engine: Engine) {
    let (vendor, mut site, key) = site(engine).await;
    let own = Some(row(&site).await.thumbprint());
    let mode = std::fs::metadata(site.state_file(FILE)).unwrap();
    assert_eq!(mode.permissions().mode() & 0o777, 0o600);
    let (status, answer) = site.activate(&key).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    assert_eq!(bound(&vendor, &key).await, own);
    assert_eq!(site.status().await["installationKeyBound"], true);
    for lost in [
        None,
        Some("DELETE FROM system_config WHERE key LIKE '%installation_key'"),
    ] {
        if let Some(lost) = lost {
            site.database.execute(lost).await;
        } else {
            std::fs::remove_file(site.state_file(FILE)).unwrap();
        }
        site.restart().await;
        assert_eq!(Some(row(&site).await.thumbprint()), own);
        assert!(site.state_file(FILE).exists());
        let answer = site.validate().await;
        assert_eq!(answer["valid"], true, "{answer}");
        let (status, answer) = site.post("/api/license/heartbeat", None).await;
        assert_eq!(status, StatusCode::OK, "{answer}");
    }
    let (status, answer) = site.post("/api/license/deactivate", None).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    site.end().await;
}

async fn a_row_with_another_key_is_put_back_while_the_license_names_the_right_one(engine: Engine) {
    let (vendor, mut site, key) = site(engine).await;
    let (status, answer) = site.activate(&key).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    let own = row(&site).await.thumbprint();
    set_row(&site, &InstallationKey::from_seed(&[9; 32])).await;
    site.restart().await;
    assert_eq!(row(&site).await.thumbprint(), own);
    assert!(security_events(&site).await > 0);
    assert_eq!(site.validate().await["valid"], true);
    assert_eq!(bound(&vendor, &key).await, Some(own));
    site.end().await;
}

async fn a_site_with_another_key_is_told_so_and_activates_again(engine: Engine) {
    let (vendor, mut site, key) = site(engine).await;
    let (status, answer) = site.activate(&key).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    let other = InstallationKey::from_seed(&[9; 32]);
    set_row(&site, &other).await;
    std::fs::remove_file(site.state_file(FILE)).unwrap();
    site.restart().await;
    site.validate().await;
    let status = site.status().await;
    assert_eq!(status["standing"], "grace", "{status}");
    assert_eq!(status["lastFailure"]["reason"], "unproven", "{status}");
    let message = status["lastFailure"]["message"].as_str().unwrap();
    assert!(
        message.contains("activate the license here again"),
        "{message}"
    );
    let (code, answer) = site.activate(&key).await;
    assert_eq!(code, StatusCode::OK, "{answer}");
    assert_eq!(site.status().await["moves"]["left"], 2);
    assert_eq!(site.validate().await["valid"], true);
    assert_eq!(bound(&vendor, &key).await, Some(other.thumbprint()));
    site.end().await;
}
