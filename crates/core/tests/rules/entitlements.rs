//! What is in force of a license's entitlements.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};
use license_core::entitlement::{
    Entitlement, Grant, Granted, Period, Quantity, SkippedEntitlement,
};
use license_core::feature::FeatureKey;
use license_core::license::License;
use license_core::plausible_time::PlausibleTime;
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::signer::{at, exact};

const ANALYTICS: &str = "module.analytics_advanced";
const CAMERAS: &str = "cameras";

fn read(value: &Value) -> Result<Entitlement, SkippedEntitlement> {
    Entitlement::of_json(value)
}

fn key(key: &str) -> FeatureKey {
    FeatureKey::parse(key).unwrap()
}

#[test]
fn the_story_of_a_fair() {
    let granted = Granted::of(
        [
            json!({"key": "module.map_view"}),
            json!({"key": ANALYTICS, "from": "2027-05-01T00:00:00Z", "until": "2027-07-29T23:59:59Z"}),
            json!({"key": CAMERAS, "quantity": 64}),
            json!({"key": CAMERAS, "quantity": 32, "from": "2027-05-01T00:00:00Z"}),
            json!({"key": "anpr_lanes", "quantity": 4}),
        ]
        .map(|entry| read(&entry).unwrap()),
    );
    let day = |text: &str| text.parse::<DateTime<Utc>>().unwrap();
    let (may, july) = (day("2027-05-01T00:00:00Z"), day("2027-07-29T23:59:59Z"));
    let second = TimeDelta::seconds(1);
    assert_eq!(
        granted.feature(ANALYTICS, exact(may - second)),
        Grant::From(may)
    );
    assert_eq!(granted.feature(ANALYTICS, exact(may)), Grant::InForce);
    assert_eq!(granted.feature(ANALYTICS, exact(july)), Grant::InForce);
    assert_eq!(
        granted.feature(ANALYTICS, exact(july + second)),
        Grant::Until(july)
    );
    assert_eq!(
        granted.feature("module.map_view", exact(july)),
        Grant::InForce
    );
    assert_eq!(
        granted.feature("module.alarm_advanced", exact(july)),
        Grant::Never
    );
    let cameras = |at| granted.count(CAMERAS, exact(at));
    assert_eq!(cameras(may - second), Some(Quantity::Of(64)));
    assert_eq!(cameras(may), Some(Quantity::Of(96)));
    assert_eq!(
        granted.count("anpr_lanes", exact(may)),
        Some(Quantity::Of(4))
    );
    assert_eq!(granted.count("doors", exact(may)), None);
    assert_eq!(
        granted.holds_until(exact(may - second)),
        Some(may - TimeDelta::nanoseconds(1))
    );
    let last = july + second - TimeDelta::nanoseconds(1);
    assert_eq!(granted.feature(ANALYTICS, exact(last)), Grant::InForce);
    assert_eq!(granted.holds_until(exact(may)), Some(last));
    assert_eq!(granted.holds_until(exact(july + second)), None);
}

#[test]
fn an_entry_that_cannot_be_read_grants_nothing() {
    for (entry, why) in [
        (json!("module.map_view"), SkippedEntitlement::NotAnObject),
        (json!({}), SkippedEntitlement::Key),
        (json!({"key": ""}), SkippedEntitlement::Key),
        (json!({"key": 7}), SkippedEntitlement::Key),
        (json!({"key": "a".repeat(101)}), SkippedEntitlement::Key),
        (
            json!({"key": "a", "quantity": -1}),
            SkippedEntitlement::Quantity,
        ),
        (
            json!({"key": "a", "quantity": 1.5}),
            SkippedEntitlement::Quantity,
        ),
        (
            json!({"key": "a", "quantity": "64"}),
            SkippedEntitlement::Quantity,
        ),
        (
            json!({"key": "a", "until": "soon"}),
            SkippedEntitlement::Time,
        ),
        (
            json!({"key": "a", "from": 1_767_225_600}),
            SkippedEntitlement::Time,
        ),
        (
            json!({"key": "a", "from": "2027-05-02", "until": "2027-05-01T00:00:00Z"}),
            SkippedEntitlement::EndBeforeStart,
        ),
    ] {
        assert_eq!(read(&entry), Err(why), "{entry}");
    }
    let nulls = json!({"key": "a", "quantity": null, "from": null, "until": null});
    assert_eq!(read(&nulls).unwrap(), Entitlement::feature(key("a")));
    let unlimited = json!({"key": "a", "quantity": "unlimited"});
    let unlimited = read(&unlimited).unwrap();
    assert_eq!(unlimited, Entitlement::count(key("a"), Quantity::Unlimited));
}

