//! Add-on keys: issued, redeemed once, and refunded.

mod by_command;
mod by_file;
mod issuing;
mod races;
mod refunds;

use chrono::TimeDelta;
use license_core::issued_code::{CodeKind, IssuedCode};
use license_core::protocol::Call;
use license_server::licensing::catalogue::Tier;
use license_server::licensing::issue::IssueRequest;
use license_server::licensing::look_up::look_up;
use license_server::store::amendments;
use license_server::store::licenses::{License, Status};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::database::{Engine, on_both_engines};
use crate::harness::Vendor;
use crate::told::Told;

on_both_engines! {
    a_site_redeems_a_key_and_has_what_it_grants_with_its_next_validation;
    a_key_is_redeemed_once_and_again_for_the_same_license;
    a_refund_ends_exactly_what_the_key_granted;
    a_key_that_may_not_be_redeemed_is_refused_with_its_reason;
    an_add_on_key_is_no_license_key_and_needs_one;
    what_a_key_grants_begins_when_it_is_redeemed;
    staff_see_what_a_key_changes_before_they_redeem_or_refund_it;
    unknown_add_on_keys_count_as_failures_and_mistyped_ones_cost_no_query;
}

/// A key that grants these things.
pub(crate) async fn issued(vendor: &Vendor, body: Value) -> Value {
    let (status, answer) = vendor.admin(Method::POST, "/addons", body).await;
    assert_eq!(status, StatusCode::CREATED, "{answer}");
    answer
}

pub(crate) async fn issued_key(vendor: &Vendor, body: Value) -> String {
    issued(vendor, body).await["addOnKey"]
        .as_str()
        .unwrap()
        .to_owned()
}

/// A key for so many cameras.
pub(crate) async fn cameras(vendor: &Vendor, number: u64) -> String {
    let body = json!({"add": [{"key": "cameras", "quantity": number}], "order": "4712"});
    issued_key(vendor, body).await
}

/// What a site is answered that redeems a key.
pub(crate) async fn redeem(vendor: &Vendor, license: &str, add_on: &str, machine: &str) -> Value {
    let body = json!({"licenseKey": license, "addOnKey": add_on, "hardwareId": machine});
    let (status, answer) = vendor.post("redeem", body).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    answer
}

/// `redeemed`, or the reason of the refusal. Both are signed.
pub(crate) async fn word(vendor: &Vendor, license: &str, add_on: &str, machine: &str) -> String {
    let body = json!({"licenseKey": license, "addOnKey": add_on, "hardwareId": machine});
    let told = vendor.told("redeem", body).await;
    assert_eq!(told.question(), Some(Call::Redeem));
    told.word().to_owned()
}

pub(crate) async fn license(vendor: &Vendor, key: &str) -> License {
    look_up(&vendor.app.store, key).await.unwrap()
}

async fn number_of_amendments(vendor: &Vendor, key: &str) -> usize {
    let id = license(vendor, key).await.id;
    let all = amendments::of_license(vendor.app.store.reader(), &id).await;
    all.unwrap().len()
}

/// A license of a machine that holds its seat.
pub(crate) async fn active(vendor: &Vendor) -> String {
    let key = vendor.issue(IssueRequest::of(Tier::Standard)).await;
    vendor.activate(&key, "machine").await;
    key
}

async fn a_site_redeems_a_key_and_has_what_it_grants_with_its_next_validation(engine: Engine) {
    let vendor = Vendor::start(engine).await;
    let key = active(&vendor).await;
    let before = license(&vendor, &key).await;
    let add_on = cameras(&vendor, 16).await;
    let answer = redeem(&vendor, &key, &add_on, "machine").await;
    assert_eq!(
        (&answer["success"], &answer["data"]["amendment"]),
        (&json!(true), &json!(2)),
        "{answer}"
    );
    assert!(
        answer["data"].get("license").is_none(),
        "a receipt grants nothing: {answer}"
    );
    let told = vendor.validate(&key, "machine").await;
    let Told::License(document, _) = &told else {
        panic!("{told:?}");
    };
    let signed = &document.claims().license;
    assert_eq!(signed["maxCameras"], before.max_cameras + 16);
    assert_eq!(signed["amendment"], 2);
    let shown = vendor.look(&format!("/licenses/{key}/amendments")).await["amendments"][0].take();
    assert_eq!(
        (&shown["author"], &shown["order"]),
        (&json!("site"), &json!("4712"))
    );
    let reason = shown["reason"].as_str().unwrap();
    assert!(
        reason.starts_with("Add-on key FXSADD-****-****-****-"),
        "{reason}"
    );
    let log = vendor.audit(&format!("?license={key}")).await;
    assert_eq!(log[0]["action"], "add_on_redeemed", "{log}");
    assert_eq!(log[0]["details"]["changes"], "16 cameras added");
    vendor.end().await;
}

