//! Names and references of customers cannot be mistaken for each other.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::{added, issued};
use crate::database::{Engine, on_both_engines};
use crate::harness::Vendor;

on_both_engines! {
    no_name_is_the_reference_of_another_customer;
}

async fn no_name_is_the_reference_of_another_customer(engine: Engine) {
    let vendor = Vendor::start(engine).await;
    let first = added(
        &vendor,
        json!({"name": "Harbour Ltd", "reference": "K-1017"}),
    )
    .await;
    let second = added(&vendor, json!({"name": "Museum"})).await;
    let path = |customer: &Value| format!("/customers/{}", customer["id"].as_str().unwrap());
    for (method, path, body) in [
        (
            Method::POST,
            "/customers".to_owned(),
            json!({"name": "k-1017"}),
        ),
        (
            Method::POST,
            "/customers".to_owned(),
            json!({"name": "New", "reference": "MUSEUM"}),
        ),
        (Method::PATCH, path(&second), json!({"name": " K-1017 "})),
        (
            Method::PATCH,
            path(&second),
            json!({"reference": "harbour LTD"}),
        ),
    ] {
        let (status, answer) = vendor.admin(method, &path, body.clone()).await;
        assert_eq!(status, StatusCode::CONFLICT, "{body}: {answer}");
        let message = answer["error"]["message"].as_str().unwrap();
        let other = [&first, &second].map(|it| message.contains(it["id"].as_str().unwrap()));
        assert!(other.contains(&true), "{message}");
    }
    // A license for something that is only similar to a reference makes no customer.
    let body = json!({"tier": "standard", "customer": "k-1017"});
    let (status, answer) = vendor.admin(Method::POST, "/licenses", body).await;
    assert_eq!(status, StatusCode::BAD_REQUEST, "{answer}");
    assert_eq!(vendor.look("/customers").await["total"], 2);
    // Its own name may be its reference.
    let (status, answer) = vendor
        .admin(
            Method::PATCH,
            &path(&second),
            json!({"reference": "Museum"}),
        )
        .await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    assert_eq!(issued(&vendor, "museum").await["customerId"], second["id"]);

    // Two that are so already are not guessed.
    let id = second["id"].as_str().unwrap();
    let confuse = format!(
        "UPDATE customers SET reference = 'Harbour Ltd', reference_key = \
         (SELECT name_key FROM customers WHERE name = 'Harbour Ltd') WHERE id = '{id}'"
    );
    vendor.database.execute(&confuse).await;
    let body = json!({"tier": "standard", "customer": "Harbour Ltd"});
    for (path, status, body) in [
        ("/licenses", StatusCode::BAD_REQUEST, body),
        (
            "/customers/Harbour%20Ltd/merge",
            StatusCode::CONFLICT,
            json!({"into": "Museum"}),
        ),
    ] {
        let (refused, answer) = vendor.admin(Method::POST, path, body).await;
        assert_eq!(refused, status, "{answer}");
        let message = answer["error"]["message"].as_str().unwrap();
        for customer in [&first, &second] {
            assert!(
                message.contains(customer["id"].as_str().unwrap()),
                "{message}"
            );
        }
    }
    let (status, answer) = vendor
        .admin(Method::PATCH, &path(&second), json!({"reference": null}))
        .await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    assert_eq!(
        issued(&vendor, "Harbour Ltd").await["customerId"],
        first["id"]
    );
    vendor.end().await;
}
