//! The main job, with the real License Server and trusted keys.

use chrono::TimeDelta;
use license_server::licensing::catalogue::Tier;
use license_server::licensing::issue::IssueRequest;
use license_server::store::licenses::Status;
use reqwest::StatusCode;
use serde_json::json;

use crate::database::{Engine, on_both_engines};
use crate::harness::Site;
use crate::vendor::Vendor;

const PAID: &str = "module.analytics_advanced";
const RECORDING: &str = "module.recording_basic";

on_both_engines! {
    a_site_lives_through_activation_outage_return_and_revocation;
    a_suspended_license_comes_back_when_it_is_reinstated;
    grace_ends_when_the_signature_says_so_and_settings_can_only_shorten_it;
    a_license_that_expires_lapses_without_anybody_telling;
    a_second_machine_is_refused_with_a_reason;
    a_deactivated_license_frees_its_seat;
    the_moves_that_are_left_are_shown_at_the_site;
    another_key_replaces_the_license_and_its_features;
}

async fn licensed(engine: Engine, vendor: &Vendor, flags: &[&str]) -> (Site, String) {
    let keys = vendor.trusted_keys();
    let flags = [&["--license-trusted-keys", &keys], flags].concat();
    let site = Site::start(engine, &vendor.url, &flags).await;
    let key = vendor.issue_professional().await;
    let (status, answer) = site.activate(&key).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    (site, key)
}

/// Both clocks advance; the machines' clocks agree.
fn advance(site: &Site, vendor: &Vendor, by: TimeDelta) {
    vendor.advance(by);
    site.advance(by);
}

async fn a_site_lives_through_activation_outage_return_and_revocation(engine: Engine) {
    let mut vendor = Vendor::start().await;
    let (site, key) = licensed(engine, &vendor, &[]).await;
    let status = site.status().await;
    assert_eq!(status["standing"], "active");
    assert_eq!(status["trust"], "signed");
    assert_eq!(status["licenseKey"], key.as_str());
    assert_eq!(status["tier"], "professional");
    assert_eq!(status["maxCameras"], 64);
    assert!(site.is_available(PAID).await);
    assert!(!site.is_available("module.alarm_advanced").await);

    vendor.go_away().await;
    let answer = site.validate().await;
    assert_eq!(answer["valid"], true);
    assert_eq!(answer["inGracePeriod"], true);
    assert_eq!(site.standing().await, "grace");
    assert!(site.is_available(PAID).await);

    advance(&site, &vendor, TimeDelta::hours(71));
    assert!(site.is_available(PAID).await);
    advance(&site, &vendor, TimeDelta::hours(2));
    assert_eq!(site.standing().await, "lapsed");
    assert_eq!(site.status().await["reason"], "grace_period_expired");
    assert!(!site.is_available(PAID).await);
    assert!(site.is_available(RECORDING).await);

    vendor.come_back().await;
    assert_eq!(site.validate().await["valid"], true);
    assert_eq!(site.standing().await, "active");
    assert!(site.is_available(PAID).await);

    let message = Some("The invoice was not paid");
    vendor.set_status(&key, Status::Revoked, message).await;
    let answer = site.validate().await;
    assert_eq!(answer["valid"], false);
    assert_eq!(answer["reason"], "revoked");
    assert_eq!(answer["message"], "The invoice was not paid");
    assert!(!site.is_available(PAID).await);
    assert!(site.is_available(RECORDING).await);
    site.end().await;
}

async fn a_suspended_license_comes_back_when_it_is_reinstated(engine: Engine) {
    let vendor = Vendor::start().await;
    let (mut site, key) = licensed(engine, &vendor, &[]).await;
    vendor.set_status(&key, Status::Suspended, None).await;
    assert_eq!(site.validate().await["reason"], "suspended");
    // A denial is evidence: it outlives a restart.
    site.restart().await;
    assert_eq!(site.standing().await, "lapsed");
    assert!(!site.is_available(PAID).await);

    // While lapsed, the License Server is asked every 15 minutes.
    vendor.set_status(&key, Status::Active, None).await;
    advance(&site, &vendor, TimeDelta::minutes(16));
    site.until("the reinstated license is active", async || {
        site.standing().await == "active"
    })
    .await;
    assert!(site.is_available(PAID).await);
    site.end().await;
}

async fn grace_ends_when_the_signature_says_so_and_settings_can_only_shorten_it(engine: Engine) {
    for (hours, lasts) in [("1000", 71), ("10", 9)] {
        let mut vendor = Vendor::start().await;
        let flags = ["--offline-grace-period-hours", hours];
        let (site, _) = licensed(engine, &vendor, &flags).await;
        vendor.go_away().await;
        // Grace is counted from the end of the lease's validity, or from the
        // first failed validation where that is earlier.
        advance(&site, &vendor, TimeDelta::hours(23));
        site.validate().await;
        advance(&site, &vendor, TimeDelta::hours(lasts));
        assert!(site.is_available(PAID).await, "{hours}");
        advance(&site, &vendor, TimeDelta::hours(3));
        assert!(!site.is_available(PAID).await, "{hours}");
        site.end().await;
    }
}

