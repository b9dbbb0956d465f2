//! The sum of entitlements, at an instant and over time.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use chrono::{DateTime, Utc};

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

/// What a license grants, whenever that is in force, for fast questions.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Granted {
    /// An empty list of periods means always.
    features: HashMap<FeatureKey, Vec<Period>>,
    counts: BTreeMap<FeatureKey, Vec<(Period, Quantity)>>,
    /// All periods with a bound, each once.
    bounded: BTreeSet<Period>,
}

impl Granted {
    /// The sum of these entitlements.
    #[must_use]
    pub fn of(entitlements: impl IntoIterator<Item = Entitlement>) -> Self {
        let mut granted = Self::default();
        for Entitlement {
            key,
            quantity,
            period,
        } in entitlements
        {
            if period != Period::ALWAYS {
                granted.bounded.insert(period);
            }
            let Some(quantity) = quantity else {
                granted.add_feature(key, period);
                continue;
            };
            let counts = granted.counts.entry(key).or_default();
            counts.push((period, quantity));
        }
        granted
    }

    /// The last instant up to `now` at which a period has begun, or at which one was over.
    #[must_use]
    pub(crate) fn last_boundary(&self, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let starts = self.bounded.iter().filter_map(|it| it.from);
        let ends = self.bounded.iter().filter_map(Period::last);
        starts
            .chain(ends.filter_map(next_instant))
            .filter(|at| *at <= now)
            .max()
    }

    /// When the first of it starts, if nothing is in force yet; `None` if something is, or if
    /// nothing starts later.
    #[must_use]
    pub fn starts_at(&self, now: PlausibleTime) -> Option<DateTime<Utc>> {
        let feature = |key: &FeatureKey| self.feature(key.as_str(), now) == Grant::InForce;
        let count = |key: &FeatureKey| {
            let sum = self.count(key.as_str(), now);
            sum.is_some_and(|sum| sum != Quantity::Of(0))
        };
        if self.features().any(feature) || self.counted().any(count) {
            return None;
        }
        let starts = self.bounded.iter().filter_map(|it| it.from);
        starts.filter(|at| now.latest() < *at).min()
    }

    fn add_feature(&mut self, key: FeatureKey, period: Period) {
        if period == Period::ALWAYS {
            self.features.insert(key, Vec::new());
            return;
        }
        match self.features.get_mut(&key) {
            None => drop(self.features.insert(key, vec![period])),
            Some(periods) if periods.is_empty() => {}
            Some(periods) => periods.push(period),
        }
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
        if periods.is_empty() || periods.iter().any(|period| period.contains(at)) {
            let is_exact = periods.is_empty() || now.lag().is_zero();
            let start = Some(at).filter(|_| !is_exact);
            let start = start.and_then(|at| self.run(key, at)?.from);
            let start = start.filter(|from| now.earliest() < *from);
            return start.map_or(Grant::InForce, Grant::From);
        }
        let next = periods
            .iter()
            .filter_map(|it| it.from)
            .filter(|it| at < *it);
        if let Some(next) = next.min() {
            return Grant::From(next);
        }
        let last = periods.iter().filter_map(|it| it.until).max();
        last.map_or(Grant::Never, Grant::Until)
    }

    /// The last instant of the feature, which is in force at `at`; `None` if it has no end.
    #[must_use]
    pub fn feature_ends(&self, key: &str, at: DateTime<Utc>) -> Option<DateTime<Utc>> {
        self.run(key, at)?.until
    }

    /// The time around `at` for which the feature is in force without a gap: a period that begins
    /// before the end of another one, or right after it, continues it. `None` if it has no periods
    /// or is not in force at `at`.
    fn run(&self, key: &str, at: DateTime<Utc>) -> Option<Period> {
        let mut periods = self.features.get(key)?.clone();
        periods.sort_unstable();
        let mut run: Option<Period> = None;
        for period in periods {
            run = match run {
                Some(run) => match run.continued_by(&period) {
                    None if run.contains(at) => return Some(run),
                    continued => continued.or(Some(period)),
                },
                None => Some(period),
            };
        }
        run.filter(|run| run.contains(at))
    }

    /// The sum that is in force, the lowest within `now` if that is uncertain; `None` if the
    /// license does not count this.
    #[must_use]
    pub fn count(&self, key: &str, now: PlausibleTime) -> Option<Quantity> {
        let counts = self.counts.get(key)?;
        let sum = |at| {
            let in_force = counts.iter().filter(|(period, _)| period.contains(at));
            in_force.fold(Quantity::Of(0), |sum, (_, quantity)| sum.plus(*quantity))
        };
        let (earliest, latest) = (now.earliest(), now.latest());
        let is_between = |at: &DateTime<Utc>| earliest < *at && *at < latest;
        // The sum decreases only where a period has ended.
        let lasts = counts.iter().filter_map(|(period, _)| period.last());
        let ended = lasts.filter_map(next_instant).filter(is_between);
        let others = Some(earliest).filter(|it| *it != latest).into_iter();
        others
            .chain(ended)
            .map(sum)
            .fold(sum(latest), Quantity::min)
            .into()
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
        let counts = self.counts.get(key).map(Vec::as_slice).unwrap_or_default();
        let after = move |last: DateTime<Utc>| Some(now.moved_to(next_instant(last)?));
        let bound = move |now| counts.iter().filter_map(|it| it.0.holds_until(now)).min();
        let lasts = std::iter::successors(bound(now), move |last| bound(after(*last)?));
        let mut sum = self.count(key, now);
        lasts.filter_map(move |last| {
            let next = self.count(key, after(last)?);
            let is_change = next != sum;
            sum = next;
            Some((last, next.filter(|_| is_change)?))
        })
    }

    /// The last instant at which what is in force stays in force; `None` if it never changes.
    #[must_use]
    pub fn holds_until(&self, now: PlausibleTime) -> Option<DateTime<Utc>> {
        self.bounded
            .iter()
            .filter_map(|period| period.holds_until(now))
            .min()
    }
}

/// Features without bounds, as older licenses list them.
impl From<BTreeSet<FeatureKey>> for Granted {
    fn from(features: BTreeSet<FeatureKey>) -> Self {
        Self::of(features.into_iter().map(Entitlement::feature))
    }
}
