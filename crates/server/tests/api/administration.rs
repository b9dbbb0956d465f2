//! What programs with the administrator's token do.

use std::time::Duration;

use chrono::TimeDelta;
use license_core::usage::Usage;
use license_server::audit::Actor;
use license_server::licensing::catalogue::Tier;
use license_server::licensing::issue::IssueRequest;
use license_server::licensing::keys::rotate;
use license_server::licensing::look_up::look_up;
use license_server::signing::SigningKeys;
use license_server::store::{Store, usage_days};
use license_service::clock::Clock as _;
use reqwest::{Method, StatusCode};
use sea_orm::{ConnectionTrait as _, Database};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::database::{Engine, on_both_engines};
use crate::harness::{ADMIN_TOKEN, INSTALLATION, Vendor};

on_both_engines! {
    a_license_goes_through_its_life_and_the_log_has_all_of_it;
    licenses_are_searched_filtered_sorted_and_paged;
    the_fleet_is_seen_by_standing_version_limit_and_suspicion;
    usage_and_calls_are_kept_day_by_day_and_forgotten_in_time;
    usage_is_read_in_pages_from_the_newest_day_on;
    a_hundred_thousand_licenses_are_searched_and_paged;
    keys_are_rotated_and_revoked_and_sign_immediately;
}

fn actions(log: &Value) -> Vec<&str> {
    let entries = log.as_array().unwrap().iter();
    entries.map(|it| it["action"].as_str().unwrap()).collect()
}

