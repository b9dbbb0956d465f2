//! What a license grants, with the time for which each thing is granted.
//!
//! A feature is granted when any entitlement for it is in force, and a count is the sum of the
//! entitlements in force. Everything that asks what is in force, on any side, asks [`Granted`].

use std::collections::{BTreeMap, BTreeSet, HashMap};

use chrono::{DateTime, SubsecRound as _, TimeDelta, Utc};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use serde_json::{Map, Value};

use crate::feature::{FeatureKey, MAX_FEATURES};
use crate::iso_8601::parse_instant;
use crate::plausible_time::PlausibleTime;

/// How much of something countable is granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Quantity {
    /// This many.
    Of(u64),
    /// Any number; in JSON `"unlimited"`.
    Unlimited,
}

impl Quantity {
    /// Both together.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        match (self, other) {
            (Self::Of(one), Self::Of(other)) => Self::Of(one.saturating_add(other)),
            _ => Self::Unlimited,
        }
    }

    /// The number; `None` if unlimited.
    #[must_use]
    pub fn number(self) -> Option<u64> {
        match self {
            Self::Of(number) => Some(number),
            Self::Unlimited => None,
        }
    }

    /// In JSON.
    #[must_use]
    pub fn to_json(self) -> Value {
        match self {
            Self::Of(number) => number.into(),
            Self::Unlimited => "unlimited".into(),
        }
    }

    /// From JSON; `None` if it is neither a whole number from 0 on nor `"unlimited"`.
    #[must_use]
    pub fn of_json(value: &Value) -> Option<Self> {
        match value {
            Value::String(text) => (text == "unlimited").then_some(Self::Unlimited),
            value => value.as_u64().map(Self::Of),
        }
    }
}

impl Serialize for Quantity {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.to_json().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Quantity {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        Self::of_json(&value).ok_or_else(|| {
            let expected = "expected 0 or more, or \"unlimited\"";
            de::Error::custom(format!("invalid quantity {value}: {expected}"))
        })
    }
}

/// A period with inclusive bounds. A bound in whole seconds includes its whole second, so that
/// nothing is missing between one period that ends at 23:59:59 and the next, from 00:00:00 on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Period {
    /// The first instant; `None` if it has always begun.
    pub from: Option<DateTime<Utc>>,
    /// The last instant; `None` if it never ends.
    pub until: Option<DateTime<Utc>>,
}

impl Period {
    /// Without bounds.
    pub const ALWAYS: Self = Self {
        from: None,
        until: None,
    };

    /// Whether it contains an instant.
    #[must_use]
    pub fn contains(&self, at: DateTime<Utc>) -> bool {
        self.from.is_none_or(|from| from <= at) && self.last().is_none_or(|last| at <= last)
    }

    /// Its last instant.
    fn last(&self) -> Option<DateTime<Utc>> {
        let until = self.until?;
        let rest = match until.timestamp_subsec_nanos() {
            0 => TimeDelta::nanoseconds(999_999_999),
            _ => TimeDelta::zero(),
        };
        Some(until.checked_add_signed(rest).unwrap_or(until))
    }

    /// What it has in common with another one; `None` if that is nothing.
    #[must_use]
    pub fn and(&self, other: &Self) -> Option<Self> {
        let from = self.from.max(other.from);
        let until = match (self.until, other.until) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        };
        let is_empty = from.zip(until).is_some_and(|(from, until)| until < from);
        (!is_empty).then_some(Self { from, until })
    }

    /// The last instant from `at` on at which it contains what it contains at `at`.
    fn bound_after(&self, at: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let before = self.from.filter(|from| at < *from);
        let before = before.and_then(|from| from.checked_sub_signed(TimeDelta::nanoseconds(1)));
        before.or(self.last().filter(|last| at <= *last))
    }

    /// The last instant at which it contains what it contains at both ends of `now`.
    fn holds_until(&self, now: PlausibleTime) -> Option<DateTime<Utc>> {
        let earliest = self.bound_after(now.earliest());
        let earliest = earliest.and_then(|bound| bound.checked_add_signed(now.lag()));
        self.bound_after(now.latest())
            .into_iter()
            .chain(earliest)
            .min()
    }

    /// Both as one, if there is no instant between them. `later` does not begin before it.
    fn continued_by(&self, later: &Self) -> Option<Self> {
        let Some(last) = self.last() else {
            return Some(*self);
        };
        let follows = later.from <= next_instant(last);
        let until = match later.last() {
            Some(end) if end < last => self.until,
            _ => later.until,
        };
        follows.then_some(Self { until, ..*self })
    }
}

/// One thing that a license grants: a feature, or a count of something.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Entitlement {
    /// The feature, or what is counted.
    pub key: FeatureKey,
    /// How much; `None` for a feature.
    pub quantity: Option<Quantity>,
    /// When it is in force.
    pub period: Period,
}

