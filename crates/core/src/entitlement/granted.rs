//! The sum of entitlements, at an instant and over time.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use chrono::{DateTime, Utc};

use super::sums::{Sums, bounds_after};
use super::{Entitlement, Period, Quantity, next_instant};
use crate::feature::FeatureKey;
use crate::plausible_time::PlausibleTime;

/// Whether a feature is granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grant {
    /// It is in force.
    InForce,
    /// It will be, from this instant on.
    From(DateTime<Utc>),
    /// It was, until this instant.
    Until(DateTime<Utc>),
    /// It is not granted at any time.
    Never,
}

/// What a license grants, whenever that is in force, for fast questions: all bounds are sorted when
/// it is made, and answers are found by binary search.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Granted {
    /// For each feature, the times for which it is in force without a gap, in order.
    features: HashMap<FeatureKey, Vec<Period>>,
    counts: BTreeMap<FeatureKey, Sums>,
    /// All instants at which something starts, in order.
    starts: Vec<DateTime<Utc>>,
    /// All instants at which something starts or has just ended, in order.
    boundaries: Vec<DateTime<Utc>>,
}

impl Granted {
    /// The sum of these entitlements.
    #[must_use]
    pub fn of(entitlements: impl IntoIterator<Item = Entitlement>) -> Self {
        let mut features: HashMap<FeatureKey, Vec<Period>> = HashMap::new();
        let mut counts: BTreeMap<FeatureKey, Vec<(Period, Quantity)>> = BTreeMap::new();
        let (mut starts, mut ends) = (BTreeSet::new(), BTreeSet::new());
        for Entitlement {
            key,
            quantity,
            period,
        } in entitlements
        {
            starts.extend(period.from);
            ends.extend(period.last().and_then(next_instant));
            match quantity {
                Some(quantity) => counts.entry(key).or_default().push((period, quantity)),
                None => features.entry(key).or_default().push(period),
            }
        }
        let features = features.into_iter();
        let counts = counts.into_iter();
        Self {
            features: features.map(|(key, it)| (key, without_gaps(it))).collect(),
            counts: counts.map(|(key, it)| (key, Sums::of(&it))).collect(),
            boundaries: starts.union(&ends).copied().collect(),
            starts: starts.into_iter().collect(),
        }
    }

    /// The last instant up to `now` at which a period has begun, or at which one was over.
    #[must_use]
    pub(crate) fn last_boundary(&self, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let passed = self.boundaries.partition_point(|at| *at <= now);
        self.boundaries[..passed].last().copied()
    }

    /// When the first of it starts, if nothing is in force yet; `None` if something is, or if
    /// nothing starts later.
    #[must_use]
    pub fn starts_at(&self, now: PlausibleTime) -> Option<DateTime<Utc>> {
        let feature = |key: &FeatureKey| self.feature(key.as_str(), now) == Grant::InForce;
        let count = |sums: &Sums| sums.lowest(now) != Quantity::Of(0);
        if self.features().any(feature) || self.counts.values().any(count) {
            return None;
        }
        let passed = self.starts.partition_point(|at| *at <= now.earliest());
        self.starts.get(passed).copied()
    }

    /// The features that are granted at any time.
    pub fn features(&self) -> impl Iterator<Item = &FeatureKey> {
        self.features.keys()
    }

    /// What is counted at any time.
    pub fn counted(&self) -> impl Iterator<Item = &FeatureKey> {
        self.counts.keys()
    }

    /// Whether a feature is granted at any time.
    #[must_use]
    pub fn lists(&self, key: &str) -> bool {
        self.features.contains_key(key)
    }

    /// Whether a feature is in force: throughout `now`, if that is uncertain.
    #[must_use]
    pub fn feature(&self, key: &str, now: PlausibleTime) -> Grant {
        let Some(periods) = self.features.get(key) else {
            return Grant::Never;
        };
        let at = now.latest();
        let (current, later) = begun(periods, at);
        if let Some(current) = current.filter(|it| it.contains(at)) {
            let start = current.from.filter(|from| now.earliest() < *from);
            return start.map_or(Grant::InForce, Grant::From);
        }
        if let Some(from) = later.first().and_then(|next| next.from) {
            return Grant::From(from);
        }
        let last = current.and_then(|it| it.until);
        last.map_or(Grant::Never, Grant::Until)
    }

    /// The last instant of the feature, which is in force at `at`; `None` if it has no end.
    #[must_use]
    pub fn feature_ends(&self, key: &str, at: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let (current, _) = begun(self.features.get(key)?, at);
        current.filter(|it| it.contains(at))?.until
    }

    /// The sum that is in force, the lowest within `now` if that is uncertain; `None` if the
    /// license does not count this.
    #[must_use]
    pub fn count(&self, key: &str, now: PlausibleTime) -> Option<Quantity> {
        Some(self.counts.get(key)?.lowest(now))
    }

    /// The last instant at which the sum that is in force does not change, and the sum
    /// after it; `None` if it never changes.
    #[must_use]
    pub fn next_count(&self, key: &str, now: PlausibleTime) -> Option<(DateTime<Utc>, Quantity)> {
        self.counts_after(key, now).next()
    }

    /// All such instants, and the sums after them.
    pub fn counts_after<'a>(
        &'a self,
        key: &'a str,
        now: PlausibleTime,
    ) -> impl Iterator<Item = (DateTime<Utc>, Quantity)> + 'a {
        let sums = self.counts.get(key).into_iter();
        sums.flat_map(move |sums| sums.after(now))
    }

    /// The last instant at which what is in force stays in force; `None` if it never changes.
    #[must_use]
    pub fn holds_until(&self, now: PlausibleTime) -> Option<DateTime<Utc>> {
        bounds_after(&self.boundaries, now).next()
    }
}

/// The times for which any of these periods is in force, in order: a period that begins before the
/// end of another one, or right after it, continues it.
fn without_gaps(mut periods: Vec<Period>) -> Vec<Period> {
    periods.sort_unstable();
    let mut joined: Vec<Period> = Vec::new();
    for period in periods {
        match joined.last().and_then(|last| last.continued_by(&period)) {
            Some(continued) => {
                joined.pop();
                joined.push(continued);
            }
            None => joined.push(period),
        }
    }
    joined
}

/// The last of these periods, in the order of their starts, that has begun at `at`, and those that
/// begin later.
fn begun(periods: &[Period], at: DateTime<Utc>) -> (Option<&Period>, &[Period]) {
    let (begun, later) = periods.split_at(periods.partition_point(|it| it.from <= Some(at)));
    (begun.last(), later)
}

/// Features without bounds, as older licenses list them.
impl From<BTreeSet<FeatureKey>> for Granted {
    fn from(features: BTreeSet<FeatureKey>) -> Self {
        Self::of(features.into_iter().map(Entitlement::feature))
    }
}
