//! How many plans and entries of the catalogue there are.

use std::collections::BTreeMap;

use futures_util::future::join_all;
use license_core::catalogue::{CatalogueEntry, Kind};
use license_server::audit::Actor;
use license_server::licensing::plan_file::PlanFile;
use license_server::licensing::plans::{MAX_CATALOGUE_ENTRIES, MAX_PLANS, apply};
use license_server::store::{catalogue, plans};
use reqwest::StatusCode;
use serde_json::json;

use super::{publish, small};
use crate::database::{Engine, on_both_engines};
use crate::harness::Vendor;

on_both_engines! {
    the_limits_hold_however_many_are_added_at_once;
    all_plans_together_and_all_versions_of_one_have_a_limited_size;
}

/// Numbers up to the difference between a count and two below its limit.
fn numbers(count: u64, max: u64) -> String {
    let missing = max - 2 - count;
    format!(
        "WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < \
         {missing})"
    )
}

fn entry(number: usize) -> CatalogueEntry {
    CatalogueEntry {
        key: format!("new_{number}"),
        kind: Kind::Feature,
        name: "New".to_owned(),
        unit: String::new(),
        description: String::new(),
    }
}

async fn the_limits_hold_however_many_are_added_at_once(engine: Engine) {
    let vendor = Vendor::start(engine).await;
    let twin = vendor.twin().await;
    let db = vendor.app.store.reader();
    let fill = format!(
        "{} INSERT INTO plans (name, version, author, contents) SELECT 'plan-' || n, 1, 'test', \
         contents FROM numbers, plans WHERE name = 'standard'",
        numbers(plans::count(db).await.unwrap(), MAX_PLANS)
    );
    vendor.database.execute(&fill).await;
    let fill = format!(
        "{} INSERT INTO catalogue (key, kind, name, unit, description) SELECT 'key_' || n, \
         'feature', 'Key', '', '' FROM numbers",
        numbers(catalogue::count(db).await.unwrap(), MAX_CATALOGUE_ENTRIES)
    );
    vendor.database.execute(&fill).await;

    let servers = [&vendor, &twin];
    let publishing = (0..8).map(async |number: usize| {
        let body = json!({"name": format!("new-{number}"), "contents": small()});
        publish(servers[number % 2], body).await
    });
    let answers = join_all(publishing).await;
    let with = |status: StatusCode| answers.iter().filter(move |it| it.0 == status);
    assert_eq!(with(StatusCode::CREATED).count(), 2, "{answers:?}");
    assert_eq!(with(StatusCode::CONFLICT).count(), 6, "{answers:?}");
    let (_, refused) = with(StatusCode::CONFLICT).next().unwrap();
    let message = refused["error"]["message"].as_str().unwrap();
    assert!(
        message.contains("publish a version of an existing plan"),
        "{message}"
    );
    assert_eq!(plans::count(db).await.unwrap(), MAX_PLANS);
    // There is always room for another version of a plan.
    let body = json!({"name": "standard", "contents": small()});
    assert_eq!(publish(&vendor, body).await.0, StatusCode::CREATED);

    let applying = (0..8).map(async |number: usize| {
        let app = &servers[number % 2].app;
        let file = PlanFile {
            catalogue: vec![entry(number)],
            plans: BTreeMap::new(),
        };
        let change = app.change(Actor::CommandLine);
        apply(&app.store, &file, &change, true).await
    });
    let applied = join_all(applying).await;
    assert_eq!(
        applied.iter().filter(|it| it.is_ok()).count(),
        2,
        "{applied:?}"
    );
    assert_eq!(catalogue::count(db).await.unwrap(), MAX_CATALOGUE_ENTRIES);
    twin.stop().await;
    vendor.end().await;
}

async fn all_plans_together_and_all_versions_of_one_have_a_limited_size(engine: Engine) {
    let vendor = Vendor::start(engine).await;
    let fill = async |name: &str, version: &str| {
        let contents = json!({
            "title": "x".repeat(600_000), "terms": {"seats": 1}, "entitlements": [],
        });
        let insert = format!(
            "INSERT INTO plans (name, version, author, contents) \
             VALUES ('{name}', {version}, 'test', '{contents}')"
        );
        vendor.database.execute(&insert).await;
    };
    let named = |name: &str| json!({"name": name, "contents": small()});
    for version in 1..=8 {
        fill("versions", &version.to_string()).await;
    }
    let (status, answer) = publish(&vendor, named("versions")).await;
    assert_eq!(status, StatusCode::CONFLICT, "{answer}");
    assert!(
        answer["error"]["message"]
            .as_str()
            .unwrap()
            .contains("the versions of the plan")
    );
    let (status, answer) = publish(&vendor, named("other")).await;
    assert_eq!(status, StatusCode::CREATED, "{answer}");
    for number in 1..=8 {
        fill(&format!("large-{number}"), "1").await;
    }
    let (status, answer) = publish(&vendor, named("another")).await;
    assert_eq!(status, StatusCode::CONFLICT, "{answer}");
    assert!(
        answer["error"]["message"]
            .as_str()
            .unwrap()
            .contains("all plans would be")
    );
    vendor.end().await;
}
