//! Lists of the administration: filters, order, pages.

use std::time::Duration;

use chrono::TimeDelta;
use license_server::licensing::catalogue::Tier;
use license_server::licensing::issue::IssueRequest;
use license_server::store::Store;
use license_service::cursor::to_text;
use reqwest::Method;
use sea_orm::{ConnectionTrait as _, Database};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::database::{Engine, on_both_engines};
use crate::harness::{INSTALLATION, Vendor};

on_both_engines! {
    licenses_are_searched_filtered_sorted_and_paged;
    the_fleet_is_seen_by_standing_version_limit_and_suspicion;
    a_hundred_thousand_licenses_are_searched_and_paged;
}

async fn licenses_are_searched_filtered_sorted_and_paged(engine: Engine) {
    let vendor = Vendor::start(engine).await;
    let mut keys = Vec::new();
    for (customer, tier, days) in [
        ("Harbour Ltd", Tier::Standard, Some(10)),
        ("100% Museum", Tier::Professional, Some(400)),
        ("harbour_north", Tier::Enterprise, None),
        ("Østerbro \\ Kiosk", Tier::Standard, Some(1)),
    ] {
        let now = vendor.app.clock.now();
        let request = IssueRequest {
            customer: customer.to_owned(),
            expires_at: days.map(|days| now + TimeDelta::days(days)),
            ..IssueRequest::of(tier)
        };
        keys.push(vendor.issue(request).await);
        vendor.clock.advance(TimeDelta::minutes(1));
    }
    let activation = json!({
        "licenseKey": keys[1], "hardwareId": "a-machine", "installationId": INSTALLATION,
        "installationName": "CÁFE ÚLU", "installationVersion": "1.0.0",
    });
    assert_eq!(vendor.told("activate", activation).await.word(), "yes");
    vendor.clock.advance(TimeDelta::days(2));
    let found = async |query: &str| {
        let answer = vendor.look(&format!("/licenses?{query}")).await;
        let licenses = answer["licenses"].as_array().unwrap().iter();
        let customers: Vec<String> = licenses
            .map(|it| it["customer"].as_str().unwrap().to_owned())
            .collect();
        let total = usize::try_from(answer["total"].as_u64().unwrap()).unwrap();
        (total, customers)
    };
    let all = [
        "Østerbro \\ Kiosk",
        "harbour_north",
        "100% Museum",
        "Harbour Ltd",
    ];
    assert_eq!(found("").await.1, all);
    // What means something in a pattern means itself.
    for (text, expected) in [
        ("HARBOUR", vec!["harbour_north", "Harbour Ltd"]),
        ("r_n", vec!["harbour_north"]),
        ("0%25", vec!["100% Museum"]),
        ("%25", vec!["100% Museum"]),
        ("%5C", vec!["Østerbro \\ Kiosk"]),
        ("a-machine", vec!["100% Museum"]),
        ("%00", all.to_vec()),
        ("nobody", vec![]),
        // Capitals, and letters with separate accents.
        ("%C3%98STERBRO", vec!["Østerbro \\ Kiosk"]),
        ("ca%CC%81fe", vec!["100% Museum"]),
        ("C%C3%A1F", vec!["100% Museum"]),
        // Letters that are in no key and in no id.
        ("ULU", vec![]),
        ("%C3%BAlu", vec!["100% Museum"]),
        ("caf%EF%BC%85", vec![]),
        ("%EF%BC%85", vec!["100% Museum"]),
    ] {
        let (total, customers) = found(&format!("search={text}")).await;
        assert_eq!(
            (total, customers),
            (
                expected.len(),
                expected.iter().map(|it| (*it).to_owned()).collect()
            ),
            "{text}"
        );
    }
    let part = keys[0][7..16].to_lowercase();
    assert_eq!(found(&format!("search={part}")).await.1, ["Harbour Ltd"]);
    assert_eq!(
        found("tier=standard&limit=1").await,
        (2, vec![all[0].to_owned()])
    );
    assert_eq!(found("order=asc&limit=1").await.1, ["Harbour Ltd"]);
    let ends = [
        "Østerbro \\ Kiosk",
        "Harbour Ltd",
        "100% Museum",
        "harbour_north",
    ];
    assert_eq!(found("sort=expiresAt").await.1, ends);
    let now = vendor.app.clock.now();
    let format = |at: chrono::DateTime<chrono::Utc>| at.format("%Y-%m-%dT%H:%M:%SZ").to_string();
    assert_eq!(
        found(&format!("expiresUntil={}", format(now))).await.1,
        ["Østerbro \\ Kiosk"]
    );
    let soon = format!(
        "expiresUntil={}&expiresAfter={}",
        format(now + TimeDelta::days(30)),
        format(now)
    );
    assert_eq!(found(&soon).await.1, ["Harbour Ltd"]);
    vendor
        .set_status(&keys[2], license_server::store::licenses::Status::Revoked)
        .await;
    assert_eq!(found("status=revoked").await.1, ["harbour_north"]);
    assert_eq!(found("sort=updatedAt&limit=1").await.1, ["harbour_north"]);
    for wrong in [
        "status=gone",
        "limit=-1",
        "nonsense=1",
        "expiresUntil=soon",
        "sort=price",
        "order=up",
        "cursor=x",
        "offset=1",
    ] {
        assert_refused(&vendor, &format!("/licenses?{wrong}")).await;
    }
    vendor.end().await;
}

