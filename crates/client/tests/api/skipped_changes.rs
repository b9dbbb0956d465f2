//! Triggers of other users of the database that skip changes without an error.

use std::time::Duration;

use reqwest::StatusCode;
use serde_json::json;

use crate::database::{Engine, on_both_engines};
use crate::harness::{KEY, Site};
use crate::scripted_cloud::ScriptedCloud;

on_both_engines! {
    an_activation_that_is_skipped_fails;
    a_switch_that_is_skipped_fails;
    a_trigger_that_skips_only_changes_to_the_same_values_is_no_failure;
    readiness_names_the_trigger_that_skips_the_change_of_its_row;
}

const SWITCH: &str = "/api/license/features/module.map_view";

fn named(table: &str) -> String {
    format!(
        "the database did not store the change: a trigger or rule on table {table} skips it; \
         remove the trigger or rule"
    )
}

/// What `/readyz` says about the database. Callers within a second share one check.
async fn readiness(site: &Site) -> String {
    tokio::time::sleep(Duration::from_millis(1100)).await;
    let (_, readiness) = site.get("/readyz").await;
    readiness["database"].as_str().unwrap().to_owned()
}

async fn an_activation_that_is_skipped_fails(engine: Engine) {
    let cloud = ScriptedCloud::start().await;
    let mut site = Site::start(engine, &cloud.url, &[]).await;
    for table in ["local_license_cache", "local_feature_flags"] {
        site.database.skip("INSERT", table, None).await;
        let (status, answer) = site.activate(KEY).await;
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{table}: {answer}");
        let detail = answer.to_string();
        assert!(detail.contains(&named(table)), "{table}: {answer}");
        assert_eq!(site.standing().await, "unlicensed", "{table}");
        site.database.skip_no_more("INSERT", table).await;
    }
    assert_eq!(site.activate(KEY).await.0, StatusCode::OK);
    site.restart().await;
    assert!(site.is_available("module.map_view").await);
    site.end().await;
}

async fn a_switch_that_is_skipped_fails(engine: Engine) {
    let cloud = ScriptedCloud::start().await;
    let site = Site::start(engine, &cloud.url, &[]).await;
    site.activate(KEY).await;
    for (event, table) in [
        ("UPDATE", "local_feature_flags"),
        ("UPDATE", "system_config"),
    ] {
        site.database.skip(event, table, None).await;
        let (status, answer) = site.put(SWITCH, json!({"systemEnabled": false})).await;
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{table}: {answer}");
        let detail = answer["detail"].as_str().unwrap();
        assert!(detail.contains(&named(table)), "{detail}");
        assert!(site.is_available("module.map_view").await);
        site.database.skip_no_more(event, table).await;
    }
    let (status, _) = site.put(SWITCH, json!({"systemEnabled": false})).await;
    assert_eq!(status, StatusCode::OK);
    site.end().await;
}

async fn a_trigger_that_skips_only_changes_to_the_same_values_is_no_failure(engine: Engine) {
    let cloud = ScriptedCloud::start().await;
    let site = Site::start(engine, &cloud.url, &[]).await;
    site.activate(KEY).await;
    for (table, columns) in [
        ("system_config", &["value", "updated_at"][..]),
        (
            "local_feature_flags",
            &["enabled", "licensed", "system_enabled", "synced_at"],
        ),
        (
            "local_license_cache",
            &["is_valid", "license_data", "last_validated_at"],
        ),
    ] {
        if engine == Engine::Postgres {
            let trigger = format!(
                "CREATE TRIGGER skip BEFORE UPDATE ON {table} FOR EACH ROW EXECUTE FUNCTION \
                 suppress_redundant_updates_trigger()"
            );
            site.database.execute(&trigger).await;
            continue;
        }
        let same = columns.iter().map(|it| format!("OLD.{it} IS NEW.{it}"));
        let same = same.collect::<Vec<_>>().join(" AND ");
        let trigger = format!(
            "CREATE TRIGGER skip_{table} BEFORE UPDATE ON {table} WHEN {same} \
             BEGIN SELECT RAISE(IGNORE); END"
        );
        site.database.execute(&trigger).await;
    }
    assert_eq!(readiness(&site).await, "ok");
    for on in [false, false, true, true] {
        let (status, answer) = site.put(SWITCH, json!({"systemEnabled": on})).await;
        assert_eq!(status, StatusCode::OK, "{answer}");
        assert_eq!(site.is_available("module.map_view").await, on);
    }
    // Nothing differs but the log: the time stands still.
    for _ in 0..2 {
        site.validate().await;
        assert_eq!(site.activate(KEY).await.0, StatusCode::OK);
    }
    assert_eq!(readiness(&site).await, "ok");
    site.end().await;
}

async fn readiness_names_the_trigger_that_skips_the_change_of_its_row(engine: Engine) {
    let cloud = ScriptedCloud::start().await;
    let site = Site::start(engine, &cloud.url, &[]).await;
    assert_eq!(readiness(&site).await, "ok");
    site.database.skip("UPDATE", "system_config", None).await;
    assert_eq!(readiness(&site).await, named("system_config"));
    site.database.skip_no_more("UPDATE", "system_config").await;
    assert_eq!(readiness(&site).await, "ok");
    site.database
        .execute("DELETE FROM system_config WHERE key = 'license_client.secret'")
        .await;
    assert!(readiness(&site).await.contains("is missing or hidden"));
    site.end().await;
}
