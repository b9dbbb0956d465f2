//! What changes next, and how soon something ends.

use std::collections::BTreeSet;

use chrono::TimeDelta;
use license_core::gate::Entitlements;
use license_core::license::License;
use license_core::upcoming::{Urgency, upcoming};
use serde_json::{Value, json};

use crate::signer::{at, exact};

/// Time, words and code of each change, as seen at an hour.
fn changes(license: &Value, hour: i64) -> Vec<(i64, String, &'static str)> {
    let license = License::new(license.as_object().unwrap().clone());
    let entitlements = Entitlements::new(license.granted(), BTreeSet::new());
    let changes = upcoming(&license, &entitlements, exact(at(hour))).into_iter();
    changes
        .map(|it| {
            let hour = (it.at - at(0)).num_hours();
            (hour, it.change.to_string(), it.change.code())
        })
        .collect()
}

#[test]
fn the_next_change_of_each_thing_is_named_in_order() {
    let license = json!({
        "expiresAt": at(100).to_rfc3339(),
        "updatesUntil": at(50).to_rfc3339(),
        "entitlements": [
            {"key": "module.map_view"},
            {"key": "fair", "from": at(5), "until": at(20)},
            {"key": "renewed", "until": at(10)},
            {"key": "renewed", "from": at(8), "until": at(30)},
            {"key": "over", "until": at(-1)},
            {"key": "longer", "until": at(200)},
            {"key": "cameras", "quantity": 64},
            {"key": "cameras", "quantity": 32, "from": at(5)},
            {"key": "anpr_lanes", "quantity": 8, "until": at(7)},
            {"key": "storage_gb", "quantity": 10, "until": at(40)},
            {"key": "storage_gb", "quantity": 5, "from": at(9)},
            {"key": "storage_gb", "quantity": 5, "from": at(12)},
            {"key": "doors", "quantity": 4, "until": at(6)},
            {"key": "doors", "quantity": 4, "from": at(6) + TimeDelta::seconds(1)},
        ],
    });
    let change = |hour, words: &str, code| (hour, words.to_owned(), code);
    let cameras = "The limit for cameras changes from 64 to 96";
    let lanes = "The limit for anpr_lanes changes from 8 to 0";
    let more = "The limit for storage_gb changes from 10 to 15";
    let less = "The limit for storage_gb changes from 20 to 10";
    let first = [
        change(5, cameras, "limit_changes"),
        change(5, "fair starts", "feature_starts"),
        change(7, lanes, "limit_changes"),
        change(9, more, "limit_changes"),
        change(20, "fair ends", "feature_ends"),
        change(30, "renewed ends", "feature_ends"),
        change(40, less, "limit_changes"),
        change(50, "Updates end", "updates_end"),
        change(100, "The license expires", "license_ends"),
    ];
    assert_eq!(changes(&license, 0), first);
    let later = [
        change(9, more, "limit_changes"),
        change(20, "fair ends", "feature_ends"),
        change(30, "renewed ends", "feature_ends"),
        change(40, less, "limit_changes"),
        change(50, "Updates end", "updates_end"),
        change(100, "The license expires", "license_ends"),
    ];
    assert_eq!(changes(&license, 8), later);
    assert_eq!(changes(&license, 101), []);
    assert_eq!(changes(&json!({"maxCameras": 64}), 0), []);
}

#[test]
fn an_end_is_urgent_from_30_days_before() {
    let urgency_of = |license: Value, days: i64| {
        let license = License::new(license.as_object().unwrap().clone());
        let entitlements = Entitlements::new(license.granted(), BTreeSet::new());
        let now = at(24 * 100) - TimeDelta::days(days);
        let changes = upcoming(&license, &entitlements, exact(now));
        assert_eq!(changes.len(), 1);
        changes[0].urgency(now)
    };
    let urgency =
        |entitlement: Value, days: i64| urgency_of(json!({ "entitlements": [entitlement] }), days);
    let end = at(24 * 100);
    for (days, expected) in [
        (31, None),
        (30, Some(Urgency::Notice)),
        (15, Some(Urgency::Notice)),
        (14, Some(Urgency::Warning)),
        (4, Some(Urgency::Warning)),
        (3, Some(Urgency::Critical)),
        (0, Some(Urgency::Critical)),
    ] {
        assert_eq!(urgency(json!({"key": "a", "until": end}), days), expected);
        let count = json!({"key": "a", "quantity": 1, "until": end});
        assert_eq!(urgency(count, days), expected);
        assert_eq!(urgency_of(json!({"updatesUntil": end}), days), expected);
    }
    // What starts is no warning.
    assert_eq!(urgency(json!({"key": "a", "from": end}), 1), None);
    assert_eq!(
        urgency(json!({"key": "a", "quantity": 1, "from": end}), 1),
        None
    );
}
