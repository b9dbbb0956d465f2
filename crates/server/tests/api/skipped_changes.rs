//! Triggers and rules of other users of the database that skip changes without an error.

use std::time::Duration;

use license_core::amendment::TermChanges;
use license_server::licensing::catalogue::Tier;
use license_server::licensing::issue::IssueRequest;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::commands::{run, said};
use crate::database::{Engine, on_both_engines};
use crate::harness::{ADMIN_TOKEN, INSTALLATION, Vendor};

on_both_engines! {
    a_command_whose_change_is_skipped_fails_and_changes_nothing;
    a_call_whose_change_is_skipped_is_not_confirmed;
    a_trigger_that_skips_only_changes_to_the_same_values_is_no_failure;
    readiness_names_the_trigger_that_skips_the_change_of_its_row;
}

fn named(table: &str) -> String {
    format!(
        "the database did not store the change: a trigger or rule on table {table} skips it; \
         remove the trigger or rule"
    )
}

/// Everything that the commands of these tests change.
async fn rows(vendor: &Vendor) -> Vec<Option<String>> {
    let rows = "SELECT status || ' ' || seats || ' ' || amendment || ' ' || customer FROM licenses \
                UNION ALL SELECT action FROM audit_log \
                UNION ALL SELECT name FROM customers \
                UNION ALL SELECT name || coalesce(revoked_at || '', '') FROM admin_tokens";
    let mut rows = vendor.database.texts(rows).await;
    rows.sort();
    rows
}

async fn a_command_whose_change_is_skipped_fails_and_changes_nothing(engine: Engine) {
    let vendor = Vendor::start(engine).await;
    let key = vendor.issue(IssueRequest::of(Tier::Standard)).await;
    let add = ["tokens", "add", "ann"];
    assert!(run(&vendor, &add).await.status.success());
    let add = ["customers", "add", "Harbour"];
    let added = run(&vendor, &add).await;
    assert!(added.status.success(), "{}", said(&added));
    let issue = ["issue", "--tier", "standard", "--customer", "Quay"];
    let cases: [(&str, &str, &[&str]); 12] = [
        ("UPDATE", "licenses", &["suspend", &key]),
        ("UPDATE", "licenses", &["revoke", &key]),
        ("UPDATE", "licenses", &["amend", &key, "--seats", "7"]),
        ("INSERT", "amendments", &["amend", &key, "--seats", "7"]),
        ("INSERT", "audit_log", &["suspend", &key]),
        ("INSERT", "audit_log", &issue),
        ("INSERT", "licenses", &issue),
        ("INSERT", "amendments", &issue),
        ("INSERT", "customers", &issue),
        (
            "UPDATE",
            "customers",
            &["customers", "edit", "Harbour", "--name", "Port"],
        ),
        ("INSERT", "admin_tokens", &["tokens", "add", "bob"]),
        ("UPDATE", "admin_tokens", &["tokens", "revoke", "ann"]),
    ];
    let before = rows(&vendor).await;
    for (event, table, command) in cases {
        vendor.database.skip(event, table, None).await;
        let output = run(&vendor, command).await;
        let printed = said(&output);
        assert_eq!(output.status.code(), Some(1), "{command:?}: {printed}");
        assert!(printed.contains(&named(table)), "{command:?}: {printed}");
        assert_eq!(rows(&vendor).await, before, "{command:?}");
        vendor.database.skip_no_more(event, table).await;
    }
    assert!(run(&vendor, &["suspend", &key]).await.status.success());
    vendor.end().await;
}