async fn a_key_is_redeemed_once_and_again_for_the_same_license(engine: Engine) {
    let vendor = Vendor::start(engine).await;
    let (key, other) = (active(&vendor).await, active(&vendor).await);
    let add_on = cameras(&vendor, 16).await;
    for spelling in [&add_on, &add_on.to_lowercase(), &add_on.replace('-', " ")] {
        let answer = redeem(&vendor, &key, spelling, "machine").await;
        assert_eq!(answer["data"]["amendment"], 2, "{answer}");
        assert_eq!(word(&vendor, &key, spelling, "machine").await, "redeemed");
        assert_eq!(number_of_amendments(&vendor, &key).await, 2);
    }
    assert_eq!(
        word(&vendor, &other, &add_on, "machine").await,
        "add_on_elsewhere"
    );
    assert_eq!(number_of_amendments(&vendor, &other).await, 1);
    // By staff it is the same.
    let path = |key: &str| format!("/licenses/{key}/redeem");
    let body = json!({"addOnKey": add_on});
    let (status, answer) = vendor.admin(Method::POST, &path(&key), body.clone()).await;
    assert_eq!(
        (status, &answer["amended"], &answer["amendment"]),
        (StatusCode::OK, &Value::Null, &json!(2))
    );
    let (status, answer) = vendor.admin(Method::POST, &path(&other), body).await;
    assert_eq!(status, StatusCode::CONFLICT, "{answer}");
    // Amendments in between change nothing about that.
    crate::amendments::amended(&vendor, &key, json!({"seats": 2})).await;
    let answer = redeem(&vendor, &key, &add_on, "machine").await;
    assert_eq!(answer["data"]["amendment"], 2, "{answer}");
    vendor.end().await;
}

async fn a_refund_ends_exactly_what_the_key_granted(engine: Engine) {
    let vendor = Vendor::start(engine).await;
    let key = active(&vendor).await;
    let before = license(&vendor, &key).await.max_cameras;
    let (one, two) = (cameras(&vendor, 16).await, cameras(&vendor, 32).await);
    redeem(&vendor, &key, &one, "machine").await;
    redeem(&vendor, &key, &two, "machine").await;
    assert_eq!(license(&vendor, &key).await.max_cameras, before + 48);
    let refund = async |add_on: &str| {
        let path = format!("/addons/{add_on}/refund");
        vendor
            .admin(Method::POST, &path, json!({"reason": "Ordered twice"}))
            .await
    };
    let (status, answer) = refund(&one).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    assert_eq!(answer["addOn"]["state"], "refunded");
    assert_eq!(answer["amended"]["amendment"]["undoes"], 2);
    assert_eq!(license(&vendor, &key).await.max_cameras, before + 32);
    let (status, answer) = refund(&one).await;
    assert_eq!(status, StatusCode::CONFLICT, "{answer}");
    assert_eq!(
        word(&vendor, &key, &one, "machine").await,
        "add_on_refunded"
    );
    assert_eq!(word(&vendor, &key, &two, "machine").await, "redeemed");
    let log = vendor.audit(&format!("?license={key}")).await;
    assert_eq!(log[0]["action"], "add_on_refunded");

    // One that was undone by staff, one whose undoing is scheduled, and one that was not redeemed.
    crate::amendments::amended(&vendor, &key, json!({"undoes": 3})).await;
    let (status, answer) = refund(&two).await;
    assert_eq!((status, &answer["amended"]), (StatusCode::OK, &Value::Null));
    let three = cameras(&vendor, 8).await;
    let number = redeem(&vendor, &key, &three, "machine").await["data"]["amendment"].clone();
    let later = json!({"undoes": number, "effectiveAt": "2027-01-01"});
    crate::amendments::amended(&vendor, &key, later).await;
    let (status, answer) = refund(&three).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    assert_eq!(license(&vendor, &key).await.max_cameras, before);
    vendor.clock.advance(TimeDelta::days(100));
    let shown = vendor.look(&format!("/licenses/{key}")).await;
    assert_eq!(shown["license"]["maxCameras"], before);
    let four = cameras(&vendor, 8).await;
    let (status, answer) = refund(&four).await;
    assert_eq!((status, &answer["amended"]), (StatusCode::OK, &Value::Null));
    vendor.end().await;
}

