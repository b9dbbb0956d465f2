//! What a seat gets of a count.

use chrono::{DateTime, Utc};

use super::staircase::Step;
use super::sum::Sum;
use super::{Holding, Pool, Staircase, Totals, Wanted, instant, second};
use crate::entitlement::Quantity;

/// What a seat gets of a count, with a document that is about to be signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Allocation {
    /// What the document carries.
    pub carried: Carried,
    /// What the seat holds with the document: to be stored with it, in the same transaction.
    pub holding: Holding,
    /// How much of what was wanted is missing now.
    pub missing: u64,
    /// When the missing part is free if nothing else is signed, reserved or amended; `None` if it
    /// never is, or nothing is missing.
    pub free_at: Option<DateTime<Utc>>,
    /// The same for any part of it: when a request gets more.
    pub more_at: Option<DateTime<Utc>>,
}

/// What a document carries of a count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Carried {
    /// All that the license grants until the document ends, as it increases and decreases: no other
    /// seat has anything.
    Total,
    /// This.
    Part(Staircase),
}

impl Pool<'_> {
    /// What a seat that holds `holding` and should get `wanted` gets with a document that is signed
    /// now and ends at `exp`.
    ///
    /// At each instant until `exp`, the greatest of:
    /// - what its newest document carries at that instant, but no more than the total;
    /// - what its newest document carries now, to the extent that no document of another seat carries
    ///   it until then;
    /// - what is neither carried nor reserved for another seat until then.
    #[must_use]
    pub fn grant(&self, holding: &Holding, wanted: Wanted, exp: DateTime<Utc>) -> Allocation {
        let until = second(exp);
        let is_alone = self.signed.at_second(self.first_second()) == 0;
        let (carried, counted) = match wanted {
            Wanted::Everything if is_alone => (Carried::Total, self.greatest_totals(until)),
            _ => {
                let part = self.part(holding.newest(), wanted.amount(), until);
                (Carried::Part(part.clone()), part)
            }
        };
        let granted = match &carried {
            Carried::Total => self.totals.number_at(self.now),
            Carried::Part(part) => part.at_second(self.now),
        };
        let enough = match wanted {
            Wanted::Everything => self.totals.number_at(self.now),
            Wanted::Of(amount) => amount,
        };
        let first_with = |amount| {
            (granted < enough)
                .then(|| self.first_with(amount))
                .flatten()
        };
        Allocation {
            carried,
            holding: holding.with(&counted, self.totals, instant(self.now)),
            missing: enough.saturating_sub(granted),
            free_at: first_with(enough),
            more_at: first_with(granted.saturating_add(1)),
        }
    }

    fn part(&self, newest: &Staircase, wanted: u64, until: i64) -> Staircase {
        let total = self.left_throughout(&Sum::default(), wanted, until);
        let held = newest.rest_from(self.now).limited_to(&total);
        let now_held = held.at_second(self.now);
        let renewed = self.left_throughout(&self.signed, now_held, until);
        let free = self.left_throughout(&self.claimed, wanted, until);
        let part = held.joined(&renewed).joined(&free);
        part.rounded_down()
    }

    /// The greatest total from each second on until `until`, and more where that saves steps.
    fn greatest_totals(&self, until: i64) -> Staircase {
        let ends = self.totals.changes().map(|it| it.0 - 1).chain([until]);
        let ends = ends.filter(|end| self.now <= *end && *end <= until);
        let all = Staircase::of_steps(ends.map(|until| Step {
            until,
            amount: self.totals.number_at(until),
        }));
        // The total falls after each of these steps, so that none can be merged at no cost.
        all.rounded_up(|_, _| false)
    }

    /// The first instant after now at which `amount` is free.
    fn first_with(&self, amount: u64) -> Option<DateTime<Utc>> {
        let margin = super::CLOCK_MARGIN.num_seconds();
        let ended = self.claimed.ends().map(|end| end + margin + 1);
        let changed = self.totals.changes().map(|it| it.0);
        let mut instants: Vec<i64> = ended.chain(changed).filter(|it| self.now < *it).collect();
        instants.sort_unstable();
        let is_free = |at: &i64| amount <= self.left(&self.claimed, *at);
        instants.into_iter().find(is_free).map(instant)
    }
}

impl Carried {
    /// What the document states, of a license with these `totals`: amounts, each until the end of a
    /// second, for a document that is signed at `now` and ends at `exp`. While the total is
    /// unlimited, every seat gets any number.
    #[must_use]
    pub fn quantities(
        &self,
        totals: &Totals,
        now: DateTime<Utc>,
        exp: DateTime<Utc>,
    ) -> Vec<(DateTime<Utc>, Quantity)> {
        let (now, exp) = (second(now), second(exp));
        let steps = match self {
            Self::Total => &[],
            Self::Part(part) => part.raw(),
        };
        let ends = steps.iter().map(|step| step.until);
        let ends = ends.chain(totals.changes().map(|it| it.0 - 1));
        let mut ends: Vec<i64> = ends.filter(|it| now <= *it && *it < exp).collect();
        ends.push(exp);
        ends.sort_unstable();
        ends.dedup();
        let mut stated: Vec<(DateTime<Utc>, Quantity)> = Vec::new();
        for end in ends {
            let quantity = match (totals.at_second(end), self) {
                (Quantity::Of(_), Self::Part(part)) => Quantity::Of(part.at_second(end)),
                (total, _) => total,
            };
            match stated.last_mut() {
                Some(last) if last.1 == quantity => last.0 = instant(end),
                _ => stated.push((instant(end), quantity)),
            }
        }
        stated
    }
}
