//! A refund is final.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::{active, cameras, license, redeem};
use crate::amendments::amended;
use crate::database::{Engine, on_both_engines};
use crate::harness::Vendor;

on_both_engines! {
    the_amendment_of_a_refund_cannot_be_undone;
    no_chain_of_undos_restores_what_was_refunded;
}

async fn no_chain_of_undos_restores_what_was_refunded(engine: Engine) {
    let vendor = Vendor::start(engine).await;
    let key = active(&vendor).await;
    let before = license(&vendor, &key).await.max_cameras;
    let add_on = cameras(&vendor, 16).await;
    redeem(&vendor, &key, &add_on, "machine").await;
    // Undone, restored, and undone again: there is nothing left to undo for the refund.
    for undoes in [2, 3, 4] {
        amended(&vendor, &key, json!({"undoes": undoes})).await;
    }
    let path = format!("/addons/{add_on}/refund");
    let (status, answer) = vendor.admin(Method::POST, &path, json!({})).await;
    assert_eq!(
        (status, &answer["amended"]),
        (StatusCode::OK, &Value::Null),
        "{answer}"
    );
    let path = format!("/licenses/{key}/amendments");
    for body in [
        json!({"undoes": 3}),
        json!({"undoes": 5}),
        json!({"undoes": 5, "preview": true}),
        json!({"undoes": 5, "effectiveAt": "2030-01-01"}),
        json!({"undoes": 5, "add": [{"key": "cameras", "quantity": 1}]}),
    ] {
        let (status, answer) = vendor.admin(Method::POST, &path, body).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{answer}");
        let message = answer["error"]["message"].as_str().unwrap();
        assert!(message.contains("would restore amendment 2"), "{message}");
    }
    assert_eq!(license(&vendor, &key).await.max_cameras, before);
    // What restores nothing of it is possible.
    let add = json!({"add": [{"key": "cameras", "quantity": 1}]});
    amended(&vendor, &key, add).await;
    amended(&vendor, &key, json!({"undoes": 6})).await;
    assert_eq!(license(&vendor, &key).await.max_cameras, before);
    vendor.end().await;
}

async fn the_amendment_of_a_refund_cannot_be_undone(engine: Engine) {
    let vendor = Vendor::start(engine).await;
    let key = active(&vendor).await;
    let before = license(&vendor, &key).await.max_cameras;
    let (one, two) = (cameras(&vendor, 16).await, cameras(&vendor, 32).await);
    redeem(&vendor, &key, &one, "machine").await;
    redeem(&vendor, &key, &two, "machine").await;
    let refund = async |add_on: &str| {
        let path = format!("/addons/{add_on}/refund");
        let (status, answer) = vendor.admin(Method::POST, &path, json!({})).await;
        assert_eq!(status, StatusCode::OK, "{answer}");
        answer["amended"]["amendment"]["number"].clone()
    };
    let refunded = refund(&one).await;
    assert_eq!(refunded, 4);
    // Staff may undo what the other key granted, and change their minds, until it is refunded.
    amended(&vendor, &key, json!({"undoes": 3})).await;
    amended(&vendor, &key, json!({"undoes": 5})).await;
    assert_eq!(license(&vendor, &key).await.max_cameras, before + 32);
    amended(&vendor, &key, json!({"undoes": 3})).await;
    assert_eq!(refund(&two).await, Value::Null);
    let path = format!("/licenses/{key}/amendments");
    for undoes in [4, 7] {
        for more in [json!({}), json!({"preview": true})] {
            let mut body = json!({"undoes": undoes});
            body.as_object_mut()
                .unwrap()
                .extend(more.as_object().unwrap().clone());
            let (status, answer) = vendor.admin(Method::POST, &path, body).await;
            assert_eq!(status, StatusCode::BAD_REQUEST, "{answer}");
            let message = answer["error"]["message"].as_str().unwrap();
            assert!(message.contains("a refund cannot be undone"), "{message}");
        }
    }
    assert_eq!(license(&vendor, &key).await.max_cameras, before);
    vendor.end().await;
}
