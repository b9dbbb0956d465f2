//! Licenses that last for some time from their first activation on.

use chrono::{DateTime, SubsecRound as _, TimeDelta, Utc};
use license_core::amendment::{Amendment, Change};
use license_core::entitlement::{Entitlement, Period, Quantity};
use license_core::feature::FeatureKey;
use license_core::offline::Purpose;
use license_server::licensing::look_up::look_up;
use license_server::store::amendments::{insert, of_license as amendments_of};
use license_service::clock::Clock as _;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::amendments::amended;
use crate::commands::{run, said};
use crate::database::{Engine, on_both_engines};
use crate::harness::{Vendor, offline_request};
use crate::told::Told;

on_both_engines! {
    the_first_activation_sets_the_end_once;
    two_activations_at_once_set_the_end_once;
    a_license_with_an_end_of_its_own_keeps_it;
    a_request_file_is_an_activation;
    an_activation_whose_audit_entry_cannot_be_written_changes_nothing;
    a_running_site_starts_the_time_of_a_plan_that_was_scheduled_before_its_activation;
    the_end_of_a_large_license_is_set_before_another_plan_follows;
    no_lease_is_signed_without_the_end;
}

/// Sells a license for 30 days from its first activation.
pub async fn sell(vendor: &Vendor, differences: Value) -> String {
    let plan = json!({"name": "month", "contents": {
        "title": "A month", "duration": "P30D", "durationFrom": "first_activation",
        "terms": {"seats": 2}, "entitlements": [{"key": "module.map_view"}],
    }});
    let (status, answer) = vendor.admin(Method::POST, "/plans", plan).await;
    assert!(status.is_success(), "{answer}");
    let mut body = json!({"plan": "month", "customer": "Harbour Ltd"});
    for (name, value) in differences.as_object().unwrap() {
        body[name] = value.clone();
    }
    let (status, issued) = vendor.admin(Method::POST, "/licenses", body).await;
    assert_eq!(status, StatusCode::CREATED, "{issued}");
    issued["licenseKey"].as_str().unwrap().to_owned()
}

async fn shown(vendor: &Vendor, key: &str) -> Value {
    vendor.look(&format!("/licenses/{key}")).await["license"].take()
}

/// The amendments, newest first.
async fn amendments(vendor: &Vendor, key: &str) -> Vec<Value> {
    let listed = vendor.look(&format!("/licenses/{key}/amendments")).await;
    listed["amendments"].as_array().unwrap().clone()
}

/// The last second of 30 days from `at` on.
fn month(at: DateTime<Utc>) -> Value {
    last_second(at + TimeDelta::days(30))
}

/// The last second before `at`.
fn last_second(at: DateTime<Utc>) -> Value {
    let end = at.trunc_subsecs(0) - TimeDelta::seconds(1);
    json!(end.to_rfc3339_opts(chrono::SecondsFormat::Secs, true))
}

/// The end of the license in a signed document.
fn signed_end(told: &Told) -> Value {
    match told {
        Told::License(document, _) => document.claims().license["expiresAt"].clone(),
        told => panic!("{}", told.word()),
    }
}

async fn the_first_activation_sets_the_end_once(engine: Engine) {
    let vendor = Vendor::start(engine).await;
    let key = sell(&vendor, json!({})).await;
    let license = shown(&vendor, &key).await;
    assert_eq!(
        (
            &license["expiresAt"],
            &license["lastsFromActivation"],
            &license["status"]
        ),
        (&Value::Null, &json!("P30D"), &json!("active"))
    );
    let text = said(&run(&vendor, &["show", &key]).await);
    assert!(
        text.contains("30 days after the first activation"),
        "{text}"
    );

    vendor.clock.advance(TimeDelta::days(100));
    let end = month(vendor.clock.now());
    let told = vendor.activate(&key, "machine").await;
    assert_eq!(signed_end(&told), end);
    let license = shown(&vendor, &key).await;
    assert_eq!(
        (
            &license["expiresAt"],
            &license["lastsFromActivation"],
            &license["amendment"]
        ),
        (&end, &Value::Null, &json!(2))
    );
    let amendment = &amendments(&vendor, &key).await[0];
    assert_eq!(
        (&amendment["author"], &amendment["reason"]),
        (&json!("service"), &json!("first activation"))
    );
    assert_eq!(amendment["changes"], json!([{"expiry": end}]));
    let audit = vendor.audit("").await;
    let entry = audit
        .as_array()
        .unwrap()
        .iter()
        .find(|it| it["action"] == "amended");
    let entry = entry.unwrap();
    assert_eq!(
        (&entry["actor"], &entry["details"]["expiresAt"]),
        (&json!("service"), &end)
    );

    // Neither another machine, nor the same one again, nor a validation sets another end.
    vendor.clock.advance(TimeDelta::days(1));
    for machine in ["machine", "other"] {
        assert_eq!(signed_end(&vendor.activate(&key, machine).await), end);
    }
    assert_eq!(signed_end(&vendor.validate(&key, "machine").await), end);
    assert_eq!(amendments(&vendor, &key).await.len(), 2);
    vendor.clock.advance(TimeDelta::days(29));
    assert_eq!(vendor.validate(&key, "machine").await.word(), "expired");
    // Staff can let the next activation set it again.
    amended(&vendor, &key, json!({"undoes": 2})).await;
    assert_eq!(shown(&vendor, &key).await["lastsFromActivation"], "P30D");
    let end = month(vendor.clock.now());
    assert_eq!(signed_end(&vendor.activate(&key, "machine").await), end);
    vendor.end().await;
}

