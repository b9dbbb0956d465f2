//! Plans: published, sold and replaced.

mod by_command;
mod differences;
mod limits;
mod terms;

use chrono::TimeDelta;
use license_core::amendment::TermChanges;
use license_server::audit::Actor;
use license_server::licensing::catalogue::Tier;
use license_server::licensing::issue::IssueRequest;
use license_server::licensing::look_up::look_up;
use license_server::licensing::plan_file::PlanFile;
use license_server::licensing::plans::{PublishError, apply};
use license_server::store::amendments;
use license_server::store::licenses::License;
use license_service::clock::Clock as _;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::amendments::{amend, amended};
use crate::database::{Engine, on_both_engines};
use crate::harness::Vendor;
use crate::offers::sell;

/// The plans that the documents show.
pub(crate) const EXAMPLE: &str = include_str!("../../../../examples/plans.toml");

on_both_engines! {
    a_plan_is_published_in_versions_that_never_change;
    an_invalid_plan_is_not_published_and_its_field_is_named;
    two_publications_at_once_never_share_a_version;
    a_file_is_applied_whole_or_not_at_all;
    a_license_is_issued_from_a_version_of_a_plan;
    an_invalid_license_is_not_issued_and_its_field_is_named;
    what_the_catalogue_does_not_contain_is_not_sold;
    a_license_is_amended_to_another_plan_and_back;
}

/// Publishes the plans that the documents show.
pub(crate) async fn publish_example(vendor: &Vendor) {
    let file = PlanFile::parse(EXAMPLE).unwrap();
    let change = vendor.app.change(Actor::CommandLine);
    apply(&vendor.app.store, &file, &change, true)
        .await
        .unwrap();
}

async fn publish(vendor: &Vendor, body: Value) -> (StatusCode, Value) {
    vendor.admin(Method::POST, "/plans", body).await
}

async fn issue(vendor: &Vendor, body: Value) -> (StatusCode, Value) {
    vendor.admin(Method::POST, "/licenses", body).await
}

/// The message of an answer with this status.
fn refused((status, answer): (StatusCode, Value), expected: StatusCode) -> String {
    assert_eq!(status, expected, "{answer}");
    answer["error"]["message"].as_str().unwrap().to_owned()
}

fn small() -> Value {
    json!({
        "title": "Small", "terms": {"seats": 1},
        "entitlements": [{"key": "module.map_view"}, {"key": "cameras", "quantity": 4}],
    })
}

async fn a_plan_is_published_in_versions_that_never_change(engine: Engine) {
    let vendor = Vendor::start(engine).await;
    let names = |listed: &Value| -> Vec<String> {
        let plans = listed["plans"].as_array().unwrap().iter();
        let names = plans.map(|it| format!("{}@{}", it["name"].as_str().unwrap(), it["version"]));
        names.collect()
    };
    let listed = vendor.look("/plans").await;
    assert_eq!(
        names(&listed),
        ["enterprise@1", "professional@1", "standard@1"]
    );
    assert_eq!(
        listed["plans"][2]["contents"]["entitlements"][1]["quantity"],
        16
    );

    let body = json!({"name": "small", "contents": small()});
    let (status, first) = publish(&vendor, body.clone()).await;
    assert_eq!(status, StatusCode::CREATED, "{first}");
    assert_eq!(first["version"], 1);
    assert_eq!(first["author"], "break-glass");
    assert_eq!(first["publishedAt"], "2026-11-24T12:00:00Z");
    assert_eq!(first["contents"]["terms"]["moves"], 3);
    // The same again is no new version.
    let (status, again) = publish(&vendor, body).await;
    assert_eq!((status, &again), (StatusCode::OK, &first));

    let mut contents = small();
    contents["duration"] = json!("P1Y");
    let body = json!({"name": "small", "version": 2, "contents": contents});
    let (status, second) = publish(&vendor, body.clone()).await;
    assert_eq!(
        (status, &second["version"]),
        (StatusCode::CREATED, &json!(2))
    );
    assert_eq!(publish(&vendor, body).await.0, StatusCode::OK);
    let mut other = small();
    other["title"] = json!("Other");
    let body = json!({"name": "small", "version": 2, "contents": other});
    let message = refused(publish(&vendor, body).await, StatusCode::CONFLICT);
    assert!(message.contains("version: the next version"), "{message}");

    let versions = vendor.look("/plans/small").await;
    assert_eq!(versions["plans"], json!([second, first]));
    let unknown = vendor.admin(Method::GET, "/plans/large", Value::Null).await;
    refused(unknown, StatusCode::NOT_FOUND);
    let log = vendor.audit("").await;
    assert_eq!(
        (&log[0]["action"], &log[0]["subject"]),
        (&json!("plan_published"), &json!("small@2"))
    );
    assert_eq!(log[0]["details"]["duration"], "P1Y");
    vendor.end().await;
}

