//! Editing the stored data as root gains nothing.

use chrono::{SubsecRound as _, TimeDelta};
use license_core::document::{DocumentType, LicenseClaims, verify_license};
use license_core::keyring::Keyring;
use license_core::protocol::Call;
use license_server::licensing::catalogue::Tier;
use license_server::licensing::issue::IssueRequest;
use license_service::clock::Clock as _;
use serde_json::{Value, json};

use crate::database::{Engine, TestDatabase, on_both_engines};
use crate::harness::Site;
use crate::vendor::Vendor;

on_both_engines! {
    a_row_that_was_edited_changes_nothing_and_is_a_security_event;
    a_signature_that_was_removed_takes_the_license_with_it;
    the_license_of_another_installation_does_not_count;
    an_unsigned_license_has_one_grace_period_when_keys_are_trusted;
    a_grace_period_that_is_said_to_begin_later_begins_now;
    no_setting_makes_the_grace_of_an_unsigned_license_longer;
    a_license_that_was_signed_for_another_call_is_no_lease;
}

const NOT_BOUGHT: &str = "module.analytics_advanced";

/// A site with a standard license, whose vendor is away.
async fn standard(engine: Engine, flags: &[&str]) -> (Site, Vendor, String) {
    let mut vendor = Vendor::start().await;
    let keys = vendor.trusted_keys();
    let flags = [&["--license-trusted-keys", &keys], flags].concat();
    let site = Site::start(engine, &vendor.url, &flags).await;
    let key = vendor.issue(IssueRequest::of(Tier::Standard)).await;
    site.activate(&key).await;
    assert_eq!(site.standing().await, "active");
    assert!(!site.is_available(NOT_BOUGHT).await);
    vendor.go_away().await;
    (site, vendor, key)
}

pub async fn security_events(site: &Site) -> u64 {
    let (_, metrics) = site.get("/metrics").await;
    let metrics = metrics.as_str().unwrap().to_owned();
    let mut lines = metrics.lines();
    let name = "foxsight_license_security_events_total ";
    let count = lines.find_map(|line| line.strip_prefix(name)).unwrap();
    count.parse().unwrap()
}

fn bigger(key: &str) -> String {
    json!({"licenseKey": key, "tier": "enterprise", "maxCameras": -1, "enabledFeatures": [NOT_BOUGHT]})
        .to_string()
}

/// Removes everything that remembers that there was a signed license.
async fn forget(site: &mut Site) {
    site.stop().await;
    for name in ["local-copy.json", "time.json", "time.key"] {
        std::fs::remove_file(site.state_file(name)).unwrap();
    }
}

/// Edits while the service is down, with and without the local copy.
async fn edit(site: &mut Site, sql: &str, keep_local_copy: bool) {
    site.stop().await;
    site.database.execute(sql).await;
    if !keep_local_copy {
        std::fs::remove_file(site.state_file("local-copy.json")).unwrap();
    }
    site.restart().await;
}

async fn a_row_that_was_edited_changes_nothing_and_is_a_security_event(engine: Engine) {
    let (mut site, _vendor, key) = standard(engine, &[]).await;
    let sql = format!(
        "UPDATE local_license_cache SET license_data = '{}', valid_until = '2099-01-01 00:00:00', \
         grace_period_started_at = NULL, in_grace_period = false",
        bigger(&key)
    );
    for keep in [true, false] {
        edit(&mut site, &sql, keep).await;
        assert!(security_events(&site).await > 0);
        let status = site.status().await;
        assert_eq!(status["tier"], "standard");
        assert_ne!(status["maxCameras"], -1);
        assert!(!site.is_available(NOT_BOUGHT).await);
        // The row says again what is signed.
        let tier = "SELECT license_data::text FROM local_license_cache";
        let tier = if engine == Engine::Sqlite {
            tier.replace("::text", "")
        } else {
            tier.to_owned()
        };
        let data = site.database.texts(&tier).await.remove(0).unwrap();
        assert!(data.contains("standard"), "{data}");
        // After it is rewritten there is nothing to report.
        site.restart().await;
        assert_eq!(security_events(&site).await, 0);
    }
    // Nothing counts beyond what is signed, regardless of the rows.
    site.advance(TimeDelta::hours(97));
    edit(&mut site, &sql, false).await;
    assert_eq!(site.standing().await, "lapsed");
    assert!(site.is_available("module.recording_basic").await);
    site.end().await;
}