async fn a_running_site_starts_the_time_of_a_plan_that_was_scheduled_before_its_activation(
    engine: Engine,
) {
    let vendor = Vendor::start(engine).await;
    let key = sell(&vendor, json!({})).await;
    schedule_year(&vendor, &key, 10).await;
    let end = month(vendor.clock.now());
    assert_eq!(signed_end(&vendor.activate(&key, "machine").await), end);

    vendor.clock.advance(TimeDelta::days(10));
    let end = last_second(vendor.clock.now() + TimeDelta::days(365));
    assert_eq!(signed_end(&vendor.validate(&key, "machine").await), end);
    // Once.
    vendor.clock.advance(TimeDelta::days(1));
    assert_eq!(signed_end(&vendor.validate(&key, "machine").await), end);
    assert_eq!(amendments(&vendor, &key).await.len(), 4);
    vendor.end().await;
}

/// Grants one user so many times.
fn users(count: usize) -> Value {
    json!({"add": vec![json!({"key": "users", "quantity": 1}); count]})
}

/// Schedules a plan that counts from the first activation as well.
async fn schedule_year(vendor: &Vendor, key: &str, days: i64) {
    let plan = json!({"name": "year", "contents": {
        "title": "A year", "duration": "P365D", "durationFrom": "first_activation",
        "terms": {"seats": 2}, "entitlements": [{"key": "module.map_view"}],
    }});
    let (status, answer) = vendor.admin(Method::POST, "/plans", plan).await;
    assert!(status.is_success(), "{answer}");
    let at = (vendor.clock.now() + TimeDelta::days(days)).trunc_subsecs(0);
    amended(vendor, key, json!({"plan": "year", "effectiveAt": at})).await;
}

async fn the_end_of_a_large_license_is_set_before_another_plan_follows(engine: Engine) {
    let vendor = Vendor::start(engine).await;
    let key = sell(&vendor, json!({})).await;
    amended(&vendor, &key, users(600)).await;
    schedule_year(&vendor, &key, 50).await;
    let end = month(vendor.clock.now());
    assert_eq!(signed_end(&vendor.activate(&key, "machine").await), end);
    let license = shown(&vendor, &key).await;
    assert_eq!(
        (&license["expiresAt"], &license["lastsFromActivation"]),
        (&end, &Value::Null)
    );
    vendor.end().await;
}

/// Also if an amendment is in the database that this server would not have recorded.
async fn no_lease_is_signed_without_the_end(engine: Engine) {
    let vendor = Vendor::start(engine).await;
    let key = sell(&vendor, json!({})).await;
    let license = look_up(&vendor.app.store, &key).await.unwrap();
    let db = vendor.app.store.reader();
    let first = amendments_of(db, &license.id).await.unwrap().remove(0);
    let user = Entitlement {
        period: Period {
            from: None,
            until: Some(vendor.clock.now().trunc_subsecs(0) + TimeDelta::days(5)),
        },
        ..Entitlement::count(FeatureKey::parse("users").unwrap(), Quantity::Of(1))
    };
    let many = Amendment {
        number: 2,
        changes: vec![Change::Grant(user); 1_000],
        ..first
    };
    insert(db, &license.id, &many).await.unwrap();
    vendor
        .database
        .execute("UPDATE licenses SET is_plain = FALSE, amendment = 2")
        .await;
    for _ in 0..2 {
        let body = json!({
            "licenseKey": key, "hardwareId": "machine", "installationId": "i",
            "installationName": "Test", "installationVersion": "1",
        });
        let (status, answer) = vendor.post("activate", body).await;
        assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR, "{answer}");
        assert_eq!(vendor.seat(&key, "machine").await, None);
    }
    // Once it is shorter, it is activated with its end.
    amended(&vendor, &key, json!({"undoes": 2})).await;
    let end = month(vendor.clock.now());
    assert_eq!(signed_end(&vendor.activate(&key, "machine").await), end);
    vendor.end().await;
}

