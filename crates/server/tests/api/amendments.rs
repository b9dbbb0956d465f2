//! A license that was sold is amended.

mod by_command;
mod leases;
mod long_history;
mod previews;
mod scheduled;
mod words;
mod wrong_clock;

use chrono::{DateTime, TimeDelta, Utc};
use license_server::licensing::catalogue::Tier;
use license_server::licensing::current::catch_up;
use license_server::licensing::issue::IssueRequest;
use license_server::licensing::look_up::look_up;
use license_server::store::amendments;
use license_server::store::licenses::{self, License, Status};
use license_service::clock::Clock as _;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::database::{Engine, on_both_engines};
use crate::harness::Vendor;
use crate::offers::sell;

pub(crate) const ANALYTICS: &str = "module.alarm_advanced";

on_both_engines! {
    the_license_of_a_customer_who_calls_is_amended;
    a_preview_tells_which_sites_change_and_changes_nothing;
    a_row_is_what_its_amendments_add_up_to;
    an_invalid_amendment_is_refused_with_its_field;
    the_second_of_two_at_once_is_shown_what_changed;
    an_amendment_without_its_audit_entry_is_not_made;
    what_takes_effect_later_is_shown_and_found_from_then_on;
    a_license_that_ends_before_its_entitlements_is_brought_up_to_date;
    the_list_of_amendments_has_pages;
}

/// What staff ask, and what they are answered.
pub(crate) async fn amend(vendor: &Vendor, key: &str, body: Value) -> (StatusCode, Value) {
    let path = format!("/licenses/{key}/amendments");
    vendor.admin(Method::POST, &path, body).await
}

/// The same for an amendment that is made.
pub(crate) async fn amended(vendor: &Vendor, key: &str, body: Value) -> Value {
    let (status, answer) = amend(vendor, key, body).await;
    assert_eq!(status, StatusCode::CREATED, "{answer}");
    assert_eq!(answer["stored"], true);
    answer
}

async fn license(vendor: &Vendor, key: &str) -> License {
    look_up(&vendor.app.store, key).await.unwrap()
}

async fn shown(vendor: &Vendor, key: &str) -> Value {
    vendor.look(&format!("/licenses/{key}")).await["license"].take()
}

async fn the_license_of_a_customer_who_calls_is_amended(engine: Engine) {
    let vendor = Vendor::start(engine).await;
    let key = vendor.issue(IssueRequest::of(Tier::Professional)).await;
    let body = json!({
        "add": [
            {"key": "cameras", "quantity": 32, "from": "2027-05-01"},
            {"key": ANALYTICS, "from": "2027-05-01", "until": "2027-07-29"},
        ],
        "customer": "Harbour Ltd", "reason": "The fair", "order": "4711", "after": 1,
    });
    let answer = amended(&vendor, &key, body).await;
    let amendment = &answer["amendment"];
    assert_eq!(amendment["number"], 2);
    assert_eq!(amendment["author"], "break-glass");
    assert_eq!(amendment["effectiveAt"], "2026-11-24T12:00:00Z");
    let effects = json!([
        {"at": "2027-05-01T00:00:00Z", "changes": [
            {"key": "cameras", "before": 64, "after": 96},
            {"key": ANALYTICS, "before": false, "after": true},
        ]},
        {"at": "2027-07-30T00:00:00Z", "changes": [
            {"key": ANALYTICS, "before": false, "after": false},
        ]},
    ]);
    let mut told = answer["effects"].clone();
    for effect in told.as_array_mut().unwrap() {
        let changes = effect["changes"].as_array_mut().unwrap();
        changes.sort_by_key(|it| it["key"].to_string());
    }
    let mut effects = effects;
    for effect in effects.as_array_mut().unwrap() {
        let changes = effect["changes"].as_array_mut().unwrap();
        changes.sort_by_key(|it| it["key"].to_string());
    }
    assert_eq!(told, effects);
    let now = shown(&vendor, &key).await;
    assert_eq!(
        (&now["customer"], &now["amendment"]),
        (&json!("Harbour Ltd"), &json!(2))
    );
    assert_eq!(
        (&now["maxCameras"], &now["plan"]),
        (&json!(64), &json!("professional@1"))
    );
    assert_eq!(now["changesAt"], "2027-05-01T00:00:00Z");
    let log = vendor.audit(&format!("?license={key}")).await;
    assert_eq!(log[0]["action"], "amended");
    assert_eq!(log[0]["details"]["order"], "4711");

    // Undone, it is as before.
    let undo = json!({"undoes": 2, "reason": "The fair was cancelled"});
    let answer = amended(&vendor, &key, undo).await;
    assert_eq!(answer["amendment"]["undoes"], 2);
    let undone = shown(&vendor, &key).await;
    assert_eq!(
        (&undone["customer"], &undone["changesAt"]),
        (&json!(""), &Value::Null)
    );
    vendor.end().await;
}

