//! Releases of the VMS that a license does not cover.

use std::process::{Command, Output};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use ed25519_dalek::{Signer as _, SigningKey};
use license_core::amendment::UpdateRule;
use license_core::document::{DocumentType, ReleaseClaims, encode};
use license_core::keyring::Jwk;
use license_core::release::{PRODUCT, Release, parse_released};
use license_gate::Gate;
use license_server::audit::Actor;
use license_server::licensing::release::sign;
use license_service::clock::Clock as _;
use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::database::{Engine, on_both_engines};
use crate::harness::{KEY, Site};
use crate::scripted_cloud::{ScriptedCloud, usual_license};
use crate::vendor::Vendor;

const MAP_VIEW: &str = "module.map_view";
const CHECK: &str = "/api/license/upgrade/check";
/// The last second of the releases that the license covers.
const UNTIL: &str = "2026-06-30T23:59:59Z";

on_both_engines! {
    an_uncovered_release_is_off_only_where_the_license_enforces_it;
    only_a_genuine_document_of_this_product_has_any_effect;
    an_upgrade_is_checked_before_it_is_installed;
    without_keys_nothing_is_enforced;
    the_end_of_updates_is_shown_and_warned_of;
}

/// A site with a license that covers the releases until [`UNTIL`].
async fn site(engine: Engine, vendor: &Vendor, updates: UpdateRule) -> (Site, String) {
    let keys = vendor.trusted_keys();
    let flags = ["--license-trusted-keys", keys.as_str()];
    let site = Site::start(engine, &vendor.url, &flags).await;
    let key = vendor.issue_professional().await;
    vendor.set_updates(&key, Some(until()), updates).await;
    assert_eq!(site.activate(&key).await.0, StatusCode::OK);
    (site, key)
}

fn until() -> DateTime<Utc> {
    UNTIL.parse().unwrap()
}

fn release(released: &str, exempt: bool) -> Release {
    Release {
        version: "3.2.0".to_owned(),
        released: parse_released(released).unwrap(),
        exempt,
    }
}

/// A document that the vendor's command would sign.
async fn document(vendor: &Vendor, released: &str, exempt: bool) -> String {
    let app = &vendor.app;
    let at = app.signing_clock.permit(vendor.clock.now()).unwrap();
    let (keys, by) = (app.keys_dir(), Actor::CommandLine);
    let release = release(released, exempt);
    let signing = sign(&app.store, keys, "test", &release, by, at);
    signing.await.unwrap()
}

/// As an installer does: the service never reads a part of it.
fn install(site: &Site, document: &str) {
    let unfinished = site.state_file("release.jwt.new");
    std::fs::write(&unfinished, document).unwrap();
    std::fs::rename(unfinished, site.state_file("release.jwt")).unwrap();
}

/// Waits until the service has read the file again: a minute passes each time.
async fn until_status(site: &Site, what: &str, holds: impl Fn(&Value) -> bool) -> Value {
    let last = std::sync::Mutex::new(Value::Null);
    let read = || async {
        site.advance(TimeDelta::minutes(1));
        let status = site.status().await;
        let is_there = holds(&status["release"]);
        *last.lock().unwrap() = status;
        is_there
    };
    site.until(what, read).await;
    last.into_inner().unwrap()
}

/// Why the feature may be used or not, which each way of asking repeats.
async fn reason(site: &Site, feature: &str) -> String {
    let body = json!({ "featureKey": feature });
    let (_, answer) = site.post("/api/license/feature/check", Some(body)).await;
    let path = format!("/ofrep/v1/evaluate/flags/{feature}");
    let (_, flag) = site.post(&path, Some(json!({"context": {}}))).await;
    assert_eq!(flag["value"], answer["available"], "{flag}");
    let url = format!("{}/api/license/authorize", site.url);
    let request = site.http.get(url).header("x-license-feature", feature);
    let gateway = request.send().await.unwrap();
    assert_eq!(
        gateway.status() == StatusCode::OK,
        answer["available"] == true
    );
    assert_eq!(
        gateway.headers()["x-license-reason"],
        answer["reason"].as_str().unwrap()
    );
    answer["reason"].as_str().unwrap().to_owned()
}

