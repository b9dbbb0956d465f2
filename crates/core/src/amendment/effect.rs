//! What an amendment changes, and when.

use std::collections::{BTreeMap, BTreeSet};
use std::iter::Peekable;

use chrono::{DateTime, TimeDelta, Utc};

use super::{Amendment, State, sells_until, states};
use crate::entitlement::{Grant, Granted, Quantity};
use crate::feature::FeatureKey;
use crate::plausible_time::PlausibleTime;

/// What is different from an instant on, until the next one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Effect {
    /// The first instant.
    pub at: DateTime<Utc>,
    /// What has another value than before the amendment, and what no longer has.
    pub changes: Vec<ValueChange>,
}

/// One thing that an amendment changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ValueChange {
    /// The feature, or what is counted.
    pub key: FeatureKey,
    /// Its value without the amendment.
    pub before: Value,
    /// Its value with it.
    pub after: Value,
}

/// Whether a feature is in force, or how much of something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value {
    /// Whether the feature is in force.
    Feature(bool),
    /// The sum that is in force.
    Count(Quantity),
}

/// Maximum number of instants that are compared; later ones are left out.
const MAX_INSTANTS: usize = 1_000;

/// The differences between a license with the amendments `before` and with the amendments `after`,
/// from `at` on. The end of the license is not among them.
#[must_use]
pub fn effects(before: &[Amendment], after: &[Amendment], at: DateTime<Utc>) -> Vec<Effect> {
    let mut effects = Vec::new();
    let mut known: BTreeMap<FeatureKey, ValueChange> = BTreeMap::new();
    let mut sides = [before, after].map(|amendments| Side::new(amendments, at));
    let mut next = Some(at);
    for _ in 0..MAX_INSTANTS {
        let Some(at) = next else {
            break;
        };
        sides.iter_mut().for_each(|side| side.advance(at));
        let mut now = values(sides.each_ref().map(|side| &side.sold), at);
        for (key, known) in &known {
            now.entry(key.clone()).or_insert_with(|| known.ended());
        }
        let is_new = |change: &&ValueChange| match known.get(&change.key) {
            Some(known) if known.is_difference() => known != *change,
            _ => change.is_difference(),
        };
        let changes: Vec<ValueChange> = now.values().filter(is_new).cloned().collect();
        if !changes.is_empty() {
            effects.push(Effect { at, changes });
        }
        known = now;
        let last = sides
            .iter_mut()
            .filter_map(|side| side.holds_until(at))
            .min();
        next = last.and_then(following);
    }
    effects
}

/// An effect that grants less of something than is used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shortfall {
    /// What is counted.
    pub key: FeatureKey,
    /// How much is granted from then on.
    pub granted: u64,
    /// The first instant.
    pub at: DateTime<Utc>,
}

/// The first of these effects that grants less of `key` than is `used`; `None` if none does.
#[must_use]
pub fn shortfall(effects: &[Effect], key: &str, used: u64) -> Option<Shortfall> {
    effects.iter().find_map(|effect| {
        let mut changes = effect.changes.iter();
        let change = changes.find(|it| it.key.as_str() == key)?;
        match change.after {
            Value::Count(Quantity::Of(granted)) if granted < used && change.is_difference() => {
                let (key, at) = (change.key.clone(), effect.at);
                Some(Shortfall { key, granted, at })
            }
            _ => None,
        }
    })
}

/// A license with some amendments, which is followed through time.
struct Side {
    /// What it sells at the present instant.
    sold: Granted,
    /// The later states.
    later: Peekable<std::vec::IntoIter<State>>,
}

impl Side {
    fn new(amendments: &[Amendment], at: DateTime<Utc>) -> Self {
        Self {
            sold: Granted::default(),
            later: states(amendments, at).into_iter().peekable(),
        }
    }

    fn advance(&mut self, at: DateTime<Utc>) {
        while let Some(state) = self.later.next_if(|it| it.from <= at) {
            self.sold = state.contents.sold();
        }
    }

    /// The last instant at which it sells what it does at `at`; `None` if that never changes.
    fn holds_until(&mut self, at: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let next = self.later.peek().map(|it| it.from);
        sells_until(&self.sold, next, at)
    }
}

impl ValueChange {
    fn is_difference(&self) -> bool {
        self.before != self.after
    }

    /// The same when it is granted no longer.
    fn ended(&self) -> Self {
        let none = match self.after {
            Value::Feature(_) => Value::Feature(false),
            Value::Count(_) => Value::Count(Quantity::Of(0)),
        };
        Self {
            key: self.key.clone(),
            before: none,
            after: none,
        }
    }
}

/// The first instant in whole seconds after another one.
fn following(last: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let second = last.checked_add_signed(TimeDelta::seconds(1))?;
    DateTime::from_timestamp(second.timestamp(), 0)
}

/// The values without and with an amendment, also where they are equal.
fn values(sold: [&Granted; 2], at: DateTime<Utc>) -> BTreeMap<FeatureKey, ValueChange> {
    let counted: BTreeSet<&FeatureKey> = sold.into_iter().flat_map(Granted::counted).collect();
    let features: BTreeSet<&FeatureKey> = sold.into_iter().flat_map(Granted::features).collect();
    let now = PlausibleTime::exact(at);
    let counts = counted.into_iter().map(|key| {
        let sums = sold.map(|it| it.count(key.as_str(), now));
        (
            key,
            sums.map(|sum| Value::Count(sum.unwrap_or(Quantity::Of(0)))),
        )
    });
    let features = features.into_iter().map(|key| {
        let grants = sold.map(|it| it.feature(key.as_str(), now));
        (
            key,
            grants.map(|grant| Value::Feature(grant == Grant::InForce)),
        )
    });
    let all = features.chain(counts).map(|(key, [before, after])| {
        let change = ValueChange {
            key: key.clone(),
            before,
            after,
        };
        (key.clone(), change)
    });
    all.collect()
}