#[test]
fn a_count_that_cannot_be_read_is_no_reason_to_have_no_limit() {
    let license = json!({
        "maxCameras": 64, "maxUsers": 20,
        "entitlements": [
            {"key": CAMERAS, "quantity": "64"},
            {"key": "doors", "quantity": 4, "until": "soon"},
            {"key": "doors", "quantity": 2},
            {"key": "module.map_view", "until": "soon"},
        ],
    });
    let license = License::new(license.as_object().unwrap().clone());
    assert_eq!(license.unreadable(), ["entitlements"]);
    let granted = license.granted();
    assert_eq!(granted.count(CAMERAS, exact(at(0))), Some(Quantity::Of(0)));
    assert_eq!(granted.count("doors", exact(at(0))), Some(Quantity::Of(2)));
    assert_eq!(granted.count("users", exact(at(0))), None);
    assert_eq!(
        granted.feature("module.map_view", exact(at(0))),
        Grant::Never
    );
    let many: Vec<Value> = (0..10_001)
        .map(|number| json!({"key": format!("f{number}")}))
        .collect();
    let license = json!({ "entitlements": many });
    let license = License::new(license.as_object().unwrap().clone());
    assert_eq!(license.granted().features().count(), 10_000);
    assert_eq!(license.unreadable(), ["entitlements"]);
}

fn period() -> impl Strategy<Value = Period> {
    let bound = || proptest::option::of((-50_i64..50).prop_map(at));
    (bound(), bound()).prop_filter_map("an end before the start", |(from, until)| {
        Period::ALWAYS.and(&Period { from, until })
    })
}

fn entitlement() -> impl Strategy<Value = Entitlement> {
    let quantity = prop_oneof![
        3 => (0_u64..100).prop_map(Quantity::Of),
        1 => Just(Quantity::Unlimited),
    ];
    let key = prop_oneof![Just("a"), Just("b"), Just("c")];
    (key, proptest::option::of(quantity), period()).prop_map(|(it, quantity, period)| Entitlement {
        key: key_of(it, quantity.is_some()),
        quantity,
        period,
    })
}

fn key_of(name: &str, is_count: bool) -> FeatureKey {
    key(&format!("{}{name}", if is_count { "n_" } else { "" }))
}

fn in_force(
    granted: &Granted,
    at: DateTime<Utc>,
) -> (BTreeSet<String>, BTreeMap<String, Quantity>) {
    let text = |key: &FeatureKey| key.as_str().to_owned();
    let features = granted.features().map(text);
    let counts = granted.counted().map(text);
    (
        features
            .filter(|key| granted.feature(key, exact(at)) == Grant::InForce)
            .collect(),
        counts
            .map(|key| (key.clone(), granted.count(&key, exact(at)).unwrap()))
            .collect(),
    )
}

