//! Add-on keys are issued and listed.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::{active, cameras, issued, redeem};
use crate::database::{Engine, on_both_engines};
use crate::harness::{ADMIN_TOKEN, Vendor};
use crate::offers::sell;

on_both_engines! {
    a_key_from_a_plan_grants_what_the_plan_lists;
    an_invalid_add_on_key_is_not_issued;
    the_list_of_add_on_keys_has_pages_and_filters;
    the_key_itself_is_stored_nowhere;
}

async fn a_key_from_a_plan_grants_what_the_plan_lists(engine: Engine) {
    let vendor = Vendor::start(engine).await;
    sell(&vendor, &[], &["anpr_lanes"]).await;
    let key = active(&vendor).await;
    let contents = json!({
        "title": "Four lanes", "addOn": true,
        "entitlements": [{"key": "anpr_lanes", "quantity": 4, "for": "P1Y"}],
    });
    let publish = async |name: &str, contents: Value| {
        let body = json!({"name": name, "contents": contents});
        vendor.admin(Method::POST, "/plans", body).await
    };
    let (status, answer) = publish("lanes", contents).await;
    assert_eq!(status, StatusCode::CREATED, "{answer}");
    let add_on = issued(&vendor, json!({"plan": "lanes"})).await;
    assert_eq!(add_on["plan"], "lanes@1");
    redeem(
        &vendor,
        &key,
        add_on["addOnKey"].as_str().unwrap(),
        "machine",
    )
    .await;
    let path = format!("/licenses/{key}/amendments");
    let granted = vendor.look(&path).await["amendments"][0]["changes"][0]["grant"].clone();
    assert_eq!(
        (&granted["key"], &granted["quantity"]),
        (&json!("anpr_lanes"), &json!(4))
    );
    // It is no plan for licenses, and other plans are not for add-ons.
    for (method, path, body) in [
        (
            Method::POST,
            "/licenses".to_owned(),
            json!({"plan": "lanes"}),
        ),
        (
            Method::POST,
            format!("/licenses/{key}/amendments"),
            json!({"plan": "lanes"}),
        ),
        (
            Method::POST,
            "/addons".to_owned(),
            json!({"plan": "standard"}),
        ),
    ] {
        let (status, answer) = vendor.admin(method, &path, body).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{answer}");
        let message = answer["error"]["message"].as_str().unwrap();
        assert!(message.starts_with("Invalid plan"), "{message}");
    }
    for (wrong, field) in [
        (json!({"trial": true}), "trial"),
        (json!({"duration": "P1Y"}), "duration"),
        (json!({"terms": {"seats": 2}}), "terms"),
        (json!({"entitlements": []}), "entitlements"),
    ] {
        let mut contents = json!({
            "title": "Wrong", "addOn": true,
            "entitlements": [{"key": "anpr_lanes", "quantity": 4}],
        });
        for (name, value) in wrong.as_object().unwrap() {
            contents[name] = value.clone();
        }
        let (status, answer) = publish("wrong", contents).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{answer}");
        let message = answer["error"]["message"].as_str().unwrap();
        assert!(message.contains(&format!("invalid {field}")), "{message}");
    }
    vendor.end().await;
}

