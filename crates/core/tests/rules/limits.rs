//! Usage, and how much can still be added.

use std::collections::BTreeSet;

use chrono::{DateTime, TimeDelta, Utc};
use license_core::feature::FeatureKey;
use license_core::gate::Entitlements;
use license_core::license::License;
use license_core::limits::{Limit, LimitReason, check};
use license_core::standing::Policy;
use license_core::usage::{
    Counts, Gauge, Gauges, MAX_EXPIRY, MAX_KEYS, MAX_REPORT_KEYS, MAX_SOURCE_CHARS, MAX_SOURCES,
    NoRoom, Resource, Usage, in_use, merged,
};
use serde_json::{Value, json};

use crate::signer::{at, exact};

const POLICY: Policy = Policy {
    grace: TimeDelta::hours(72),
    allow_unlicensed_core: true,
};

fn license() -> License {
    let data = json!({"maxCameras": 64, "maxUsers": -1, "maxStorageGb": 64.5});
    License::new(data.as_object().unwrap().clone())
}

fn limit(resource: Resource) -> Limit {
    let license = license();
    let entitlements = Entitlements::new(license.granted(), BTreeSet::new());
    Limit::of(Some(&license), &entitlements, resource, exact(at(0)))
}

fn gauges(reports: impl IntoIterator<Item = (String, Gauge)>) -> Gauges {
    let mut gauges = Gauges::default();
    for (source, gauge) in reports {
        gauges.insert(source, gauge).unwrap();
    }
    gauges
}

#[test]
fn additions_are_allowed_up_to_and_including_the_limit() {
    for (used, requested, allowed, remaining) in [
        (Some(0), 64, true, 64),
        (Some(0), 65, false, 64),
        (Some(63), 1, true, 1),
        (Some(64), 1, false, 0),
        (Some(64), 0, true, 0),
        (Some(100), 0, true, 0),
        (Some(100), 1, false, 0),
        (None, 64, true, 64),
        (Some(u64::MAX), u64::MAX, false, 0),
    ] {
        let decision = check(limit(Resource::Cameras), requested, used, &POLICY);
        assert_eq!(decision.allowed, allowed, "{used:?} {requested}");
        assert_eq!(decision.remaining, Some(remaining), "{used:?} {requested}");
        assert_eq!(decision.limit, Some(64));
        let reason = match used {
            _ if !allowed => LimitReason::LimitReached,
            Some(65..) => LimitReason::OverLimit,
            _ => LimitReason::WithinLimit,
        };
        assert_eq!(decision.reason, reason);
    }
}

#[test]
fn negative_invalid_and_absent_limits_mean_unlimited() {
    for resource in [Resource::Users, Resource::StorageGb] {
        let decision = check(limit(resource), 1_000_000, Some(7), &POLICY);
        assert!(decision.allowed);
        assert_eq!(decision.reason, LimitReason::Unlimited);
        assert_eq!((decision.limit, decision.remaining), (None, None));
        assert_eq!(decision.in_use, Some(7));
    }
}

#[test]
fn without_a_license_the_setting_for_core_features_decides() {
    for allow in [true, false] {
        let policy = Policy {
            allow_unlicensed_core: allow,
            ..POLICY
        };
        let decision = check(Limit::NoLicense, 1, None, &policy);
        assert_eq!(decision.allowed, allow);
        assert_eq!(decision.reason.code(), "no_license");
    }
}

#[test]
fn what_the_license_does_not_count_is_not_granted() {
    let license = License::new(
        json!({"maxCameras": 64, "entitlements": [{"key": "anpr_lanes", "quantity": 8}]})
            .as_object()
            .unwrap()
            .clone(),
    );
    let entitlements = Entitlements::new(license.granted(), BTreeSet::new());
    let limit = |license, key: &str| Limit::of(license, &entitlements, key, exact(at(0)));
    assert_eq!(limit(Some(&license), "anpr_lanes"), Limit::AtMost(8));
    assert_eq!(limit(Some(&license), "cameras"), Limit::AtMost(64));
    assert_eq!(limit(Some(&license), "storage_gb"), Limit::Unlimited);
    assert_eq!(limit(None, "cameras"), Limit::NoLicense);
    for (license, reason) in [(Some(&license), "not_in_license"), (None, "no_license")] {
        let doors = limit(license, "doors");
        for (requested, used, allowed, reason) in [
            (1, None, false, reason),
            (1, Some(3), false, reason),
            (0, None, true, reason),
            (0, Some(3), true, "over_limit"),
        ] {
            let decision = check(doors, requested, used, &POLICY);
            assert_eq!(decision.allowed, allowed, "{requested} {used:?}");
            assert_eq!(decision.reason.code(), reason, "{requested} {used:?}");
            assert_eq!((decision.limit, decision.remaining), (Some(0), Some(0)));
        }
    }
}

fn counts(keys: impl IntoIterator<Item = String>) -> Counts {
    let keys = keys.into_iter();
    keys.map(|key| (FeatureKey::parse(&key).unwrap(), 1))
        .collect()
}