/// Why an entry of `entitlements` does not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SkippedEntitlement {
    /// The entry is not an object.
    #[error("not an object")]
    NotAnObject,
    /// `key` is missing or not a feature key.
    #[error("'key' is not a feature key")]
    Key,
    /// `quantity` is neither a whole number from 0 on nor `"unlimited"`.
    #[error("'quantity' must be 0 or more, or \"unlimited\"")]
    Quantity,
    /// `from` or `until` is not a time.
    #[error("'from' and 'until' must be times")]
    Time,
    /// It ends before it starts.
    #[error("'until' is before 'from'")]
    EndBeforeStart,
    /// The list is too long.
    #[error("exceeds the maximum of {MAX_FEATURES} entitlements")]
    TooMany,
}

impl Entitlement {
    /// A feature without bounds.
    #[must_use]
    pub fn feature(key: FeatureKey) -> Self {
        Self {
            key,
            quantity: None,
            period: Period::ALWAYS,
        }
    }

    /// A count without bounds.
    #[must_use]
    pub fn count(key: FeatureKey, quantity: Quantity) -> Self {
        Self {
            quantity: Some(quantity),
            ..Self::feature(key)
        }
    }

    /// In the JSON of a license, with times in whole seconds.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let time = |at: DateTime<Utc>| {
            let at = at.trunc_subsecs(0);
            Value::from(at.to_rfc3339_opts(chrono::SecondsFormat::Secs, true))
        };
        let members = [
            ("key", Some(self.key.as_str().into())),
            ("quantity", self.quantity.map(Quantity::to_json)),
            ("from", self.period.from.map(time)),
            ("until", self.period.until.map(time)),
        ];
        let members = members
            .into_iter()
            .filter_map(|(name, value)| Some((name.to_owned(), value?)));
        Value::Object(members.collect::<Map<String, Value>>())
    }

    /// None of what an entry counts that cannot be read, if it names that; `None` for a feature.
    #[must_use]
    pub(crate) fn none_of(value: &Value) -> Option<Self> {
        let entry = value.as_object()?;
        let is_count = entry.get("quantity").is_some_and(|it| !it.is_null());
        let key = entry.get("key").and_then(Value::as_str);
        let key = key.and_then(|key| FeatureKey::parse(key).ok());
        key.filter(|_| is_count)
            .map(|key| Self::count(key, Quantity::Of(0)))
    }

    /// From the JSON of a license. Null is the same as absent.
    ///
    /// # Errors
    /// [`SkippedEntitlement`] if it cannot be read: it then grants nothing, rather than something
    /// without an end.
    pub fn of_json(value: &Value) -> Result<Self, SkippedEntitlement> {
        let object = value.as_object().ok_or(SkippedEntitlement::NotAnObject)?;
        let member = |name: &str| object.get(name).filter(|value| !value.is_null());
        let time = |name: &str| {
            let value = member(name).map(|value| value.as_str().and_then(parse_instant));
            value
                .map(|at| at.ok_or(SkippedEntitlement::Time))
                .transpose()
        };
        let key = member("key").and_then(Value::as_str);
        let key = key.and_then(|key| FeatureKey::parse(key).ok());
        let quantity = member("quantity")
            .map(|value| Quantity::of_json(value).ok_or(SkippedEntitlement::Quantity));
        let (from, until) = (time("from")?, time("until")?);
        if from.zip(until).is_some_and(|(from, until)| until < from) {
            return Err(SkippedEntitlement::EndBeforeStart);
        }
        Ok(Self {
            key: key.ok_or(SkippedEntitlement::Key)?,
            quantity: quantity.transpose()?,
            period: Period { from, until },
        })
    }
}

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
        let counts = self.counts.get(key)?;
        let sum = self.count(key, now)?;
        let after = |last: DateTime<Utc>| Some(now.moved_to(next_instant(last)?));
        let bound = |now| counts.iter().filter_map(|it| it.0.holds_until(now)).min();
        let lasts = std::iter::successors(bound(now), |last| bound(after(*last)?));
        let mut changes = lasts.filter_map(|last| Some((last, self.count(key, after(last)?)?)));
        changes.find(|(_, after)| *after != sum)
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

/// The first instant after an inclusive bound.
pub(crate) fn next_instant(end: DateTime<Utc>) -> Option<DateTime<Utc>> {
    end.checked_add_signed(TimeDelta::nanoseconds(1))
}

/// Features without bounds, as older licenses list them.
impl From<BTreeSet<FeatureKey>> for Granted {
    fn from(features: BTreeSet<FeatureKey>) -> Self {
        Self::of(features.into_iter().map(Entitlement::feature))
    }
}