async fn an_invalid_plan_is_not_published_and_its_field_is_named(engine: Engine) {
    let vendor = Vendor::start(engine).await;
    let with = |pointer: &str, value: Value| {
        let mut contents = small();
        *contents.pointer_mut(pointer).unwrap() = value;
        json!({"name": "small", "contents": contents})
    };
    for (body, field) in [
        (json!({"name": "Small!", "contents": small()}), "name"),
        (json!({"contents": small()}), "name"),
        (json!({"name": "small"}), "contents"),
        (with("/title", json!("")), "title"),
        (with("/terms/seats", json!(0)), "seats"),
        (with("/terms/seats", json!(-1)), "-1"),
        (
            with("/terms", json!({"seats": 1, "leaseHours": 5000})),
            "leaseHours",
        ),
        (
            with("/terms", json!({"seats": 1, "updatesFor": "PT1H"})),
            "duration 'PT1H'",
        ),
        (
            with("/entitlements/0/key", json!("module.new")),
            "entitlements[0].key",
        ),
        (with("/entitlements/1/quantity", json!(-4)), "quantity -4"),
        (
            with("/entitlements/1", json!({"key": "cameras"})),
            "entitlements[1].quantity",
        ),
        (
            with("/entitlements/1/key", json!("module.map_view")),
            "entitlements[1].quantity",
        ),
    ] {
        let message = refused(
            publish(&vendor, body.clone()).await,
            StatusCode::BAD_REQUEST,
        );
        assert!(message.contains(field), "{body}: {message}");
    }
    let listed = vendor.look("/plans").await;
    assert_eq!(listed["plans"].as_array().unwrap().len(), 3);
    vendor.end().await;
}

async fn two_publications_at_once_never_share_a_version(engine: Engine) {
    let vendor = Vendor::start(engine).await;
    let body = |title: &str| {
        let mut contents = small();
        contents["title"] = json!(title);
        json!({"name": "small", "version": 1, "contents": contents})
    };
    let both = tokio::join!(publish(&vendor, body("A")), publish(&vendor, body("B")));
    let mut statuses = [both.0.0, both.1.0];
    statuses.sort_unstable();
    assert_eq!(
        statuses,
        [StatusCode::CREATED, StatusCode::CONFLICT],
        "{both:?}"
    );
    let versions = vendor.look("/plans/small").await;
    assert_eq!(versions["plans"].as_array().unwrap().len(), 1);
    vendor.end().await;
}

async fn a_file_is_applied_whole_or_not_at_all(engine: Engine) {
    let vendor = Vendor::start(engine).await;
    let store = &vendor.app.store;
    let change = vendor.app.change(Actor::CommandLine);
    let unchanged = async || {
        let plans = vendor.look("/plans").await;
        let entries = vendor.look("/catalogue").await;
        let count = |it: &Value| it.as_array().unwrap().len();
        assert_eq!(
            (count(&plans["plans"]), count(&entries["catalogue"])),
            (3, 8)
        );
    };
    let file = PlanFile::parse(EXAMPLE).unwrap();
    let applied = apply(store, &file, &change, false).await.unwrap();
    assert_eq!((applied.entries.len(), applied.plans.len()), (1, 3));
    unchanged().await;
    // The last plan of the file is invalid.
    let mut invalid = file.clone();
    let plan = invalid.plans.get_mut("trial").unwrap();
    plan.entitlements[0].key = "module.new".to_owned();
    let refused = apply(store, &invalid, &change, true).await.unwrap_err();
    assert!(matches!(refused, PublishError::Plan { .. }), "{refused}");
    unchanged().await;
    // An entry of the audit log cannot be written.
    let away = "ALTER TABLE audit_log RENAME TO away";
    vendor.database.execute(away).await;
    apply(store, &file, &change, true).await.unwrap_err();
    let back = "ALTER TABLE away RENAME TO audit_log";
    vendor.database.execute(back).await;
    unchanged().await;

    apply(store, &file, &change, true).await.unwrap();
    let again = apply(store, &file, &change, true).await.unwrap();
    assert_eq!((again.entries.len(), again.plans.len()), (0, 0));
    // What licenses grant as a count stays one.
    let mut other = PlanFile {
        catalogue: file.catalogue,
        ..PlanFile::default()
    };
    other.catalogue[0].kind = license_core::catalogue::Kind::Feature;
    let refused = apply(store, &other, &change, true).await.unwrap_err();
    assert!(matches!(refused, PublishError::Kind(_)), "{refused}");
    vendor.end().await;
}