proptest! {
    #[test]
    fn never_more_is_in_force_than_was_granted(
        list in proptest::collection::vec(entitlement(), 0..12), hours in -60_i64..60,
    ) {
        let granted = Granted::of(list.clone());
        let (features, counts) = in_force(&granted, at(hours));
        for key in features {
            let mut of_key = list.iter().filter(|it| it.key.as_str() == key);
            let is_granted = of_key.any(|it| it.quantity.is_none() && it.period.contains(at(hours)));
            prop_assert!(is_granted);
        }
        for (key, quantity) in counts {
            let of_key = list.iter().filter(|it| it.key.as_str() == key);
            let all = of_key.filter_map(|it| it.quantity).fold(Quantity::Of(0), Quantity::plus);
            prop_assert!(quantity <= all);
        }
    }

    #[test]
    fn the_order_of_entitlements_does_not_matter(
        list in proptest::collection::vec(entitlement(), 0..12).prop_shuffle(), hours in -60_i64..60,
    ) {
        let mut sorted = list.clone();
        sorted.sort();
        prop_assert_eq!(
            in_force(&Granted::of(list), at(hours)),
            in_force(&Granted::of(sorted), at(hours))
        );
    }

    #[test]
    fn nothing_changes_until_the_end_that_is_announced(
        list in proptest::collection::vec(entitlement(), 0..12), hours in -60_i64..60, later in 0_i64..120,
    ) {
        let granted = Granted::of(list);
        let now = at(hours);
        let then = at(hours + later);
        let until = granted.holds_until(exact(now));
        if until.is_none_or(|until| then <= until) {
            prop_assert_eq!(in_force(&granted, now), in_force(&granted, then));
        }
        if let Some(until) = until {
            prop_assert!(now <= until);
            prop_assert_eq!(in_force(&granted, now), in_force(&granted, until));
        }
    }

    #[test]
    fn a_feature_is_in_force_until_its_end_and_not_right_after_it(
        list in proptest::collection::vec(entitlement(), 0..12), hours in -60_i64..60, later in 0_i64..120,
    ) {
        let granted = Granted::of(list);
        for feature in granted.features().map(FeatureKey::as_str) {
            if granted.feature(feature, exact(at(hours))) != Grant::InForce {
                continue;
            }
            let end = granted.feature_ends(feature, at(hours));
            if end.is_none_or(|end| at(hours + later) <= end) {
                prop_assert_eq!(granted.feature(feature, exact(at(hours + later))), Grant::InForce);
            }
            if let Some(end) = end {
                prop_assert_eq!(granted.feature(feature, exact(end)), Grant::InForce);
                let after = granted.feature(feature, exact(end + TimeDelta::seconds(1)));
                prop_assert_ne!(after, Grant::InForce);
            }
        }
    }

    #[test]
    fn a_sum_stays_until_its_next_change(
        list in proptest::collection::vec(entitlement(), 0..12), hours in -60_i64..60, later in 0_i64..120,
    ) {
        let granted = Granted::of(list);
        for key in granted.counted().map(FeatureKey::as_str) {
            let sum = granted.count(key, exact(at(hours)));
            let next = granted.next_count(key, exact(at(hours)));
            if next.is_none_or(|(last, _)| at(hours + later) <= last) {
                prop_assert_eq!(granted.count(key, exact(at(hours + later))), sum);
            }
            if let Some((last, to)) = next {
                prop_assert_eq!(granted.count(key, exact(last)), sum);
                prop_assert_eq!(granted.count(key, exact(last + TimeDelta::nanoseconds(1))), Some(to));
                prop_assert_ne!(Some(to), sum);
            }
        }
    }

    #[test]
    fn what_is_in_force_at_an_uncertain_time_is_in_force_throughout_it(
        list in proptest::collection::vec(entitlement(), 0..12), hours in -60_i64..60, lag in 0_i64..40,
    ) {
        let granted = Granted::of(list);
        let now = PlausibleTime::between(at(hours - lag), at(hours));
        // Bounds are in whole hours, and an end includes its whole second.
        let seconds = [0, 2].map(TimeDelta::seconds);
        let all = (-lag..=0).flat_map(|hour| seconds.map(|seconds| at(hours + hour) + seconds));
        let all: Vec<_> = all.filter(|it| *it <= at(hours)).collect();
        for key in granted.features().map(FeatureKey::as_str) {
            let in_force = |it: &_| granted.feature(key, exact(*it)) == Grant::InForce;
            let decided = granted.feature(key, now);
            prop_assert_eq!(decided == Grant::InForce, all.iter().all(in_force));
            // The start that is named is the one since which it would be in force.
            if let Grant::From(from) = decided {
                prop_assert!(now.earliest() < from);
                prop_assert_eq!(granted.feature(key, exact(from)), Grant::InForce);
            }
        }
        for key in granted.counted().map(FeatureKey::as_str) {
            let lowest = all.iter().filter_map(|it| granted.count(key, exact(*it))).min();
            prop_assert_eq!(granted.count(key, now), lowest);
        }
    }

    #[test]
    fn nothing_changes_until_the_end_that_is_announced_at_an_uncertain_time(
        list in proptest::collection::vec(entitlement(), 0..12), hours in -60_i64..60, lag in 0_i64..40,
        later in 0_i64..120,
    ) {
        let granted = Granted::of(list);
        let now = PlausibleTime::between(at(hours - lag), at(hours));
        let then = now.moved_to(at(hours + later));
        let until = granted.holds_until(now);
        let seen = |now| {
            let features = granted.features().map(|key| granted.feature(key.as_str(), now));
            let counts = granted.counted().map(|key| granted.count(key.as_str(), now));
            (features.collect::<Vec<_>>(), counts.collect::<Vec<_>>())
        };
        if until.is_none_or(|until| then.latest() <= until) {
            prop_assert_eq!(seen(now), seen(then));
        }
        for key in granted.counted().map(FeatureKey::as_str) {
            let next = granted.next_count(key, now);
            if next.is_none_or(|(last, _)| then.latest() <= last) {
                prop_assert_eq!(granted.count(key, then), granted.count(key, now));
            }
            if let Some((last, to)) = next {
                let after = now.moved_to(last + TimeDelta::nanoseconds(1));
                prop_assert_eq!(granted.count(key, after), Some(to));
            }
        }
    }

    #[test]
    fn what_is_written_is_read(entitlement in entitlement()) {
        prop_assert_eq!(Entitlement::of_json(&entitlement.to_json()), Ok(entitlement));
    }
}

