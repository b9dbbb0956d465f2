//! Trial codes are created, listed and withdrawn.

use license_core::issued_code::{CodeKind, IssuedCode};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::{ask, code};
use crate::database::{Engine, on_both_engines};
use crate::harness::Vendor;

on_both_engines! {
    the_list_of_trial_codes_has_pages;
    an_invalid_trial_code_is_not_created;
    a_code_is_withdrawn_once;
    a_code_whose_plan_starts_no_trials_is_not_called_missing;
}

async fn the_list_of_trial_codes_has_pages(engine: Engine) {
    let vendor = Vendor::start(engine).await;
    let mut expected = Vec::new();
    for max in 1..=5 {
        code(&vendor, json!({"max": max, "note": "Fair"})).await;
        vendor
            .clock
            .advance(chrono::TimeDelta::seconds(i64::from(max % 2)));
        expected.push(max);
    }
    let (mut found, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = vendor.look(&format!("/trial-codes?limit=2{cursor}")).await;
        assert_eq!(page["total"], 5);
        let rows = page["trialCodes"].as_array().unwrap();
        found.extend(rows.iter().map(|it| it["max"].as_i64().unwrap()));
        assert!(
            rows.iter()
                .all(|it| it["plan"] == "trial@1" && it["usable"] == true)
        );
        match page["nextCursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    found.sort_unstable();
    assert_eq!(
        found,
        expected.into_iter().map(i64::from).collect::<Vec<_>>()
    );
    let text = vendor.look("/trial-codes").await.to_string();
    assert!(text.contains("FXSTRY-****-****-****-"), "{text}");
    vendor.end().await;
}

async fn an_invalid_trial_code_is_not_created(engine: Engine) {
    let vendor = Vendor::start(engine).await;
    code(&vendor, json!({"max": 1})).await;
    let endless = json!({"title": "Endless", "trial": true, "terms": {"seats": 1}});
    let body = json!({"name": "endless", "contents": endless});
    vendor.admin(Method::POST, "/plans", body).await;
    for (body, expected) in [
        (
            json!({"plan": "nothing", "max": 1}),
            "there is no plan 'nothing'",
        ),
        (json!({"plan": "standard", "max": 1}), "trial = true"),
        (json!({"plan": "endless", "max": 1}), "would never end"),
        (json!({"plan": "trial", "max": 0}), "max"),
        (json!({"plan": "trial", "max": 1_000_001}), "max"),
        (json!({"plan": "trial", "max": 5, "maxADay": 6}), "maxADay"),
        (json!({"plan": "trial", "max": 5, "maxADay": 0}), "maxADay"),
        (
            json!({"plan": "trial", "max": 5, "endsAt": "2026-11-23"}),
            "endsAt",
        ),
        (
            json!({"plan": "trial", "max": 5, "note": "x".repeat(1001)}),
            "note",
        ),
        (json!({"plan": "trial"}), "missing field `max`"),
    ] {
        let (status, answer) = vendor
            .admin(Method::POST, "/trial-codes", body.clone())
            .await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{body}: {answer}");
        let message = answer["error"]["message"].as_str().unwrap();
        assert!(message.contains(expected), "{body}: {message}");
    }
    assert_eq!(vendor.look("/trial-codes").await["total"], 1);
    vendor.end().await;
}

async fn a_code_is_withdrawn_once(engine: Engine) {
    let vendor = Vendor::start(engine).await;
    let code = code(&vendor, json!({"max": 3})).await;
    let id = vendor.look("/trial-codes").await["trialCodes"][0]["id"].clone();
    let path = format!("/trial-codes/{}", id.as_str().unwrap());
    for path in [&path, &format!("/trial-codes/{code}")] {
        let (status, answer) = vendor.admin(Method::DELETE, path, Value::Null).await;
        assert_eq!(status, StatusCode::OK, "{answer}");
        assert!(answer["withdrawnAt"].is_string());
    }
    let log = vendor.audit("").await;
    let withdrawn = log.as_array().unwrap().iter();
    let withdrawn = withdrawn.filter(|it| it["action"] == "trial_code_withdrawn");
    assert_eq!(withdrawn.count(), 1);
    let unknown = IssuedCode::from_random(CodeKind::Trial, &[3; 15]).unwrap();
    let nil = "00000000-0000-0000-0000-000000000000";
    for missing in [unknown.as_str(), "hello", nil] {
        let path = format!("/trial-codes/{missing}");
        for method in [Method::GET, Method::DELETE] {
            let (status, answer) = vendor.admin(method, &path, Value::Null).await;
            assert_eq!(status, StatusCode::NOT_FOUND, "{answer}");
        }
    }
    vendor.end().await;
}

async fn a_code_whose_plan_starts_no_trials_is_not_called_missing(engine: Engine) {
    let vendor = Vendor::start(engine).await;
    let code = code(&vendor, json!({"max": 5})).await;
    // As no program stores it.
    let other = "UPDATE trial_codes SET plan = 'standard@1'";
    vendor.database.execute(other).await;
    let (status, answer) = ask(&vendor, Some(&code), "one", "machine").await;
    assert_eq!(
        (status, &answer["error"]["code"]),
        (StatusCode::OK, &json!("unknown_trial_code"))
    );
    assert_eq!(
        answer["error"]["message"],
        "This trial code cannot start a trial; ask your vendor for another one"
    );
    assert_eq!(vendor.look("/licenses").await["total"], 0);
    vendor.end().await;
}