async fn a_signature_that_was_removed_takes_the_license_with_it(engine: Engine) {
    let (mut site, mut vendor, key) = standard(engine, &[]).await;
    let sql = format!(
        "UPDATE local_license_cache SET license_data = '{}', valid_until = '2099-01-01 00:00:00', \
         license_signature = 'x'",
        bigger(&key)
    );
    edit(&mut site, &sql, false).await;
    assert!(security_events(&site).await > 0);
    assert_eq!(site.standing().await, "lapsed");
    assert!(!site.is_available(NOT_BOUGHT).await);
    assert!(site.is_available("module.recording_basic").await);

    // The same in the local copy, with the database away.
    let file = site.state_file("local-copy.json");
    vendor.come_back().await;
    assert_eq!(site.validate().await["standing"], "active");
    site.stop().await;
    let mut copy: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    let mut rows: Value = serde_json::from_str(copy["rows"].as_str().unwrap()).unwrap();
    let cached = &mut rows["cached"];
    cached["licenseSignature"] = "x".into();
    cached["licenseData"] = serde_json::from_str(&bigger(&key)).unwrap();
    cached["validUntil"] = "2099-01-01T00:00:00Z".into();
    copy["rows"] = rows.to_string().into();
    std::fs::write(&file, copy.to_string()).unwrap();
    site.restart().await;
    assert_eq!(site.standing().await, "active");
    assert!(!site.is_available(NOT_BOUGHT).await);
    site.end().await;
}

async fn the_license_of_another_installation_does_not_count(engine: Engine) {
    let vendor = Vendor::start().await;
    let keys = vendor.trusted_keys();
    let flags = [
        "--license-trusted-keys",
        &keys,
        "--license-hardware-id",
        "a",
    ];
    let mut first = Site::start(engine, &vendor.url, &flags).await;
    first.activate(&vendor.issue_professional().await).await;
    let second_database = TestDatabase::new(engine).await;
    let flags = [
        "--license-trusted-keys",
        &keys,
        "--license-hardware-id",
        "b",
    ];
    let mut second = Site::start_on(second_database, "http://127.0.0.1:1/api", &flags).await;
    assert_eq!(second.standing().await, "unlicensed");
    first.stop().await;
    second.stop().await;

    // The whole row, with what belongs to it, and the local copy.
    copy_license(&first.database, &second.database).await;
    let copy = std::fs::read(first.state_file("local-copy.json")).unwrap();
    for with_copy in [false, true] {
        if with_copy {
            std::fs::write(second.state_file("local-copy.json"), &copy).unwrap();
        }
        second.restart().await;
        assert_eq!(second.standing().await, "lapsed");
        assert!(!second.is_available(NOT_BOUGHT).await);
        assert!(security_events(&second).await > 0);
        second.stop().await;
    }
    first.end().await;
    second.end().await;
}

/// Replaces the license in a database, with what belongs to it, by the one in another database.
pub async fn copy_license(from: &TestDatabase, to: &TestDatabase) {
    let columns = [
        "license_key",
        "license_data",
        "license_signature",
        "cached_at",
        "valid_until",
        "last_validated_at",
    ];
    let mut values = Vec::new();
    for column in columns {
        let text = format!("SELECT CAST({column} AS text) FROM local_license_cache");
        let value = from.texts(&text).await.remove(0).unwrap();
        values.push(format!("'{value}'"));
    }
    let memo = "SELECT value FROM system_config WHERE key = 'license_client.evidence'";
    let memo = from.texts(memo).await.remove(0).unwrap();
    let (columns, values) = (columns.join(", "), values.join(", "));
    to.execute(&format!(
        "DELETE FROM local_license_cache; \
         INSERT INTO local_license_cache ({columns}, is_valid) VALUES ({values}, true); \
         DELETE FROM system_config WHERE key = 'license_client.evidence'; \
         INSERT INTO system_config (key, value) VALUES ('license_client.evidence', '{memo}')"
    ))
    .await;
}

/// Makes a license look like one of version 1.0.0.
fn unsigned(key: &str, grace_started_at: &str) -> String {
    format!(
        "UPDATE local_license_cache SET license_data = '{}', valid_until = '2099-01-01 00:00:00', \
         license_signature = 'x', grace_period_started_at = {grace_started_at}; \
         DELETE FROM system_config WHERE key = 'license_client.evidence'",
        bigger(key)
    )
}

