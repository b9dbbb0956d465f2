//! The status of licenses: one rule for JSON, filters, counts, pages and commands.

use std::collections::BTreeMap;

use chrono::{DateTime, SubsecRound as _, TimeDelta, Utc};
use license_core::license_state::EXPIRING_WITHIN;
use license_server::licensing::catalogue::Tier;
use license_server::licensing::issue::IssueRequest;
use license_service::clock::Clock as _;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::amendments::amended;
use crate::commands::{json as printed, run, said};
use crate::database::{Engine, on_both_engines};
use crate::harness::{ADMIN_TOKEN, Vendor};

const ALL: [&str; 6] = [
    "scheduled",
    "active",
    "expiring",
    "expired",
    "suspended",
    "revoked",
];

on_both_engines! {
    every_filter_finds_the_licenses_with_that_status_and_no_others;
    a_license_goes_through_its_statuses_as_time_passes;
    a_trial_is_one_until_its_plan_is_replaced;
}

/// Copies of a license, with each decision, start and end around `now`.
async fn add_copies(vendor: &Vendor, now: DateTime<Utc>) -> usize {
    let second = TimeDelta::seconds(1);
    let whole = now - TimeDelta::nanoseconds(i64::from(now.timestamp_subsec_nanos()));
    let starts = [
        -EXPIRING_WITHIN,
        -second,
        TimeDelta::zero(),
        second,
        EXPIRING_WITHIN,
    ];
    let ends = [
        -EXPIRING_WITHIN,
        -second,
        TimeDelta::zero(),
        second,
        EXPIRING_WITHIN - second,
        EXPIRING_WITHIN,
        EXPIRING_WITHIN + second,
        EXPIRING_WITHIN * 2,
    ];
    let text = |offset: Option<TimeDelta>| {
        offset.map_or("NULL".to_owned(), |offset| {
            let at = whole + offset;
            format!("'{}'", at.format("%Y-%m-%d %H:%M:%S"))
        })
    };
    let with_none = |offsets: &[TimeDelta]| -> Vec<Option<TimeDelta>> {
        offsets.iter().copied().map(Some).chain([None]).collect()
    };
    let columns = "customer, tier, features, max_cameras, max_users, max_storage_gb, seats, \
                   created_at, updated_at, moves, moves_period_days";
    let mut count = 0;
    for status in ["active", "suspended", "revoked"] {
        for start in with_none(&starts) {
            for end in with_none(&ends) {
                let (start, end) = (text(start), text(end));
                vendor
                    .database
                    .execute(&format!(
                        "INSERT INTO licenses \
                         (id, license_key, status, starts_at, expires_at, {columns}) \
                         SELECT 'id-{count}', 'key-{count}', '{status}', {start}, {end}, {columns} \
                         FROM licenses WHERE license_key LIKE 'FXSGHT-%'"
                    ))
                    .await;
                count += 1;
            }
        }
    }
    count
}

async fn every_filter_finds_the_licenses_with_that_status_and_no_others(engine: Engine) {
    let vendor = Vendor::start(engine).await;
    vendor.issue(IssueRequest::of(Tier::Standard)).await;
    // In the middle of a second, and at its beginning.
    for step in [TimeDelta::zero(), TimeDelta::milliseconds(500)] {
        vendor.clock.advance(step);
        vendor
            .database
            .execute("DELETE FROM licenses WHERE license_key LIKE 'key-%'")
            .await;
        let copies = add_copies(&vendor, vendor.clock.now()).await;
        let all = vendor.look("/licenses?limit=500").await;
        let mut expected: BTreeMap<String, Vec<String>> = BTreeMap::new();
        let text = |it: &Value, name: &str| it[name].as_str().unwrap().to_owned();
        for it in all["licenses"].as_array().unwrap() {
            let keys = expected.entry(text(it, "status")).or_default();
            keys.push(text(it, "licenseKey"));
        }
        let known: Vec<&str> = expected.keys().map(String::as_str).collect();
        assert_eq!(known.len(), ALL.len(), "{known:?}");
        assert_eq!(all["total"], copies + 1);
        let fleet = vendor.look("/fleet").await;
        for status in ALL {
            let found = vendor
                .look(&format!("/licenses?limit=500&status={status}"))
                .await;
            let found = found["licenses"].as_array().unwrap().iter();
            let found: Vec<String> = found.map(|it| text(it, "licenseKey")).collect();
            assert_eq!(found, expected[status], "{status}");
            assert_eq!(fleet["licenses"][status], found.len(), "{status}");
        }
    }
    vendor.end().await;
}

async fn statuses(vendor: &Vendor, key: &str) -> (String, String) {
    let shown = vendor.look(&format!("/licenses/{key}")).await;
    let status = shown["license"]["status"].as_str().unwrap().to_owned();
    let printed = printed(vendor, &["show", key]).await;
    let printed = printed["license"]["status"].as_str().unwrap().to_owned();
    (status, printed)
}

