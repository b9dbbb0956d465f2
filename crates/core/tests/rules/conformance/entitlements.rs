//! What a license grants at an instant.
//!
//! `vectors/entitlements.json` is tested and regenerated like the other vectors.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use license_core::gate::Entitlements;
use license_core::license::License;
use license_core::limits::limits;
use license_core::plausible_time::PlausibleTime;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{is_regenerated, vectors};

const FILE: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/tests/vectors/entitlements.json"
);

/// A license, and what it grants at one instant.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Case {
    name: String,
    /// The license object of a document.
    license: Value,
    /// RFC 3339.
    at: String,
    /// The features in force, apart from core features.
    features: BTreeSet<String>,
    /// The limits by their keys; null is unlimited. A license that does not state a limit for
    /// cameras, users or storage does not limit them.
    limits: BTreeMap<String, Option<u64>>,
}

#[test]
fn the_vectors_of_entitlements_are_up_to_date() {
    let made = cases();
    if is_regenerated() {
        let text = serde_json::to_string_pretty(&made).unwrap();
        std::fs::write(FILE, text + "\n").unwrap();
    }
    assert_eq!(vectors::<Case>(FILE), made);
}

#[test]
fn every_vector_of_entitlements_has_the_expected_result() {
    for case in cases() {
        let license = License::new(case.license.as_object().unwrap().clone());
        let at: DateTime<Utc> = case.at.parse().unwrap();
        let time = PlausibleTime::exact(at);
        let entitlements = Entitlements::new(license.granted(), BTreeSet::new());
        let granted = license.granted();
        let in_force = granted.features().map(|key| key.as_str().to_owned());
        let in_force = in_force.filter(|key| {
            let grant = granted.feature(key, time);
            grant == license_core::entitlement::Grant::InForce
        });
        assert_eq!(
            in_force.collect::<BTreeSet<_>>(),
            case.features,
            "{}",
            case.name
        );
        let limits = limits(Some(&license), &entitlements, time);
        assert_eq!(limits, case.limits, "{}", case.name);
    }
}

/// A case with these limits beside those of the license's own fields.
fn case(name: &str, license: Value, at: &str, features: &[&str], limits: Value) -> Case {
    Case {
        name: name.to_owned(),
        license,
        at: at.to_owned(),
        features: features.iter().map(|key| (*key).to_owned()).collect(),
        limits: serde_json::from_value(limits).unwrap(),
    }
}

/// The license of the example in the description of the format.
fn example() -> Value {
    json!({
        "licenseKey": "FXS-2345-6789-ABCD-EFGH", "enabledFeatures": ["not.read"],
        "maxCameras": 1, "maxUsers": 1, "maxStorageGb": 500,
        "entitlements": [
            {"key": "module.map_view"},
            {"key": "module.analytics_advanced", "from": "2027-05-01T00:00:00Z",
             "until": "2027-07-29T23:59:59Z"},
            {"key": "cameras", "quantity": 64},
            {"key": "cameras", "quantity": 32, "from": "2027-05-01T00:00:00Z"},
            {"key": "users", "quantity": "unlimited"},
            {"key": "anpr_lanes", "quantity": 4},
        ],
    })
}

fn cases() -> Vec<Case> {
    let limits = |cameras: u64| json!({"cameras": cameras, "users": null, "storage_gb": 500, "anpr_lanes": 4});
    let (always, both) = (
        ["module.map_view"],
        ["module.analytics_advanced", "module.map_view"],
    );
    let mut cases = vec![
        case(
            "before anything begins",
            example(),
            "2027-04-30T23:59:59.999Z",
            &always,
            limits(64),
        ),
        case(
            "from the first instant on",
            example(),
            "2027-05-01T00:00:00Z",
            &both,
            limits(96),
        ),
        case(
            "the same instant in another time zone",
            example(),
            "2027-05-01T02:00:00+02:00",
            &both,
            limits(96),
        ),
        case(
            "an end in whole seconds includes its second",
            example(),
            "2027-07-29T23:59:59.999Z",
            &both,
            limits(96),
        ),
        case(
            "after the end",
            example(),
            "2027-07-30T00:00:00Z",
            &always,
            limits(96),
        ),
    ];
    cases.extend(lists());
    cases.extend(unreadable_entries());
    cases
}

