//! Derives a decision about a feature, with its reason, from the standing.

use std::collections::{BTreeSet, HashSet};

use chrono::{DateTime, Utc};

use crate::document::VerifiedRelease;
use crate::entitlement::{Grant, Granted, Period, Quantity};
use crate::feature::{FeatureKey, is_core, is_sold};
use crate::lapse::LapseReason;
use crate::license::License;
use crate::plausible_time::PlausibleTime;
use crate::release::Consequence;
use crate::standing::{Policy, Standing};

/// What a license grants, and the keys that the site has switched off.
#[derive(Clone, Debug, Default)]
pub struct Entitlements {
    granted: Granted,
    switched_off: HashSet<FeatureKey>,
    is_update_not_covered: bool,
}

impl Entitlements {
    /// What the license grants, and keys that are switched off locally.
    #[must_use]
    pub fn new(granted: impl Into<Granted>, switched_off: BTreeSet<FeatureKey>) -> Self {
        Self {
            granted: granted.into(),
            switched_off: switched_off.into_iter().collect(),
            is_update_not_covered: false,
        }
    }

    /// The same at a site on which a release is installed, of which there is a signed document: if
    /// the license does not cover it and enforces that, licensed features are off.
    #[must_use]
    pub fn with_installed_release(
        self,
        license: Option<&License>,
        installed: Option<&VerifiedRelease>,
    ) -> Self {
        let consequence = installed.map(|it| Consequence::of(license, it.release()));
        Self {
            is_update_not_covered: consequence == Some(Consequence::FeaturesOff),
            ..self
        }
    }

    /// The features that the license grants at any time.
    pub fn listed(&self) -> impl Iterator<Item = &FeatureKey> {
        self.granted.features()
    }

    /// Whether the license grants the feature `key` at any time.
    #[must_use]
    pub fn lists(&self, key: &str) -> bool {
        self.granted.lists(key)
    }

    /// When the feature starts, if it is to be in force later, and when it ends.
    #[must_use]
    pub fn bounds(&self, key: &str, now: PlausibleTime) -> Period {
        match self.granted.feature(key, now) {
            Grant::From(from) => Period {
                from: Some(from),
                until: self.granted.feature_ends(key, from),
            },
            Grant::Until(until) => Period {
                from: None,
                until: Some(until),
            },
            Grant::InForce => Period {
                from: None,
                until: self.granted.feature_ends(key, now.latest()),
            },
            Grant::Never => Period::ALWAYS,
        }
    }

    /// How much of `key` is in force; `None` if the license does not count it.
    #[must_use]
    pub fn count(&self, key: &str, now: PlausibleTime) -> Option<Quantity> {
        self.granted.count(key, now)
    }

    /// The last instant at which the sum of `key` does not change, and the sum after it; `None` if
    /// it never changes.
    #[must_use]
    pub fn next_count(&self, key: &str, now: PlausibleTime) -> Option<(DateTime<Utc>, Quantity)> {
        self.granted.next_count(key, now)
    }

    /// The last instants at which the sum of `key` does not change, and the sums after them.
    pub fn counts_after<'a>(
        &'a self,
        key: &'a str,
        now: PlausibleTime,
    ) -> impl Iterator<Item = (DateTime<Utc>, Quantity)> + 'a {
        self.granted.counts_after(key, now)
    }

    /// What the license counts at any time.
    pub fn counted(&self) -> impl Iterator<Item = &FeatureKey> {
        self.granted.counted()
    }

    /// The last instant at which what is in force at `now` stays in force; `None` if it never
    /// changes.
    #[must_use]
    pub fn holds_until(&self, now: PlausibleTime) -> Option<DateTime<Utc>> {
        self.granted.holds_until(now)
    }

    /// When the first of what the license grants starts, if nothing of it is in force yet.
    #[must_use]
    pub fn starts_at(&self, now: PlausibleTime) -> Option<DateTime<Utc>> {
        self.granted.starts_at(now)
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
    /// The license grants the feature from this instant on.
    StartsLater(DateTime<Utc>),
    /// The license granted the feature until this instant.
    Ended(DateTime<Utc>),
    /// The license lists the feature, but it is switched off on this site.
    SwitchedOff,
    /// The license grants the feature, but does not cover the installed release.
    UpdateNotCovered,
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
            Self::StartsLater(_) => "starts_later",
            Self::Ended(_) => "ended",
            Self::SwitchedOff => "switched_off",
            Self::UpdateNotCovered => "update_not_covered",
            Self::Lapsed(reason) => reason.code(),
        }
    }
}

/// Decides about one feature at `now`, with the standing at [`PlausibleTime::latest`]. Any text is accepted; keys that no
/// license lists are not available.
#[must_use]
pub fn decide<'a>(
    key: &str,
    now: PlausibleTime,
    standing: &'a Standing,
    entitlements: &Entitlements,
    policy: &Policy,
) -> Decision<'a> {
    let reason = reason(key, now, standing, entitlements, policy);
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
    now: PlausibleTime,
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
    match entitlements.granted.feature(key, now) {
        Grant::Never => Reason::NotInLicense,
        _ if entitlements.is_switched_off(key) => Reason::SwitchedOff,
        // All entitlements end with the license, and one that has lapsed grants nothing later.
        _ if matches!(standing, Standing::Lapsed(_)) => carried,
        Grant::From(from) => Reason::StartsLater(from),
        Grant::Until(until) => Reason::Ended(until),
        Grant::InForce if entitlements.is_update_not_covered => Reason::UpdateNotCovered,
        Grant::InForce => carried,
    }
}