/// A report of these keys, each once, which is valid for a minute.
fn counting(keys: impl IntoIterator<Item = String>) -> Gauge {
    Gauge {
        usage: Usage {
            counts: counts(keys),
            ..Usage::default()
        },
        reported_at: at(0),
        until: at(0) + TimeDelta::minutes(1),
    }
}

fn numbered(range: std::ops::Range<usize>) -> impl Iterator<Item = String> {
    range.map(|number| format!("key{number}"))
}

#[test]
fn anything_else_is_summed_by_key_and_stays_unknown_until_it_is_reported() {
    let lanes = || "anpr_lanes".to_owned();
    let gauges = gauges([
        ("a".to_owned(), counting([lanes()])),
        ("b".to_owned(), counting([lanes(), "doors".to_owned()])),
    ]);
    let usage = in_use(&gauges, &Usage::default(), at(0));
    assert_eq!(usage.of("anpr_lanes"), Some(2));
    assert_eq!(usage.of("doors"), Some(1));
    assert_eq!(usage.of("gates"), None);
    assert_eq!(usage.of(Resource::Cameras), None);
    assert_eq!(in_use(&gauges, &Usage::default(), at(1)), Usage::default());
}

#[test]
fn a_report_counts_a_bounded_number_of_things_and_so_do_all_together() {
    let mut gauges = Gauges::default();
    let mut insert = |source: &str, keys: std::ops::Range<usize>| {
        gauges.insert(source.to_owned(), counting(numbered(keys)))
    };
    assert_eq!(insert("a", 0..MAX_REPORT_KEYS + 1), Err(NoRoom::ReportKeys));
    assert_eq!(insert("a", 0..MAX_REPORT_KEYS), Ok(()));
    assert_eq!(insert("b", MAX_REPORT_KEYS..MAX_KEYS), Ok(()));
    assert_eq!(insert("c", MAX_KEYS..MAX_KEYS + 1), Err(NoRoom::Keys));
    // Keys that others report need no further room, and a replaced report frees its keys.
    assert_eq!(insert("c", 1..MAX_REPORT_KEYS), Ok(()));
    assert_eq!(insert("b", 1_000..1_000 + MAX_REPORT_KEYS), Ok(()));
    assert_eq!(insert("a", 1..2), Ok(()));
    assert_eq!(insert("d", 2_000..2_001), Ok(()));
    assert_eq!(insert("d", 2_000..2_002), Err(NoRoom::Keys));
    gauges.expire(at(1));
    assert_eq!(gauges, Gauges::default());
    let full = gauges.insert("e".to_owned(), counting(numbered(0..MAX_REPORT_KEYS)));
    assert_eq!(full, Ok(()));
}

#[test]
fn counts_are_stored_beside_the_fields_that_older_programs_read() {
    let gauge = counting(["anpr_lanes".to_owned()]);
    let stored = serde_json::to_value(gauges([("a".to_owned(), gauge)])).unwrap();
    assert_eq!(stored["a"]["counts"], json!({"anpr_lanes": 1}));
    assert_eq!(stored["a"]["cameras"], Value::Null);
    let old = json!({"cameras": 1, "users": null, "storageGb": null,
        "reportedAt": at(0), "until": at(1)});
    let read = |gauge: Value| -> Gauges {
        serde_json::from_str(&json!({ "a": gauge }).to_string()).unwrap()
    };
    let read_again: Gauges = serde_json::from_str(&stored.to_string()).unwrap();
    assert_eq!(serde_json::to_value(&read_again).unwrap(), stored);
    // What has no counts is stored as before.
    assert_eq!(serde_json::to_value(read(old.clone())).unwrap()["a"], old);
    // Of a foreign row, only the keys that are possible are read, and not too many.
    let mut foreign = old.clone();
    foreign["counts"] = json!({"": 1, "cameras": 7, "doors": 3});
    let usage = |gauge| in_use(&read(gauge), &Usage::default(), at(0));
    assert_eq!(usage(foreign.clone()).of("doors"), Some(3));
    assert_eq!(usage(foreign.clone()).of("cameras"), Some(1));
    assert_eq!(usage(foreign).counts.len(), 1);
    let mut many = old;
    many["counts"] = numbered(0..10_000).map(|key| (key, json!(1))).collect();
    assert_eq!(usage(many).counts.len(), MAX_REPORT_KEYS);
}

