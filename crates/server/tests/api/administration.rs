//! What programs with the administrator's token do.

use chrono::TimeDelta;
use license_server::audit::Actor;
use license_server::licensing::catalogue::Tier;
use license_server::licensing::issue::IssueRequest;
use license_server::licensing::key_changes::rotate;
use license_server::signing::SigningKeys;
use license_server::store::Store;
use reqwest::{Method, StatusCode};
use sea_orm::ConnectionTrait as _;
use serde_json::{Value, json};

use crate::database::{Engine, on_both_engines};
use crate::harness::{ADMIN_TOKEN, Vendor};

on_both_engines! {
    a_license_goes_through_its_life_and_the_log_has_all_of_it;
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

    let log = vendor.audit(&format!("?license={id}")).await;
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
    assert_eq!(log[8]["actor"], "break-glass");
    assert_eq!(log[8]["source"], "API from 127.0.0.1");
    assert_eq!(log[7]["actor"], "site");
    let renewed = &log[4]["details"];
    assert_eq!(
        (&renewed["from"], &renewed["to"], &renewed["changes"]),
        (
            &json!("2027-01-31T23:59:59Z"),
            &Value::Null,
            &json!("never ends")
        )
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
    let count = vendor.audit("?limit=500").await.as_array().unwrap().len();
    let newer = vendor.look(&format!("/audit?limit={}", count - 2)).await;
    let cursor = newer["nextCursor"].as_str().unwrap();
    let older = vendor.audit(&format!("?limit=2&cursor={cursor}")).await;
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
    let log = vendor.audit("?limit=2").await;
    assert_eq!(actions(&log), ["key_revoked", "key_made"]);
    assert_eq!(
        (&log[0]["subject"], &log[0]["licenseId"]),
        (&json!(old), &Value::Null)
    );
    vendor.end().await;
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
            json!({"tier": "standard", "seats": 1_000_001.0}),
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
            "does not hold a seat",
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
            404,
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
    assert_eq!(actions(&vendor.audit("").await), ["issued", "key_made"]);
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
async fn odd_numbers_texts_and_days_are_understood_or_named() {
    let vendor = Vendor::start(Engine::Sqlite).await;
    let wanted = json!({"tier": "standard", "expiresAt": "2030-12-31"});
    let (status, license) = vendor.admin(Method::POST, "/licenses", wanted).await;
    assert_eq!(
        (status.as_u16(), &license["expiresAt"]),
        (201, &json!("2030-12-31T23:59:59Z"))
    );
    let id = license["id"].as_str().unwrap();
    assert_eq!(vendor.look("/licenses?tier=%00").await["total"], 0);
    let long = "x".repeat(60_000);
    assert_eq!(
        vendor.look(&format!("/licenses?search={long}")).await["total"],
        0
    );
    assert_eq!(
        vendor.look("/licenses?expiresUntil=2031-01-01").await["total"],
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
    let log = vendor.audit(&format!("?license={id}")).await;
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
    // Two at the same time often need the same version, and one of them gets it. Sometimes one is
    // done before the other begins, and both succeed.
    let (store, keys) = (&vendor.app.store, vendor.keys_dir());
    let at = vendor
        .app
        .signing_clock
        .permit(vendor.app.clock.now())
        .unwrap();
    let by = Actor::CommandLine;
    let rotate = || rotate(store, &keys, "test", TimeDelta::zero(), by.clone(), at);
    let (mut made, mut refused) = (0, 0);
    while refused == 0 && made < 8 {
        let (one, two) = tokio::join!(rotate(), rotate());
        assert!(one.is_ok() || two.is_ok(), "{one:?} {two:?}");
        let both = usize::from(one.is_ok()) + usize::from(two.is_ok());
        made += both;
        refused += 2 - both;
    }
    assert_eq!(refused, 1, "{made} times nobody was refused");
    let version = SigningKeys::load(&keys).unwrap().version();
    assert_eq!(version, 1 + made as u64);
    let log = vendor.audit("?limit=100").await;
    let log = actions(&log);
    let count = |action| log.iter().filter(|entry| **entry == action).count();
    // One more: the key with which the server began.
    assert_eq!(
        (count("key_made"), count("keys_unchanged")),
        (1 + made + 1, 1)
    );
    vendor.end().await;
}