async fn a_license_that_expires_lapses_without_anybody_telling(engine: Engine) {
    let mut vendor = Vendor::start().await;
    let keys = vendor.trusted_keys();
    let flags = ["--license-trusted-keys", keys.as_str()];
    let site = Site::start(engine, &vendor.url, &flags).await;
    let expires_at = Some(site.now() + TimeDelta::hours(2));
    let request = IssueRequest {
        expires_at,
        ..IssueRequest::of(Tier::Professional)
    };
    let key = vendor.issue(request).await;
    site.activate(&key).await;
    assert!(site.is_available(PAID).await);
    vendor.go_away().await;
    advance(&site, &vendor, TimeDelta::hours(3));
    let status = site.status().await;
    assert_eq!(status["standing"], "lapsed");
    assert_eq!(status["reason"], "license_expired");
    assert!(status["message"].as_str().unwrap().contains("renew"));
    assert!(!site.is_available(PAID).await);
    assert!(site.is_available(RECORDING).await);
    site.end().await;
}

async fn another_machine(engine: Engine, vendor: &Vendor) -> Site {
    let keys = vendor.trusted_keys();
    let flags = [
        "--license-trusted-keys",
        &keys,
        "--license-hardware-id",
        "another-machine",
    ];
    Site::start(engine, &vendor.url, &flags).await
}

async fn the_moves_that_are_left_are_shown_at_the_site(engine: Engine) {
    let vendor = Vendor::start().await;
    let (site, key) = licensed(engine, &vendor, &[]).await;
    let moves = |left| {
        let message = format!("{left} of 3 per 365 days");
        json!({"left": left, "of": 3, "periodDays": 365, "message": message})
    };
    assert_eq!(site.status().await["moves"], moves(3));
    // Its lease has not ended.
    site.post("/api/license/deactivate", None).await;
    assert_eq!(site.status().await["moves"], json!(null));
    let second = another_machine(engine, &vendor).await;
    second.activate(&key).await;
    assert_eq!(second.status().await["moves"], moves(2));
    let (_, page) = second.get("/").await;
    let page = page.as_str().unwrap();
    assert!(
        page.contains("<dt>Moves left</dt><dd>2 of 3 per 365 days</dd>"),
        "{page}"
    );
    second.end().await;
    site.end().await;
}

async fn a_second_machine_is_refused_with_a_reason(engine: Engine) {
    let vendor = Vendor::start().await;
    let (site, key) = licensed(engine, &vendor, &[]).await;
    let second = another_machine(engine, &vendor).await;
    let (status, answer) = second.activate(&key).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    let detail = answer["detail"].as_str().unwrap();
    assert!(detail.contains("one machine"), "{detail}");
    assert_eq!(second.standing().await, "unlicensed");
    assert_eq!(site.validate().await["valid"], true);
    second.end().await;
    site.end().await;
}

async fn a_deactivated_license_frees_its_seat(engine: Engine) {
    let mut vendor = Vendor::start().await;
    let (mut site, key) = licensed(engine, &vendor, &[]).await;

    vendor.go_away().await;
    let (status, answer) = site.post("/api/license/deactivate", None).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(answer["detail"].as_str().unwrap().contains("force"));
    assert_eq!(site.standing().await, "active");

    vendor.come_back().await;
    let (status, answer) = site.post("/api/license/deactivate", None).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(answer["seatFreed"], true);
    assert_eq!(site.standing().await, "unlicensed");
    assert!(!site.is_available(PAID).await);
    site.restart().await;
    assert_eq!(site.standing().await, "unlicensed");

    let (status, _) = site.post("/api/license/deactivate", None).await;
    assert_eq!(status, StatusCode::CONFLICT);

    // Offline, by force.
    site.activate(&key).await;
    vendor.go_away().await;
    let force = Some(json!({"force": true}));
    let (status, answer) = site.post("/api/license/deactivate", force).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(answer["seatFreed"], false);
    assert_eq!(site.standing().await, "unlicensed");
    site.end().await;
}

async fn another_key_replaces_the_license_and_its_features(engine: Engine) {
    let vendor = Vendor::start().await;
    let (mut site, first) = licensed(engine, &vendor, &[]).await;
    let second = vendor.issue(IssueRequest::of(Tier::Standard)).await;
    site.activate(&second).await;
    for _ in 0..2 {
        assert_eq!(site.status().await["licenseKey"], second.as_str());
        assert!(site.is_available("module.map_view").await);
        assert!(!site.is_available(PAID).await);
        site.restart().await;
    }
    // And back again.
    site.activate(&first).await;
    assert_eq!(site.status().await["licenseKey"], first.as_str());
    assert!(site.is_available(PAID).await);
    let licensed = "SELECT feature_key FROM local_feature_flags WHERE licensed ORDER BY 1";
    assert_eq!(site.database.texts(licensed).await.len(), 3);
    site.end().await;
}
