//! Commands that list licenses and seats.

use license_core::amendment::TermChanges;
use license_server::licensing::catalogue::Tier;
use license_server::licensing::issue::IssueRequest;
use license_server::store::licenses::Status;
use reqwest::Method;
use serde_json::Value;

use crate::commands::{json, run, said};
use crate::database::{Engine, on_both_engines};
use crate::harness::{ADMIN_TOKEN, Vendor};
use crate::plans::publish_example;

on_both_engines! {
    licenses_are_listed_by_plan;
    a_list_is_whole_in_json_and_says_what_a_table_leaves_out;
    seats_are_listed_page_by_page;
    a_license_whose_end_has_passed_is_called_expired_everywhere;
}

async fn a_list_is_whole_in_json_and_says_what_a_table_leaves_out(engine: Engine) {
    let vendor = Vendor::start(engine).await;
    let first = vendor.issue(IssueRequest::of(Tier::Standard)).await;
    // Beyond a page of the list, and beyond one of the database.
    let numbers = match engine {
        Engine::Sqlite => {
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1100) SELECT"
        }
        Engine::Postgres => "WITH n(i) AS (SELECT generate_series(1, 1100)) SELECT",
    };
    let columns = "customer, tier, features, max_cameras, max_users, max_storage_gb, seats, status, \
                   status_message, expires_at, created_at, updated_at, moves, moves_period_days";
    let sql = format!(
        "INSERT INTO licenses (id, license_key, {columns}) {numbers} 'id-' || i, 'key-' || i, \
         {columns} FROM licenses, n"
    );
    vendor.database.execute(&sql).await;
    let all = json(&vendor, &["list"]).await;
    let mut keys: Vec<_> = all
        .as_array()
        .unwrap()
        .iter()
        .map(|it| &it["licenseKey"])
        .collect();
    assert_eq!(keys.len(), 1101);
    assert!(keys.contains(&&Value::from(first)));
    keys.sort_by_key(|key| key.as_str());
    keys.dedup();
    assert_eq!(keys.len(), 1101, "each one time");
    // The rest follows the cursor, in tables and in JSON.
    let table = said(&run(&vendor, &["list"]).await);
    assert!(table.contains("100 of 1101 licenses"), "{table}");
    let cursor_in = |text: &str| {
        let (_, rest) = text.split_once("--cursor ").unwrap();
        let end = rest.find(|c: char| c == ',' || c.is_whitespace());
        rest[..end.unwrap_or(rest.len())].to_owned()
    };
    let begun = run(&vendor, &["list", "--json", "--limit", "1001"]).await;
    let shown: Value = serde_json::from_slice(&begun.stdout).unwrap();
    assert_eq!(shown.as_array().unwrap().len(), 1001);
    let cursor = cursor_in(&String::from_utf8_lossy(&begun.stderr));
    for (cursor, expected) in [(cursor_in(&table), 1001), (cursor, 100)] {
        let found = json(&vendor, &["list", "--cursor", &cursor]).await;
        let found = found.as_array().unwrap();
        assert_eq!(found.len(), expected, "{cursor}");
        assert_eq!(found, &all.as_array().unwrap()[1101 - expected..]);
    }
    let wrong = run(&vendor, &["list", "--cursor", "1100"]).await;
    assert!(!wrong.status.success());
    assert!(said(&wrong).contains("invalid cursor"), "{}", said(&wrong));
    vendor.end().await;
}

async fn seats_are_listed_page_by_page(engine: Engine) {
    let vendor = Vendor::start(engine).await;
    let request = IssueRequest {
        terms: TermChanges {
            seats: Some(3),
            ..TermChanges::default()
        },
        ..IssueRequest::of(Tier::Standard)
    };
    let key = vendor.issue(request).await;
    for machine in ["a", "b", "c"] {
        assert_eq!(vendor.activate(&key, machine).await.word(), "yes");
    }
    let list = ["seats", "list", &key, "--limit", "2"];
    let first = json(&vendor, &list).await;
    assert_eq!(first["total"], 3);
    let machines = |page: &Value| {
        let seats = page["seats"].as_array().unwrap().iter();
        let machines = seats.map(|it| it["hardwareId"].as_str().unwrap());
        machines.collect::<String>()
    };
    assert_eq!(machines(&first), "ab");
    let cursor = first["nextCursor"].as_str().unwrap();
    let second = json(&vendor, &[&list[..], &["--cursor", cursor]].concat()).await;
    assert_eq!(machines(&second), "c");
    assert_eq!(
        (&second["total"], &second["nextCursor"]),
        (&3.into(), &Value::Null)
    );
    let table = said(&run(&vendor, &list).await);
    let hint =
        format!("2 of 3 seats; continue with 'license-server seats list' and --cursor {cursor}.");
    assert!(table.contains(&hint), "{table}");
    let shown = json(&vendor, &["show", &key]).await;
    assert_eq!(
        (&shown["seatsTotal"], &shown["nextCursor"]),
        (&3.into(), &Value::Null)
    );
    vendor.end().await;
}

