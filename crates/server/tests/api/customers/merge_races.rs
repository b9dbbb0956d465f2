//! A merge while staff amend the licenses that it is about.

use license_server::audit::Actor;
use license_server::licensing::customers::merge;
use reqwest::{Method, StatusCode};
use serde_json::json;

use super::{issued, rebuilt};
use crate::database::{Engine, on_both_engines};
use crate::harness::Vendor;

on_both_engines! {
    a_license_that_staff_give_to_another_customer_meanwhile_stays_there;
}

async fn a_license_that_staff_give_to_another_customer_meanwhile_stays_there(engine: Engine) {
    let vendor = Vendor::start(engine).await;
    let twin = vendor.twin().await;
    issued(&vendor, "Zoo").await;
    issued(&vendor, "Yard").await;
    for round in 0..3 {
        let from = format!("Former {round}");
        let mut licenses = Vec::new();
        for _ in 0..12 {
            licenses.push(issued(&vendor, &from).await);
        }
        // A merge goes through them in the order of their ids.
        licenses.sort_unstable_by_key(|it| it["id"].as_str().unwrap().to_owned());
        let last = licenses.last().unwrap();
        let path = format!("/licenses/{}/amendments", last["id"].as_str().unwrap());
        let author = vendor.app.author(Actor::CommandLine);
        let merging = merge(&vendor.app.store, &from, "Zoo", false, &author);
        let amending = twin.admin(Method::POST, &path, json!({"customer": "Yard"}));
        let (merged, (status, answer)) = tokio::join!(merging, amending);
        merged.unwrap();
        assert_eq!(status, StatusCode::CREATED, "{answer}");
        assert_eq!(rebuilt(&vendor, last).await.customer, "Yard", "{round}");
        assert_eq!(rebuilt(&vendor, &licenses[0]).await.customer, "Zoo");
    }
    twin.stop().await;
    vendor.end().await;
}
