//! An amount over time that never increases, and is 0 in the end.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::{instant, second};

/// Maximum number of steps of a stored or signed staircase.
pub const MAX_STEPS: usize = 16;

/// An amount over time that never increases: until the end of each step, its amount. Afterward 0.
///
/// In JSON a list of `[until, amount]`, with `until` in seconds since 1970; the whole second is
/// included.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<(i64, u64)>", into = "Vec<(i64, u64)>")]
pub struct Staircase(Vec<Step>);

/// An amount until the end of a second.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Step {
    pub(super) until: i64,
    pub(super) amount: u64,
}

/// Why stored steps are not a staircase.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidStaircase {
    /// A step does not end after the step before it.
    #[error("a step ends at {until}, but the step before it does not end earlier")]
    Order {
        /// The end of the step, in seconds since 1970.
        until: i64,
    },
    /// A step has no lower amount than the step before it, or the amount 0.
    #[error("the amount {amount} does not fit: amounts decrease and are at least 1")]
    Amount {
        /// The amount.
        amount: u64,
    },
}

impl Staircase {
    /// One amount until the end of the second of `until`.
    #[must_use]
    pub fn level(amount: u64, until: DateTime<Utc>) -> Self {
        Self::of_steps([Step {
            until: second(until),
            amount,
        }])
    }

    /// The greatest of the amounts of these steps at each instant. Each step counts from the
    /// beginning of time.
    pub(super) fn of_steps(steps: impl IntoIterator<Item = Step>) -> Self {
        let mut steps: Vec<Step> = steps.into_iter().collect();
        steps.sort_unstable_by(|one, other| other.cmp(one));
        let mut greatest = 0;
        steps.retain(|step| {
            let is_greater = greatest < step.amount;
            greatest = greatest.max(step.amount);
            is_greater
        });
        steps.reverse();
        Self(steps)
    }

    /// The amount at an instant.
    #[must_use]
    pub fn at(&self, at: DateTime<Utc>) -> u64 {
        self.at_second(second(at))
    }

    pub(super) fn at_second(&self, at: i64) -> u64 {
        amount_at(&self.0, at)
    }

    /// Its last second; `None` if it is 0 at all times.
    #[must_use]
    pub fn until(&self) -> Option<DateTime<Utc>> {
        self.0.last().map(|step| instant(step.until))
    }

    /// Whether it is 0 at all times.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The last second of each step, and its amount.
    pub fn steps(&self) -> impl Iterator<Item = (DateTime<Utc>, u64)> + '_ {
        self.0.iter().map(|it| (instant(it.until), it.amount))
    }

    pub(super) fn raw(&self) -> &[Step] {
        &self.0
    }

    /// The greater amount of both at each instant.
    #[must_use]
    pub fn joined(&self, other: &Self) -> Self {
        match (self.is_empty(), other.is_empty()) {
            (_, true) => self.clone(),
            (true, _) => other.clone(),
            _ => Self::of_steps(self.0.iter().chain(&other.0).copied()),
        }
    }

    /// The same from the second `from` on: without steps that have ended.
    pub(super) fn rest_from(&self, from: i64) -> Self {
        Self(
            self.0
                .iter()
                .filter(|it| from <= it.until)
                .copied()
                .collect(),
        )
    }

    /// The smaller amount of both at each instant.
    pub(super) fn limited_to(&self, other: &Self) -> Self {
        let ends = self.0.iter().chain(&other.0).map(|step| step.until);
        Self::of_steps(ends.map(|until| Step {
            until,
            amount: self.at_second(until).min(other.at_second(until)),
        }))
    }

    /// With at most [`MAX_STEPS`], and nowhere less: neighbors are merged, those first where that
    /// adds least. `is_free` says whether the time after one second until another one may be
    /// counted with the amount before it; other neighbors are merged last.
    pub(super) fn rounded_up(mut self, is_free: impl Fn(i64, i64) -> bool) -> Self {
        while self.0.len() > MAX_STEPS {
            let costs = self.0.windows(2).enumerate().map(|(place, pair)| {
                let [one, next] = [pair[0], pair[1]];
                let span = u128::from(next.until.abs_diff(one.until));
                let added = span.saturating_mul(u128::from(one.amount - next.amount));
                (!is_free(one.until, next.until), added, place)
            });
            let Some((_, _, place)) = costs.min() else {
                break;
            };
            let removed = self.0.remove(place + 1);
            self.0[place].until = removed.until;
        }
        self
    }

    /// With at most [`MAX_STEPS`], and nowhere more: the last steps before the final one are lowered
    /// to it.
    pub(super) fn rounded_down(mut self) -> Self {
        if self.0.len() > MAX_STEPS {
            self.0.drain(MAX_STEPS - 1..self.0.len() - 1);
        }
        self
    }
}

/// The amount at a second, of steps in order.
pub(super) fn amount_at(steps: &[Step], at: i64) -> u64 {
    let place = steps.partition_point(|step| step.until < at);
    steps.get(place).map_or(0, |step| step.amount)
}

impl TryFrom<Vec<(i64, u64)>> for Staircase {
    type Error = InvalidStaircase;

    fn try_from(steps: Vec<(i64, u64)>) -> Result<Self, InvalidStaircase> {
        let steps = steps
            .into_iter()
            .map(|(until, amount)| Step { until, amount });
        let steps: Vec<Step> = steps.collect();
        if let Some(step) = steps.iter().find(|step| step.amount == 0) {
            return Err(InvalidStaircase::Amount {
                amount: step.amount,
            });
        }
        for pair in steps.windows(2) {
            let [one, next] = [pair[0], pair[1]];
            if next.until <= one.until {
                return Err(InvalidStaircase::Order { until: next.until });
            }
            if one.amount <= next.amount {
                return Err(InvalidStaircase::Amount {
                    amount: next.amount,
                });
            }
        }
        Ok(Self(steps))
    }
}

impl From<Staircase> for Vec<(i64, u64)> {
    fn from(staircase: Staircase) -> Self {
        let steps = staircase.0.into_iter();
        steps.map(|step| (step.until, step.amount)).collect()
    }
}