async fn the_fleet_is_seen_by_standing_version_limit_and_suspicion(engine: Engine) {
    let vendor = Vendor::start(engine).await;
    let mut keys = Vec::new();
    for _ in 0..5 {
        keys.push(vendor.issue(IssueRequest::of(Tier::Standard)).await);
    }
    // One falls silent, then one is overdue, and the others continue.
    for (number, key) in keys.iter().enumerate() {
        assert_eq!(
            vendor
                .activate(key, &format!("machine-{number}"))
                .await
                .word(),
            "yes"
        );
    }
    vendor.clock.advance(TimeDelta::days(3));
    assert_eq!(vendor.validate(&keys[1], "machine-1").await.word(), "yes");
    vendor.clock.advance(TimeDelta::days(2));
    for (number, key) in keys.iter().enumerate().skip(2) {
        assert_eq!(
            vendor
                .validate(key, &format!("machine-{number}"))
                .await
                .word(),
            "yes"
        );
    }
    vendor.heartbeat(&keys[2], "machine-2", 17).await;
    vendor.heartbeat(&keys[3], "machine-3", 16).await;
    let body = json!({"licenseKey": keys[3], "hardwareId": "machine-3"});
    let request = vendor
        .http
        .post(format!("{}/api/licenses/validate", vendor.url));
    let request = request
        .header("x-license-drift", "board_serial")
        .json(&body);
    assert_eq!(request.send().await.unwrap().status(), 200);
    vendor
        .set_status(&keys[4], license_server::store::licenses::Status::Suspended)
        .await;

    let fleet = vendor.look("/fleet").await;
    assert_eq!(fleet["installations"], 5);
    assert_eq!(
        fleet["standings"],
        json!({"active": 2, "grace": 1, "silent": 1, "stopped": 1})
    );
    assert_eq!(
        fleet["licenses"],
        json!({
            "active": 4, "expired": 0, "expiring": 0, "revoked": 0, "scheduled": 0, "suspended": 1,
        })
    );
    assert_eq!(
        fleet["versions"],
        json!([{"version": "1.0.0", "installations": 5}])
    );
    assert_eq!(
        fleet["lastSeen"],
        json!({"day": 3, "week": 2, "month": 0, "longer": 0})
    );
    assert_eq!(
        (&fleet["overLimit"], &fleet["suspected"]),
        (&json!(1), &json!(1))
    );
    let machines = async |query: &str| {
        let answer = vendor.look(&format!("/installations?{query}")).await;
        let found = answer["installations"].as_array().unwrap().iter();
        let mut found: Vec<String> = found
            .map(|it| it["hardwareId"].as_str().unwrap().to_owned())
            .collect();
        assert_eq!(answer["total"], found.len());
        if !query.contains("order") {
            found.sort();
        }
        found
    };
    assert_eq!(machines("standing=silent").await, ["machine-0"]);
    assert_eq!(machines("standing=grace").await, ["machine-1"]);
    assert_eq!(
        machines("standing=active").await,
        ["machine-2", "machine-3"]
    );
    assert_eq!(machines("standing=stopped").await, ["machine-4"]);
    assert_eq!(machines("overLimit=true").await, ["machine-2"]);
    assert_eq!(
        machines("overLimit=false&standing=active").await,
        ["machine-3"]
    );
    assert_eq!(machines("suspected=true").await, ["machine-3"]);
    assert_eq!(
        machines("suspected=false&standing=active").await,
        ["machine-2"]
    );
    assert_eq!(machines("installationVersion=2.0.0").await, [""; 0]);
    assert_eq!(
        machines("installationVersion=1.0.0&order=desc").await[4],
        "machine-0"
    );
    for wrong in ["standing=fine", "overLimit=1", "sort=version", "order=up"] {
        assert_refused(&vendor, &format!("/installations?{wrong}")).await;
    }

    // A denied site calls, all the same; and a freed seat is no installation.
    vendor.clock.advance(TimeDelta::days(2));
    assert_eq!(
        vendor.validate(&keys[4], "machine-4").await.word(),
        "suspended"
    );
    let fleet = vendor.look("/fleet").await;
    assert_eq!(fleet["lastSeen"]["day"], 1);
    vendor.deactivate(&keys[0], "machine-0").await;
    assert_eq!(vendor.look("/fleet").await["installations"], 4);
    vendor.end().await;
}

