//! A merge whose author's token expires while it is moving licenses.

use chrono::TimeDelta;
use license_service::clock::Clock as _;
use reqwest::{Method, StatusCode};
use serde_json::json;

use super::{added, issued};
use crate::database::{Engine, on_both_engines};
use crate::harness::Vendor;

on_both_engines! {
    a_merge_ends_with_the_token_of_its_author_and_can_be_repeated;
}

const LICENSES: usize = 60;

async fn a_merge_ends_with_the_token_of_its_author_and_can_be_repeated(engine: Engine) {
    let vendor = Vendor::start(engine).await;
    for _ in 0..LICENSES {
        issued(&vendor, "Harbor").await;
    }
    added(&vendor, json!({"name": "Harbour Ltd"})).await;
    let end = vendor.clock.now() + TimeDelta::seconds(60);
    let body = json!({"name": "ana", "expiresAt": end});
    let (status, answer) = vendor.admin(Method::POST, "/tokens", body).await;
    assert_eq!(status, StatusCode::CREATED, "{answer}");
    let url = format!("{}/api/admin/customers/harbor/merge", vendor.url);
    let merge = vendor.http.post(url).json(&json!({"into": "Harbour Ltd"}));
    let merge = merge.bearer_auth(answer["token"].as_str().unwrap()).send();
    let moved = async || {
        let moved = "SELECT CAST(COUNT(*) AS TEXT) FROM licenses WHERE customer = 'Harbour Ltd'";
        let moved = vendor.database.texts(moved).await[0].clone();
        moved.unwrap().parse::<usize>().unwrap()
    };
    let expiry = async {
        while moved().await < 2 {}
        vendor.clock.advance(TimeDelta::seconds(30));
        while moved().await < 6 {}
        vendor.clock.advance(TimeDelta::seconds(31));
    };
    let (answer, ()) = tokio::join!(merge, expiry);
    let answer = answer.unwrap();
    assert_eq!(answer.status(), StatusCode::UNAUTHORIZED);
    let answer: serde_json::Value = answer.json().await.unwrap();
    let count = moved().await;
    assert!(count < LICENSES, "the merge went on");
    assert_eq!(answer["error"]["code"], "token_expired");
    let message = answer["error"]["message"].as_str().unwrap();
    let expected =
        format!("The merge was interrupted (licenses moved by it: {count}); repeat the merge");
    assert!(message.starts_with(&expected), "{message}");
    // Each license was amended at its own time.
    let log = vendor.audit("?limit=500").await;
    let log = log.as_array().unwrap().iter();
    let own: Vec<_> = log.filter(|it| it["actor"] == "ana").collect();
    assert_eq!(own.len(), 1 + count);
    let times: std::collections::BTreeSet<&str> =
        own.iter().map(|it| it["at"].as_str().unwrap()).collect();
    assert_eq!(times.len(), 2, "{times:?}");
    let body = json!({"into": "Harbour Ltd"});
    let (status, merged) = vendor
        .admin(Method::POST, "/customers/harbor/merge", body)
        .await;
    assert_eq!(status, StatusCode::OK, "{merged}");
    assert_eq!(merged["amended"], LICENSES - count);
    assert_eq!(moved().await, LICENSES);
    vendor.end().await;
}