async fn a_call_whose_change_is_skipped_is_not_confirmed(engine: Engine) {
    let vendor = Vendor::start(engine).await;
    let request = IssueRequest {
        terms: TermChanges {
            seats: Some(1),
            ..TermChanges::default()
        },
        ..IssueRequest::of(Tier::Standard)
    };
    let key = vendor.issue(request).await;
    let activation = |machine: &str| {
        json!({"licenseKey": key, "hardwareId": machine, "installationId": INSTALLATION,
               "installationName": "Test", "installationVersion": "1.0.0"})
    };
    vendor.database.skip("INSERT", "seats", None).await;
    for machine in ["a", "b"] {
        let (status, answer) = vendor.post("activate", activation(machine)).await;
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{answer}");
    }
    vendor.database.skip_no_more("INSERT", "seats").await;
    assert_eq!(vendor.activate(&key, "a").await.word(), "yes");
    vendor.database.skip("UPDATE", "seats", None).await;
    let (status, answer) = vendor.post("activate", activation("a")).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{answer}");
    vendor.database.skip_no_more("UPDATE", "seats").await;

    vendor.database.skip("UPDATE", "licenses", None).await;
    let path = format!("/licenses/{key}/suspend");
    let (status, answer) = vendor.admin(Method::POST, &path, json!({})).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{answer}");
    assert_eq!(vendor.validate(&key, "a").await.word(), "yes");
    vendor.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rule_that_does_nothing_instead_is_named() {
    let vendor = Vendor::start(Engine::Postgres).await;
    let key = vendor.issue(IssueRequest::of(Tier::Standard)).await;
    for (event, table) in [("UPDATE", "licenses"), ("INSERT", "audit_log")] {
        let rule = format!("CREATE RULE skip AS ON {event} TO {table} DO INSTEAD NOTHING");
        vendor.database.execute(&rule).await;
        let output = run(&vendor, &["suspend", &key]).await;
        let printed = said(&output);
        assert_eq!(output.status.code(), Some(1), "{printed}");
        assert!(printed.contains(&named(table)), "{printed}");
        let back = format!("DROP RULE skip ON {table}");
        vendor.database.execute(&back).await;
    }
    vendor.end().await;
}

/// What administrators and others are told.
async fn readiness(vendor: &Vendor) -> (StatusCode, [String; 2]) {
    // Callers within a second share one check.
    tokio::time::sleep(Duration::from_millis(1100)).await;
    let url = format!("{}/readyz", vendor.url);
    let asked = vendor.http.get(&url).bearer_auth(ADMIN_TOKEN).send();
    let asked = asked.await.unwrap();
    let status = asked.status();
    let other = vendor.http.get(&url).send().await.unwrap();
    let shown = |body: Value| body["database"].as_str().unwrap().to_owned();
    let said = [
        shown(asked.json().await.unwrap()),
        shown(other.json().await.unwrap()),
    ];
    (status, said)
}

async fn a_trigger_that_skips_only_changes_to_the_same_values_is_no_failure(engine: Engine) {
    let vendor = Vendor::start(engine).await;
    let key = vendor.issue(IssueRequest::of(Tier::Standard)).await;
    assert_eq!(vendor.activate(&key, "a").await.word(), "yes");
    match engine {
        Engine::Sqlite => {
            let same = "OLD.status IS NEW.status AND OLD.updated_at IS NEW.updated_at AND \
                        OLD.customer IS NEW.customer AND OLD.amendment IS NEW.amendment";
            vendor.database.skip("UPDATE", "licenses", Some(same)).await;
            let same = Some("OLD.applied_at IS NEW.applied_at");
            let table = "license_server_migrations";
            vendor.database.skip("UPDATE", table, same).await;
        }
        Engine::Postgres => {
            let all = "DO $$ DECLARE t text; BEGIN FOR t IN SELECT tablename FROM pg_tables WHERE \
                       schemaname = 'public' LOOP EXECUTE format('CREATE TRIGGER skip BEFORE \
                       UPDATE ON %I FOR EACH ROW EXECUTE FUNCTION \
                       suppress_redundant_updates_trigger()', t); END LOOP; END $$";
            vendor.database.execute(all).await;
        }
    }
    let (status, said) = readiness(&vendor).await;
    assert_eq!(
        (status, said),
        (StatusCode::OK, ["ok".to_owned(), "ok".to_owned()])
    );
    // Some of them change nothing.
    for command in [
        &["suspend", &key][..],
        &["suspend", &key],
        &["reinstate", &key],
        &["customers", "add", "Harbour"],
        &["customers", "edit", "Harbour", "--name", "Harbour"],
        &["customers", "edit", "Harbour", "--name", "Harbour"],
    ] {
        let output = run(&vendor, command).await;
        assert!(
            output.status.success(),
            "{command:?}: {}",
            crate::commands::said(&output)
        );
    }
    assert_eq!(vendor.validate(&key, "a").await.word(), "yes");
    assert_eq!(vendor.activate(&key, "a").await.word(), "yes");
    vendor.end().await;
}

async fn readiness_names_the_trigger_that_skips_the_change_of_its_row(engine: Engine) {
    let vendor = Vendor::start(engine).await;
    let table = "license_server_migrations";
    vendor.database.skip("UPDATE", table, None).await;
    let (status, said) = readiness(&vendor).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    let expected = format!("does not accept changes: {}", named(table));
    assert_eq!(said, [expected, "does not accept changes".to_owned()]);
    vendor.database.skip_no_more("UPDATE", table).await;
    assert_eq!(readiness(&vendor).await.0, StatusCode::OK);
    vendor.end().await;
}