async fn license(vendor: &Vendor, key: &str) -> License {
    look_up(&vendor.app.store, key).await.unwrap()
}

async fn a_license_is_issued_from_a_version_of_a_plan(engine: Engine) {
    let vendor = Vendor::start(engine).await;
    publish_example(&vendor).await;
    let body = json!({"plan": "parking", "customer": "Harbour Ltd", "seats": 2});
    let (status, issued) = issue(&vendor, body).await;
    assert_eq!(status, StatusCode::CREATED, "{issued}");
    assert_eq!(
        (&issued["plan"], &issued["tier"], &issued["seats"]),
        (&json!("parking@1"), &json!("parking"), &json!(2))
    );
    assert_eq!(issued["expiresAt"], "2027-11-24T11:59:59Z");
    assert_eq!(
        (&issued["leaseHours"], &issued["updatesUntil"]),
        (&json!(48), &json!("2027-11-24T11:59:59Z"))
    );
    let key = issued["licenseKey"].as_str().unwrap();
    let listed = vendor.look(&format!("/licenses/{key}/amendments")).await;
    let changes = listed["amendments"][0]["changes"].as_array().unwrap();
    for change in [
        json!({"grant": {"key": "anpr_lanes", "quantity": 8}}),
        json!({"grant": {"key": "module.analytics_advanced", "until": "2027-02-22T11:59:59Z"}}),
        json!({"plan": {"name": "parking", "version": 1}}),
        json!({"customer": issued["customerId"]}),
        json!({"expiry": "2027-11-24T11:59:59Z"}),
    ] {
        assert!(changes.contains(&change), "{change}: {changes:?}");
    }
    let row = license(&vendor, key).await;
    let db = vendor.app.store.reader();
    let first = amendments::of_license(db, &row.id).await.unwrap();
    let rebuilt = License {
        customer: row.customer.clone(),
        ..License::issued(row.id.clone(), key.to_owned(), &first[0], row.created_at)
    };
    assert_eq!(rebuilt, row);

    // A start later, from which everything counts, and an end of its own.
    let body = json!({"plan": "parking@1", "startsAt": "2027-05-01"});
    let (_, later) = issue(&vendor, body).await;
    assert_eq!(later["expiresAt"], "2028-04-30T23:59:59Z");
    assert_eq!(
        (&later["features"], &later["maxCameras"]),
        (&json!([]), &json!(0))
    );
    let body = json!({"plan": "parking@1", "expiresAt": "2030-12-31"});
    assert_eq!(
        issue(&vendor, body).await.1["expiresAt"],
        "2030-12-31T23:59:59Z"
    );
    // A tier is the plan of that name.
    let (_, tier) = issue(&vendor, json!({"tier": "professional"})).await;
    assert_eq!(
        (&tier["plan"], &tier["expiresAt"]),
        (&json!("professional@1"), &Value::Null)
    );
    vendor.end().await;
}