/// Licenses with and without lists.
fn lists() -> Vec<Case> {
    let at = "2027-05-01T00:00:00Z";
    let license = |entitlements: Value| {
        json!({"enabledFeatures": ["a", "a", "", 7], "maxCameras": 5, "maxUsers": -1,
               "entitlements": entitlements})
    };
    let unlisted = json!({"cameras": 5, "users": null, "storage_gb": null});
    vec![
        case(
            "without a list",
            license(Value::Null),
            at,
            &["a"],
            unlisted.clone(),
        ),
        case(
            "a list that is a text",
            license(json!("a")),
            at,
            &["a"],
            unlisted.clone(),
        ),
        case(
            "an empty list grants nothing",
            license(json!([])),
            at,
            &[],
            unlisted,
        ),
        case(
            "periods of one feature that follow each other",
            license(json!([
                {"key": "b", "until": "2027-04-30T23:59:59Z"},
                {"key": "b", "from": "2027-05-01T00:00:00Z"},
            ])),
            at,
            &["b"],
            json!({"cameras": 5, "users": null, "storage_gb": null}),
        ),
        case(
            "a count and a feature of one key",
            license(json!([{"key": "cameras"}, {"key": "cameras", "quantity": 0}])),
            at,
            &["cameras"],
            json!({"cameras": 0, "users": null, "storage_gb": null}),
        ),
        case(
            "one unlimited entry makes the sum unlimited",
            license(json!([
                {"key": "doors", "quantity": 3}, {"key": "doors", "quantity": "unlimited"},
            ])),
            at,
            &[],
            json!({"cameras": 5, "users": null, "storage_gb": null, "doors": null}),
        ),
        case(
            "a count that has ended is 0, and not unlimited",
            license(json!([
                {"key": "cameras", "quantity": 9, "until": "2027-04-30T23:59:59Z"},
            ])),
            at,
            &[],
            json!({"cameras": 0, "users": null, "storage_gb": null}),
        ),
    ]
}

/// Entries that grant nothing.
fn unreadable_entries() -> Vec<Case> {
    let feature = |entry: Value| (entry, json!({}));
    let count = |entry: Value| (entry, json!({"doors": 0}));
    let entries = [
        ("an entry that is a text", feature(json!("b"))),
        ("an entry without a key", feature(json!({"quantity": 1}))),
        ("an empty key", feature(json!({"key": ""}))),
        (
            "an end that is not a time",
            feature(json!({"key": "b", "until": "soon"})),
        ),
        (
            "a start that is a number",
            feature(json!({"key": "b", "from": 7})),
        ),
        (
            "an end before the start",
            feature(json!({"key": "b", "from": "2027-03-02T00:00:00Z",
                           "until": "2027-03-01T00:00:00Z"})),
        ),
        (
            "a quantity below zero",
            count(json!({"key": "doors", "quantity": -1})),
        ),
        (
            "a quantity with a fraction",
            count(json!({"key": "doors", "quantity": 1.5})),
        ),
        (
            "a quantity that is a text",
            count(json!({"key": "doors", "quantity": "7"})),
        ),
        (
            "a count whose end is not a time",
            count(json!({"key": "doors", "quantity": 7, "until": "soon"})),
        ),
    ];
    let unreadable = entries.map(|(name, (entry, counted))| {
        let mut limits = json!({"cameras": null, "users": null, "storage_gb": null});
        let counted = counted.as_object().unwrap().clone();
        limits.as_object_mut().unwrap().extend(counted);
        let license = json!({"entitlements": [entry, {"key": "c", "from": null}]});
        case(name, license, "2027-05-01T00:00:00Z", &["c"], limits)
    });
    unreadable.into()
}
