//! Derives a decision about a feature, with its reason, from the standing.

use std::collections::{BTreeSet, HashSet};

use crate::feature::{FeatureKey, is_core, is_sold};
use crate::standing::{LapseReason, Policy, Standing};

/// The keys that a license lists and the keys that the site has switched off, as sets.
#[derive(Clone, Debug, Default)]
pub struct Entitlements {
    listed: HashSet<FeatureKey>,
    switched_off: HashSet<FeatureKey>,
}

impl Entitlements {
    /// Keys that the license lists, and keys that are switched off locally.
    #[must_use]
    pub fn new(listed: BTreeSet<FeatureKey>, switched_off: BTreeSet<FeatureKey>) -> Self {
        Self {
            listed: listed.into_iter().collect(),
            switched_off: switched_off.into_iter().collect(),
        }
    }

    /// Keys that the license lists.
    pub fn listed(&self) -> impl Iterator<Item = &FeatureKey> {
        self.listed.iter()
    }

    /// Whether the license lists `key`.
    #[must_use]
    pub fn lists(&self, key: &str) -> bool {
        self.listed.contains(key)
    }

    /// Whether `key` is switched off locally.
    #[must_use]
    pub fn is_switched_off(&self, key: &str) -> bool {
        self.switched_off.contains(key)
    }

    /// Whether the product or the license has this feature. A gate that asks for another one
    /// is misconfigured.
    #[must_use]
    pub fn is_known(&self, key: &str) -> bool {
        is_core(key) || is_sold(key) || self.lists(key) || self.is_switched_off(key)
    }

    /// Keys that are switched off locally.
    pub fn switched_off(&self) -> impl Iterator<Item = &FeatureKey> {
        self.switched_off.iter()
    }
}

/// The answer to "may this feature be used?".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision<'a> {
    /// Whether the feature is available.
    pub available: bool,
    /// Why it is or is not available.
    pub reason: Reason<'a>,
}

/// Why a feature is available or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason<'a> {
    /// Core features are always available.
    Core,
    /// The license lists the feature.
    Licensed,
    /// The license lists the feature and is in its grace period.
    GracePeriod,
    /// There is no license.
    NoLicense,
    /// The license does not list the feature.
    NotInLicense,
    /// The license lists the feature, but it is switched off on this site.
    SwitchedOff,
    /// The license lists the feature but has lapsed.
    Lapsed(&'a LapseReason),
}

impl<'a> Reason<'a> {
    /// A code for programs; [`crate::reason_words`] has the words for people.
    #[must_use]
    pub fn code(self) -> &'a str {
        match self {
            Self::Core => "core",
            Self::Licensed => "licensed",
            Self::GracePeriod => "grace_period",
            Self::NoLicense => "no_license",
            Self::NotInLicense => "not_in_license",
            Self::SwitchedOff => "switched_off",
            Self::Lapsed(reason) => reason.code(),
        }
    }
}

/// Decides about one feature. Any text is accepted; keys that no license lists are not
/// available.
#[must_use]
pub fn decide<'a>(
    key: &str,
    standing: &'a Standing,
    entitlements: &Entitlements,
    policy: &Policy,
) -> Decision<'a> {
    let reason = reason(key, standing, entitlements, policy);
    Decision {
        available: matches!(
            reason,
            Reason::Core | Reason::Licensed | Reason::GracePeriod
        ),
        reason,
    }
}

fn reason<'a>(
    key: &str,
    standing: &'a Standing,
    entitlements: &Entitlements,
    policy: &Policy,
) -> Reason<'a> {
    let licensed = !matches!(standing, Standing::Unlicensed);
    if is_core(key) && (licensed || policy.allow_unlicensed_core) {
        return Reason::Core;
    }
    let carried = match standing {
        Standing::Unlicensed => return Reason::NoLicense,
        Standing::Active => Reason::Licensed,
        Standing::Grace { .. } => Reason::GracePeriod,
        Standing::Lapsed(why) => Reason::Lapsed(why),
    };
    if !entitlements.lists(key) {
        return Reason::NotInLicense;
    }
    if entitlements.switched_off.contains(key) {
        return Reason::SwitchedOff;
    }
    carried
}