#[test]
fn an_end_includes_its_whole_second() {
    let period = |from: i64, until: DateTime<Utc>| Entitlement {
        key: key("a"),
        quantity: None,
        period: Period {
            from: Some(at(from)),
            until: Some(until),
        },
    };
    let nanosecond = TimeDelta::nanoseconds(1);
    let granted = Granted::of([period(1, at(2))]);
    assert_eq!(
        granted.feature("a", exact(at(1) - nanosecond)),
        Grant::From(at(1))
    );
    let last = at(2) + TimeDelta::seconds(1) - nanosecond;
    assert_eq!(granted.feature("a", exact(last)), Grant::InForce);
    assert_eq!(
        granted.feature("a", exact(last + nanosecond)),
        Grant::Until(at(2))
    );
    // An end that is not in whole seconds is exact.
    let end = at(2) + TimeDelta::milliseconds(5);
    let granted = Granted::of([period(1, end)]);
    assert_eq!(
        granted.feature("a", exact(end + nanosecond)),
        Grant::Until(end)
    );
    // From one second to the next, nothing is missing.
    let second = TimeDelta::seconds(1);
    let granted = Granted::of([period(1, at(2) - second), period(2, at(3))]);
    let between = at(2) - nanosecond;
    assert_eq!(granted.feature("a", exact(between)), Grant::InForce);
    // It ends with the period that continues it, also as seen in the last second of the first.
    for now in [at(1), between] {
        assert_eq!(granted.feature_ends("a", now), Some(at(3)));
    }
}