async fn an_invalid_add_on_key_is_not_issued(engine: Engine) {
    let vendor = Vendor::start(engine).await;
    let one = json!([{"key": "cameras", "quantity": 1}]);
    for (body, expected) in [
        (json!({}), "either 'plan' or 'add'"),
        (
            json!({"plan": "standard", "add": one}),
            "either 'plan' or 'add'",
        ),
        (json!({"plan": "nothing"}), "there is no plan 'nothing'"),
        (json!({"add": [{"key": "cameras"}]}), "add[0].quantity"),
        (json!({"add": [{"key": "nothing"}]}), "add[0].key"),
        (json!({"add": [{"key": ""}]}), "add[0].key"),
        (
            json!({"add": [{"key": "cameras", "quantity": 1, "until": "2026-11-23"}]}),
            "add[0].until",
        ),
        (
            json!({"add": [{"key": "cameras", "quantity": 1, "from": "2027-02-01",
                "until": "2027-01-01"}]}),
            "add[0].until",
        ),
        (
            json!({"add": [{"key": "cameras", "quantity": 1, "for": "P"}]}),
            "ISO 8601",
        ),
        (json!({"add": one, "redeemBy": "2026-11-23"}), "redeemBy"),
        (json!({"add": one, "order": "x".repeat(256)}), "order"),
        (json!({"add": vec![one[0].clone(); 101]}), "add"),
    ] {
        let (status, answer) = vendor.admin(Method::POST, "/addons", body.clone()).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{body}: {answer}");
        let message = answer["error"]["message"].as_str().unwrap();
        assert!(message.contains(expected), "{body}: {message}");
    }
    assert_eq!(vendor.look("/addons").await["total"], 0);
    for missing in ["7", "FXSADD-2222-2222-2222-2223", "hello"] {
        let path = format!("/addons/{missing}");
        let (status, answer) = vendor.admin(Method::GET, &path, Value::Null).await;
        assert_eq!(status, StatusCode::NOT_FOUND, "{answer}");
    }
    vendor.end().await;
}

async fn the_list_of_add_on_keys_has_pages_and_filters(engine: Engine) {
    let vendor = Vendor::start(engine).await;
    let key = active(&vendor).await;
    let mut keys = Vec::new();
    for number in 1..=5 {
        keys.push(cameras(&vendor, number).await);
    }
    redeem(&vendor, &key, &keys[1], "machine").await;
    redeem(&vendor, &key, &keys[2], "machine").await;
    let refund = format!("/addons/{}/refund", keys[2]);
    vendor.admin(Method::POST, &refund, json!({})).await;
    let (mut found, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = vendor.look(&format!("/addons?limit=2{cursor}")).await;
        assert_eq!(page["total"], 5);
        let rows = page["addOns"].as_array().unwrap();
        found.extend(
            rows.iter()
                .map(|it| it["grants"][0]["quantity"].as_u64().unwrap()),
        );
        match page["nextCursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    assert_eq!(found, [5, 4, 3, 2, 1]);
    for (query, total) in [
        ("state=issued".to_owned(), 3),
        ("state=redeemed".to_owned(), 1),
        ("state=refunded".to_owned(), 1),
        (format!("license={key}"), 2),
        (format!("license={key}&state=refunded"), 1),
    ] {
        let page = vendor.look(&format!("/addons?{query}")).await;
        assert_eq!(page["total"], total, "{query}");
        assert_eq!(page["addOns"].as_array().unwrap().len(), total, "{query}");
    }
    vendor.end().await;
}

async fn the_key_itself_is_stored_nowhere(engine: Engine) {
    let vendor = Vendor::start(engine).await;
    let key = active(&vendor).await;
    let add_on = cameras(&vendor, 4).await;
    redeem(&vendor, &key, &add_on, "machine").await;
    let response = vendor
        .http
        .get(format!("{}/api/admin/audit/export", vendor.url))
        .bearer_auth(ADMIN_TOKEN)
        .send();
    let log = response.await.unwrap().text().await.unwrap();
    let rows = vendor
        .database
        .texts("SELECT key_hash || key_masked || grants || coalesce(note, '') FROM add_ons")
        .await;
    let rows = format!("{rows:?}");
    let amendments = vendor.look(&format!("/licenses/{key}/amendments")).await;
    let (_, secret) = add_on.split_once('-').unwrap();
    for text in [&log, &rows, &amendments.to_string()] {
        assert!(text.contains("FXSADD-****-****-****-"), "{text}");
        assert!(!text.contains(&secret[..14]), "{text}");
    }
    vendor.end().await;
}
