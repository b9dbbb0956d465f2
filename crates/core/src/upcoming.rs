//! What a license starts or stops granting next, and how soon something ends.

use std::fmt;

use chrono::{DateTime, SubsecRound as _, TimeDelta, Utc};

use crate::entitlement::{Quantity, next_instant};
use crate::feature::FeatureKey;
use crate::gate::Entitlements;
use crate::license::{Expiry, License};
use crate::plausible_time::PlausibleTime;

/// A change at a known time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upcoming {
    /// The first instant of a start or an increase; the last second before an end or a decrease.
    pub at: DateTime<Utc>,
    /// What changes.
    pub change: Change,
}

/// What changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// The license grants a feature from then on.
    FeatureStarts(FeatureKey),
    /// The license no longer grants a feature.
    FeatureEnds(FeatureKey),
    /// The license counts more or less of something.
    Limit {
        /// What is counted.
        key: FeatureKey,
        /// The limit before.
        from: Quantity,
        /// The limit after.
        to: Quantity,
    },
    /// The license does not cover releases of the product after this.
    UpdatesEnd,
    /// The license expires.
    LicenseEnds,
}

/// How soon something ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Urgency {
    /// In at most 30 days.
    Notice,
    /// In at most 14 days.
    Warning,
    /// In at most 3 days.
    Critical,
}

impl Urgency {
    /// A code for programs.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Notice => "notice",
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }
}

impl Change {
    /// A code for programs.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::FeatureStarts(_) => "feature_starts",
            Self::FeatureEnds(_) => "feature_ends",
            Self::Limit { .. } => "limit_changes",
            Self::UpdatesEnd => "updates_end",
            Self::LicenseEnds => "license_ends",
        }
    }

    /// The feature, or what is counted; `None` for the license and its updates.
    #[must_use]
    pub fn key(&self) -> Option<&FeatureKey> {
        match self {
            Self::FeatureStarts(key) | Self::FeatureEnds(key) | Self::Limit { key, .. } => {
                Some(key)
            }
            Self::UpdatesEnd | Self::LicenseEnds => None,
        }
    }

    fn is_loss(&self) -> bool {
        match self {
            Self::FeatureEnds(_) | Self::UpdatesEnd | Self::LicenseEnds => true,
            Self::Limit { from, to, .. } => to < from,
            Self::FeatureStarts(_) => false,
        }
    }
}

/// For people, without the time.
impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let limit = |quantity: Quantity| {
            let number = quantity.number();
            number.map_or("unlimited".to_owned(), |number| number.to_string())
        };
        match self {
            Self::FeatureStarts(key) => write!(f, "{key} starts"),
            Self::FeatureEnds(key) => write!(f, "{key} ends"),
            Self::Limit { key, from, to } => {
                let (from, to) = (limit(*from), limit(*to));
                write!(f, "The limit for {key} changes from {from} to {to}")
            }
            Self::UpdatesEnd => f.write_str("Updates end"),
            Self::LicenseEnds => f.write_str("The license expires"),
        }
    }
}

impl Upcoming {
    /// How soon the license grants less; `None` if that is not soon, or if it grants more.
    #[must_use]
    pub fn urgency(&self, now: DateTime<Utc>) -> Option<Urgency> {
        let left = self.at - now;
        let urgency = match () {
            () if left <= TimeDelta::days(3) => Urgency::Critical,
            () if left <= TimeDelta::days(14) => Urgency::Warning,
            () if left <= TimeDelta::days(30) => Urgency::Notice,
            () => return None,
        };
        self.change.is_loss().then_some(urgency)
    }
}

/// Maximum number of changes of one limit among which a decrease is looked for.
const MAX_LIMIT_CHANGES: usize = 100;

/// The next change of a limit, and its next decrease.
fn limits(entitlements: &Entitlements, key: &FeatureKey, now: PlausibleTime) -> Vec<Upcoming> {
    let Some(mut from) = entitlements.count(key.as_str(), now) else {
        return Vec::new();
    };
    let mut limits = Vec::new();
    for (last, to) in entitlements
        .counts_after(key.as_str(), now)
        .take(MAX_LIMIT_CHANGES)
    {
        let is_loss = to < from;
        let at = match is_loss {
            true => Some(last.trunc_subsecs(0)),
            false => next_instant(last),
        };
        if let Some(at) = at.filter(|_| limits.is_empty() || is_loss) {
            let key = key.clone();
            let change = Change::Limit { key, from, to };
            limits.push(Upcoming { at, change });
        }
        if is_loss {
            break;
        }
        from = to;
    }
    limits
}

/// The next start and the next end of each feature, the next change and the next decrease of
/// everything that the license counts, the end of updates and that of the license itself, from `now`
/// on and in chronological order. Nothing changes after the end of the license.
#[must_use]
pub fn upcoming(
    license: &License,
    entitlements: &Entitlements,
    now: PlausibleTime,
) -> Vec<Upcoming> {
    let features = entitlements.listed().flat_map(|key| {
        let bounds = entitlements.bounds(key.as_str(), now);
        let start = bounds
            .from
            .map(|at| (at, Change::FeatureStarts(key.clone())));
        let end = bounds
            .until
            .map(|at| (at, Change::FeatureEnds(key.clone())));
        [start, end].into_iter().flatten()
    });
    let features = features.map(|(at, change)| Upcoming { at, change });
    let limits = entitlements
        .counted()
        .flat_map(|key| limits(entitlements, key, now));
    let [updates_until, end] = [license.updates_until(), license.expiry()].map(|end| match end {
        Expiry::At(at) => Some(at),
        Expiry::Never | Expiry::Unreadable => None,
    });
    let ends = [
        (updates_until, Change::UpdatesEnd),
        (end, Change::LicenseEnds),
    ];
    let ends = ends.into_iter();
    let ends = ends.filter_map(|(at, change)| Some(Upcoming { at: at?, change }));
    let all = features.chain(limits).chain(ends);
    let is_next = |it: &Upcoming| match it.change {
        Change::FeatureStarts(_) => now.earliest() <= it.at,
        _ => now.latest() <= it.at,
    };
    let mut all: Vec<_> = all
        .filter(|it| is_next(it) && end.is_none_or(|end| it.at <= end))
        .collect();
    all.sort_by(|one, other| {
        let order = |it: &Upcoming| (it.at, it.change.key().cloned());
        order(one).cmp(&order(other))
    });
    all
}