async fn a_preview_tells_which_sites_change_and_changes_nothing(engine: Engine) {
    let vendor = Vendor::start(engine).await;
    let key = vendor.issue(IssueRequest::of(Tier::Professional)).await;
    vendor.activate(&key, "machine").await;
    vendor.heartbeat(&key, "machine", 60).await;
    let before = license(&vendor, &key).await;
    let body = json!({
        "preview": true, "end": ["cameras", "module.map_view"],
        "add": [{"key": "cameras", "quantity": 48}],
        "effectiveAt": "2026-12-01",
    });
    let (status, answer) = amend(&vendor, &key, body).await;
    assert_eq!(
        (status, &answer["stored"]),
        (StatusCode::OK, &json!(false)),
        "{answer}"
    );
    let site = &answer["installations"][0];
    assert_eq!(site["hardwareId"], "machine");
    assert_eq!(site["learnsBy"], "2026-11-25T12:00:00Z");
    let over = json!([{"key": "cameras", "used": 60, "granted": 48, "at": "2026-12-01T00:00:00Z"}]);
    assert_eq!(site["over"], over);
    assert_eq!(answer["effects"][0]["at"], "2026-12-01T00:00:00Z");
    let changes = answer["effects"][0]["changes"].as_array().unwrap();
    let lost = json!({"key": "module.map_view", "before": true, "after": false});
    assert!(changes.contains(&lost), "{answer}");

    assert_eq!(license(&vendor, &key).await, before);
    let db = vendor.app.store.reader();
    let stored = amendments::of_license(db, &before.id).await.unwrap();
    assert_eq!(stored.len(), 1);
    let log = vendor.audit(&format!("?license={key}")).await;
    assert_ne!(log[0]["action"], "amended");
    // More is never too little.
    let body = json!({"preview": true, "add": [{"key": "cameras", "quantity": 1}]});
    let (_, answer) = amend(&vendor, &key, body).await;
    assert_eq!(answer["installations"][0]["over"], json!([]));
    vendor.end().await;
}

async fn a_row_is_what_its_amendments_add_up_to(engine: Engine) {
    let vendor = Vendor::start(engine).await;
    sell(&vendor, &["custom.thing"], &["anpr_lanes", "doors"]).await;
    let key = vendor.issue(IssueRequest {
        expires_at: Some(vendor.clock.now() + TimeDelta::days(900)),
        with: vec![ANALYTICS.to_owned(), "custom.thing".to_owned()],
        max_users: Some(-1),
        ..IssueRequest::of(Tier::Professional)
    });
    let key = key.await;
    let renew = format!("/licenses/{key}/renew");
    let steps = [
        json!({"add": [{"key": "cameras", "quantity": 32}]}),
        json!({"end": ["custom.thing"], "seats": 4}),
        json!({"add": [{"key": "anpr_lanes", "quantity": 8}], "customer": "Ärger & Söhne"}),
        json!({"add": [{"key": "doors", "quantity": 2, "until": "2026-12-24"}]}),
        json!({"undoes": 3, "moves": 0, "movesPeriodDays": 30}),
        json!({"expiresAt": null, "startsAt": "2026-12-01", "effectiveAt": "2026-11-30"}),
    ];
    let rebuilt = async |vendor: &Vendor| {
        let row = license(vendor, &key).await;
        let db = vendor.app.store.reader();
        let all = amendments::of_license(db, &row.id).await.unwrap();
        let blank = License {
            customer: String::new(),
            customer_id: None,
            tier: String::new(),
            plan: String::new(),
            features: Vec::new(),
            max_cameras: 0,
            max_users: 0,
            max_storage_gb: 0,
            seats: 0,
            moves: 0,
            moves_period_days: 0,
            expires_at: None,
            amendment: 0,
            ..row.clone()
        };
        let whole = licenses::amended(db, blank, &all, vendor.clock.now()).await;
        let whole = License {
            judged_at: row.judged_at,
            ..whole.unwrap()
        };
        assert_eq!(whole, row, "{all:?}");
        row
    };
    rebuilt(&vendor).await;
    for step in steps {
        vendor.clock.advance(TimeDelta::hours(1));
        amended(&vendor, &key, step).await;
        rebuilt(&vendor).await;
    }
    let end = json!({"expiresAt": "2029-01-01"});
    let (status, answer) = vendor.admin(Method::POST, &renew, end).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    let row = rebuilt(&vendor).await;
    assert_eq!((row.amendment, row.seats, row.moves), (8, 1, 0));
    assert_eq!(row.max_cameras, 96);
    assert!(row.features.contains(&"custom.thing".to_owned()));
    for days in [7, 20, 200] {
        vendor.clock.advance(TimeDelta::days(days));
        catch_up(&vendor.app.store, vendor.permitted())
            .await
            .unwrap();
        rebuilt(&vendor).await;
    }
    vendor.end().await;
}