async fn a_license_goes_through_its_statuses_as_time_passes(engine: Engine) {
    let vendor = Vendor::start(engine).await;
    let start = vendor.clock.now().trunc_subsecs(0) + TimeDelta::days(2);
    let request = IssueRequest {
        starts_at: Some(start),
        expires_at: Some(start + TimeDelta::days(40)),
        customer: "Harbour Ltd".to_owned(),
        ..IssueRequest::of(Tier::Professional)
    };
    let key = vendor.issue(request).await;
    let (status, answer) = vendor
        .admin(Method::GET, "/licenses?status=scheduled", Value::Null)
        .await;
    assert_eq!((status, &answer["total"]), (StatusCode::OK, &json!(1)));
    assert!(answer["licenses"][0]["startsAt"].is_string(), "{answer}");
    // A start in the future is no denial.
    assert_eq!(vendor.activate(&key, "machine").await.word(), "yes");
    for (days, expected) in [
        (0, "scheduled"),
        (3, "active"),
        (12, "expiring"),
        (28, "expired"),
    ] {
        vendor.clock.advance(TimeDelta::days(days));
        let shown = vendor.look(&format!("/licenses/{key}")).await;
        assert_eq!(shown["license"]["status"], expected, "{shown}");
        let found = vendor.look(&format!("/licenses?status={expected}")).await;
        assert_eq!(found["total"], 1, "{expected}: {found}");
    }
    // Commands use the clock of the machine.
    let request = IssueRequest {
        starts_at: Some("2900-01-01T00:00:00Z".parse().unwrap()),
        ..IssueRequest::of(Tier::Standard)
    };
    let later = vendor.issue(request).await;
    let expected = ("scheduled".to_owned(), "scheduled".to_owned());
    assert_eq!(statuses(&vendor, &later).await, expected);
    let table = said(&run(&vendor, &["list", "--status", "scheduled"]).await);
    assert!(
        table.contains(&later) && table.contains("  scheduled  "),
        "{table}"
    );
    vendor.end().await;
}

async fn a_trial_is_one_until_its_plan_is_replaced(engine: Engine) {
    let vendor = Vendor::start(engine).await;
    let plan = json!({"name": "try", "contents": {
        "title": "Trial", "trial": true, "duration": "P90D", "terms": {"seats": 1},
        "entitlements": [{"key": "module.map_view"}],
    }});
    let (status, answer) = vendor.admin(Method::POST, "/plans", plan).await;
    assert_eq!(status, StatusCode::CREATED, "{answer}");
    let paid = vendor.issue(IssueRequest::of(Tier::Standard)).await;
    let body = json!({"plan": "try", "customer": "Harbour Ltd"});
    let (status, trial) = vendor.admin(Method::POST, "/licenses", body).await;
    assert_eq!(status, StatusCode::CREATED, "{trial}");
    assert_eq!(
        (&trial["trial"], &trial["status"]),
        (&json!(true), &json!("active"))
    );
    let key = trial["licenseKey"].as_str().unwrap();
    let found = async |query: &str| {
        let found = vendor.look(&format!("/licenses?{query}")).await;
        let found = found["licenses"].as_array().unwrap().iter();
        let keys = found.map(|it| it["licenseKey"].as_str().unwrap().to_owned());
        keys.collect::<Vec<_>>()
    };
    assert_eq!(found("trial=true").await, [key]);
    assert_eq!(found("trial=false").await, [&*paid]);
    assert_eq!(found("trial=true&status=active").await, [key]);
    assert_eq!(vendor.look("/fleet").await["trials"], 1);
    let scraped = vendor.http.get(format!("{}/metrics", vendor.url));
    let scraped = scraped.bearer_auth(ADMIN_TOKEN).send().await.unwrap();
    let scraped = scraped.text().await.unwrap();
    for line in [
        "foxsight_license_server_trials 1",
        "foxsight_license_server_licenses{status=\"active\"} 2",
        "foxsight_license_server_licenses{status=\"expiring\"} 0",
        "foxsight_license_server_licenses{status=\"scheduled\"} 0",
    ] {
        assert!(scraped.contains(line), "{line}: {scraped}");
    }
    let table = said(&run(&vendor, &["list", "--trial"]).await);
    assert!(table.contains(key) && table.contains(", trial"), "{table}");
    assert!(!table.contains(&paid), "{table}");
    let others = printed(&vendor, &["list", "--trial", "false"]).await;
    assert_eq!(others[0]["licenseKey"], paid);

    let converted = amended(&vendor, key, json!({"plan": "standard"})).await;
    assert_eq!(converted["license"]["trial"], false, "{converted}");
    assert_eq!(found("trial=true").await, [""; 0]);
    let undone = amended(&vendor, key, json!({"undoes": 2})).await;
    assert_eq!(undone["license"]["trial"], true, "{undone}");
    assert_eq!(found("trial=true").await, [key]);
    vendor.end().await;
}
