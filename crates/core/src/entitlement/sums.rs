//! The sum of the entitlements of one count, over all time.
//!
//! Computed once, in O(n log n) for n entitlements. The sum at an instant, and the lowest sum of an
//! interval, take O(log n).

use chrono::{DateTime, TimeDelta, Utc};

use super::{Period, Quantity, next_instant};
use crate::plausible_time::PlausibleTime;

/// The sum over all time. It changes at known instants and is constant in between.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Sums {
    /// The instants from which another sum applies, in order.
    changes: Vec<DateTime<Utc>>,
    /// A binary tree of minimums. With n = `changes.len() + 1`, the places from n on are the sums
    /// before the first change, after it, and so on; place i < n is the lower one of places 2i and
    /// 2i + 1.
    lowest: Vec<Quantity>,
}

/// What is in force at one moment of the sweep.
#[derive(Clone, Copy, Default)]
struct Total {
    /// Wide enough for the greatest amounts of all entitlements together.
    amount: u128,
    unlimited: usize,
}

impl Total {
    fn quantity(self) -> Quantity {
        match self.unlimited {
            0 => Quantity::Of(u64::try_from(self.amount).unwrap_or(u64::MAX)),
            _ => Quantity::Unlimited,
        }
    }

    fn add(&mut self, quantity: Quantity) {
        match quantity {
            Quantity::Of(amount) => self.amount += u128::from(amount),
            Quantity::Unlimited => self.unlimited += 1,
        }
    }

    fn remove(&mut self, quantity: Quantity) {
        match quantity {
            Quantity::Of(amount) => self.amount -= u128::from(amount),
            Quantity::Unlimited => self.unlimited -= 1,
        }
    }
}

impl Sums {
    /// The sum of these entitlements: a sweep over their sorted bounds.
    pub(super) fn of(counts: &[(Period, Quantity)]) -> Self {
        let mut total = Total::default();
        let mut bounds = Vec::new();
        for (period, quantity) in counts {
            let end = period.last();
            if period.from.zip(end).is_some_and(|(from, end)| end < from) {
                continue;
            }
            match period.from {
                Some(from) => bounds.push((from, true, *quantity)),
                None => total.add(*quantity),
            }
            if let Some(after) = end.and_then(next_instant) {
                bounds.push((after, false, *quantity));
            }
        }
        bounds.sort_unstable_by_key(|(at, ..)| *at);
        let mut changes = Vec::new();
        let mut sums = vec![total.quantity()];
        for together in bounds.chunk_by(|one, other| one.0 == other.0) {
            // Nothing ends at the instant at which it starts.
            for (_, is_start, quantity) in together {
                match is_start {
                    true => total.add(*quantity),
                    false => total.remove(*quantity),
                }
            }
            if sums.last() != Some(&total.quantity()) {
                changes.push(together[0].0);
                sums.push(total.quantity());
            }
        }
        Self {
            lowest: tree(&sums),
            changes,
        }
    }

    /// The lowest sum within `now`.
    pub(super) fn lowest(&self, now: PlausibleTime) -> Quantity {
        let place = |at| self.changes.partition_point(|change| *change <= at);
        let count = self.changes.len() + 1;
        let (mut first, mut end) = (
            place(now.earliest()) + count,
            place(now.latest()) + 1 + count,
        );
        let mut lowest = Quantity::Unlimited;
        while first < end {
            if first % 2 == 1 {
                lowest = lowest.min(self.lowest[first]);
                first += 1;
            }
            if end % 2 == 1 {
                end -= 1;
                lowest = lowest.min(self.lowest[end]);
            }
            (first, end) = (first / 2, end / 2);
        }
        lowest
    }

    /// The last instants at which [`Sums::lowest`] does not change, from `now` on, and what it is
    /// after each.
    pub(super) fn after(
        &self,
        now: PlausibleTime,
    ) -> impl Iterator<Item = (DateTime<Utc>, Quantity)> + '_ {
        let mut lowest = self.lowest(now);
        bounds_after(&self.changes, now).filter_map(move |last| {
            let next = self.lowest(now.moved_to(next_instant(last)?));
            let is_change = next != lowest;
            lowest = next;
            is_change.then_some((last, next))
        })
    }
}

/// The tree of minimums over these values.
fn tree(values: &[Quantity]) -> Vec<Quantity> {
    let mut tree = vec![Quantity::Unlimited; values.len()];
    tree.extend_from_slice(values);
    for place in (1..values.len()).rev() {
        tree[place] = tree[2 * place].min(tree[2 * place + 1]);
    }
    tree
}

/// The last instants before either end of `now` reaches one of these sorted instants, in order.
pub(super) fn bounds_after(
    instants: &[DateTime<Utc>],
    now: PlausibleTime,
) -> impl Iterator<Item = DateTime<Utc>> + '_ {
    let later = |at| instants.partition_point(move |instant| *instant <= at);
    let before = |at: &DateTime<Utc>| at.checked_sub_signed(TimeDelta::nanoseconds(1));
    let latest = instants[later(now.latest())..].iter();
    let mut latest = latest.filter_map(before).peekable();
    let earliest = instants[later(now.earliest())..].iter();
    let earliest = earliest.filter_map(before);
    let mut earliest = earliest
        .map_while(move |at| at.checked_add_signed(now.lag()))
        .peekable();
    std::iter::from_fn(move || {
        let next = latest
            .peek()
            .into_iter()
            .chain(earliest.peek())
            .min()
            .copied()?;
        latest.next_if_eq(&next);
        earliest.next_if_eq(&next);
        Some(next)
    })
}
