//! The reason of each decision.

use std::collections::BTreeSet;

use chrono::TimeDelta;
use license_core::document::DenialReason;
use license_core::feature::{CORE_FEATURES, FeatureKey};
use license_core::gate::{Entitlements, decide};
use license_core::standing::{LapseReason, Policy, Standing};

use crate::signer::signed_at;

fn keys(keys: &[&str]) -> BTreeSet<FeatureKey> {
    keys.iter()
        .map(|key| FeatureKey::parse(key).unwrap())
        .collect()
}

fn decided(key: &str, standing: &Standing, allow_unlicensed_core: bool) -> (bool, String) {
    let listed = keys(&["module.map_view", "module.off", "custom.feature"]);
    // A core feature cannot be switched off; its entry is ignored.
    let off = keys(&["module.off", "module.live_view"]);
    let policy = Policy {
        grace: TimeDelta::hours(72),
        allow_unlicensed_core,
    };
    let entitlements = Entitlements::new(listed, off);
    let decision = decide(key, standing, &entitlements, &policy);
    (decision.available, decision.reason.code().to_owned())
}

#[test]
fn each_case_has_its_reason() {
    let grace = Standing::Grace { until: signed_at() };
    let revoked = Standing::Lapsed(LapseReason::Denied(DenialReason::Revoked));
    let expired = Standing::Lapsed(LapseReason::LicenseExpired);
    let cases = [
        ("module.map_view", &Standing::Active, true, "licensed"),
        ("custom.feature", &Standing::Active, true, "licensed"),
        ("module.map_view", &grace, true, "grace_period"),
        ("module.map_view", &revoked, false, "revoked"),
        ("module.map_view", &expired, false, "license_expired"),
        (
            "module.map_view",
            &Standing::Unlicensed,
            false,
            "no_license",
        ),
        ("module.nope", &Standing::Active, false, "not_in_license"),
        ("module.nope", &revoked, false, "not_in_license"),
        ("module.off", &Standing::Active, false, "switched_off"),
        (
            "MODULE.LIVE_VIEW",
            &Standing::Active,
            false,
            "not_in_license",
        ),
    ];
    for (key, standing, available, reason) in cases {
        let expected = (available, reason.to_owned());
        assert_eq!(decided(key, standing, true), expected, "{key} {standing:?}");
    }
}

#[test]
fn core_features_stay_on_in_every_standing_but_one() {
    let standings = [
        Standing::Active,
        Standing::Grace { until: signed_at() },
        Standing::Lapsed(LapseReason::GracePeriodExpired),
        Standing::Unlicensed,
    ];
    for key in CORE_FEATURES {
        for standing in &standings {
            assert_eq!(decided(key, standing, true), (true, "core".into()));
        }
        let refused = (false, "no_license".into());
        assert_eq!(decided(key, &Standing::Unlicensed, false), refused);
        assert_eq!(decided(key, &standings[2], false), (true, "core".into()));
    }
}
