//! Tests of how a license is read.

use super::*;
use serde_json::json;

fn license(value: &Value) -> License {
    License::new(value.as_object().unwrap().clone())
}

#[test]
fn invalid_limits_are_absent_and_whole_floats_count() {
    assert_eq!(
        license(&json!({"maxCameras": 64.0})).max_cameras(),
        Some(64)
    );
    assert_eq!(license(&json!({"maxCameras": 64.5})).max_cameras(), None);
    assert_eq!(license(&json!({"maxCameras": -1})).max_cameras(), Some(-1));
    assert_eq!(license(&json!({"maxCameras": "many"})).max_cameras(), None);
    for (text, number) in [
        ("20", Some(20)),
        (" 20\n", Some(20)),
        ("\u{a0}20", Some(20)),
        ("+0020", Some(20)),
        ("-1", Some(-1)),
        ("1_000", Some(1000)),
        ("1_000.00", Some(1000)),
        ("0_0", Some(0)),
        ("9223372036854775807", Some(i64::MAX)),
        ("9223372036854775808", None),
        ("20.", None),
        ("20.5", None),
        (".0", None),
        ("1__0", None),
        ("_1", None),
        ("1_", None),
        ("-_1", None),
        ("1.0_0", None),
        ("+-5", None),
        ("- 5", None),
        ("1e3", None),
        ("1,000", None),
        ("0x10", None),
        ("٢٠", None),
        ("20\u{200b}", None),
        ("unlimited", None),
        ("", None),
    ] {
        let license = license(&json!({ "maxCameras": text }));
        assert_eq!(license.max_cameras(), number, "{text:?}");
        let odd = if number.is_none() {
            vec!["maxCameras"]
        } else {
            vec![]
        };
        assert_eq!(license.unreadable(), odd, "{text:?}");
    }
    assert_eq!(license(&json!({"maxCameras": 1e300})).max_cameras(), None);
    let exact = |limit: f64| license(&json!({ "maxCameras": limit })).max_cameras();
    assert_eq!(exact(8.9e15), Some(8_900_000_000_000_000));
    assert_eq!(exact(9e15), None);
}

#[test]
fn a_license_lists_at_most_ten_thousand_features() {
    let keys: Vec<String> = (0..MAX_FEATURES + 500).map(|n| format!("f{n}")).collect();
    let repeated = [&keys[..], &keys[..]].concat();
    let listed = license(&json!({"enabledFeatures": repeated})).features();
    assert_eq!(listed.keys.len(), MAX_FEATURES);
    assert!(listed.keys.contains("f0") && listed.keys.contains("f9999"));
    assert!(!listed.keys.contains("f10000"));
    assert_eq!(listed.skipped.len(), MAX_SKIPPED);
    assert_eq!(listed.skipped[0].1, SkippedFeature::TooMany);
    // Invalid entries do not use up the maximum.
    let odd = [vec!["x".repeat(101); MAX_FEATURES], keys[..3].to_vec()].concat();
    let listed = license(&json!({"enabledFeatures": odd})).features();
    assert_eq!((listed.keys.len(), listed.skipped.len()), (3, MAX_SKIPPED));
    let shown = listed
        .skipped
        .iter()
        .all(|(shown, _)| shown.chars().count() <= 100);
    assert!(shown, "the log shows them shortened");
}

#[test]
fn unreadable_fields_are_named() {
    let of = |value: Value| license(&value).unreadable();
    assert!(of(json!({})).is_empty());
    assert!(of(json!({"expiresAt": null, "maxCameras": null, "enabledFeatures": null})).is_empty());
    let odd = json!({
        "expiresAt": 1_767_225_600,
        "maxCameras": 64.5,
        "maxUsers": true,
        "maxStorageGb": 9_223_372_036_854_775_808_u64,
        "enabledFeatures": "module.map_view",
    });
    let all = [
        "expiresAt",
        "maxCameras",
        "maxUsers",
        "maxStorageGb",
        "enabledFeatures",
    ];
    assert_eq!(of(odd), all);
    assert_eq!(of(json!({"expiresAt": "31.12.2027"})), ["expiresAt"]);
    assert_eq!(
        of(json!({"enabledFeatures": ["a", 7]})),
        ["enabledFeatures"]
    );
}

#[test]
fn fields_are_shown_as_written() {
    let text = json!({"licenseKey": "k", "status": "trial", "expiresAt": "2027-12-31"});
    let shown = license(&text);
    assert_eq!(shown.status(), "trial");
    assert_eq!(shown.expires_at_text(), Some("2027-12-31"));
    assert_eq!(Value::Object(shown.data().clone()), text);
    let limits = license(&json!({"maxUsers": 7, "maxStorageGb": 8}));
    assert_eq!(
        (limits.max_users(), limits.max_storage_gb()),
        (Some(7), Some(8))
    );
    let odd = license(&json!({"status": 7, "expiresAt": 7}));
    assert_eq!((odd.status(), odd.expires_at_text()), ("active", None));
}

#[test]
fn duplicate_features_count_once_and_invalid_ones_are_reported() {
    let long = "f".repeat(101);
    let listed = license(&json!({"enabledFeatures": ["a", "a", 7, long, null]})).features();
    assert_eq!(listed.keys.len(), 1);
    assert_eq!(listed.skipped.len(), 3);
    assert!(
        license(&json!({"enabledFeatures": "a"}))
            .features()
            .keys
            .is_empty()
    );
}

#[test]
fn an_expiry_is_read_in_every_spelling_of_the_field() {
    let at = |text: &str| license(&json!({ "expiresAt": text })).expiry();
    let midnight = Expiry::At("2027-12-31T00:00:00Z".parse().unwrap());
    let end_of_day = Expiry::At("2027-12-31T23:59:59.999999Z".parse().unwrap());
    assert_eq!(at("2027-12-31T00:00:00Z"), midnight);
    assert_eq!(at("2027-12-31T01:00:00+01:00"), midnight);
    assert_eq!(at("2027-12-31T00:00:00.000"), midnight);
    assert_eq!(at("2027-12-31T00:00:00+0000"), midnight);
    assert_eq!(at("20271231T000000Z"), midnight);
    assert_eq!(at("2027-W52-5 00"), midnight);
    for date in ["2027-12-31", "20271231", "2027-W52-5", "2027W525"] {
        assert_eq!(at(date), end_of_day, "{date}");
    }
    assert_eq!(at("soon"), Expiry::Unreadable);
    assert_eq!(license(&json!({})).expiry(), Expiry::Never);
    assert_eq!(license(&json!({"expiresAt": null})).expiry(), Expiry::Never);
    assert_eq!(
        license(&json!({"expiresAt": 7})).expiry(),
        Expiry::Unreadable
    );
}

#[test]
fn moves_are_read_only_if_all_their_numbers_are_there() {
    let all = json!({"movesLeft": 1, "moves": 3, "movesPeriodDays": 1});
    assert_eq!(
        license(&all).moves().map(|it| it.to_string()).as_deref(),
        Some("1 of 3 per day")
    );
    for (field, value) in [
        ("movesLeft", json!(-1)),
        ("moves", json!("three")),
        ("movesPeriodDays", json!(null)),
    ] {
        let mut object = all.clone();
        object[field] = value;
        assert_eq!(license(&object).moves(), None, "{object}");
    }
}
