//! Usage that sites do not know, and usage of everything that a license may count.

use chrono::TimeDelta;
use license_server::licensing::catalogue::Tier;
use license_server::licensing::issue::IssueRequest;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::amendments::amended;
use crate::commands::json as printed;
use crate::database::{Engine, on_both_engines};
use crate::harness::{INSTALLATION, Vendor, system_info};
use crate::offers::sell;
use crate::signed_in::SignedIn;

on_both_engines! {
    unknown_usage_is_stored_and_shown_as_unknown;
    a_site_of_version_1_does_not_know_its_usage;
    anything_that_is_counted_is_stored_by_day_and_compared_with_the_license;
    the_keys_of_a_day_are_bounded;
}

/// A heartbeat with these numbers and this header.
async fn heartbeat(vendor: &Vendor, key: &str, numbers: [u64; 3], header: Option<&str>) {
    let body = json!({
        "licenseKey": key, "hardwareId": "machine", "installationId": INSTALLATION,
        "usageMetrics": {
            "camerasInUse": numbers[0], "usersActive": numbers[1], "storageUsedGb": numbers[2],
        },
        "systemInfo": system_info(),
    });
    let request = vendor
        .http
        .post(format!("{}/api/licenses/heartbeat", vendor.url));
    let request = match header {
        Some(header) => request.header("x-license-usage", header),
        None => request,
    };
    let answer = request.json(&body).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    let answer: Value = answer.json().await.unwrap();
    assert_eq!(answer["data"]["isValid"], true, "{answer}");
}

async fn sold(vendor: &Vendor) -> String {
    let key = vendor.issue(IssueRequest::of(Tier::Standard)).await;
    vendor.activate(&key, "machine").await;
    key
}

/// The usage of the installation, of its seat, and of its days.
async fn usage(vendor: &Vendor, key: &str) -> (Value, Value, Value) {
    let mut installations = vendor.look("/installations").await;
    let mut license = vendor.look(&format!("/licenses/{key}")).await;
    let mut days = vendor.look(&format!("/licenses/{key}/usage")).await;
    (
        installations["installations"][0]["usage"].take(),
        license["seats"][0]["usage"].take(),
        days["usage"].take(),
    )
}

async fn unknown_usage_is_stored_and_shown_as_unknown(engine: Engine) {
    let vendor = Vendor::start(engine).await;
    let key = sold(&vendor).await;
    heartbeat(
        &vendor,
        &key,
        [7, 0, 0],
        Some("cameras=7,users=?,storage_gb=?"),
    )
    .await;
    let (installation, seat, days) = usage(&vendor, &key).await;
    assert_eq!(
        installation,
        json!({"cameras": 7, "users": null, "storageGb": null})
    );
    let stored = json!({"camerasInUse": 7, "usersActive": null, "storageUsedGb": null});
    assert_eq!(seat, stored);
    assert_eq!(
        (
            &days[0]["cameras"],
            &days[0]["users"],
            &days[0]["storageGb"]
        ),
        (&json!(7), &Value::Null, &Value::Null)
    );
    // What becomes known counts, and what is no longer known does not change the day.
    heartbeat(
        &vendor,
        &key,
        [0, 2, 0],
        Some("cameras=?,users=2,storage_gb=0"),
    )
    .await;
    let (installation, _, days) = usage(&vendor, &key).await;
    assert_eq!(
        installation,
        json!({"cameras": null, "users": 2, "storageGb": 0})
    );
    assert_eq!(
        (
            &days[0]["cameras"],
            &days[0]["users"],
            &days[0]["storageGb"],
            &days[0]["heartbeats"]
        ),
        (&json!(7), &json!(2), &json!(0), &json!(2))
    );
    // A machine whose usage is not known is not over a limit.
    heartbeat(
        &vendor,
        &key,
        [17, 0, 0],
        Some("cameras=17,users=?,storage_gb=?"),
    )
    .await;
    assert_eq!(vendor.look("/fleet").await["overLimit"], 1);
    heartbeat(
        &vendor,
        &key,
        [0, 0, 0],
        Some("cameras=?,users=?,storage_gb=?"),
    )
    .await;
    assert_eq!(vendor.look("/fleet").await["overLimit"], 0);
    vendor.end().await;
}