async fn an_invalid_license_is_not_issued_and_its_field_is_named(engine: Engine) {
    let vendor = Vendor::start(engine).await;
    publish_example(&vendor).await;
    for (body, expected) in [
        (json!({}), "plan: expected either"),
        (
            json!({"plan": "parking", "tier": "standard"}),
            "plan: expected either",
        ),
        (json!({"plan": "large"}), "plan: there is no plan 'large'"),
        (
            json!({"plan": "parking@7"}),
            "plan: the plan 'parking' has no version 7",
        ),
        (json!({"plan": "parking@0"}), "plan: 'parking@0'"),
        (json!({"plan": "Parking"}), "plan: 'Parking'"),
        (json!({"plan": "parking", "maxCameras": -2}), "maxCameras"),
        (json!({"plan": "parking", "graceHours": 721}), "graceHours"),
        (
            json!({"plan": "parking", "without": ["module.alarm_advanced"]}),
            "without",
        ),
        (
            json!({"plan": "parking", "startsAt": "2027-05-01", "expiresAt": "2027-01-01"}),
            "expiresAt",
        ),
        (
            json!({"plan": "parking", "startsAt": "9999-05-01"}),
            "plan: P1Y from 9999",
        ),
    ] {
        let message = refused(issue(&vendor, body.clone()).await, StatusCode::BAD_REQUEST);
        assert!(message.contains(expected), "{body}: {message}");
    }
    vendor.end().await;
}

async fn what_the_catalogue_does_not_contain_is_not_sold(engine: Engine) {
    let vendor = Vendor::start(engine).await;
    let body = json!({"tier": "standard", "with": ["module.new"]});
    let message = refused(issue(&vendor, body.clone()).await, StatusCode::BAD_REQUEST);
    assert!(
        message.contains("with: 'module.new' is not in the catalogue"),
        "{message}"
    );
    let key = vendor.issue(IssueRequest::of(Tier::Standard)).await;
    let add = json!({"add": [{"key": "module.new"}, {"key": "gates", "quantity": 2}]});
    let message = refused(
        amend(&vendor, &key, add.clone()).await,
        StatusCode::BAD_REQUEST,
    );
    assert!(message.contains("add[0].key: 'module.new'"), "{message}");
    sell(&vendor, &["module.new"], &["gates"]).await;
    assert_eq!(issue(&vendor, body).await.0, StatusCode::CREATED);
    amended(&vendor, &key, add).await;
    // Core features are in every license, and were always accepted.
    let body = json!({"tier": "standard", "with": ["module.live_view"]});
    assert_eq!(issue(&vendor, body).await.0, StatusCode::CREATED);
    vendor.end().await;
}

async fn a_license_is_amended_to_another_plan_and_back(engine: Engine) {
    let vendor = Vendor::start(engine).await;
    publish_example(&vendor).await;
    let key = vendor
        .issue(IssueRequest {
            terms: TermChanges {
                moves: Some(7),
                ..TermChanges::default()
            },
            ..IssueRequest::of(Tier::Standard)
        })
        .await;
    amended(
        &vendor,
        &key,
        json!({"add": [{"key": "cameras", "quantity": 32}]}),
    )
    .await;
    let before = license(&vendor, &key).await;
    vendor.clock.advance(TimeDelta::hours(1));
    let answer = amended(&vendor, &key, json!({"plan": "parking", "order": "4711"})).await;
    let changes = answer["effects"][0]["changes"].as_array().unwrap();
    let lanes = json!({"key": "anpr_lanes", "before": 0, "after": 8});
    assert!(changes.contains(&lanes), "{answer}");
    let row = license(&vendor, &key).await;
    assert_eq!((row.plan.as_str(), row.max_cameras), ("parking@1", 48));
    assert_eq!((row.moves, row.lease_hours), (7, Some(48)));
    let end = vendor.clock.now() + TimeDelta::days(365);
    let end = end.to_rfc3339_opts(chrono::SecondsFormat::Secs, true);
    assert_eq!(end, "2027-11-24T13:00:00Z");
    assert_eq!(
        row.expires_at,
        Some("2027-11-24T12:59:59Z".parse().unwrap())
    );
    // The plan that it has already is no change.
    let again = amend(&vendor, &key, json!({"plan": "parking@1"})).await;
    let message = refused(again, StatusCode::BAD_REQUEST);
    assert!(message.contains("changes nothing"), "{message}");
    let unknown = amend(&vendor, &key, json!({"plan": "parking@2"})).await;
    let message = refused(unknown, StatusCode::BAD_REQUEST);
    assert!(
        message.contains("plan: the plan 'parking' has no version 2"),
        "{message}"
    );

    amended(&vendor, &key, json!({"undoes": 3})).await;
    let after = license(&vendor, &key).await;
    let expected = License {
        amendment: 4,
        updated_at: after.updated_at,
        judged_at: after.judged_at,
        ..before
    };
    assert_eq!(after, expected);
    vendor.end().await;
}
