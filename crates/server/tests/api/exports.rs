//! Whole lists as CSV: by API, by command and from the console.

use std::collections::BTreeSet;

use license_server::licensing::catalogue::Tier;
use license_server::licensing::issue::IssueRequest;
use reqwest::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::amendments::amended;
use crate::commands::{json as printed, run, said};
use crate::database::{Engine, on_both_engines};
use crate::harness::{ADMIN_TOKEN, Vendor};
use crate::signed_in::SignedIn;

on_both_engines! {
    every_license_is_exported_once;
    filters_apply_to_exports;
    installations_usage_and_amendments_are_exported;
    no_text_of_others_is_a_formula;
    the_console_offers_the_files;
    lists_are_whole_in_json;
}

/// Rows by the names of their columns.
pub(crate) type Rows = Vec<std::collections::BTreeMap<String, String>>;

/// A CSV file, whose lines all have the same columns.
pub(crate) fn rows(text: &str) -> Rows {
    let mut reader = csv::Reader::from_reader(text.trim_start_matches('\u{feff}').as_bytes());
    let head = reader.headers().unwrap().clone();
    let rows = reader.records().map(|record| {
        let record = record.unwrap();
        let cells = head.iter().zip(record.iter());
        cells
            .map(|(name, cell)| (name.to_owned(), cell.to_owned()))
            .collect()
    });
    rows.collect()
}

pub(crate) async fn exported(vendor: &Vendor, path: &str) -> Rows {
    let request = vendor.http.get(format!("{}/api/admin{path}", vendor.url));
    let answer = request.bearer_auth(ADMIN_TOKEN).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK, "{path}");
    let kind = answer.headers()[CONTENT_TYPE].to_str().unwrap().to_owned();
    assert!(kind.starts_with("text/csv"), "{kind}");
    rows(&answer.text().await.unwrap())
}

async fn by_command(vendor: &Vendor, arguments: &[&str]) -> Rows {
    let output = run(vendor, &[arguments, &["--csv"]].concat()).await;
    assert!(output.status.success(), "{}", said(&output));
    rows(&String::from_utf8(output.stdout).unwrap())
}

/// Adds so many copies of the only license.
async fn add_copies(vendor: &Vendor, engine: Engine, count: usize) {
    let numbers = match engine {
        Engine::Sqlite => format!(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {count}) SELECT"
        ),
        Engine::Postgres => format!("WITH n(i) AS (SELECT generate_series(1, {count})) SELECT"),
    };
    let columns = "customer, tier, features, max_cameras, max_users, max_storage_gb, seats, status, \
                   status_message, expires_at, created_at, updated_at, moves, moves_period_days";
    let sql = format!(
        "INSERT INTO licenses (id, license_key, {columns}) {numbers} 'id-' || i, 'key-' || i, \
         {columns} FROM licenses, n"
    );
    vendor.database.execute(&sql).await;
}

async fn every_license_is_exported_once(engine: Engine) {
    let vendor = Vendor::start(engine).await;
    let request = IssueRequest {
        customer: "Harbour, \"North\"\nLtd".to_owned(),
        max_cameras: Some(-1),
        expires_at: Some("2030-12-31T23:59:59Z".parse().unwrap()),
        ..IssueRequest::of(Tier::Professional)
    };
    let key = vendor.issue(request).await;
    vendor.activate(&key, "machine").await;
    // Beyond two pages of the database.
    add_copies(&vendor, engine, 2_100).await;
    let by_command = by_command(&vendor, &["list"]).await;
    for rows in [&exported(&vendor, "/licenses/export").await, &by_command] {
        assert_eq!(rows.len(), 2_101);
        let keys: BTreeSet<&str> = rows.iter().map(|row| &*row["licenseKey"]).collect();
        assert_eq!(keys.len(), 2_101);
        let row = rows.iter().find(|row| row["licenseKey"] == key).unwrap();
        for (column, expected) in [
            ("customer", "Harbour, \"North\"\nLtd"),
            ("plan", "professional@1"),
            ("status", "active"),
            ("trial", "false"),
            ("expiresAt", "2030-12-31T23:59:59Z"),
            ("maxCameras", "unlimited"),
            ("maxUsers", "20"),
            ("seatsHeld", "1"),
            ("startsAt", ""),
        ] {
            assert_eq!(row[column], expected, "{column}");
        }
        assert!(row["features"].contains("module.map_view; "), "{row:?}");
    }
    vendor.end().await;
}