async fn two_activations_at_once_set_the_end_once(engine: Engine) {
    let vendor = Vendor::start(engine).await;
    let other = vendor.twin().await;
    for _ in 0..8 {
        let key = sell(&vendor, json!({})).await;
        let (one, two) = tokio::join!(vendor.activate(&key, "one"), other.activate(&key, "two"));
        assert_eq!(signed_end(&one), signed_end(&two));
        let amendments = amendments(&vendor, &key).await;
        assert_eq!(amendments.len(), 2, "{amendments:?}");
    }
    other.stop().await;
    vendor.end().await;
}

async fn a_license_with_an_end_of_its_own_keeps_it(engine: Engine) {
    let vendor = Vendor::start(engine).await;
    // From the order, or from an amendment before the first activation.
    let ordered = sell(&vendor, json!({"expiresAt": "2030-12-31"})).await;
    let renewed = sell(&vendor, json!({})).await;
    let never = sell(&vendor, json!({})).await;
    let (status, answer) = vendor
        .admin(
            Method::POST,
            &format!("/licenses/{renewed}/renew"),
            json!({"expiresAt": "2030-12-31"}),
        )
        .await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    amended(&vendor, &never, json!({"expiresAt": null})).await;
    for (key, expected) in [
        (&ordered, json!("2030-12-31T23:59:59Z")),
        (&renewed, json!("2030-12-31T23:59:59Z")),
        (&never, Value::Null),
    ] {
        assert_eq!(signed_end(&vendor.activate(key, "machine").await), expected);
        let license = shown(&vendor, key).await;
        assert_eq!(license["lastsFromActivation"], Value::Null);
    }
    // One that starts later lasts from its start.
    let later = sell(&vendor, json!({"startsAt": "2027-05-01"})).await;
    let end = json!("2027-05-30T23:59:59Z");
    assert_eq!(signed_end(&vendor.activate(&later, "machine").await), end);
    vendor.end().await;
}

async fn a_request_file_is_an_activation(engine: Engine) {
    let vendor = Vendor::start(engine).await;
    let key = sell(&vendor, json!({})).await;
    let request = offline_request(Purpose::Activate, &key, vendor.clock.now());
    let body = json!({"request": request.to_file()});
    let (status, answer) = vendor.post("offline", body).await;
    assert_eq!(
        (status, &answer["data"]["granted"]),
        (StatusCode::OK, &json!(true))
    );
    assert_eq!(
        shown(&vendor, &key).await["expiresAt"],
        month(vendor.clock.now())
    );
    assert_eq!(amendments(&vendor, &key).await.len(), 2);
    vendor.end().await;
}

async fn an_activation_whose_audit_entry_cannot_be_written_changes_nothing(engine: Engine) {
    let vendor = Vendor::start(engine).await;
    let key = sell(&vendor, json!({})).await;
    let away = "ALTER TABLE audit_log RENAME TO away";
    vendor.database.execute(away).await;
    let body = json!({
        "licenseKey": key, "hardwareId": "machine", "installationId": "i",
        "installationName": "Test", "installationVersion": "1",
    });
    let (status, answer) = vendor.post("activate", body).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{answer}");
    let back = "ALTER TABLE away RENAME TO audit_log";
    vendor.database.execute(back).await;
    let license = shown(&vendor, &key).await;
    assert_eq!(
        (&license["lastsFromActivation"], &license["amendment"]),
        (&json!("P30D"), &json!(1))
    );
    assert_eq!(vendor.seat(&key, "machine").await, None);
    let end = month(vendor.clock.now());
    assert_eq!(signed_end(&vendor.activate(&key, "machine").await), end);
    vendor.end().await;
}