#[test]
fn valid_reports_are_summed_and_take_precedence_over_measurements() {
    let now: DateTime<Utc> = "2026-11-23T20:58:10Z".parse().unwrap();
    let gauge = |cameras, users, seconds| Gauge {
        usage: Usage {
            cameras,
            users,
            ..Usage::default()
        },
        reported_at: now,
        until: now + TimeDelta::seconds(seconds),
    };
    let gauges = gauges([
        ("recorder-1".to_owned(), gauge(Some(20), None, 0)),
        ("recorder-2".to_owned(), gauge(Some(u64::MAX), None, -1)),
        ("recorder-3".to_owned(), gauge(Some(22), Some(0), 60)),
    ]);
    let measured = Usage {
        cameras: Some(1),
        users: Some(5),
        storage_gb: Some(9),
        ..Usage::default()
    };
    let expected = Usage {
        cameras: Some(42),
        users: Some(0),
        storage_gb: Some(9),
        ..Usage::default()
    };
    assert_eq!(in_use(&gauges, &measured, now), expected);
    let later = now + TimeDelta::seconds(61);
    assert_eq!(in_use(&gauges, &measured, later), measured);
    assert_eq!(
        in_use(&Gauges::default(), &Usage::default(), now),
        Usage::default()
    );
}

#[test]
fn of_two_reports_of_one_source_the_newer_counts() {
    let now: DateTime<Utc> = "2026-11-23T20:58:10Z".parse().unwrap();
    let gauge = |cameras, minute, until| Gauge {
        usage: Usage {
            cameras: Some(cameras),
            ..Usage::default()
        },
        reported_at: now + TimeDelta::minutes(minute),
        until: now + TimeDelta::minutes(until),
    };
    let one = gauges([
        ("a".to_owned(), gauge(1, 0, 60)),
        ("b".to_owned(), gauge(2, 2, 60)),
        ("over".to_owned(), gauge(9, 0, 3)),
    ]);
    let other = gauges([
        ("a".to_owned(), gauge(3, 1, 10)),
        ("b".to_owned(), gauge(4, 1, 60)),
        ("c".to_owned(), gauge(5, 1, 60)),
    ]);
    let at = now + TimeDelta::minutes(4);
    let cameras: Vec<_> = merged(one.clone(), other.clone(), at)
        .values()
        .filter_map(|gauge| gauge.usage.cameras)
        .collect();
    assert_eq!(cameras, [3, 2, 5]);
    assert_eq!(
        merged(one.clone(), other.clone(), at),
        merged(other, one, at)
    );
}

#[test]
fn reports_of_others_are_bounded_and_leave_our_own() {
    let now: DateTime<Utc> = "2026-11-23T20:58:10Z".parse().unwrap();
    let report = |cameras: u64, reported_at: &str, until: &str| json!({"cameras": cameras, "reportedAt": reported_at, "until": until});
    let read = |reports: serde_json::Map<_, _>| -> Gauges {
        serde_json::from_str(&Value::from(reports).to_string()).unwrap()
    };
    let cameras = |gauges: &Gauges| in_use(gauges, &Usage::default(), now).cameras;
    let valid = || report(1, "2026-11-23T20:58:00Z", "2026-11-23T21:00:00Z");
    let named = |prefix: &'static str, count: usize| {
        let named = move |it| (format!("{prefix}{it}"), valid());
        (0..count).map(named).collect()
    };
    // However many are in the text, and however long their names.
    let many: Gauges = read(named("a", 30_000));
    assert_eq!(many.values().count(), MAX_SOURCES);
    let long = [
        "ü".repeat(MAX_SOURCE_CHARS),
        "ü".repeat(MAX_SOURCE_CHARS + 1),
    ];
    let long = read(long.map(|name| (name, valid())).into_iter().collect());
    assert_eq!(cameras(&long), Some(1));
    let mut full = many.clone();
    let gauge = full.values().next().unwrap().clone();
    assert!(full.insert("a7".to_owned(), gauge.clone()).is_ok());
    assert!(full.insert("more".to_owned(), gauge).is_err());
    // Our own come first.
    let own = read(named("own", 200));
    let both = merged(own.clone(), many.clone(), now);
    assert_eq!(both.values().count(), MAX_SOURCES);
    let merged_again = merged(own.clone(), both.clone(), now);
    assert_eq!(merged_again, both);
    let only_own = merged(own.clone(), Gauges::default(), now);
    assert_eq!(only_own, own);
    let full_of_own = read(named("own", MAX_SOURCES));
    assert_eq!(merged(full_of_own.clone(), many, now), full_of_own);
    // A report from the future does not stand before a later one, nor for longer than a week.
    let future = report(9, "8999-01-01T00:00:00Z", "9000-01-01T00:00:00Z");
    let future = read([("own0".to_owned(), future)].into_iter().collect());
    let taken = merged(Gauges::default(), future, now);
    let taken = taken.values().next().unwrap();
    assert_eq!((taken.reported_at, taken.until), (now, now + MAX_EXPIRY));
    let old = report(9, "2026-11-16T20:58:09Z", "9000-01-01T00:00:00Z");
    let old = read([("old".to_owned(), old)].into_iter().collect());
    assert_eq!(merged(Gauges::default(), old, now), Gauges::default());
}

#[test]
fn resources_have_codes() {
    let words = Resource::ALL.map(Resource::as_str);
    assert_eq!(words, ["cameras", "users", "storage_gb"]);
}
