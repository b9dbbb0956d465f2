//! Licenses with quantities and an end that differ from the plan's.

use reqwest::StatusCode;
use serde_json::{Value, json};

use super::{issue, publish_example, refused};
use crate::amendments::amended;
use crate::commands;
use crate::database::{Engine, on_both_engines};
use crate::harness::Vendor;

on_both_engines! {
    anything_that_is_counted_is_issued_in_any_quantity;
    a_license_never_ends_although_its_plan_does;
}

async fn anything_that_is_counted_is_issued_in_any_quantity(engine: Engine) {
    let vendor = Vendor::start(engine).await;
    publish_example(&vendor).await;
    let body = json!({
        "plan": "parking", "quantities": {"anpr_lanes": 12, "users": "unlimited"},
    });
    let (status, issued) = issue(&vendor, body).await;
    assert_eq!(status, StatusCode::CREATED, "{issued}");
    assert_eq!(
        (&issued["counts"]["anpr_lanes"], &issued["maxUsers"]),
        (&json!(12), &json!(-1))
    );
    // What the plan does not count was sold separately, so it stays when the plan is replaced.
    let body = json!({"plan": "standard", "quantities": {"anpr_lanes": 4}});
    let (_, issued) = issue(&vendor, body).await;
    let key = issued["licenseKey"].as_str().unwrap();
    let answer = amended(&vendor, key, json!({"plan": "professional"})).await;
    assert_eq!(answer["license"]["counts"]["anpr_lanes"], 4);
    for (quantities, why) in [
        (json!({"module.map_view": 1}), "quantities"),
        (json!({"no_such_thing": 1}), "quantities"),
        (json!({"anpr_lanes": -1}), "quantities"),
    ] {
        let body = json!({"plan": "parking", "quantities": quantities});
        let message = refused(issue(&vendor, body).await, StatusCode::BAD_REQUEST);
        assert!(message.contains(why), "{message}");
    }
    let command = ["issue", "--plan", "parking", "--quantity", "anpr_lanes=20"];
    let issued = commands::json(&vendor, &command).await;
    assert_eq!(issued["counts"]["anpr_lanes"], 20);
    vendor.end().await;
}

async fn a_license_never_ends_although_its_plan_does(engine: Engine) {
    let vendor = Vendor::start(engine).await;
    publish_example(&vendor).await;
    let (_, issued) = issue(&vendor, json!({"plan": "parking", "neverExpires": true})).await;
    assert_eq!(
        (&issued["expiresAt"], &issued["plan"]),
        (&Value::Null, &json!("parking@1"))
    );
    let both = json!({"plan": "parking", "neverExpires": true, "expiresAt": "2030-12-31"});
    let message = refused(issue(&vendor, both).await, StatusCode::BAD_REQUEST);
    assert!(message.starts_with("Invalid neverExpires"), "{message}");
    let command = ["issue", "--plan", "parking", "--never-expires"];
    let issued = commands::json(&vendor, &command).await;
    assert_eq!(issued["expiresAt"], Value::Null);
    vendor.end().await;
}
