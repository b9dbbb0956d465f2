//! What a license grants, with the time for which each thing is granted.
//!
//! A feature is granted when any entitlement for it is in force, and a count is the sum of the
//! entitlements in force. Everything that asks what is in force, on any side, asks [`Granted`].

mod granted;
mod sums;

use chrono::{DateTime, SubsecRound as _, TimeDelta, Utc};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use serde_json::{Map, Value};

use crate::feature::{FeatureKey, MAX_FEATURES};
use crate::iso_8601::parse_instant;
pub use granted::{Grant, Granted};

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

/// The first instant after an inclusive bound.
pub(crate) fn next_instant(end: DateTime<Utc>) -> Option<DateTime<Utc>> {
    end.checked_add_signed(TimeDelta::nanoseconds(1))
}