async fn a_key_that_may_not_be_redeemed_is_refused_with_its_reason(engine: Engine) {
    let vendor = Vendor::start(engine).await;
    let key = active(&vendor).await;
    let grant = json!([{"key": "cameras", "quantity": 4}]);
    let late = issued_key(&vendor, json!({"add": grant, "redeemBy": "2026-11-25"})).await;
    let ended = json!([{"key": "cameras", "quantity": 4, "until": "2026-11-26"}]);
    let ended = issued_key(&vendor, json!({"add": ended})).await;
    let fine = cameras(&vendor, 4).await;
    let unknown = "FXSADD-2222-2222-2222-2223";
    assert_eq!(
        word(&vendor, &key, unknown, "machine").await,
        "unknown_add_on"
    );
    assert_eq!(
        word(&vendor, &key, &fine, "other").await,
        "hardware_mismatch"
    );
    vendor.set_status(&key, Status::Suspended).await;
    assert_eq!(word(&vendor, &key, &fine, "machine").await, "suspended");
    vendor.set_status(&key, Status::Active).await;
    vendor.clock.advance(TimeDelta::days(3));
    for add_on in [&late, &ended] {
        let told = word(&vendor, &key, add_on, "machine").await;
        assert_eq!(told, "add_on_not_possible");
    }
    assert_eq!(number_of_amendments(&vendor, &key).await, 1);
    assert_eq!(word(&vendor, &key, &fine, "machine").await, "redeemed");
    vendor.set_status(&key, Status::Revoked).await;
    assert_eq!(word(&vendor, &key, &fine, "machine").await, "revoked");
    vendor.end().await;
}

async fn an_add_on_key_is_no_license_key_and_needs_one(engine: Engine) {
    let vendor = Vendor::start(engine).await;
    let add_on = cameras(&vendor, 4).await;
    let told = vendor.activate(&add_on, "machine").await;
    assert_eq!(told.word(), "add_on_key");
    let what_to_do = "Activate the license key first";
    assert!(told.message().contains(what_to_do), "{}", told.message());
    for license in ["", &add_on, &cameras(&vendor, 4).await] {
        let body = json!({"licenseKey": license, "addOnKey": add_on, "hardwareId": "machine"});
        let told = vendor.told("redeem", body).await;
        assert_eq!(told.word(), "add_on_key");
        assert!(told.message().contains(what_to_do), "{}", told.message());
    }
    let unknown = "FXSGHT-2222-2222-2222-2222";
    assert_eq!(
        word(&vendor, unknown, &add_on, "machine").await,
        "unknown_license"
    );
    let found = vendor.look("/addons").await;
    assert_eq!(found["addOns"][1]["state"], "issued");
    vendor.end().await;
}

async fn what_a_key_grants_begins_when_it_is_redeemed(engine: Engine) {
    let vendor = Vendor::start(engine).await;
    let key = active(&vendor).await;
    let add = json!([
        {"key": "module.analytics_advanced", "for": "P90D"},
        {"key": "cameras", "quantity": 8, "from": "2026-12-24", "until": "2027-01-06"},
    ]);
    let add_on = issued_key(&vendor, json!({"add": add})).await;
    vendor.clock.advance(TimeDelta::days(10));
    redeem(&vendor, &key, &add_on, "machine").await;
    let path = format!("/licenses/{key}/amendments");
    let changes = vendor.look(&path).await["amendments"][0]["changes"].clone();
    let expected = json!([
        {"grant": {"key": "module.analytics_advanced", "until": "2027-03-04T11:59:59Z"}},
        {"grant": {
            "key": "cameras", "quantity": 8,
            "from": "2026-12-24T00:00:00Z", "until": "2027-01-06T23:59:59Z",
        }},
    ]);
    assert_eq!(changes, expected);
    vendor.end().await;
}