async fn an_unsigned_license_has_one_grace_period_when_keys_are_trusted(engine: Engine) {
    let (mut site, _vendor, key) = standard(engine, &[]).await;
    // As the Python service would leave it, and again as soon as it ends.
    forget(&mut site).await;
    edit(&mut site, &unsigned(&key, "NULL"), true).await;
    // Never active: this is what an upgrade needs, and no more.
    assert_eq!(site.standing().await, "grace");
    site.advance(TimeDelta::hours(73));
    assert_eq!(site.standing().await, "lapsed");
    let again =
        "UPDATE local_license_cache SET grace_period_started_at = NULL, in_grace_period = false";
    edit(&mut site, again, false).await;
    assert_eq!(site.standing().await, "lapsed");
    assert_eq!(site.status().await["trust"], "adopted");
    site.end().await;
}

async fn a_grace_period_that_is_said_to_begin_later_begins_now(engine: Engine) {
    let (mut site, _vendor, key) = standard(engine, &[]).await;
    forget(&mut site).await;
    edit(&mut site, &unsigned(&key, "'2098-01-01 00:00:00'"), true).await;
    assert_eq!(site.standing().await, "grace");
    site.advance(TimeDelta::hours(73));
    assert_eq!(site.standing().await, "lapsed");
    site.restart().await;
    assert_eq!(site.standing().await, "lapsed");
    site.end().await;
}

async fn no_setting_makes_the_grace_of_an_unsigned_license_longer(engine: Engine) {
    for (hours, counts_for) in [("87600", 72), ("72", 72), ("5", 5)] {
        let flags = ["--offline-grace-period-hours", hours];
        let (mut site, _vendor, key) = standard(engine, &flags).await;
        // As if version 1.0.0 had been here, with an arbitrary license.
        let all = "DELETE FROM system_config WHERE key LIKE 'license_client.%'; ";
        forget(&mut site).await;
        edit(&mut site, &format!("{all}{}", unsigned(&key, "NULL")), true).await;
        assert_eq!(site.standing().await, "grace");
        assert_eq!(site.status().await["trust"], "adopted");
        assert!(site.is_available(NOT_BOUGHT).await);
        site.advance(TimeDelta::hours(counts_for) - TimeDelta::minutes(10));
        site.restart().await;
        assert_eq!(site.standing().await, "grace", "{hours}");
        site.advance(TimeDelta::minutes(11));
        assert_eq!(
            site.status().await["reason"],
            "grace_period_expired",
            "{hours}"
        );
        assert!(!site.is_available(NOT_BOUGHT).await);
        site.restart().await;
        assert_eq!(site.standing().await, "lapsed", "{hours}");
        site.end().await;
    }
}

/// Earlier servers signed full licenses for heartbeats.
async fn a_license_that_was_signed_for_another_call_is_no_lease(engine: Engine) {
    for call in [Call::Heartbeat, Call::Deactivate, Call::Unknown] {
        let (mut site, vendor, _) = standard(engine, &[]).await;
        let activated = "SELECT license_signature FROM local_license_cache";
        let activated = site.database.texts(activated).await.remove(0).unwrap();
        let keyring = Keyring::from_jwk_set(vendor.app.keys().public()).unwrap();
        let activated = verify_license(&activated, &keyring).unwrap();
        // Signed shortly before the lease ends, like one document a day for as long as one likes.
        site.advance(TimeDelta::hours(90));
        vendor.advance(TimeDelta::hours(90));
        let iat = vendor.clock.now().trunc_subsecs(0);
        let claims = LicenseClaims {
            iat,
            nbf: iat,
            valid_until: iat + TimeDelta::hours(24),
            exp: iat + TimeDelta::hours(96),
            seq: activated.claims().seq + 1,
            question: Some(call),
            ..activated.claims().clone()
        };
        let signed = vendor
            .app
            .sign(DocumentType::License, &claims, vendor.clock.now())
            .unwrap();
        let sql = format!(
            "UPDATE local_license_cache SET license_signature = '{signed}', \
             valid_until = '{}', grace_period_started_at = NULL, in_grace_period = false; \
             UPDATE system_config SET value = 'x' WHERE key = 'license_client.revision'",
            claims.valid_until.naive_utc()
        );
        edit(&mut site, &sql, true).await;
        assert!(security_events(&site).await > 0, "{call:?}");
        assert_eq!(site.standing().await, "grace", "{call:?}");
        site.advance(TimeDelta::hours(7));
        assert_eq!(site.standing().await, "lapsed", "{call:?}");
        edit(&mut site, &sql, false).await;
        assert_eq!(site.standing().await, "lapsed", "{call:?}");
        site.end().await;
    }
}