async fn an_invalid_amendment_is_refused_with_its_field(engine: Engine) {
    let vendor = Vendor::start(engine).await;
    let key = vendor.issue(IssueRequest::of(Tier::Standard)).await;
    let grant = |grant: Value| json!({ "add": [grant] });
    let late = "2027-07-29";
    for (body, expected) in [
        (
            grant(json!({"key": "x", "from": late, "until": "2027-05-01"})),
            "add[0].until",
        ),
        (
            grant(json!({"key": "cameras", "quantity": -3})),
            "quantity -3",
        ),
        (
            grant(json!({"key": "cameras", "quantity": 1.5})),
            "quantity 1.5",
        ),
        (grant(json!({"key": "cameras"})), "add[0].quantity"),
        (
            grant(json!({"key": ANALYTICS, "quantity": 3})),
            "add[0].quantity",
        ),
        (grant(json!({"key": "", "quantity": 3})), "add[0].key"),
        (
            grant(json!({"key": "x", "until": "2026-11-23"})),
            "add[0].until",
        ),
        (json!({"undoes": 7}), "undoes: amendment 7"),
        (json!({"undoes": 1}), "undoes: amendment 1"),
        (json!({"end": ["module.nothing"]}), "end: 'module.nothing'"),
        (
            json!({"effectiveAt": "2026-11-24T11:59:59Z", "seats": 2}),
            "effectiveAt",
        ),
        (json!({"expiresAt": "2026-01-01"}), "expiresAt"),
        (
            json!({"startsAt": late, "expiresAt": "2027-01-01"}),
            "expiresAt",
        ),
        (json!({"seats": 0}), "seats"),
        (json!({"after": 2, "seats": 2}), "after"),
        (json!({"order": "x".repeat(256), "seats": 2}), "order"),
        (json!({"customer": "x".repeat(256)}), "customer"),
        (json!({"reason": "nothing"}), "changes nothing"),
        (json!({"customer": "", "seats": 1}), "changes nothing"),
        (json!({"camera": 3}), "unknown field `camera`"),
    ] {
        let (status, answer) = amend(&vendor, &key, body.clone()).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{body}: {answer}");
        let message = answer["error"]["message"].as_str().unwrap();
        assert!(message.contains(expected), "{body}: {message}");
    }
    assert_eq!(license(&vendor, &key).await.amendment, 1);
    let unknown = amend(&vendor, "FXSGHT-2222-2222-2222-2222", json!({"seats": 2})).await;
    assert_eq!(unknown.0, StatusCode::NOT_FOUND);
    vendor.set_status(&key, Status::Revoked).await;
    let (status, answer) = amend(&vendor, &key, json!({"seats": 2})).await;
    assert_eq!(status, StatusCode::CONFLICT, "{answer}");
    vendor.end().await;
}

async fn the_second_of_two_at_once_is_shown_what_changed(engine: Engine) {
    let vendor = Vendor::start(engine).await;
    let key = vendor.issue(IssueRequest::of(Tier::Standard)).await;
    let body = |cameras: u64| json!({"after": 1, "add": [{"key": "cameras", "quantity": cameras}]});
    let both = tokio::join!(amend(&vendor, &key, body(8)), amend(&vendor, &key, body(8)));
    let mut statuses = [both.0.0, both.1.0];
    statuses.sort_unstable();
    assert_eq!(statuses, [StatusCode::CREATED, StatusCode::CONFLICT]);
    let refused = if both.0.0 == StatusCode::CONFLICT {
        both.0.1
    } else {
        both.1.1
    };
    let message = refused["error"]["message"].as_str().unwrap();
    assert!(
        message.contains("2 by break-glass (8 cameras added)"),
        "{message}"
    );
    let after = license(&vendor, &key).await;
    assert_eq!((after.amendment, after.max_cameras), (2, 24));
    let again = json!({"after": 2, "add": [{"key": "cameras", "quantity": 8}]});
    amended(&vendor, &key, again).await;
    assert_eq!(license(&vendor, &key).await.max_cameras, 32);
    vendor.end().await;
}

