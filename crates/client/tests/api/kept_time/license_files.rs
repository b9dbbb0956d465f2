//! License files and the stored time.

use chrono::TimeDelta;
use license_core::offline::{OfflineRequest, Purpose, nonce, to_file};
use license_core::protocol::ActivateRequest;
use license_server::audit::Actor;
use license_server::licensing::answer::answer;
use license_server::licensing::document::Addressee;
use license_server::licensing::offline::{OfflineLease, read, sign};
use license_server::licensing::site_answer::SiteAnswer;
use license_server::licensing::site_question::{ByFile, CallDetails, SiteQuestion};
use license_service::clock::Clock as _;
use serde_json::{Value, json};

use super::{FILES, Kept, PAID, at};
use crate::database::{Engine, on_both_engines};
use crate::harness::{HARDWARE_ID, INSTALLATION_ID, START, Site};
use crate::vendor::Vendor;

on_both_engines! {
    a_license_file_counts_no_longer_than_signed_regardless_of_the_request;
    a_mark_that_is_too_far_ahead_is_corrected_by_a_license_file;
}

/// A file that answers an activation whose request says what the licensee likes.
async fn file_for(vendor: &Vendor, request: &OfflineRequest) -> String {
    let to = Addressee {
        license_key: request.license_key.clone(),
        sent_key: None,
        code: None,
        nonce: Some(request.nonce.clone()),
        installation_id: request.installation_id.clone(),
        hardware_id: request.hardware_id.clone(),
    };
    let question = SiteQuestion::Activate(ActivateRequest {
        license_key: request.license_key.clone(),
        hardware_id: request.hardware_id.clone(),
        installation_id: request.installation_id.clone(),
        installation_name: String::new(),
        installation_version: String::new(),
    });
    let call = CallDetails {
        offline: Some(ByFile {
            lease: OfflineLease::Default(TimeDelta::days(90)),
            by: Actor::CommandLine,
            written_at: vendor.clock.now(),
        }),
        ..CallDetails::default()
    };
    // As a server signed it that did not look at the request's time.
    let answer = answer(&vendor.app, &question, to, &call).await.unwrap();
    let SiteAnswer::License(license) = answer else {
        panic!("{answer:?}");
    };
    to_file(&[""; 0], license["signature"].as_str().unwrap())
}

async fn import(site: &Site, file: &str) -> Value {
    let body = json!({ "file": file });
    let (_, answer) = site.post("/api/license/offline/import", Some(body)).await;
    answer
}

/// Everything goes but the ids, the secret and this request, which waits.
async fn forget_all_but(site: &Site, request: &OfflineRequest) {
    let text = std::fs::read_to_string(site.state_file("local-copy.json")).unwrap();
    let mut copy: Value = serde_json::from_str(&text).unwrap();
    let sql = "DELETE FROM local_license_cache; DELETE FROM local_feature_flags; \
               DELETE FROM system_config WHERE key IN ('license_client.evidence', \
               'license_client.effective_time', 'license_client.heartbeat_at')";
    site.database.execute(sql).await;
    for name in FILES {
        drop(std::fs::remove_file(site.state_file(name)));
    }
    copy["rows"] = json!({"cached": null, "memo": null});
    copy["effectiveTime"] = Value::Null;
    copy["remembered"] = json!({});
    copy["requests"] = json!([request.pending()]);
    std::fs::write(site.state_file("local-copy.json"), copy.to_string()).unwrap();
}

