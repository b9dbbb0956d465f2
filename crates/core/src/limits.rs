//! Checks limits before something is added.
//!
//! A limit applies only to additions. Exceeding it, after a downgrade or a change made
//! elsewhere, never switches anything off.

use std::collections::BTreeMap;

use crate::entitlement::Quantity;
use crate::gate::Entitlements;
use crate::license::License;
use crate::plausible_time::PlausibleTime;
use crate::standing::Policy;
use crate::usage::Resource;

/// The answer to "may this much be added?".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LimitDecision {
    /// Whether it may be added.
    pub allowed: bool,
    /// Why or why not.
    pub reason: LimitReason,
    /// The license's limit; `None` means unlimited.
    pub limit: Option<u64>,
    /// Current usage; `None` if unknown.
    pub in_use: Option<u64>,
    /// How much can still be added; `None` means unlimited. 0 if over the limit.
    pub remaining: Option<u64>,
}

/// Why something may or may not be added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LimitReason {
    /// Within the limit.
    WithinLimit,
    /// Exceeds the limit.
    LimitReached,
    /// Usage exceeds the limit, and nothing is to be added. Nothing is switched off.
    OverLimit,
    /// The license has no such limit.
    Unlimited,
    /// There is no license. Cameras, users and storage have no limit then: additions are allowed
    /// if core features work without a license. Nothing else is granted.
    NoLicense,
    /// The license does not count it, so nothing is granted.
    NotInLicense,
}

impl LimitReason {
    /// A code for programs.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::WithinLimit => "within_limit",
            Self::LimitReached => "limit_reached",
            Self::OverLimit => "over_limit",
            Self::Unlimited => "unlimited",
            Self::NoLicense => "no_license",
            Self::NotInLicense => "not_in_license",
        }
    }
}

/// How much of something a site may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// There is no license and therefore no limit.
    NoLicense,
    /// The license does not limit it.
    Unlimited,
    /// At most this much.
    AtMost(u64),
    /// Nothing, for this reason.
    NotGranted(LimitReason),
}

impl Limit {
    /// The limit at `now` for `key`, a [`Resource`] or anything else, with the entitlements of
    /// the license.
    #[must_use]
    pub fn of(
        license: Option<&License>,
        entitlements: &Entitlements,
        key: impl AsRef<str>,
        now: PlausibleTime,
    ) -> Self {
        let key = key.as_ref();
        let number = match (license, Resource::of(key)) {
            (None, Some(_)) => return Self::NoLicense,
            (None, None) => return Self::NotGranted(LimitReason::NoLicense),
            (Some(license), resource) => match (entitlements.count(key, now), resource) {
                (Some(granted), _) => granted.number(),
                (None, Some(resource)) => license.listed_limit(resource),
                (None, None) => return Self::NotGranted(LimitReason::NotInLicense),
            },
        };
        number.map_or(Self::Unlimited, Self::AtMost)
    }

    /// The number; `None` if there is no limit.
    #[must_use]
    pub fn number(self) -> Option<u64> {
        match self {
            Self::AtMost(number) => Some(number),
            Self::NotGranted(_) => Some(0),
            Self::NoLicense | Self::Unlimited => None,
        }
    }
}

/// All limits at `now`: those for the product's resources, and for everything else that the license
/// counts. `None` means unlimited.
#[must_use]
pub fn limits(
    license: Option<&License>,
    entitlements: &Entitlements,
    now: PlausibleTime,
) -> BTreeMap<String, Option<u64>> {
    let known = Resource::ALL.map(|resource| {
        let limit = Limit::of(license, entitlements, resource, now);
        (resource.as_str().to_owned(), limit.number())
    });
    let counted = entitlements.counted().map(|key| {
        let granted = entitlements.count(key.as_str(), now);
        (key.as_str().to_owned(), granted.and_then(Quantity::number))
    });
    known.into_iter().chain(counted).collect()
}

/// How much of a limit is in use, for people: "cameras: 73 of 64 in use (9 over)".
#[must_use]
pub fn usage_words(key: &str, in_use: u64, limit: u64) -> String {
    let over = match in_use.saturating_sub(limit) {
        0 => String::new(),
        over => format!(" ({over} over)"),
    };
    format!("{key}: {in_use} of {limit} in use{over}")
}

/// Decides whether `requested` more may be added to the current usage. Limits also apply
/// in grace and after a lapse: cameras are a core feature.
#[must_use]
pub fn check(limit: Limit, requested: u64, in_use: Option<u64>, policy: &Policy) -> LimitDecision {
    let unlimited = |allowed, reason| LimitDecision {
        allowed,
        reason,
        limit: None,
        in_use,
        remaining: None,
    };
    let (limit, not_granted) = match limit {
        Limit::NoLicense => {
            return unlimited(policy.allow_unlicensed_core, LimitReason::NoLicense);
        }
        Limit::Unlimited => return unlimited(true, LimitReason::Unlimited),
        Limit::AtMost(limit) => (limit, None),
        Limit::NotGranted(reason) => (0, Some(reason)),
    };
    let remaining = limit.saturating_sub(in_use.unwrap_or(0));
    let fits = requested <= remaining;
    let is_over = in_use.is_some_and(|used| used > limit);
    let (allowed, reason) = match (fits, not_granted) {
        (true, _) if is_over => (true, LimitReason::OverLimit),
        (fits, Some(reason)) => (fits, reason),
        (true, None) => (true, LimitReason::WithinLimit),
        (false, None) => (false, LimitReason::LimitReached),
    };
    LimitDecision {
        allowed,
        reason,
        limit: Some(limit),
        in_use,
        remaining: Some(remaining),
    }
}
