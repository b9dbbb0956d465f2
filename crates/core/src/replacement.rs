//! What a site gains and loses when another license replaces its own.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::Value;

use crate::entitlement::{Grant, Granted};
use crate::feature::{FeatureKey, is_core};
use crate::license::{Expiry, License};
use crate::plausible_time::PlausibleTime;
use crate::usage::Resource;

/// Something that is different with another license.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The feature, what is counted, or [`ENDS`].
    pub key: String,
    /// How it is with the present license.
    pub before: Amount,
    /// How it is with the other one.
    pub after: Amount,
}

/// The key of a difference between the ends of two licenses.
pub const ENDS: &str = "ends";

/// What a license says about one thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Amount {
    /// Whether a feature is in force.
    Feature(bool),
    /// How much of something may be used.
    Limit(u64),
    /// Any number may be used.
    Unlimited,
    /// When the license ends.
    End(DateTime<Utc>),
    /// The license never ends.
    Never,
}

impl Difference {
    /// Whether the site loses something.
    #[must_use]
    pub fn is_loss(&self) -> bool {
        self.after < self.before
    }
}

impl Amount {
    /// In JSON: true or false for a feature, a number or `unlimited` for a limit, a time or `never`
    /// for an end.
    #[must_use]
    pub fn to_json(self) -> Value {
        match self {
            Self::Feature(is_in_force) => is_in_force.into(),
            Self::Limit(number) => number.into(),
            Self::Unlimited => "unlimited".into(),
            Self::End(at) => at.to_rfc3339_opts(SecondsFormat::Secs, true).into(),
            Self::Never => "never".into(),
        }
    }
}

/// What is different at `now` with `other` in place of `present`, in alphabetical order: features,
/// limits, and the end of the license. Core features are the same with every license.
#[must_use]
pub fn differences(present: &License, other: &License, now: DateTime<Utc>) -> Vec<Difference> {
    compared([present, other].map(|license| amounts(license, &license.granted(), now)))
}

/// What is different between two instants with one license, which grants `granted`.
#[must_use]
pub(crate) fn differences_over_time(
    license: &License,
    granted: &Granted,
    instants: [DateTime<Utc>; 2],
) -> Vec<Difference> {
    compared(instants.map(|at| amounts(license, granted, at)))
}

fn compared([before, after]: [BTreeMap<String, Amount>; 2]) -> Vec<Difference> {
    let keys: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let of = |amounts: &BTreeMap<String, Amount>, key: &String, other: Amount| {
        let none = match other {
            Amount::Feature(_) => Amount::Feature(false),
            _ => Amount::Limit(0),
        };
        amounts.get(key).copied().unwrap_or(none)
    };
    let all = keys.into_iter().filter_map(|key| {
        let any = *before.get(key).or_else(|| after.get(key))?;
        Some(Difference {
            key: key.clone(),
            before: of(&before, key, any),
            after: of(&after, key, any),
        })
    });
    all.filter(|it| it.before != it.after).collect()
}

fn amounts(license: &License, granted: &Granted, now: DateTime<Utc>) -> BTreeMap<String, Amount> {
    let at = PlausibleTime::exact(now);
    let features = granted.features().map(FeatureKey::as_str);
    let features = features.filter(|key| !is_core(key)).map(|key| {
        let is_in_force = granted.feature(key, at) == Grant::InForce;
        (key.to_owned(), Amount::Feature(is_in_force))
    });
    let listed = Resource::ALL.map(|it| (it.as_str().to_owned(), license.listed_limit(it)));
    let counted = granted.counted().filter_map(|key| {
        let sum = granted.count(key.as_str(), at)?;
        Some((key.as_str().to_owned(), sum.number()))
    });
    // What the license counts is more precise than its fields.
    let limits = listed.into_iter().chain(counted);
    let limits = limits.map(|(key, limit)| (key, limit.map_or(Amount::Unlimited, Amount::Limit)));
    let end = match license.expiry() {
        Expiry::At(end) => Amount::End(end),
        Expiry::Never | Expiry::Unreadable => Amount::Never,
    };
    let end = [(ENDS.to_owned(), end)];
    features.chain(limits).chain(end).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn license(fields: &Value) -> License {
        License::new(fields.as_object().cloned().unwrap())
    }

    #[test]
    fn gains_and_losses_are_told_apart() {
        let now = "2026-11-27T12:00:00Z".parse().unwrap();
        let present = license(&json!({
            "licenseKey": "one", "expiresAt": "2027-12-31T23:59:59Z", "maxCameras": 64,
            "maxUsers": -1, "enabledFeatures": ["module.map_view", "module.live_view", "x"],
        }));
        let other = license(&json!({
            "licenseKey": "two", "expiresAt": null, "maxCameras": 16, "maxUsers": 5,
            "entitlements": [
                {"key": "module.map_view", "until": "2026-01-01T00:00:00Z"}, {"key": "y"},
                {"key": "cameras", "quantity": 16}, {"key": "doors", "quantity": 4}, {"key": "x"},
            ],
        }));
        let found = differences(&present, &other, now);
        let shown: Vec<_> = found.iter().map(|it| (&*it.key, it.is_loss())).collect();
        let expected = [
            ("cameras", true),
            ("doors", false),
            ("ends", false),
            ("module.map_view", true),
            ("users", true),
            ("y", false),
        ];
        assert_eq!(shown, expected);
        assert_eq!(found[1].before, Amount::Limit(0));
        assert_eq!(found[2].after, Amount::Never);
        assert_eq!(found[5].before, Amount::Feature(false));
        assert_eq!(differences(&present, &present, now), []);
        let back = differences(&other, &present, now);
        let losses = back.iter().filter(|it| it.is_loss());
        assert_eq!(
            losses.count(),
            3,
            "what one direction gains the other one loses"
        );
    }
}
