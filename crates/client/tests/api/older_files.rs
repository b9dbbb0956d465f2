//! License files that were kept, and requests that were planted, bring nothing back.

use chrono::TimeDelta;
use license_core::offline::{OfflineRequest, Pending};
use license_server::store::licenses::Status;
use reqwest::StatusCode;

use crate::database::{Engine, on_both_engines};
use crate::harness::Site;
use crate::offline::{import, refusal, signed, site, write_request};
use crate::tampering::security_events;
use crate::vendor::Vendor;

on_both_engines! {
    a_kept_file_does_not_undo_a_revocation_after_another_activation;
    a_kept_file_does_not_undo_an_online_activation_and_a_suspension;
    planted_requests_bring_no_file_back;
    pending_requests_survive_a_restart;
}

fn advance(site: &Site, vendor: &Vendor) {
    vendor.advance(TimeDelta::seconds(2));
    site.advance(TimeDelta::seconds(2));
}

/// The file is refused as an older one, which is one more security event, also after a restart.
async fn assert_older(site: &mut Site, file: &str) {
    for _ in 0..2 {
        let before = security_events(site).await;
        let why = refusal(site, file).await;
        assert!(why.contains("is older than the newest"), "{why}");
        assert_eq!(security_events(site).await, before + 1);
        site.restart().await;
    }
}

async fn a_kept_file_does_not_undo_a_revocation_after_another_activation(engine: Engine) {
    let vendor = Vendor::start().await;
    let mut site = site(engine, &vendor, &[]).await;
    let (key, other) = (
        vendor.issue_professional().await,
        vendor.issue_professional().await,
    );
    let kept = signed(&vendor, &write_request(&site, "activate", Some(&key)).await).await;
    advance(&site, &vendor);
    let file = signed(&vendor, &write_request(&site, "activate", Some(&key)).await).await;
    assert_eq!(import(&site, &file).await.0, StatusCode::OK);
    advance(&site, &vendor);
    vendor.set_status(&key, Status::Revoked, None).await;
    let denial = signed(&vendor, &write_request(&site, "renew", None).await).await;
    import(&site, &denial).await;
    assert_eq!(site.status().await["reason"], "revoked");
    assert_older(&mut site, &kept).await;
    advance(&site, &vendor);
    let file = signed(
        &vendor,
        &write_request(&site, "activate", Some(&other)).await,
    )
    .await;
    assert_eq!(import(&site, &file).await.0, StatusCode::OK);
    assert_older(&mut site, &kept).await;
    assert_eq!(site.status().await["licenseKey"], other.as_str());
    assert_eq!(site.standing().await, "active");
    site.end().await;
}

async fn a_kept_file_does_not_undo_an_online_activation_and_a_suspension(engine: Engine) {
    let vendor = Vendor::start().await;
    let keys = vendor.trusted_keys();
    let flags = ["--license-trusted-keys", keys.as_str()];
    let mut site = Site::start(engine, &vendor.url, &flags).await;
    let (key, other) = (
        vendor.issue_professional().await,
        vendor.issue_professional().await,
    );
    let kept = signed(&vendor, &write_request(&site, "activate", Some(&key)).await).await;
    advance(&site, &vendor);
    site.activate(&key).await;
    advance(&site, &vendor);
    vendor.set_status(&key, Status::Suspended, None).await;
    site.post("/api/license/validate", None).await;
    assert_eq!(site.status().await["reason"], "suspended");
    assert_eq!(site.activate(&other).await.0, StatusCode::OK);
    assert_older(&mut site, &kept).await;
    assert_eq!(site.standing().await, "active");
    // A license that was active before can be activated again with a new document.
    vendor.set_status(&key, Status::Active, None).await;
    advance(&site, &vendor);
    assert_eq!(site.activate(&key).await.0, StatusCode::OK);
    assert_eq!(site.status().await["licenseKey"], key.as_str());
    site.end().await;
}

async fn planted_requests_bring_no_file_back(engine: Engine) {
    let vendor = Vendor::start().await;
    let mut site = site(engine, &vendor, &[]).await;
    let key = vendor.issue_professional().await;
    let request = write_request(&site, "activate", Some(&key)).await;
    let used = signed(&vendor, &request).await;
    assert_eq!(import(&site, &used).await.0, StatusCode::OK);
    advance(&site, &vendor);
    // This one is newer than everything that the site has seen of the license.
    let unused_request = write_request(&site, "renew", None).await;
    let unused = signed(&vendor, &unused_request).await;
    advance(&site, &vendor);
    write_request(&site, "deactivate", None).await;
    assert_eq!(site.standing().await, "unlicensed");
    let requests = [request, unused_request].map(|it| {
        let pending = OfflineRequest::from_file(&it).unwrap().pending();
        Pending {
            newest_seq: None,
            ..pending
        }
    });
    let planted = serde_json::to_string(&requests).unwrap();
    let sql = format!(
        "DELETE FROM system_config WHERE key = 'license_client.offline_requests'; \
         INSERT INTO system_config (key, value) \
         VALUES ('license_client.offline_requests', '{planted}')"
    );
    for _ in 0..2 {
        site.database.execute(&sql).await;
        assert!(refusal(&site, &used).await.contains("already used"));
        assert!(refusal(&site, &unused).await.contains("pending request"));
        assert_eq!(site.standing().await, "unlicensed");
        site.restart().await;
    }
    site.end().await;
}

async fn pending_requests_survive_a_restart(engine: Engine) {
    let vendor = Vendor::start().await;
    let mut site = site(engine, &vendor, &[]).await;
    let (key, other) = (
        vendor.issue_professional().await,
        vendor.issue_professional().await,
    );
    let request = write_request(&site, "activate", Some(&key)).await;
    let of_other = write_request(&site, "activate", Some(&other)).await;
    site.restart().await;
    let file = signed(&vendor, &request).await;
    assert_eq!(import(&site, &file).await.0, StatusCode::OK);
    let renewal = write_request(&site, "renew", None).await;
    site.restart().await;
    advance(&site, &vendor);
    let file = signed(&vendor, &renewal).await;
    assert_eq!(import(&site, &file).await.0, StatusCode::OK);
    // What was requested for another license was dropped when this one became active.
    let file = signed(&vendor, &of_other).await;
    assert!(refusal(&site, &file).await.contains("pending request"));
    site.end().await;
}
