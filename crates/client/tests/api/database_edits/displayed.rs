//! What the rows say for people: with keys, only what a process knows or a document proves.

use std::sync::Arc;

use chrono::TimeDelta;
use license_client::app::App;
use license_client::licensing::validate::validate;
use license_core::evidence::Evidence;
use license_core::standing::Standing;
use serde_json::{Value, json};

use super::{events, open, standard, standing};
use crate::database::{Engine, TestDatabase, on_both_engines};
use crate::harness::Site;
use crate::vendor::Vendor;

on_both_engines! {
    a_memo_beside_a_newer_document_says_nothing;
    a_memo_says_nothing_to_a_process_without_any_past;
    numbers_in_the_memo_are_bounded_without_keys;
    times_of_any_year_do_not_keep_rows_from_being_written;
}

const MEMO: &str = "license_client.evidence";
const LONG_AGO: &str = "-262143-01-01T00:00:00Z";

/// The memo in the database, with these members.
async fn edit_memo(site: &Site, members: &[(&str, &str)]) {
    let select = format!("SELECT value FROM system_config WHERE key = '{MEMO}'");
    let memo = site.database.texts(&select).await.remove(0).unwrap();
    let mut memo: serde_json::Map<String, Value> = serde_json::from_str(&memo).unwrap();
    for (name, value) in members {
        memo.insert((*name).to_owned(), serde_json::from_str(value).unwrap());
    }
    let memo = Value::Object(memo);
    site.database
        .execute(&format!(
            "UPDATE system_config SET value = '{memo}' WHERE key = '{MEMO}'; \
             UPDATE system_config SET value = value || 'x' \
             WHERE key = 'license_client.revision'"
        ))
        .await;
}

fn forged_failure(at: &str) -> String {
    json!({"at": at, "reason": "call-us", "message": "Call +1 555 0100", "denied": true})
        .to_string()
}

fn forged_change(number: &str) -> String {
    format!(
        r#"{{"at":"2026-11-23T21:00:00Z","more":7,"changes":[
        {{"key":"cameras","before":{number},"after":{number}}},
        {{"key":"customer","before":"Harbor","after":"Call +1 555 0100"}}]}}"#
    )
}

fn shown(evidence: &Evidence) -> String {
    format!("{:?} {:?}", evidence.last_failure, evidence.last_change)
}

/// Another process of the site, with its own `STATE_DIR`.
async fn other(site: &Site, vendor: &Vendor) -> (Site, Arc<App>) {
    let keys = vendor.trusted_keys();
    let flags = ["--license-trusted-keys", keys.as_str()];
    let database = TestDatabase::same_as(&site.database);
    let mut other = Site::start_on(database, &vendor.url, &flags).await;
    other.stop().await;
    let app = open(&other).await;
    (other, app)
}

async fn a_memo_beside_a_newer_document_says_nothing(engine: Engine) {
    let (site, vendor, _key) = standard(engine).await;
    let (other, two) = other(&site, &vendor).await;
    let one = open(&site).await;
    for _ in 0..2 {
        for clock in [&vendor.clock, &site.clock, &other.clock] {
            clock.advance(TimeDelta::minutes(10));
        }
        validate(&two).await;
        edit_memo(
            &site,
            &[
                ("lastFailure", &forged_failure("2026-11-23T21:00:00Z")),
                ("lastChange", &forged_change("64")),
            ],
        )
        .await;
        let before = one.snapshot().evidence.newest_signed_at();
        one.knowledge.reload(None).await.unwrap();
        let evidence = one.snapshot().evidence.clone();
        assert!(evidence.newest_signed_at() > before);
        assert_eq!(standing(&one), Standing::Active);
        assert_eq!(evidence.last_change, None);
        let failure = evidence.last_failure.as_ref().unwrap();
        assert_eq!(
            (failure.reason(), failure.is_denial()),
            ("not_confirmed", false)
        );
        assert!(!shown(&evidence).contains("555"));
    }
    for app in [one, two] {
        app.store.close().await;
    }
    other.end().await;
}

async fn a_memo_says_nothing_to_a_process_without_any_past(engine: Engine) {
    let (site, vendor, _key) = standard(engine).await;
    edit_memo(
        &site,
        &[
            ("lastFailure", &forged_failure("2026-11-23T21:00:00Z")),
            ("lastChange", &forged_change("64")),
        ],
    )
    .await;
    let (other, app) = other(&site, &vendor).await;
    let evidence = app.snapshot().evidence.clone();
    assert_eq!(standing(&app), Standing::Active);
    assert_eq!(evidence.last_change, None);
    assert!(!shown(&evidence).contains("555"), "{}", shown(&evidence));
    assert_eq!(events(&app), 0);
    app.store.close().await;
    other.end().await;
}

async fn numbers_in_the_memo_are_bounded_without_keys(engine: Engine) {
    let vendor = Vendor::start().await;
    let mut site = Site::start(engine, &vendor.url, &[]).await;
    site.activate(&vendor.issue_professional().await).await;
    for number in ["9".repeat(100_000), format!("1e{}", "9".repeat(100_000))] {
        edit_memo(&site, &[("lastChange", &forged_change(&number))]).await;
        site.until("the memo is read", async || {
            site.status().await["lastChange"] != Value::Null
        })
        .await;
        for _ in 0..2 {
            let (_, status) = site.get("/api/license/status").await;
            let length = status.to_string().len();
            assert!(length < 20_000, "{length}");
            site.restart().await;
        }
        edit_memo(&site, &[("lastChange", "null")]).await;
        site.until("the memo is read", async || {
            site.status().await["lastChange"] == Value::Null
        })
        .await;
    }
    site.end().await;
}

async fn times_of_any_year_do_not_keep_rows_from_being_written(engine: Engine) {
    let mut vendor = Vendor::start().await;
    let keys = vendor.trusted_keys();
    let data = json!({"tier": "standard", "enabledFeatures": []});
    for flags in [&[][..], &["--license-trusted-keys", keys.as_str()]] {
        let mut site = Site::start(engine, &vendor.url, flags).await;
        site.stop().await;
        let left = format!(
            "INSERT INTO local_license_cache (license_key, license_data, license_signature, \
             cached_at, valid_until, is_valid) VALUES ('key', '{data}', 'x', \
             '2026-11-01 00:00:00', '2026-11-25 00:00:00', true)"
        );
        site.database.execute(&left).await;
        vendor.go_away().await;
        let app = open(&site).await;
        for at in [LONG_AGO, "+262142-12-31T23:59:59Z"] {
            let at = json!(at).to_string();
            edit_memo(
                &site,
                &[
                    ("graceStartedAt", &at),
                    ("lastFailure", &forged_failure(at.trim_matches('"'))),
                ],
            )
            .await;
            app.knowledge.reload(None).await.unwrap();
            site.advance(TimeDelta::minutes(10));
            validate(&app).await;
            assert!(!app.knowledge.has_unwritten(), "{at}");
        }
        app.store.close().await;
        vendor.come_back().await;
        site.end().await;
    }
}