async fn a_hundred_thousand_licenses_are_searched_and_paged(engine: Engine) {
    /// Of a program without optimisation, on a machine that does more.
    const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
    let vendor = Vendor::start(engine).await;
    let rows = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100000) ";
    let text = match engine {
        Engine::Sqlite => "printf('%06d', i)",
        Engine::Postgres => "lpad(i::text, 6, '0')",
    };
    let licenses = format!(
        "{rows} INSERT INTO licenses (id, license_key, customer, tier, features, max_cameras, max_users, max_storage_gb, seats, status, created_at, updated_at) \
         SELECT 'id-' || {text}, 'FXSGHT-' || {text}, 'Customer ' || {text}, 'standard', '[]', 16, 5, 2000, 1, 'active', '2026-01-01 00:00:00', '2026-01-01 00:00:00' FROM n"
    );
    let seats = format!(
        "{rows} INSERT INTO seats (license_id, hardware_id, installation_id, installation_name, installation_version, activated_at, last_seen_at, last_seq) \
         SELECT 'id-' || {text}, 'machine-' || {text}, 'i', 'Site ' || {text}, '1.0.0', '2026-01-01 00:00:00', '2026-01-01 00:00:00', 1 FROM n"
    );
    // PostgreSQL takes what goes before INSERT, too.
    let db = Database::connect(&vendor.database.url).await.unwrap();
    for statement in [licenses, seats] {
        db.execute_unprepared(&statement).await.unwrap();
    }
    // As an earlier version has left them.
    for statement in [
        "ALTER TABLE licenses DROP COLUMN customer_folded",
        "ALTER TABLE seats DROP COLUMN installation_name_folded",
        "DELETE FROM license_server_migrations WHERE version = 'm0013_folded_names'",
    ] {
        db.execute_unprepared(statement).await.unwrap();
    }
    db.close().await.unwrap();
    let start = Instant::now();
    let url = vendor.database.url.parse().unwrap();
    Store::open(&url).await.unwrap().close().await;
    let migrated = start.elapsed();
    assert!(migrated < Duration::from_secs(60), "{migrated:?}");
    // In the middle of each list: all rows have the same times.
    let middle = "2026-01-01T00:00:00Z";
    let after = |place: Value, order: &str| {
        let id = "id-050000";
        to_text(&json!({"place": place, "order": order, "id": id}))
    };
    let customer = after(json!({"customer": "Customer 050000"}), "asc");
    let customer = format!("/licenses?sort=customer&cursor={customer}");
    let end = after(json!({"expiresAt": null}), "desc");
    let end = format!("/licenses?sort=expiresAt&order=desc&cursor={end}");
    let seen = to_text(&json!({"lastSeenAt": middle, "seat": 50_000, "order": "asc"}));
    let silent = format!("/installations?standing=silent&cursor={seen}");
    let installations = format!("/installations?cursor={seen}");
    for (path, total) in [
        ("/licenses", 100_000),
        ("/licenses?order=asc", 100_000),
        (&*customer, 100_000),
        (&*end, 100_000),
        ("/licenses?search=customer%20050", 1_000),
        ("/licenses?search=machine-077777", 1),
        ("/licenses?search=site%20099", 1_000),
        (&*silent, 100_000),
        ("/installations?standing=active", 0),
        (&*installations, 100_000),
    ] {
        let begun = Instant::now();
        let answer = tokio::time::timeout(ANSWER_TIMEOUT, vendor.look(path))
            .await
            .expect(path);
        assert_eq!(answer["total"], total, "{path}");
        let cursor = &answer["nextCursor"];
        assert_eq!(cursor.is_string(), total > 50, "{path}: {cursor}");
        println!("{path}: {:?}", begun.elapsed());
    }
    let begun = Instant::now();
    let fleet = tokio::time::timeout(ANSWER_TIMEOUT, vendor.look("/fleet"))
        .await
        .unwrap();
    println!("/fleet: {:?}", begun.elapsed());
    assert_eq!(fleet["installations"], 100_000);
    vendor.end().await;
}

/// The list refuses a parameter.
pub async fn assert_refused(vendor: &Vendor, path: &str) {
    let (status, answer) = vendor.admin(Method::GET, path, Value::Null).await;
    let code = &answer["error"]["code"];
    assert_eq!(
        (status.as_u16(), code),
        (422, &json!("invalid_parameter")),
        "{path}: {answer}"
    );
}