async fn staff_see_what_a_key_changes_before_they_redeem_or_refund_it(engine: Engine) {
    let vendor = Vendor::start(engine).await;
    let key = active(&vendor).await;
    vendor.heartbeat(&key, "machine", 20).await;
    let before = license(&vendor, &key).await;
    let add_on = cameras(&vendor, 16).await;
    let redeem = async |preview: bool| {
        let path = format!("/licenses/{key}/redeem");
        let body = json!({"addOnKey": add_on, "preview": preview});
        let (status, answer) = vendor.admin(Method::POST, &path, body).await;
        assert_eq!(status, StatusCode::OK, "{answer}");
        answer
    };
    let shown = redeem(true).await;
    assert_eq!(
        (&shown["stored"], &shown["amendment"]),
        (&json!(false), &json!(2))
    );
    assert_eq!(shown["amended"]["effects"][0]["changes"][0]["after"], 32);
    assert_eq!(license(&vendor, &key).await, before);
    let state = vendor.look(&format!("/addons/{add_on}")).await["state"].clone();
    assert_eq!(state, "issued");
    assert_eq!(redeem(false).await["amended"]["stored"], true);
    let shown = vendor.look(&format!("/addons/{add_on}")).await;
    assert_eq!(
        (&shown["redeemedBy"], &shown["licenseId"]),
        (&json!("break-glass"), &json!(before.id))
    );
    let path = format!("/addons/{}/refund", shown["id"]);
    let (_, answer) = vendor
        .admin(Method::POST, &path, json!({"preview": true}))
        .await;
    let over = &answer["amended"]["installations"][0]["over"][0];
    assert_eq!(
        (&over["used"], &over["granted"]),
        (&json!(20), &json!(16)),
        "{answer}"
    );
    assert_eq!(license(&vendor, &key).await.max_cameras, 32);
    vendor.end().await;
}

async fn unknown_add_on_keys_count_as_failures_and_mistyped_ones_cost_no_query(engine: Engine) {
    let vendor = Vendor::start(engine).await;
    let key = active(&vendor).await;
    let fine = cameras(&vendor, 4).await;
    let ask = async |license: &str, add_on: &str| {
        let body = json!({"licenseKey": license, "addOnKey": add_on, "hardwareId": "machine"});
        vendor.post("redeem", body).await
    };
    // A wrong check character, while there is no database.
    let mut mistyped = fine.clone();
    let last = mistyped.pop().unwrap();
    mistyped.push(if last == '2' { '3' } else { '2' });
    let tables = ["add_ons", "licenses", "seats"];
    for table in tables {
        vendor
            .database
            .execute(&format!("ALTER TABLE {table} RENAME TO gone_{table}"))
            .await;
    }
    let (status, answer) = ask(&key, &mistyped).await;
    assert_eq!(
        (status, &answer["error"]["code"]),
        (StatusCode::OK, &json!("unknown_add_on"))
    );
    let message = answer["error"]["message"].as_str().unwrap();
    assert!(message.contains("typing error"), "{message}");
    let (status, _) = ask(&key, &fine).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    for table in tables {
        vendor
            .database
            .execute(&format!("ALTER TABLE gone_{table} RENAME TO {table}"))
            .await;
    }
    // Whoever guesses is stopped after as many tries as with license keys.
    let guess = |number: u8| {
        let code = IssuedCode::from_random(CodeKind::AddOn, &[number; 15]).unwrap();
        code.as_str().to_owned()
    };
    let mut answered = 0;
    for number in 0..40 {
        match ask(&key, &guess(number)).await {
            (StatusCode::OK, answer) => {
                assert_eq!(answer["error"]["code"], "unknown_add_on");
                answered += 1;
            }
            (status, _) => assert_eq!(status, StatusCode::TOO_MANY_REQUESTS),
        }
    }
    assert_eq!(answered, 29, "one failure was the mistyped key");
    // The license's own calls go on.
    assert_eq!(vendor.validate(&key, "machine").await.word(), "yes");
    assert_eq!(word(&vendor, &key, &fine, "machine").await, "redeemed");
    vendor.end().await;
}
