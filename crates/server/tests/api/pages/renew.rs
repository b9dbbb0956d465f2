//! The end of a license is changed in the console, as staff know it.

use reqwest::Method;
use serde_json::{Value, json};

use super::{Staff, hidden_fields};
use crate::amendments::amended;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_second_of_two_staff_who_renew_sees_what_changed_and_keeps_the_input() {
    let staff = Staff::signed_in().await;
    let (license, key) = staff.license().await;
    let renew = format!("{license}/renew");
    let (_, form) = staff.get(&renew).await;
    let mine = hidden_fields(&form) + "&end=day&day=2029-12-31&order=4711&reason=The+fair";
    // A colleague is faster.
    let body = json!({"expiresAt": "2031-12-31"});
    let path = format!("/licenses/{key}/renew");
    assert_eq!(staff.vendor.admin(Method::POST, &path, body).await.0, 200);
    let (status, page) = staff.post(&renew, &mine).await;
    assert_eq!(status, 409, "{page}");
    for expected in [
        "2 by break-glass (ends 31 December 2031)",
        "value=\"day\" required checked",
        "name=\"day\" value=\"2029-12-31\"",
        "name=\"order\" value=\"4711\"",
        "name=\"reason\" value=\"The fair\"",
        "name=\"after\" value=\"2\"",
    ] {
        assert!(page.contains(expected), "{expected}: {page}");
    }
    let end = async || {
        let shown = staff.vendor.look(&format!("/licenses/{key}")).await;
        shown["license"]["expiresAt"].clone()
    };
    assert_eq!(end().await, "2031-12-31T23:59:59Z");
    // What changed is known now.
    let mine = hidden_fields(&page) + "&end=day&day=2029-12-31&order=4711&reason=The+fair";
    assert_eq!(staff.post(&renew, &mine).await.0, 303);
    assert_eq!(end().await, "2029-12-31T23:59:59Z");
    let listed = staff
        .vendor
        .look(&format!("/licenses/{key}/amendments"))
        .await;
    let newest = &listed["amendments"][0];
    assert_eq!(
        (&newest["number"], &newest["order"], &newest["reason"]),
        (&json!(3), &json!("4711"), &json!("The fair"))
    );
    // Confirming the page again changes nothing.
    assert_eq!(staff.post(&renew, &mine).await.0, 409);
    for (field, why) in [
        ("after=x", "Invalid number of the newest"),
        ("after=9", "not 9"),
    ] {
        let (status, page) = staff.post(&renew, &format!("{field}&end=never")).await;
        assert_eq!(status, 400, "{page}");
        assert!(page.contains(why), "{why}: {page}");
    }
    staff.vendor.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_program_renews_as_it_amends() {
    let staff = Staff::signed_in().await;
    let (_, key) = staff.license().await;
    let path = format!("/licenses/{key}/renew");
    amended(&staff.vendor, &key, json!({"seats": 3})).await;
    let renew = async |body: Value| staff.vendor.admin(Method::POST, &path, body).await;
    let late = json!({"expiresAt": "2030-12-31", "after": 1});
    let (status, answer) = renew(late).await;
    assert_eq!(status, 409, "{answer}");
    let message = answer["error"]["message"].as_str().unwrap();
    assert!(
        message.contains("after amendment 1: 2 by break-glass (seats 3)"),
        "{message}"
    );
    let long = json!({"expiresAt": null, "order": "x".repeat(256)});
    let (status, answer) = renew(long).await;
    assert_eq!(status, 400, "{answer}");
    let known = json!({
        "expiresAt": "2030-12-31", "after": 2, "order": "4711", "reason": "Paid",
    });
    let (status, answer) = renew(known).await;
    assert_eq!(
        (status.as_u16(), &answer["amendment"]),
        (200, &json!(3)),
        "{answer}"
    );
    let log = staff.vendor.audit("").await;
    for (name, expected) in [
        ("from", Value::Null),
        ("to", json!("2030-12-31T23:59:59Z")),
        ("amendment", json!(3)),
        ("order", json!("4711")),
        ("reason", json!("Paid")),
    ] {
        assert_eq!(log[0]["details"][name], expected, "{name}");
    }
    staff.vendor.end().await;
}