async fn a_license_whose_end_has_passed_is_called_expired_everywhere(engine: Engine) {
    let vendor = Vendor::start(engine).await;
    let mut keys = Vec::new();
    for name in ["active", "expired", "suspended", "revoked"] {
        let request = IssueRequest {
            customer: name.to_owned(),
            ..IssueRequest::of(Tier::Standard)
        };
        keys.push(vendor.issue(request).await);
    }
    vendor.set_status(&keys[2], Status::Suspended).await;
    vendor.set_status(&keys[3], Status::Revoked).await;
    // The end of what was taken back does not matter.
    let ended = "UPDATE licenses SET expires_at = '2020-01-01 00:00:00' WHERE customer <> 'active'";
    vendor.database.execute(ended).await;
    for name in ["active", "expired", "suspended", "revoked"] {
        let found = json(&vendor, &["list", "--status", name]).await;
        assert_eq!(found.as_array().unwrap().len(), 1, "{found}");
        assert_eq!(
            (&found[0]["customer"], &found[0]["status"]),
            (&name.into(), &name.into())
        );
        let table = said(&run(&vendor, &["list", "--search", name]).await);
        assert!(table.contains(&format!("  {name}  ")), "{table}");
        let found = vendor.look(&format!("/licenses?status={name}")).await;
        assert_eq!(
            (&found["total"], &found["licenses"][0]["status"]),
            (&1.into(), &name.into())
        );
        assert_eq!(vendor.look("/fleet").await["licenses"][name], 1);
    }
    let whole = vendor.look(&format!("/licenses/{}", keys[1])).await;
    assert_eq!(whole["license"]["status"], "expired");
    let shown = json(&vendor, &["show", &keys[1]]).await;
    assert_eq!(shown["license"]["status"], "expired");
    let text = said(&run(&vendor, &["show", &keys[1]]).await);
    assert!(text.contains("Status      expired"), "{text}");
    let renewed = json(&vendor, &["renew", &keys[1], "--never"]).await;
    assert_eq!(renewed["status"], "active");
    vendor.end().await;
}

async fn licenses_are_listed_by_plan(engine: Engine) {
    let vendor = Vendor::start(engine).await;
    publish_example(&vendor).await;
    for plan in ["parking", "standard"] {
        let body = serde_json::json!({"plan": plan, "customer": plan});
        let issued = vendor.admin(Method::POST, "/licenses", body).await;
        assert_eq!(issued.0, 201, "{}", issued.1);
    }
    for (plan, expected) in [
        ("parking", vec!["parking"]),
        ("standard@1", vec!["standard"]),
        ("enterprise", vec![]),
    ] {
        let customers = |found: &Value| {
            let found = found.as_array().unwrap().iter();
            let found = found.map(|it| it["customer"].as_str().unwrap().to_owned());
            found.collect::<Vec<_>>()
        };
        let listed = json(&vendor, &["list", "--plan", plan]).await;
        assert_eq!(customers(&listed), expected, "{plan}");
        let answer = vendor.look(&format!("/licenses?plan={plan}")).await;
        assert_eq!(customers(&answer["licenses"]), expected, "{plan}");
        assert_eq!(answer["total"], expected.len());
        let export = vendor.http.get(format!(
            "{}/api/admin/licenses/export?plan={plan}",
            vendor.url
        ));
        let export = export.bearer_auth(ADMIN_TOKEN).send().await.unwrap();
        let lines = export.text().await.unwrap().lines().count();
        assert_eq!(lines, expected.len() + 1, "{plan}");
    }
    for (plan, why) in [
        ("gone", "there is no plan 'gone'"),
        ("parking@7", "the plan 'parking' has no version 7"),
    ] {
        let refused = run(&vendor, &["list", "--plan", plan]).await;
        assert_eq!(refused.status.code(), Some(1));
        assert!(said(&refused).contains(why), "{}", said(&refused));
        for list in ["licenses", "licenses/export"] {
            let path = format!("/{list}?plan={plan}");
            let (status, answer) = vendor.admin(Method::GET, &path, Value::Null).await;
            assert_eq!(status, 422, "{answer}");
            let message = answer["error"]["message"].as_str().unwrap();
            assert!(message.contains(why), "{message}");
        }
    }
    vendor.end().await;
}
