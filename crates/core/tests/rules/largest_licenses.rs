//! Questions to a license with as many entitlements as there can be, at an uncertain time. A cost
//! that grows with the square of their number would take hours here.

use chrono::TimeDelta;
use license_core::entitlement::{Entitlement, Grant, Granted, Period, Quantity};
use license_core::feature::{FeatureKey, MAX_FEATURES};
use license_core::plausible_time::PlausibleTime;

use crate::signer::{at, exact};

/// Each of them begins one hour after the one before, and lasts for half of all that time.
fn overlapping(key: &str, quantity: Option<Quantity>) -> Vec<Entitlement> {
    let all = i64::try_from(MAX_FEATURES).unwrap();
    let entitlement = |hour| Entitlement {
        key: FeatureKey::parse(key).unwrap(),
        quantity,
        period: Period {
            from: Some(at(hour)),
            until: Some(at(hour + all / 2) - TimeDelta::seconds(1)),
        },
    };
    (0..all).rev().map(entitlement).collect()
}

#[test]
fn a_sum_of_many_entitlements_is_found_quickly_at_any_time() {
    let granted = Granted::of(overlapping("cameras", Some(Quantity::Of(2))));
    let count = |now| granted.count("cameras", now);
    for hour in 0..5_000_i64 {
        let sum = u64::try_from(hour + 1).unwrap() * 2;
        assert_eq!(count(exact(at(hour))), Some(Quantity::Of(sum)));
        // Within half of the time, the sum is lowest at the beginning.
        let now = PlausibleTime::between(at(hour), at(hour + 5_000));
        assert_eq!(count(now), Some(Quantity::Of(sum)));
    }
    // All changes, at an exact and at an uncertain time.
    // In the middle, one ends whenever another one begins.
    let changes = granted.counts_after("cameras", exact(at(-1)));
    assert_eq!(changes.count(), 10_000);
    let now = PlausibleTime::between(at(-5_000), at(-1));
    let changes: Vec<_> = granted.counts_after("cameras", now).collect();
    assert!(!changes.is_empty() && changes.is_sorted_by_key(|(last, _)| *last));
    assert_eq!(changes.last().unwrap().1, Quantity::Of(0));
}

#[test]
fn a_feature_of_many_entitlements_is_found_quickly_at_any_time() {
    let granted = Granted::of(overlapping("module.map_view", None));
    for hour in 0..14_999 {
        let now = PlausibleTime::between(at(hour), at(hour));
        assert_eq!(granted.feature("module.map_view", now), Grant::InForce);
        let end = granted.feature_ends("module.map_view", at(hour));
        assert!(end > Some(at(14_998)));
        let now = PlausibleTime::between(at(-1), at(hour));
        assert_eq!(granted.feature("module.map_view", now), Grant::From(at(0)));
        assert!(granted.holds_until(now).is_some());
    }
}

#[test]
fn greatest_amounts_add_up_and_end_again() {
    let most = |hours| Entitlement {
        quantity: Some(Quantity::Of(u64::MAX)),
        period: Period {
            from: None,
            until: Some(at(hours)),
        },
        ..overlapping("cameras", None).remove(0)
    };
    let unlimited = Entitlement {
        quantity: Some(Quantity::Unlimited),
        ..most(1)
    };
    let granted = Granted::of([most(2), unlimited, most(3)]);
    let sums = [0, 2, 3, 4].map(|hours| granted.count("cameras", exact(at(hours))).unwrap());
    let most = Quantity::Of(u64::MAX);
    assert_eq!(sums, [Quantity::Unlimited, most, most, Quantity::Of(0)]);
}