async fn a_license_file_counts_no_longer_than_signed_regardless_of_the_request(engine: Engine) {
    let vendor = Vendor::start().await;
    let keys = vendor.trusted_keys();
    let flags = ["--license-trusted-keys", keys.as_str()];
    let mut site = Site::start(engine, "http://127.0.0.1:1/api", &flags).await;
    let key = vendor.issue_professional().await;
    let start = at(START);
    let far = at("2100-01-01T00:00:00Z");
    for (asked, created_at) in [
        (far, far),
        (far, start),
        (start, far),
        (at("1970-01-01T00:00:00Z"), far),
    ] {
        let request = OfflineRequest {
            purpose: Purpose::Activate,
            license_key: key.clone(),
            add_on_key: None,
            trial_secret: None,
            hardware_id: HARDWARE_ID.to_owned(),
            installation_id: INSTALLATION_ID.to_owned(),
            installation_name: String::new(),
            installation_version: String::new(),
            nonce: nonce([7; 24], asked),
            created_at,
            key_set: 1,
            newest_seq: None,
            entitlements: false,
        };
        vendor.advance(TimeDelta::seconds(1));
        let file = file_for(&vendor, &request).await;
        for (wall, wall_at_the_import) in [
            (start + TimeDelta::days(156), start + TimeDelta::days(156)),
            (start + TimeDelta::days(522), start + TimeDelta::days(522)),
            // Set for just the moment of the import, or already before.
            (start + TimeDelta::days(156), far),
            (far, far),
        ] {
            site.stop().await;
            forget_all_but(&site, &request).await;
            site.clock.set_wall(wall);
            site.restart().await;
            site.clock.set_wall(wall_at_the_import);
            let answer = import(&site, &file).await;
            let detail = answer["detail"].as_str().unwrap_or_default();
            assert!(
                detail.contains("expired at 2027-02-21"),
                "{asked} {wall}: {answer}"
            );
            assert!(!site.is_available(PAID).await);
            site.clock.set_wall(wall);
        }
        // The file itself is good: on its day it counts.
        site.stop().await;
        forget_all_but(&site, &request).await;
        site.clock.set_wall(start + TimeDelta::days(1));
        site.restart().await;
        assert_eq!(import(&site, &file).await["result"], "licensed");
        assert!(site.is_available(PAID).await);
        site.stop().await;
        forget_all_but(&site, &request).await;
        site.restart().await;
    }
    site.end().await;
}

async fn a_mark_that_is_too_far_ahead_is_corrected_by_a_license_file(engine: Engine) {
    let vendor = Vendor::start().await;
    let keys = vendor.trusted_keys();
    let flags = ["--license-trusted-keys", keys.as_str()];
    let mut site = Site::start(engine, "http://127.0.0.1:1/api", &flags).await;
    let key = vendor.issue_professional().await;
    let ask = async |site: &Site, purpose: &str, key: Option<&str>| {
        let body = json!({"purpose": purpose, "licenseKey": key});
        let (_, answer) = site.post("/api/license/offline/request", Some(body)).await;
        let request = read(answer["file"].as_str().unwrap()).unwrap();
        let lease = TimeDelta::days(90);
        sign(&vendor.app, request, lease, Actor::CommandLine).await
    };
    let file = ask(&site, "activate", Some(&key)).await.unwrap().file;
    assert_eq!(import(&site, &file).await["result"], "licensed");
    for (keeps_its_files, lead_ms) in [(true, 0), (true, i64::MAX), (false, 0)] {
        site.stop().await;
        let mark = json!({"at": "2100-01-01T00:00:00Z", "signedAt": "2100-01-01T00:00:00Z",
            "leadMs": lead_ms, "assumedMs": 0, "toldMs": 0});
        let far = Kept {
            row: Some(mark.to_string()),
            ..Kept::read(&site).await
        };
        far.write(&site).await;
        if !keeps_its_files {
            FILES
                .iter()
                .for_each(|name| std::fs::remove_file(site.state_file(name)).unwrap());
        }
        site.restart().await;
        assert_eq!(site.standing().await, "lapsed");
        // It is in its own file by now.
        site.restart().await;
        assert_eq!(site.standing().await, "lapsed");
        for (purpose, key) in [("renew", None), ("activate", Some(key.as_str()))] {
            vendor.advance(TimeDelta::seconds(1));
            site.advance(TimeDelta::seconds(1));
            let file = ask(&site, purpose, key).await.unwrap().file;
            let answer = import(&site, &file).await;
            assert_eq!(answer["result"], "licensed", "{answer}");
            assert_eq!(site.standing().await, "active");
        }
        site.restart().await;
        assert_eq!(site.standing().await, "active");
    }
    site.end().await;
}
