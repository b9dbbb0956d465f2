//! The available features in each standing, with the reason.

use std::collections::BTreeSet;

use chrono::TimeDelta;
use license_core::document::DenialReason;
use license_core::entitlement::{Entitlement, Granted, Period};
use license_core::feature::{CORE_FEATURES, FeatureKey, LICENSED_FEATURES};
use license_core::gate::{Decision, Entitlements, Reason, decide};
use license_core::lapse::LapseReason;
use license_core::standing::{Policy, Standing};

use crate::signer::{at, exact};

const LIVE_VIEW: &str = "module.live_view";
const MAP_VIEW: &str = "module.map_view";
const CUSTOM: &str = "acme.drone_dock";
const SWITCHED_OFF: &str = "module.alarm_advanced";
const UNLISTED: &str = "module.health_monitoring";

const POLICY: Policy = Policy {
    grace: TimeDelta::hours(72),
    allow_unlicensed_core: true,
};
const STRICT: Policy = Policy {
    allow_unlicensed_core: false,
    ..POLICY
};

fn keys<const N: usize>(keys: [&str; N]) -> BTreeSet<FeatureKey> {
    keys.map(|key| FeatureKey::parse(key).unwrap()).into()
}

/// Lists two features and one that is switched off; the switches also name a core feature
/// and one that is not listed.
fn entitlements() -> Entitlements {
    Entitlements::new(
        keys([MAP_VIEW, CUSTOM, SWITCHED_OFF]),
        keys([SWITCHED_OFF, LIVE_VIEW, UNLISTED]),
    )
}

fn grace() -> Standing {
    Standing::Grace { until: at(96) }
}

fn lapsed() -> [Standing; 3] {
    [
        LapseReason::Denied(DenialReason::SeatLimit),
        LapseReason::LicenseExpired,
        LapseReason::GracePeriodExpired,
    ]
    .map(Standing::Lapsed)
}

/// Asserts the decision about each key in turn.
fn check(standing: &Standing, policy: &Policy, expected: &[(&str, bool, &str)]) {
    let entitlements = entitlements();
    for (key, available, code) in expected {
        let decision = decide(key, exact(at(0)), standing, &entitlements, policy);
        assert_eq!(
            (decision.available, decision.reason.code()),
            (*available, *code),
            "{key} while {standing:?}"
        );
    }
}

#[test]
fn listed_features_that_are_switched_on_are_available_while_active() {
    check(
        &Standing::Active,
        &POLICY,
        &[
            (LIVE_VIEW, true, "core"),
            (MAP_VIEW, true, "licensed"),
            (CUSTOM, true, "licensed"),
            (SWITCHED_OFF, false, "switched_off"),
            (UNLISTED, false, "not_in_license"),
        ],
    );
}

#[test]
fn the_same_features_are_available_in_grace_with_another_reason() {
    check(
        &grace(),
        &POLICY,
        &[
            (LIVE_VIEW, true, "core"),
            (MAP_VIEW, true, "grace_period"),
            (CUSTOM, true, "grace_period"),
            (SWITCHED_OFF, false, "switched_off"),
            (UNLISTED, false, "not_in_license"),
        ],
    );
}

#[test]
fn only_core_features_are_available_while_lapsed() {
    for (standing, code) in
        lapsed()
            .iter()
            .zip(["seat_limit", "license_expired", "grace_period_expired"])
    {
        check(
            standing,
            &STRICT,
            &[
                (LIVE_VIEW, true, "core"),
                (MAP_VIEW, false, code),
                (CUSTOM, false, code),
                (SWITCHED_OFF, false, "switched_off"),
                (UNLISTED, false, "not_in_license"),
            ],
        );
    }
}

#[test]
fn the_reason_of_a_lapse_comes_before_what_has_ended_or_starts_later() {
    let entitlement = |name: &str, from, until| Entitlement {
        key: FeatureKey::parse(name).unwrap(),
        quantity: None,
        period: Period { from, until },
    };
    let granted = Granted::of([
        entitlement(MAP_VIEW, None, Some(at(-1))),
        entitlement(CUSTOM, Some(at(1)), None),
    ]);
    let entitlements = Entitlements::new(granted, BTreeSet::new());
    let code = |key, standing| {
        let decision = decide(key, exact(at(0)), standing, &entitlements, &POLICY);
        (decision.available, decision.reason.code().to_owned())
    };
    let no = |why: &str| (false, why.to_owned());
    assert_eq!(code(MAP_VIEW, &Standing::Active), no("ended"));
    assert_eq!(code(CUSTOM, &Standing::Active), no("starts_later"));
    let expired = Standing::Lapsed(LapseReason::LicenseExpired);
    for key in [MAP_VIEW, CUSTOM] {
        assert_eq!(code(key, &expired), no("license_expired"));
    }
}

#[test]
fn only_core_features_are_available_without_a_license() {
    check(
        &Standing::Unlicensed,
        &POLICY,
        &[
            (LIVE_VIEW, true, "core"),
            (MAP_VIEW, false, "no_license"),
            (SWITCHED_OFF, false, "no_license"),
            (UNLISTED, false, "no_license"),
        ],
    );
}

#[test]
fn core_features_can_be_off_without_a_license() {
    for key in CORE_FEATURES {
        let nothing = Entitlements::default();
        let decision = decide(key, exact(at(0)), &Standing::Unlicensed, &nothing, &STRICT);
        assert_eq!(
            decision,
            Decision {
                available: false,
                reason: Reason::NoLicense
            }
        );
    }
}

#[test]
fn a_core_feature_that_is_switched_off_stays_available() {
    let [expired, denied, no_more_grace] = lapsed();
    for standing in [Standing::Active, grace(), expired, denied, no_more_grace] {
        for key in CORE_FEATURES {
            let switched_off = Entitlements::new(BTreeSet::new(), keys(CORE_FEATURES));
            let decision = decide(key, exact(at(0)), &standing, &switched_off, &STRICT);
            assert_eq!(
                decision,
                Decision {
                    available: true,
                    reason: Reason::Core
                }
            );
        }
    }
}

#[test]
fn licensed_features_are_available_only_if_listed() {
    let nothing = Entitlements::default();
    for key in LICENSED_FEATURES {
        let decision = decide(key, exact(at(0)), &Standing::Active, &nothing, &POLICY);
        assert_eq!(decision.reason, Reason::NotInLicense);
    }
}

#[test]
fn keys_are_compared_exactly() {
    for key in [
        "",
        " ",
        "MODULE.MAP_VIEW",
        "module.map_view ",
        "module.map_view\0",
        "Module.Live_View",
        "module",
    ] {
        check(
            &Standing::Active,
            &POLICY,
            &[(key, false, "not_in_license")],
        );
    }
}

#[test]
fn any_text_is_accepted_as_a_key() {
    let long = "é".repeat(100_000);
    check(
        &Standing::Active,
        &POLICY,
        &[(&long, false, "not_in_license")],
    );
}

#[test]
fn listed_and_switched_off_features_can_be_queried() {
    let entitlements = entitlements();
    let told = |keys: Vec<&FeatureKey>| {
        let mut keys: Vec<String> = keys
            .into_iter()
            .map(|key| key.as_str().to_owned())
            .collect();
        keys.sort();
        keys
    };
    assert_eq!(
        told(entitlements.listed().collect()),
        [CUSTOM, SWITCHED_OFF, MAP_VIEW]
    );
    assert_eq!(
        told(entitlements.switched_off().collect()),
        [SWITCHED_OFF, UNLISTED, LIVE_VIEW]
    );
}