async fn an_amendment_without_its_audit_entry_is_not_made(engine: Engine) {
    let vendor = Vendor::start(engine).await;
    let key = vendor.issue(IssueRequest::of(Tier::Standard)).await;
    let before = license(&vendor, &key).await;
    for table in ["audit_log", "amendments"] {
        let rename = |from: &str, to: &str| format!("ALTER TABLE {from} RENAME TO {to}");
        vendor.database.execute(&rename(table, "gone")).await;
        let renew = format!("/licenses/{key}/renew");
        for (path, body) in [
            (format!("/licenses/{key}/amendments"), json!({"seats": 2})),
            (renew, json!({"expiresAt": "2030-01-01"})),
            ("/licenses".to_owned(), json!({"tier": "standard"})),
        ] {
            let (status, answer) = vendor.admin(Method::POST, &path, body).await;
            assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{path}: {answer}");
        }
        vendor.database.execute(&rename("gone", table)).await;
        assert_eq!(license(&vendor, &key).await, before);
        let db = vendor.app.store.reader();
        let stored = amendments::of_license(db, &before.id).await.unwrap();
        assert_eq!(stored.len(), 1);
        assert_eq!(vendor.look("/licenses").await["total"], 1);
        assert_eq!(vendor.audit("").await.as_array().unwrap().len(), 2);
    }
    vendor.end().await;
}

async fn what_takes_effect_later_is_shown_and_found_from_then_on(engine: Engine) {
    let vendor = Vendor::start(engine).await;
    let key = vendor.issue(IssueRequest::of(Tier::Standard)).await;
    let body = json!({
        "effectiveAt": "2026-11-25", "customer": "Harbour Ltd", "seats": 2,
        "add": [{"key": "cameras", "quantity": 4, "until": "2026-11-26"}],
    });
    let answer = amended(&vendor, &key, body).await;
    assert_eq!(answer["license"]["seats"], 1);
    let start: DateTime<Utc> = "2026-11-25T00:00:00Z".parse().unwrap();
    let second = TimeDelta::seconds(1);
    for (at, cameras, seats) in [
        (start - second, 16, 1),
        (start, 20, 2),
        (start + TimeDelta::days(2) - second, 20, 2),
        (start + TimeDelta::days(2), 16, 2),
    ] {
        vendor.clock.advance(at - vendor.clock.now());
        let one = shown(&vendor, &key).await;
        let listed = vendor.look("/licenses").await["licenses"][0].take();
        for license in [one, listed] {
            let found = (&license["maxCameras"], &license["seats"]);
            assert_eq!(found, (&json!(cameras), &json!(seats)), "{at}");
        }
    }
    let found = async || vendor.look("/licenses?search=harbour").await["total"].clone();
    assert_eq!(found().await, 0);
    let now = vendor.permitted();
    assert_eq!(catch_up(&vendor.app.store, now).await.unwrap(), 1);
    assert_eq!(catch_up(&vendor.app.store, now).await.unwrap(), 0);
    assert_eq!(found().await, 1);
    assert_eq!(license(&vendor, &key).await.changes_at, None);
    vendor.end().await;
}

async fn a_license_that_ends_before_its_entitlements_is_brought_up_to_date(engine: Engine) {
    let vendor = Vendor::start(engine).await;
    let key = vendor.issue(IssueRequest::of(Tier::Standard)).await;
    let until = "2026-12-10";
    let body = json!({"expiresAt": "2026-12-01", "add": [{"key": ANALYTICS, "until": until}]});
    amended(&vendor, &key, body).await;
    vendor.clock.advance(TimeDelta::days(9));
    // Nothing is listed any more, but something is still to change.
    amended(&vendor, &key, json!({"seats": 2})).await;
    assert!(license(&vendor, &key).await.changes_at.is_some());
    vendor.clock.advance(TimeDelta::days(9));
    let now = vendor.permitted();
    assert_eq!(catch_up(&vendor.app.store, now).await.unwrap(), 1);
    assert_eq!(catch_up(&vendor.app.store, now).await.unwrap(), 0);
    let ended = license(&vendor, &key).await;
    assert_eq!((ended.changes_at, ended.features.len()), (None, 1));
    vendor.end().await;
}

async fn the_list_of_amendments_has_pages(engine: Engine) {
    let vendor = Vendor::start(engine).await;
    let key = vendor.issue(IssueRequest::of(Tier::Standard)).await;
    for seats in 2..6 {
        amended(&vendor, &key, json!({ "seats": seats })).await;
    }
    let path = format!("/licenses/{key}/amendments?limit=2");
    let (mut numbers, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = vendor.look(&format!("{path}{cursor}")).await;
        assert_eq!(page["total"], 5);
        let rows = page["amendments"].as_array().unwrap();
        numbers.extend(rows.iter().map(|it| it["number"].as_u64().unwrap()));
        match page["nextCursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    assert_eq!(numbers, [5, 4, 3, 2, 1]);
    let first = vendor
        .look(&format!("/licenses/{key}/amendments?limit=500"))
        .await;
    let issued = &first["amendments"][4];
    assert_eq!(issued["author"], "command line");
    let cameras = json!({"grant": {"key": "cameras", "quantity": 16}});
    assert!(
        issued["changes"].as_array().unwrap().contains(&cameras),
        "{issued}"
    );
    vendor.end().await;
}