async fn until_gate(gate: &Gate, reason: &str) {
    for _ in 0..1000 {
        if gate.check(MAP_VIEW).reason.code() == reason {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{:?}, not {reason}", gate.check(MAP_VIEW));
}

async fn metric(site: &Site, line: &str) -> bool {
    let (_, metrics) = site.get("/metrics").await;
    metrics.as_str().unwrap().lines().any(|it| it == line)
}

async fn an_uncovered_release_is_off_only_where_the_license_enforces_it(engine: Engine) {
    let mut vendor = Vendor::start().await;
    let (mut site, key) = site(engine, &vendor, UpdateRule::Warn).await;
    let status = site.status().await;
    assert_eq!(status["updatesUntil"], UNTIL);
    assert_eq!(status["updates"], "warn");
    assert_eq!(status["release"], Value::Null);
    let gate = Gate::builder(&site.url).start().unwrap();
    until_gate(&gate, "licensed").await;

    install(&site, &document(&vendor, "2026-07-01", false).await);
    let status = until_status(&site, "a warning", |it| it["consequence"] == "warning").await;
    let release = &status["release"];
    assert_eq!(release["version"], "3.2.0");
    assert_eq!(release["released"], "2026-07-01T00:00:00.000000");
    assert_eq!(release["coverage"], "not_covered");
    let message = release["message"].as_str().unwrap();
    assert!(
        message.contains("until 30 June 2026, 23:59 UTC"),
        "{message}"
    );
    assert!(message.contains("All features stay on"), "{message}");
    assert_eq!(reason(&site, MAP_VIEW).await, "licensed");
    assert!(metric(&site, "foxsight_license_release_covered 0.0").await);
    let (_, page) = site.get("/").await;
    assert!(
        page.as_str()
            .unwrap()
            .contains("release 3.2.0 of 1 July 2026")
    );

    let (_, diagnostics) = site.post("/api/license/diagnostics", None).await;
    let mut findings = diagnostics["findings"].as_array().unwrap().iter();
    let finding = findings.find(|it| it["what"] == "release").unwrap();
    assert_eq!(finding["health"], "warning", "{finding}");

    vendor
        .set_updates(&key, Some(until()), UpdateRule::Enforce)
        .await;
    assert_eq!(site.validate().await["valid"], true);
    assert_eq!(reason(&site, MAP_VIEW).await, "update_not_covered");
    assert_eq!(reason(&site, "module.live_view").await, "core");
    assert_eq!(
        reason(&site, "module.alarm_advanced").await,
        "not_in_license"
    );
    assert_eq!(site.standing().await, "active");
    let status = site.status().await;
    assert_eq!(status["release"]["consequence"], "features_off");
    until_gate(&gate, "update_not_covered").await;

    // Also from the first answer after a restart, and without contact.
    vendor.go_away().await;
    site.restart().await;
    assert_eq!(reason(&site, MAP_VIEW).await, "update_not_covered");
    assert_eq!(reason(&site, "module.live_view").await, "core");
    vendor.advance(site.now() - vendor.clock.now());
    vendor.come_back().await;

    install(&site, &document(&vendor, "2026-07-01", true).await);
    until_status(&site, "an exempt release", |it| it["exempt"] == true).await;
    assert_eq!(reason(&site, MAP_VIEW).await, "licensed");
    install(&site, &document(&vendor, "2026-06-30", false).await);
    until_status(&site, "a covered release", |it| it["exempt"] == false).await;
    assert_eq!(reason(&site, MAP_VIEW).await, "licensed");
    assert!(metric(&site, "foxsight_license_release_covered 1.0").await);
    site.end().await;
}

async fn only_a_genuine_document_of_this_product_has_any_effect(engine: Engine) {
    let vendor = Vendor::start().await;
    let (site, _) = site(engine, &vendor, UpdateRule::Enforce).await;
    let genuine = document(&vendor, "2026-07-01", false).await;
    let installed = async |text: &str, what: &str| {
        install(&site, text);
        until_status(&site, what, |it| it["consequence"] == "features_off").await;
        assert_eq!(reason(&site, MAP_VIEW).await, "update_not_covered");
    };
    let (payload, signature) = genuine.rsplit_once('.').unwrap();
    let other_signature = signature.chars().rev().collect::<String>();
    let claims = ReleaseClaims {
        iss: "test".to_owned(),
        iat: vendor.clock.now(),
        product: PRODUCT.to_owned(),
        version: "3.2.0".to_owned(),
        released: until() + TimeDelta::days(1),
        exempt: false,
    };
    let stranger = SigningKey::from_bytes(&[7; 32]);
    let kid = Jwk::from_verifying_key(&stranger.verifying_key())
        .kid
        .unwrap();
    let sign = |input: &[u8]| stranger.sign(input).to_bytes();
    let forged = encode(DocumentType::Release, &kid, &claims, sign).unwrap();
    let other_product = ReleaseClaims {
        product: "another-product".to_owned(),
        ..claims
    };
    let now = vendor.clock.now();
    let other_product = vendor.app.sign(DocumentType::Release, &other_product, now);
    for (text, why) in [
        (format!("{payload}.{other_signature}"), "signature"),
        (forged, "not a trusted key"),
        (other_product.unwrap(), "another product"),
        ("x".repeat(70_000), "longer than"),
        (String::new(), "not a JWS"),
    ] {
        installed(&format!("\n{genuine}\r\n"), "the genuine document").await;
        install(&site, &text);
        let status = until_status(&site, why, |it| it["version"].is_null()).await;
        let message = status["release"]["message"].as_str().unwrap();
        assert!(message.contains(why), "{why}: {message}");
        assert_eq!(status["release"]["coverage"], "unknown", "{why}");
        assert_eq!(reason(&site, MAP_VIEW).await, "licensed", "{why}");
        assert!(metric(&site, "foxsight_license_release_document_valid 0.0").await);
    }
    installed(&genuine, "the genuine document again").await;
    std::fs::remove_file(site.state_file("release.jwt")).unwrap();
    until_status(&site, "no document", Value::is_null).await;
    assert_eq!(reason(&site, MAP_VIEW).await, "licensed");
    site.end().await;
}

/// Runs `check-upgrade` for the service of this site.
async fn check_upgrade(site: &Site, arguments: &[&str]) -> (Option<i32>, String) {
    command(site, &[&["check-upgrade"], arguments].concat()).await
}

async fn command(site: &Site, arguments: &[&str]) -> (Option<i32>, String) {
    let mut command = Command::new(crate::PROGRAM);
    command.args(arguments).args(["--url", &site.url]);
    let run = tokio::task::spawn_blocking(move || command.output().unwrap());
    let Output {
        status,
        stdout,
        stderr,
    } = run.await.unwrap();
    let said = [stdout, stderr].concat();
    (status.code(), String::from_utf8(said).unwrap())
}

async fn an_upgrade_is_checked_before_it_is_installed(engine: Engine) {
    let mut vendor = Vendor::start().await;
    let (site, _) = site(engine, &vendor, UpdateRule::Enforce).await;
    let signed = site.state_file("next.jwt").display().to_string();
    std::fs::write(&signed, document(&vendor, "2026-07-01", false).await).unwrap();
    let other = site.state_file("other.jwt").display().to_string();
    std::fs::write(&other, "not a document").unwrap();
    vendor.go_away().await;
    let covered = ["3.1.0", "--released", "2026-06-30"];
    let late = ["3.2.0", "--released", "2026-07-01T00:00:00Z"];
    for (arguments, code, expected) in [
        (&covered[..], 0, "The license covers release 3.1.0"),
        (&late, 3, "This release would switch off"),
        (&late, 3, "  off  module.map_view"),
        (
            &["--document", &signed],
            3,
            "not release 3.2.0 of 1 July 2026",
        ),
        (&[&late[..], &["--exempt"]].concat(), 0, "it is exempt"),
        (
            &["v3", "--released", "2026-07-01"],
            2,
            "'v3' is not a version",
        ),
        (&["3.2.0", "--released", "July"], 2, "'July' is not a date"),
        (&["3.2.0"], 2, "--released"),
        (&[], 2, "required"),
        (&["--document", &other], 1, "not a JWS"),
    ] {
        let (status, said) = check_upgrade(&site, arguments).await;
        assert!(said.contains(expected), "{arguments:?}: {said}");
        assert_eq!(status, Some(code), "{arguments:?}: {said}");
    }
    let (_, said) = check_upgrade(&site, &[&late[..], &["--json"]].concat()).await;
    let answer: Value = serde_json::from_str(&said).unwrap();
    assert_eq!(answer["consequence"], "features_off");
    assert_eq!(answer["updatesUntil"], UNTIL);
    assert_eq!(answer["features"][0], "module.analytics_advanced");
    // Nothing was installed.
    assert_eq!(reason(&site, MAP_VIEW).await, "licensed");

    for (body, field) in [
        (json!({"version": "3.2.0"}), "released"),
        (json!({"version": "x", "released": "2026-07-01"}), "version"),
        (
            json!({"version": "3", "released": "2026-02-30"}),
            "released",
        ),
        (json!({"version": 3, "released": "2026-07-01"}), "version"),
        (json!({"document": 7}), "document"),
        (
            json!({"version": "3", "released": "2026-07-01", "exempt": 1}),
            "exempt",
        ),
    ] {
        let (status, answer) = site.post(CHECK, Some(body)).await;
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{answer}");
        assert_eq!(answer["detail"][0]["loc"], json!(["body", field]));
    }
    site.end().await;
}

async fn the_end_of_updates_is_shown_and_warned_of(engine: Engine) {
    let cloud = ScriptedCloud::start().await;
    let mut license = usual_license(KEY);
    license["updatesUntil"] = "2026-12-04T23:59:59Z".into();
    cloud.license(license);
    let site = Site::start(engine, &cloud.url, &[]).await;
    site.activate(KEY).await;
    let status = site.status().await;
    let upcoming = &status["upcoming"][0];
    assert_eq!(upcoming["change"], "updates_end", "{status}");
    assert_eq!(upcoming["at"], "2026-12-04T23:59:59.000000");
    assert_eq!(upcoming["key"], Value::Null);
    assert_eq!(upcoming["urgency"], "warning");
    let (_, page) = site.get("/").await;
    let page = page.as_str().unwrap();
    assert!(page.contains("<dt>Updates until</dt><dd>4 December 2026, 23:59 UTC</dd>"));
    assert!(page.contains("Updates end on 4 December 2026"));
    let (code, said) = command(&site, &["status"]).await;
    assert_eq!(code, Some(0));
    assert!(
        said.contains("Updates until    2026-12-04T23:59:59Z"),
        "{said}"
    );
    assert!(
        said.contains("Ends soon        2026-12-04T23:59:59.000000: Updates end"),
        "{said}"
    );
    site.end().await;
}

async fn without_keys_nothing_is_enforced(engine: Engine) {
    let cloud = ScriptedCloud::start().await;
    let vendor = Vendor::start().await;
    let site = Site::start(engine, &cloud.url, &[]).await;
    let body = json!({"version": "3.2.0", "released": "2026-07-01"});
    let (_, answer) = site.post(CHECK, Some(body.clone())).await;
    assert_eq!(answer["coverage"], "unknown");
    let (code, _) = check_upgrade(&site, &["3.2.0", "--released", "2026-07-01"]).await;
    assert_eq!(code, Some(4));

    let mut license = usual_license(KEY);
    license["updatesUntil"] = UNTIL.into();
    license["updates"] = "enforce".into();
    cloud.license(license);
    site.activate(KEY).await;
    let (_, answer) = site.post(CHECK, Some(body)).await;
    assert_eq!(answer["consequence"], "features_off");
    let document = document(&vendor, "2026-07-01", false).await;
    let body = json!({"document": document});
    let (status, answer) = site.post(CHECK, Some(body)).await;
    assert_eq!(status, StatusCode::CONFLICT, "{answer}");
    install(&site, &document);
    let status = until_status(&site, "a warning", |it| it["message"].is_string()).await;
    let message = status["release"]["message"].as_str().unwrap();
    assert!(message.contains("LICENSE_TRUSTED_KEYS"), "{message}");
    assert_eq!(reason(&site, "module.map_view").await, "licensed");
    site.end().await;
}