async fn a_site_of_version_1_does_not_know_its_usage(engine: Engine) {
    let vendor = Vendor::start(engine).await;
    let key = sold(&vendor).await;
    heartbeat(&vendor, &key, [0, 0, 0], None).await;
    let (installation, _, days) = usage(&vendor, &key).await;
    assert_eq!(
        installation,
        json!({"cameras": null, "users": null, "storageGb": null})
    );
    assert_eq!(days[0]["cameras"], Value::Null);
    // Numbers without the header count.
    heartbeat(&vendor, &key, [3, 0, 0], None).await;
    let (installation, _, days) = usage(&vendor, &key).await;
    assert_eq!(
        installation,
        json!({"cameras": 3, "users": 0, "storageGb": 0})
    );
    assert_eq!(
        (&days[0]["cameras"], &days[0]["users"]),
        (&json!(3), &json!(0))
    );
    vendor.end().await;
}

async fn anything_that_is_counted_is_stored_by_day_and_compared_with_the_license(engine: Engine) {
    let vendor = Vendor::start(engine).await;
    sell(&vendor, &[], &["anpr_lanes"]).await;
    let key = sold(&vendor).await;
    let body = json!({"add": [{"key": "anpr_lanes", "quantity": 4}]});
    let license = amended(&vendor, &key, body).await["license"].take();
    assert_eq!(license["counts"], json!({"anpr_lanes": 4}), "{license}");
    heartbeat(
        &vendor,
        &key,
        [1, 1, 1],
        Some("cameras=1,users=1,storage_gb=1,anpr_lanes=4"),
    )
    .await;
    assert_eq!(vendor.look("/fleet").await["overLimit"], 0);
    heartbeat(
        &vendor,
        &key,
        [1, 1, 1],
        Some("cameras=1,users=1,storage_gb=1,anpr_lanes=5"),
    )
    .await;
    heartbeat(
        &vendor,
        &key,
        [1, 1, 1],
        Some("cameras=1,users=1,storage_gb=1,anpr_lanes=3"),
    )
    .await;
    let (installation, seat, days) = usage(&vendor, &key).await;
    assert_eq!(installation["counts"], json!({"anpr_lanes": 3}));
    assert_eq!(seat["counts"], json!({"anpr_lanes": 3}));
    assert_eq!(days[0]["counts"], json!({"anpr_lanes": 5}));
    let by_command = printed(&vendor, &["usage", &key, "--days", "400"]).await;
    assert_eq!(by_command[0]["counts"], json!({"anpr_lanes": 5}));
    heartbeat(
        &vendor,
        &key,
        [0, 0, 0],
        Some("cameras=?,users=1,anpr_lanes=3"),
    )
    .await;
    let staff = SignedIn::to(&vendor).await;
    let id = license["id"].as_str().unwrap();
    for path in [
        &*format!("/console/licenses/{id}"),
        "/console/installations",
    ] {
        let page = staff.get(path).await.text().await.unwrap();
        for gauge in [
            "Cameras: – of 16",
            "Users: 1 of 5",
            "Sold by a test: 3 of 4",
        ] {
            assert!(page.contains(gauge), "{path}: {gauge}: {page}");
        }
    }
    let listed = vendor.look("/installations").await;
    assert_eq!(
        listed["installations"][0]["maxCounts"],
        json!({"anpr_lanes": 4})
    );

    // A preview says who would be over, and being over is counted.
    let fewer = json!({"end": ["anpr_lanes"], "add": [{"key": "anpr_lanes", "quantity": 2}]});
    let mut preview = fewer.clone();
    preview["preview"] = true.into();
    let path = format!("/licenses/{key}/amendments");
    let (status, answer) = vendor.admin(Method::POST, &path, preview).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    let over = &answer["installations"][0]["over"][0];
    assert_eq!(
        (&over["key"], &over["used"], &over["granted"]),
        (&json!("anpr_lanes"), &json!(3), &json!(2))
    );
    assert_eq!(vendor.look("/fleet").await["overLimit"], 0);
    amended(&vendor, &key, fewer).await;
    assert_eq!(vendor.look("/fleet").await["overLimit"], 1);
    let found = vendor.look("/installations?overLimit=true").await;
    assert_eq!(found["total"], 1);
    vendor.end().await;
}

async fn the_keys_of_a_day_are_bounded(engine: Engine) {
    let vendor = Vendor::start(engine).await;
    let key = sold(&vendor).await;
    for number in 0..10 {
        let counts = (0..60).map(|it| format!("key_{number}_{it}=1"));
        let header = counts.collect::<Vec<_>>().join(",");
        vendor.clock.advance(TimeDelta::minutes(1));
        heartbeat(&vendor, &key, [0, 0, 0], Some(&header)).await;
    }
    let (_, _, days) = usage(&vendor, &key).await;
    let counts = days[0]["counts"].as_object().unwrap();
    assert_eq!(counts.len(), 64);
    assert!(
        counts.contains_key("key_0_59"),
        "the first keys stay: {counts:?}"
    );
    vendor.end().await;
}