async fn a_license_goes_through_its_life_and_the_log_has_all_of_it(engine: Engine) {
    let vendor = Vendor::start(engine).await;
    let wanted = json!({"tier": "professional", "customer": "Harbour Ltd", "maxCameras": 7, "expiresAt": "2027-01-31T23:59:59Z"});
    let (status, license) = vendor
        .admin(Method::POST, "/licenses", wanted.clone())
        .await;
    assert_eq!(status, StatusCode::CREATED, "{license}");
    let key = license["licenseKey"].as_str().unwrap();
    let id = license["id"].as_str().unwrap();
    // Repeating the call with the same key issues only one license.
    let mut again = wanted;
    again["licenseKey"] = key.into();
    let (status, answer) = vendor.admin(Method::POST, "/licenses", again).await;
    assert_eq!(
        (status.as_u16(), &answer["error"]["code"]),
        (409, &json!("conflict"))
    );

    assert_eq!(vendor.activate(key, "machine").await.word(), "yes");
    let post = async |path: &str, body: Value| {
        let path = format!("/licenses/{id}/{path}");
        let (status, answer) = vendor.admin(Method::POST, &path, body).await;
        assert_eq!(status, StatusCode::OK, "{path}: {answer}");
        answer
    };
    let suspended = post("suspend", json!({"message": "Overdue"})).await;
    assert_eq!(
        (&suspended["status"], &suspended["statusMessage"]),
        (&json!("suspended"), &json!("Overdue"))
    );
    assert_eq!(vendor.validate(key, "machine").await.word(), "suspended");
    post("reinstate", Value::Null).await;
    assert_eq!(vendor.validate(key, "machine").await.word(), "yes");
    let renewed = post("renew", json!({"expiresAt": null})).await;
    assert_eq!(renewed["expiresAt"], Value::Null);
    post("free-seat", json!({"hardwareId": "machine"})).await;
    assert_eq!(
        vendor.validate(key, "machine").await.word(),
        "hardware_mismatch"
    );
    assert_eq!(vendor.activate(key, "machine").await.word(), "yes");
    vendor.deactivate(key, "machine").await;
    post("revoke", json!({})).await;
    let (status, answer) = vendor
        .admin(
            Method::POST,
            &format!("/licenses/{key}/reinstate"),
            Value::Null,
        )
        .await;
    assert_eq!(
        (status.as_u16(), &answer["error"]["code"]),
        (409, &json!("conflict"))
    );
    let (status, _) = vendor
        .admin(
            Method::POST,
            &format!("/licenses/{id}/renew"),
            json!({"expiresAt": null}),
        )
        .await;
    assert_eq!(status, StatusCode::CONFLICT);

    let log = vendor.look(&format!("/audit?license={id}")).await;
    let expected = [
        "revoked",
        "seat_given_back",
        "seat_taken",
        "seat_freed",
        "renewed",
        "reinstated",
        "suspended",
        "seat_taken",
        "issued",
    ];
    assert_eq!(actions(&log), expected);
    assert_eq!(log[8]["actor"], "API from 127.0.0.1");
    assert_eq!(log[7]["actor"], "site");
    assert_eq!(
        log[4]["details"],
        json!({"from": "2027-01-31T23:59:59Z", "to": null})
    );
    assert_eq!(
        log[6]["details"],
        json!({"from": "active", "message": "Overdue"})
    );
    assert!(!log.to_string().contains(key), "the log names keys masked");
    let shown = vendor.look(&format!("/licenses/{key}")).await;
    assert_eq!(shown["license"]["status"], "revoked");
    assert_eq!(shown["seats"][0]["hardwareId"], "machine");

    // Page by page, and all in one call.
    let older = vendor.look("/audit?limit=2&before=3").await;
    assert_eq!(actions(&older), ["issued", "key_made"]);
    assert_eq!(older[1]["actor"], "service");
    let export = vendor
        .http
        .get(format!("{}/api/admin/audit/export", vendor.url));
    let export = export.bearer_auth(ADMIN_TOKEN).send().await.unwrap();
    assert_eq!(export.headers()["content-type"], "application/jsonl");
    let lines = export.text().await.unwrap();
    let lines: Vec<Value> = lines
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines.len(), 10);
    assert_eq!(
        (&lines[1]["action"], &lines[9]["action"]),
        (&json!("issued"), &json!("revoked"))
    );
    vendor.end().await;
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
        "installationName": "CÁFE", "installationVersion": "1.0.0",
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
        ("CAF", vec![]),
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
    assert_eq!(
        found("tier=standard&limit=1&offset=1").await,
        (2, vec![all[3].to_owned()])
    );
    assert_eq!(found("limit=1&offset=9").await, (4, vec![]));
    assert_eq!(found("reversed=true&limit=1").await.1, ["Harbour Ltd"]);
    let ends = [
        "Østerbro \\ Kiosk",
        "Harbour Ltd",
        "100% Museum",
        "harbour_north",
    ];
    assert_eq!(found("sort=expires").await.1, ends);
    let now = vendor.app.clock.now();
    let format = |at: chrono::DateTime<chrono::Utc>| at.format("%Y-%m-%dT%H:%M:%SZ").to_string();
    assert_eq!(
        found(&format!("ends_by={}", format(now))).await.1,
        ["Østerbro \\ Kiosk"]
    );
    let soon = format!(
        "ends_by={}&ends_after={}",
        format(now + TimeDelta::days(30)),
        format(now)
    );
    assert_eq!(found(&soon).await.1, ["Harbour Ltd"]);
    vendor
        .set_status(&keys[2], license_server::store::licenses::Status::Revoked)
        .await;
    assert_eq!(found("status=revoked").await.1, ["harbour_north"]);
    assert_eq!(found("sort=updated&limit=1").await.1, ["harbour_north"]);
    for wrong in ["status=gone", "limit=-1", "nonsense=1", "ends_by=soon"] {
        let (status, answer) = vendor
            .admin(Method::GET, &format!("/licenses?{wrong}"), Value::Null)
            .await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{wrong}: {answer}");
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
        json!({"active": 4, "expired": 0, "revoked": 0, "suspended": 1})
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
        if !query.contains("newest") {
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
    assert_eq!(machines("over_limit=true").await, ["machine-2"]);
    assert_eq!(machines("suspected=true").await, ["machine-3"]);
    assert_eq!(machines("version=2.0.0").await, [""; 0]);
    assert_eq!(
        machines("version=1.0.0&newest_first=true").await[4],
        "machine-0"
    );
    let second = vendor.look("/installations?limit=2&offset=4").await;
    assert_eq!(
        (
            second["installations"].as_array().unwrap().len(),
            &second["total"]
        ),
        (1, &json!(5))
    );

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

async fn usage_and_calls_are_kept_day_by_day_and_forgotten_in_time(engine: Engine) {
    let vendor = Vendor::start(engine).await;
    let key = vendor.issue(IssueRequest::of(Tier::Standard)).await;
    vendor.activate(&key, "machine").await;
    for cameras in [3, 9, 5] {
        vendor.heartbeat(&key, "machine", cameras).await;
    }
    vendor.clock.advance(TimeDelta::days(1));
    vendor.heartbeat(&key, "machine", 4).await;
    vendor
        .heartbeat("FXSGHT-2222-2222-2222-2222", "machine", 4)
        .await;
    let used = vendor.look(&format!("/licenses/{key}/usage")).await;
    let day = |day: &str, heartbeats: u64, cameras: u64| json!({"day": day, "hardwareId": "machine", "heartbeats": heartbeats, "cameras": cameras, "users": 2, "storageGb": 100});
    assert_eq!(
        used,
        json!({"usage": [day("2026-11-25", 1, 4), day("2026-11-24", 3, 9)], "nextCursor": null})
    );
    let calls = vendor.look("/heartbeats?days=3").await;
    let day = |day: &str, confirmed: u64, denied: u64| json!({"day": day, "kind": "heartbeat", "confirmed": confirmed, "denied": denied, "throttled": 0, "withheld": 0});
    let expected = json!([
        day("2026-11-23", 0, 0),
        day("2026-11-24", 3, 0),
        day("2026-11-25", 1, 1)
    ]);
    assert_eq!(calls, expected);

    // Two processes count together, and a stop writes down what is left.
    let twin = vendor.twin().await;
    twin.heartbeat(&key, "machine", 4).await;
    twin.stop().await;
    let calls = vendor.look("/heartbeats?days=1").await;
    assert_eq!(calls, json!([day("2026-11-25", 2, 1)]));
    vendor.clock.advance(TimeDelta::days(399));
    license_server::licensing::history::forget(&vendor.app)
        .await
        .unwrap();
    let used = vendor
        .look(&format!("/licenses/{key}/usage?days=400"))
        .await;
    assert_eq!(used["usage"].as_array().unwrap().len(), 1);
    vendor.clock.advance(TimeDelta::days(2));
    license_server::licensing::history::forget(&vendor.app)
        .await
        .unwrap();
    let used = vendor
        .look(&format!("/licenses/{key}/usage?days=400"))
        .await;
    assert_eq!(used, json!({"usage": [], "nextCursor": null}));
    vendor.end().await;
}

async fn usage_is_read_in_pages_from_the_newest_day_on(engine: Engine) {
    let vendor = Vendor::start(engine).await;
    let key = vendor.issue(IssueRequest::of(Tier::Standard)).await;
    let license = look_up(&vendor.app.store, &key).await.unwrap();
    let today = vendor.clock.now().date_naive();
    let mut expected = Vec::new();
    for ago in 0..3 {
        let day = today - TimeDelta::days(ago);
        for machine in ["a", "b.c", "d"] {
            let db = vendor.app.store.reader();
            let usage = Usage::default();
            usage_days::note(db, &license.id, machine, day, &usage)
                .await
                .unwrap();
            expected.push(format!("{day} {machine}"));
        }
    }
    let path = format!("/licenses/{key}/usage?limit=2");
    let mut found = Vec::new();
    let mut page = vendor.look(&path).await;
    loop {
        let usage = page["usage"].as_array().unwrap();
        assert!(usage.len() == 2 || page["nextCursor"].is_null());
        let text = |it: &Value, name: &str| it[name].as_str().unwrap().to_owned();
        let shown = usage
            .iter()
            .map(|it| format!("{} {}", text(it, "day"), text(it, "hardwareId")));
        found.extend(shown);
        let Some(cursor) = page["nextCursor"].as_str() else {
            break;
        };
        page = vendor.look(&format!("{path}&cursor={cursor}")).await;
    }
    assert_eq!(found, expected);
    for wrong in ["x", "2026-11-24", "2026-11-31.a", "2026-11-24.%00"] {
        let path = format!("{path}&cursor={wrong}");
        let (status, answer) = vendor.admin(Method::GET, &path, Value::Null).await;
        let message = answer["error"]["message"].as_str().unwrap();
        assert_eq!(status, StatusCode::BAD_REQUEST, "{wrong}");
        assert_eq!(
            message,
            "Invalid cursor; expected the nextCursor of another page"
        );
    }
    // The first day of all may have passed since the page before.
    let empty = json!({"usage": [], "nextCursor": null});
    let past = vendor
        .look(&format!("{path}&days=1&cursor=2026-11-23.a"))
        .await;
    assert_eq!(past, empty);
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
    for (path, total) in [
        ("/licenses", 100_000),
        ("/licenses?offset=99950", 100_000),
        ("/licenses?sort=customer&offset=50000", 100_000),
        ("/licenses?sort=expires&reversed=true&offset=50000", 100_000),
        ("/licenses?search=customer%20050", 1_000),
        ("/licenses?search=machine-077777", 1),
        ("/licenses?search=site%20099", 1_000),
        ("/installations?standing=silent&offset=99950", 100_000),
        ("/installations?standing=active", 0),
        ("/installations?offset=99950", 100_000),
    ] {
        let begun = Instant::now();
        let answer = tokio::time::timeout(ANSWER_TIMEOUT, vendor.look(path))
            .await
            .expect(path);
        assert_eq!(answer["total"], total, "{path}");
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

async fn keys_are_rotated_and_revoked_and_sign_immediately(engine: Engine) {
    let vendor = Vendor::start(engine).await;
    let key = vendor.issue(IssueRequest::of(Tier::Standard)).await;
    assert_eq!(vendor.activate(&key, "machine").await.word(), "yes");
    let first = vendor.look("/keys").await;
    assert_eq!(
        (&first["keySet"], &first["keys"][0]["state"]),
        (&json!(1), &json!("signs"))
    );
    let old = first["keys"][0]["kid"].as_str().unwrap();
    let post = async |path: &str, body: Value| vendor.admin(Method::POST, path, body).await;
    let (status, answer) = post(&format!("/keys/{old}/revoke"), Value::Null).await;
    assert_eq!(
        (status.as_u16(), &answer["error"]["code"]),
        (409, &json!("conflict"))
    );
    let (status, _) = post("/keys/nonsense/revoke", Value::Null).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    let (status, _) = post("/keys/rotate", json!({"overlapDays": 366})).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    vendor.clock.advance(TimeDelta::minutes(1));
    let (status, made) = post("/keys/rotate", json!({"overlapDays": 0})).await;
    assert_eq!(status, StatusCode::OK, "{made}");
    let (status, keys) = post(&format!("/keys/{old}/revoke"), Value::Null).await;
    assert_eq!(
        (status.as_u16(), &keys["keySet"]),
        (200, &json!(3)),
        "{keys}"
    );
    assert_eq!(keys["keys"][0]["kid"], made["kid"]);
    let told = vendor.validate(&key, "machine").await;
    assert_eq!(
        told.word(),
        "yes",
        "signed with the new key, which the keyring has"
    );
    let log = vendor.look("/audit?limit=2").await;
    assert_eq!(actions(&log), ["key_revoked", "key_made"]);
    assert_eq!(
        (&log[0]["subject"], &log[0]["licenseId"]),
        (&json!(old), &Value::Null)
    );
    vendor.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn access_needs_the_token_and_the_right_name() {
    let vendor = Vendor::start(Engine::Sqlite).await;
    let get = |path: &str| vendor.http.get(format!("{}{path}", vendor.url));
    for path in [
        "/api/admin/fleet",
        "/api/admin/licenses",
        "/api/admin/audit/export",
    ] {
        let without = get(path).send().await.unwrap();
        assert_eq!(without.status(), 401, "{path}");
        assert!(
            without.headers()["www-authenticate"]
                .to_str()
                .unwrap()
                .starts_with("Bearer")
        );
        let wrong = get(path)
            .bearer_auth("another-token-of-16")
            .send()
            .await
            .unwrap();
        assert_eq!(wrong.status(), 401, "{path}");
    }
    let page = get("/").send().await.unwrap();
    assert_eq!(page.url().path(), "/console/sign-in");
    // A page on the internet that points its own name at this machine.
    for (host, status) in [
        ("evil.example", 421),
        ("licenses.example", 200),
        ("localhost:4000", 200),
    ] {
        let answer = get("/api/admin/fleet")
            .bearer_auth(ADMIN_TOKEN)
            .header("host", host);
        assert_eq!(
            answer.send().await.unwrap().status().as_u16(),
            status,
            "{host}"
        );
    }
    // Sites may call the License Server by any name.
    let keys = get("/api/licenses/keys")
        .header("host", "evil.example")
        .send();
    assert_eq!(keys.await.unwrap().status(), 200);
    let crossed = vendor.http.post(format!("{}/console/sign-in", vendor.url));
    let crossed = crossed.header("sec-fetch-site", "cross-site").send().await;
    assert_eq!(crossed.unwrap().status(), 403);
    vendor.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn head_answers_like_get_and_redirects_are_relative() {
    let vendor = Vendor::start(Engine::Sqlite).await;
    let http = reqwest::Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .build()
        .unwrap();
    let mut redirects = 0;
    for path in [
        "/",
        "/livez",
        "/readyz",
        "/docs",
        "/docs/",
        "/openapi.json",
        "/console/sign-in",
        "/console/licenses?status=active",
        "/console/audit",
        "/api/licenses/keys",
        "/api/licenses/validate",
        "/api/admin/licenses",
        "/api/admin/fleet",
        "/nothing",
    ] {
        for token in ["", ADMIN_TOKEN] {
            let ask = async |method: Method| {
                let request = http.request(method, format!("{}{path}", vendor.url));
                let request = request
                    .bearer_auth(token)
                    .header("host", "licenses.example:8443");
                let answer = request.send().await.unwrap();
                let header = |name: &str| answer.headers().get(name).cloned();
                (
                    answer.status(),
                    header("location"),
                    header("content-type"),
                    header("allow"),
                )
            };
            let get = ask(Method::GET).await;
            assert_eq!(ask(Method::HEAD).await, get, "{path}");
            if let Some(location) = get.1 {
                let location = location.to_str().unwrap();
                assert!(
                    location.starts_with('/') && !location.starts_with("//"),
                    "{location}"
                );
                redirects += 1;
            }
        }
    }
    assert!(redirects >= 6, "{redirects}");
    vendor.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn people_get_pages_and_programs_json() {
    let vendor = Vendor::start(Engine::Sqlite).await;
    for (method, host, path, status, said) in [
        (
            Method::GET,
            "other.example:8443",
            "/",
            421,
            "known as &#39;other.example&#39;. Add the name to ALLOWED_HOSTS.",
        ),
        (
            Method::POST,
            "licenses.example",
            "/console/sign-in",
            403,
            "proxy_set_header Host $http_host",
        ),
    ] {
        let ask = |accept: &'static str| {
            let request = vendor
                .http
                .request(method.clone(), format!("{}{path}", vendor.url));
            let request = request.header("host", host).header("accept", accept);
            request
                .header("origin", "https://licenses.example:8443")
                .send()
        };
        let page = ask("text/html,*/*;q=0.8").await.unwrap();
        assert_eq!(page.status(), status);
        assert_eq!(page.headers()["content-type"], "text/html; charset=utf-8");
        let page = page.text().await.unwrap();
        assert!(page.contains(said), "{said}: {page}");
        let plain = ask("*/*").await.unwrap();
        assert_eq!(plain.status(), status);
        let plain: Value = plain.json().await.unwrap();
        assert!(plain["error"]["message"].is_string(), "{plain}");
    }
    vendor.end().await;
}

#[test]
fn an_allowed_host_that_would_match_nothing_or_everything_stops_the_start() {
    for value in [
        "*",
        "licenses.example,l*s.example",
        "https://licenses.example/console",
    ] {
        let directory = tempfile::tempdir().unwrap();
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_license-server"))
            .args(["serve", "--port", "0"])
            .env("ALLOWED_HOSTS", value)
            .env("STATE_DIR", directory.path())
            .current_dir(directory.path())
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(2), "{value}: {output:?}");
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        let line = error.trim_end();
        assert!(!line.contains('\n'), "{value}: {line}");
        assert!(line.contains("ALLOWED_HOSTS"), "{value}: {line}");
        assert!(
            line.contains("*.example for all names below it"),
            "{value}: {line}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_done_is_named_and_changes_nothing() {
    let vendor = Vendor::start(Engine::Sqlite).await;
    let key = vendor.issue(IssueRequest::of(Tier::Standard)).await;
    let long = "x".repeat(1001);
    let unknown = "0b0e3a58-3a3c-4f0e-9c5c-3f2b5d3c7a11";
    for (path, body, status, expected) in [
        ("/licenses".to_owned(), json!({"tier": "gold"}), 400, "gold"),
        (
            "/licenses".to_owned(),
            json!({"tier": "standard", "seats": 0}),
            400,
            "1 to 1000000",
        ),
        (
            "/licenses".to_owned(),
            json!({"tier": "standard", "seat": 1}),
            400,
            "unknown field",
        ),
        (
            "/licenses".to_owned(),
            json!({"tier": "standard", "maxUsers": -2}),
            400,
            "-1 for unlimited",
        ),
        (
            "/licenses".to_owned(),
            json!({"tier": "standard", "customer": "a\0b"}),
            400,
            "nul",
        ),
        (
            format!("/licenses/{key}/suspend"),
            json!({"message": long}),
            400,
            "1000",
        ),
        (
            format!("/licenses/{key}/renew"),
            json!({"expiresAt": "2020-01-01T00:00:00Z"}),
            400,
            "has passed",
        ),
        (
            format!("/licenses/{key}/renew"),
            json!({}),
            400,
            "expiresAt",
        ),
        (
            format!("/licenses/{key}/free-seat"),
            json!({"hardwareId": "none"}),
            409,
            "holds no seat",
        ),
        (
            format!("/licenses/{unknown}/revoke"),
            json!({}),
            404,
            "license has the id",
        ),
        (
            "/licenses/FXSGHT-AAAA/revoke".to_owned(),
            json!({}),
            400,
            "license key",
        ),
        (
            "/offline".to_owned(),
            json!({"request": "nonsense"}),
            400,
            "",
        ),
    ] {
        let (answered, answer) = vendor.admin(Method::POST, &path, body).await;
        let message = answer["error"]["message"].as_str().unwrap().to_lowercase();
        assert_eq!(answered.as_u16(), status, "{path}: {message}");
        assert!(
            message.contains(&expected.to_lowercase()),
            "{path}: {message}"
        );
    }
    assert_eq!(
        actions(&vendor.look("/audit").await),
        ["issued", "key_made"]
    );
    assert_eq!(vendor.look("/licenses").await["total"], 1);
    vendor.end().await;
}

/// Without a log nothing is done: the entry and the change are one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_that_cannot_be_logged_is_not_made() {
    let vendor = Vendor::start(Engine::Sqlite).await;
    let key = vendor.issue(IssueRequest::of(Tier::Standard)).await;
    let store: &Store = &vendor.app.store;
    let db = store.reader();
    db.execute_unprepared("ALTER TABLE audit_log RENAME TO gone")
        .await
        .unwrap();
    for (path, body) in [
        ("/licenses".to_owned(), json!({"tier": "standard"})),
        (format!("/licenses/{key}/revoke"), json!({})),
        (
            format!("/licenses/{key}/renew"),
            json!({"expiresAt": "2030-01-01T00:00:00Z"}),
        ),
    ] {
        let (status, answer) = vendor.admin(Method::POST, &path, body).await;
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{path}: {answer}");
    }
    db.execute_unprepared("ALTER TABLE gone RENAME TO audit_log")
        .await
        .unwrap();
    let licenses = vendor.look("/licenses").await;
    assert_eq!(licenses["total"], 1);
    let license = &licenses["licenses"][0];
    assert_eq!(
        (&license["status"], &license["expiresAt"]),
        (&json!("active"), &Value::Null)
    );
    vendor.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_openapi_document_describes_every_call() {
    let vendor = Vendor::start(Engine::Sqlite).await;
    let document = vendor.http.get(format!("{}/openapi.json", vendor.url));
    let document: Value = document.send().await.unwrap().json().await.unwrap();
    let paths = document["paths"].as_object().unwrap();
    assert_eq!(paths.len(), 19, "{:?}", paths.keys());
    for (path, methods) in paths {
        assert!(path.starts_with("/api/admin/"), "{path}");
        for (method, operation) in methods.as_object().unwrap() {
            assert!(operation["summary"].is_string(), "{method} {path}");
            assert!(operation["responses"]["401"].is_object(), "{method} {path}");
            // Each is really there, and closed.
            let address = format!("{}{}", vendor.url, path.replace(['{', '}'], ""));
            let method = Method::from_bytes(method.to_uppercase().as_bytes()).unwrap();
            let answer = vendor.http.request(method, &address).send().await.unwrap();
            assert_eq!(answer.status(), 401, "{path}");
        }
    }
    assert_eq!(
        document["components"]["securitySchemes"]["token"]["scheme"],
        "bearer"
    );
    vendor.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn odd_numbers_texts_and_days_are_understood_or_named() {
    let vendor = Vendor::start(Engine::Sqlite).await;
    let wanted = json!({"tier": "standard", "expiresAt": "2030-12-31"});
    let (status, license) = vendor.admin(Method::POST, "/licenses", wanted).await;
    assert_eq!(
        (status.as_u16(), &license["expiresAt"]),
        (201, &json!("2030-12-31T23:59:59Z"))
    );
    let id = license["id"].as_str().unwrap();
    for path in ["/licenses", "/installations"] {
        for offset in ["9223372036854775807", "18446744073709551615"] {
            let page = vendor.look(&format!("{path}?offset={offset}")).await;
            assert!(page["total"].as_u64().unwrap() <= 1, "{page}");
        }
    }
    assert_eq!(vendor.look("/licenses?tier=%00").await["total"], 0);
    let long = "x".repeat(60_000);
    assert_eq!(
        vendor.look(&format!("/licenses?search={long}")).await["total"],
        0
    );
    assert_eq!(
        vendor.look("/licenses?ends_by=2031-01-01").await["total"],
        1
    );
    for end in [
        "soon",
        "9999-12-31T23:59:60Z",
        "+10000-01-01T00:00:00Z",
        "-0001-01-01T00:00:00Z",
    ] {
        let path = format!("/licenses/{id}/renew");
        let (status, answer) = vendor
            .admin(Method::POST, &path, json!({"expiresAt": end}))
            .await;
        let message = answer["error"]["message"].as_str().unwrap();
        assert!(
            status == StatusCode::BAD_REQUEST && message.contains("2030-12-31"),
            "{end}: {message}"
        );
    }
    // What has nothing to say needs no body; and what is so already is no change.
    let post = async |path: &str| {
        let path = format!("/licenses/{id}/{path}");
        vendor.admin(Method::POST, &path, Value::Null).await.0
    };
    for path in ["reinstate", "suspend", "suspend", "reinstate"] {
        assert_eq!(post(path).await, StatusCode::OK, "{path}");
    }
    let log = vendor.look(&format!("/audit?license={id}")).await;
    assert_eq!(actions(&log), ["reinstated", "suspended", "issued"]);
    vendor.end().await;
}

/// The log has an entry before keys are changed, and says when they were not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_that_cannot_be_written_are_not_changed_and_the_log_says_so() {
    let vendor = Vendor::start(Engine::Sqlite).await;
    let now = json!({"overlapDays": 0});
    let db = vendor.app.store.reader();
    db.execute_unprepared("ALTER TABLE audit_log RENAME TO gone")
        .await
        .unwrap();
    let (status, _) = vendor
        .admin(Method::POST, "/keys/rotate", now.clone())
        .await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(vendor.look("/keys").await["keySet"], 1);
    db.execute_unprepared("ALTER TABLE gone RENAME TO audit_log")
        .await
        .unwrap();
    // Two who want the same version: one has it.
    let (store, keys) = (&vendor.app.store, vendor.keys_dir());
    let at = vendor
        .app
        .signing_clock
        .permit(vendor.app.clock.now())
        .unwrap();
    let by = Actor::CommandLine;
    let rotate = || rotate(store, &keys, "test", TimeDelta::zero(), by, at);
    let (one, two) = tokio::join!(rotate(), rotate());
    assert!(one.is_ok() != two.is_ok(), "{one:?} {two:?}");
    assert_eq!(SigningKeys::load(&keys).unwrap().version(), 2);
    let log = vendor.look("/audit").await;
    let mut log = actions(&log);
    log.sort_unstable();
    assert_eq!(log, ["key_made", "key_made", "key_made", "keys_unchanged"]);
    vendor.end().await;
}