async fn filters_apply_to_exports(engine: Engine) {
    let vendor = Vendor::start(engine).await;
    let mut keys = Vec::new();
    for (customer, days) in [("Harbour", 10), ("Quay", 100)] {
        let request = IssueRequest {
            customer: customer.to_owned(),
            expires_at: Some(vendor.permitted().instant() + chrono::TimeDelta::days(days)),
            ..IssueRequest::of(Tier::Standard)
        };
        keys.push(vendor.issue(request).await);
    }
    let found = async |query: &str| {
        let rows = exported(&vendor, &format!("/licenses/export?{query}")).await;
        rows.into_iter()
            .map(|row| row["licenseKey"].clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(found("status=expiring").await, [&*keys[0]]);
    assert_eq!(found("customer=Quay").await, [&*keys[1]]);
    assert_eq!(found("search=qua&status=active").await, [&*keys[1]]);
    assert_eq!(found("trial=true").await, [""; 0]);
    assert_eq!(found("expiresUntil=2026-12-31").await, [&*keys[0]]);
    for (path, expected) in [
        (
            "/licenses/export?status=gone",
            StatusCode::UNPROCESSABLE_ENTITY,
        ),
        ("/licenses/export?limit=1", StatusCode::UNPROCESSABLE_ENTITY),
        ("/licenses/export?customer=none", StatusCode::NOT_FOUND),
        ("/usage/export?license=none", StatusCode::NOT_FOUND),
        ("/usage/export?days=401", StatusCode::UNPROCESSABLE_ENTITY),
        ("/amendments/export?license=none", StatusCode::NOT_FOUND),
        (
            "/installations/export?standing=fine",
            StatusCode::UNPROCESSABLE_ENTITY,
        ),
    ] {
        let (status, answer) = vendor.admin(Method::GET, path, Value::Null).await;
        assert_eq!(status, expected, "{path}: {answer}");
    }
    let both = run(&vendor, &["list", "--csv", "--json"]).await;
    assert!(
        said(&both).contains("cannot be used together"),
        "{}",
        said(&both)
    );
    vendor.end().await;
}

async fn installations_usage_and_amendments_are_exported(engine: Engine) {
    let vendor = Vendor::start(engine).await;
    let request = IssueRequest {
        customer: "Harbour Ltd".to_owned(),
        ..IssueRequest::of(Tier::Standard)
    };
    let (one, other) = (
        vendor.issue(request).await,
        vendor.issue(IssueRequest::of(Tier::Standard)).await,
    );
    for key in [&one, &other] {
        vendor.activate(key, "machine").await;
    }
    vendor.heartbeat(&one, "machine", 17).await;
    vendor.heartbeat(&other, "machine", 2).await;
    vendor.heartbeat(&one, "machine", 3).await;
    amended(
        &vendor,
        &one,
        json!({"seats": 2, "reason": "The fair", "order": "4711"}),
    )
    .await;

    let installations = exported(&vendor, "/installations/export").await;
    assert_eq!(installations.len(), 2);
    let first = &installations[0];
    assert_eq!(
        (
            &*first["licenseKey"],
            &*first["customer"],
            &*first["cameras"],
            &*first["maxCameras"]
        ),
        (&*one, "Harbour Ltd", "3", "16")
    );
    let silent = exported(&vendor, "/installations/export?standing=silent").await;
    assert_eq!(silent.len(), 0);
    let command = ["installations", "--standing", "active"];
    assert_eq!(
        by_command(&vendor, &command).await.len(),
        0,
        "by the clock of the machine"
    );
    assert_eq!(by_command(&vendor, &["installations"]).await.len(), 2);
    let listed = printed(&vendor, &["installations"]).await;
    assert_eq!(listed[0]["usage"]["cameras"], 3, "{listed}");
    let table = said(&run(&vendor, &["installations", "--limit", "1"]).await);
    assert!(
        table.contains("Harbour Ltd") && table.contains("there are more installations"),
        "{table}"
    );

    for usage in [
        exported(&vendor, "/usage/export").await,
        by_command(&vendor, &["usage", "--days", "400"]).await,
    ] {
        assert_eq!(usage.len(), 2, "{usage:?}");
        let of_one = usage.iter().find(|row| row["licenseKey"] == one).unwrap();
        assert_eq!(
            (&*of_one["cameras"], &*of_one["day"], &*of_one["heartbeats"]),
            ("17", "2026-11-24", "2")
        );
    }
    let of_other = exported(&vendor, &format!("/usage/export?license={other}")).await;
    assert_eq!((of_other.len(), &*of_other[0]["cameras"]), (1, "2"));

    let all = exported(&vendor, "/amendments/export").await;
    assert_eq!(all.len(), 3);
    assert_eq!(by_command(&vendor, &["amendments"]).await, all);
    let last = all.iter().find(|row| row["number"] == "2").unwrap();
    assert_eq!(
        (
            &*last["number"],
            &*last["author"],
            &*last["reason"],
            &*last["order"]
        ),
        ("2", "break-glass", "The fair", "4711")
    );
    assert!(last["changes"].contains("seats 2"), "{last:?}");
    let path = format!("/amendments/export?license={one}");
    assert_eq!(exported(&vendor, &path).await.len(), 2);
    assert_eq!(by_command(&vendor, &["amendments", &one]).await.len(), 2);
    let missing = said(&run(&vendor, &["amendments"]).await);
    assert!(missing.contains("required"), "{missing}");
    vendor.end().await;
}

async fn no_text_of_others_is_a_formula(engine: Engine) {
    let vendor = Vendor::start(engine).await;
    let request = IssueRequest {
        customer: "=HYPERLINK(\"http://evil.example\")".to_owned(),
        ..IssueRequest::of(Tier::Standard)
    };
    let key = vendor.issue(request).await;
    let body = json!({
        "licenseKey": key, "hardwareId": "-machine", "installationId": "@i",
        "installationName": "+1+1", "installationVersion": "\t=1",
    });
    assert_eq!(vendor.told("activate", body).await.word(), "yes");
    vendor.heartbeat(&key, "-machine", 1).await;
    amended(
        &vendor,
        &key,
        json!({"seats": 2, "reason": "=1", "order": "\r=2"}),
    )
    .await;
    for path in [
        "/licenses/export",
        "/installations/export",
        "/usage/export",
        "/amendments/export",
    ] {
        let rows = exported(&vendor, path).await;
        let cells: Vec<&String> = rows.iter().flat_map(|row| row.values()).collect();
        for cell in &cells {
            let is_formula = cell.starts_with(['=', '+', '-', '@', '\t', '\r']);
            assert!(!is_formula, "{path}: {cell:?}");
        }
        let customer = "'=HYPERLINK(\"http://evil.example\")";
        assert!(
            cells.iter().any(|cell| *cell == customer),
            "{path}: {cells:?}"
        );
    }
    let list = said(&run(&vendor, &["list", "--csv"]).await);
    assert!(list.contains(",\"'=HYPERLINK("), "{list}");
    vendor.end().await;
}

async fn the_console_offers_the_files(engine: Engine) {
    let vendor = Vendor::start(engine).await;
    let request = IssueRequest {
        customer: "Østerbro".to_owned(),
        ..IssueRequest::of(Tier::Standard)
    };
    let key = vendor.issue(request).await;
    vendor.activate(&key, "machine").await;
    vendor.heartbeat(&key, "machine", 1).await;
    let staff = SignedIn::to(&vendor).await;
    let get = async |path: &str| staff.get(path).await;
    let page = get("/console/licenses?status=active")
        .await
        .text()
        .await
        .unwrap();
    for link in [
        "/console/licenses/export?status=active",
        "/console/amendments/export",
        "/console/usage/export",
    ] {
        assert!(page.contains(&format!("href=\"{link}\"")), "{link}: {page}");
    }
    let page = get("/console/installations").await.text().await.unwrap();
    assert!(
        page.contains("href=\"/console/installations/export?\""),
        "{page}"
    );
    let license = vendor.look("/licenses").await["licenses"][0]["id"].take();
    let of_license = format!(
        "/console/usage/export?license={}",
        license.as_str().unwrap()
    );
    for (path, name) in [
        ("/console/licenses/export?status=active", "licenses.csv"),
        ("/console/installations/export", "installations.csv"),
        ("/console/amendments/export", "amendments.csv"),
        (&*of_license, "usage.csv"),
    ] {
        let answer = get(path).await;
        assert_eq!(answer.status(), StatusCode::OK, "{path}");
        let disposition = answer.headers()[CONTENT_DISPOSITION].to_str().unwrap();
        assert!(
            disposition.ends_with(&format!("\"{name}\"")),
            "{disposition}"
        );
        let text = answer.text().await.unwrap();
        // Without the mark, spreadsheets do not read it as UTF-8.
        assert!(text.starts_with('\u{feff}'), "{path}: {text}");
        let rows = rows(&text);
        assert_eq!(
            (rows.len(), &*rows[0]["customer"]),
            (1, "Østerbro"),
            "{path}"
        );
    }
    let none = get("/console/licenses/export?status=expired").await;
    assert_eq!(rows(&none.text().await.unwrap()).len(), 0);
    let wrong = get("/console/licenses/export?status=gone").await;
    assert_eq!(wrong.status(), StatusCode::BAD_REQUEST);
    let stranger = staff.without_session("/console/licenses/export").await;
    assert_ne!(stranger.status(), StatusCode::OK);
    vendor.end().await;
}

async fn lists_are_whole_in_json(engine: Engine) {
    let vendor = Vendor::start(engine).await;
    let key = vendor.issue(IssueRequest::of(Tier::Standard)).await;
    let id = vendor.look("/licenses").await["licenses"][0]["id"].take();
    let id = id.as_str().unwrap();
    let numbers = match engine {
        Engine::Sqlite => {
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1100) SELECT"
        }
        Engine::Postgres => "WITH n(i) AS (SELECT generate_series(1, 1100)) SELECT",
    };
    let at = "'2026-11-24 12:00:00'";
    for insert in [
        format!(
            "INSERT INTO suspicions (license_id, hardware_id, kind, first_seen_at, last_seen_at, \
             times) {numbers} '{id}', 'machine-' || i, 'shared_identity', {at}, {at}, 1 FROM n"
        ),
        format!(
            "INSERT INTO customers (id, name, name_folded, name_key, created_at, updated_at) \
             {numbers} 'cus_' || i, 'Customer ' || i, 'customer ' || i, 'key-' || i, {at}, {at} \
             FROM n"
        ),
        format!(
            "INSERT INTO seats (license_id, hardware_id, installation_id, installation_name, \
             installation_version, activated_at, last_seen_at, last_seq) {numbers} '{id}', \
             'machine-' || i, 'i', 'Site', '1', {at}, {at}, 1 FROM n"
        ),
    ] {
        vendor.database.execute(&insert).await;
    }
    let count = async |arguments: &[&str], field: &str| {
        let listed = printed(&vendor, arguments).await;
        let listed = match field {
            "" => listed,
            field => listed[field].clone(),
        };
        let texts: BTreeSet<String> = listed
            .as_array()
            .unwrap()
            .iter()
            .map(ToString::to_string)
            .collect();
        texts.len()
    };
    assert_eq!(count(&["suspicions"], "").await, 1100);
    assert_eq!(count(&["suspicions", &key], "").await, 1100);
    assert_eq!(count(&["suspicions", "--limit", "7"], "").await, 7);
    assert_eq!(count(&["customers", "list"], "").await, 1100);
    assert_eq!(count(&["seats", "list", &key], "seats").await, 1100);
    assert_eq!(
        count(&["seats", "list", &key, "--limit", "7"], "seats").await,
        7
    );
    assert_eq!(count(&["installations"], "").await, 1100);
    // A table says what it leaves out.
    for arguments in [
        &["suspicions"][..],
        &["customers", "list"],
        &["seats", "list", &key],
        &["installations"],
    ] {
        let table = said(&run(&vendor, arguments).await);
        let lines = table.lines().count();
        assert!(
            lines < 110 && (table.contains("there are more ") || table.contains("100 ")),
            "{arguments:?}: {lines}"
        );
    }
    vendor.end().await;
}
