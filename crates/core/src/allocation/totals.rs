//! The license's total of one count over time.

use chrono::{DateTime, Utc};

use super::{instant, second};
use crate::amendment::{Amendment, states};
use crate::entitlement::{Granted, Quantity, next_instant};
use crate::plausible_time::PlausibleTime;

/// The license's total of one count from an instant on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Totals {
    first: Quantity,
    /// The first second of each later total.
    later: Vec<(i64, Quantity)>,
}

impl Totals {
    /// The totals of `key` for a license with these amendments, from `now` on. Changes after `until`
    /// are left out. An amendment that is recorded and takes effect later is included.
    #[must_use]
    pub fn of_license(
        amendments: &[Amendment],
        key: &str,
        now: DateTime<Utc>,
        until: DateTime<Utc>,
    ) -> Self {
        let states = states(amendments, now).into_iter();
        let sold: Vec<_> = states.map(|it| (it.from, it.contents.sold())).collect();
        Self::of(&sold, key, now, until)
    }

    /// The totals of `key` for a license that sells each of `sold` from an instant on, until the
    /// next one: in order, the first one from `now` on.
    #[must_use]
    pub fn of(
        sold: &[(DateTime<Utc>, Granted)],
        key: &str,
        now: DateTime<Utc>,
        until: DateTime<Utc>,
    ) -> Self {
        let mut totals = Self {
            first: Quantity::Of(0),
            later: Vec::new(),
        };
        let none = Quantity::Of(0);
        for (place, (from, granted)) in sold.iter().enumerate() {
            let from = if place == 0 { now } else { *from };
            let end = sold.get(place + 1).map(|next| next.0);
            if until < from {
                break;
            }
            let exact = PlausibleTime::exact(from);
            let count = granted.count(key, exact).unwrap_or(none);
            match place {
                0 => totals.first = count,
                _ => totals.change(from, count),
            }
            for (last, count) in granted.counts_after(key, exact) {
                let Some(next) = next_instant(last).filter(|next| *next <= until) else {
                    break;
                };
                if end.is_some_and(|end| end <= next) {
                    break;
                }
                totals.change(next, count);
            }
        }
        totals
    }

    /// A change in the middle of a second counts for the whole second if it is a reduction, and from
    /// the next second on otherwise.
    fn change(&mut self, at: DateTime<Utc>, total: Quantity) {
        let begun = second(at);
        self.later
            .truncate(self.later.partition_point(|it| it.0 <= begun));
        let before = self.later.last().map_or(self.first, |it| it.1);
        let is_late = before < total && at.timestamp_subsec_nanos() > 0;
        let at = begun + i64::from(is_late);
        self.later
            .truncate(self.later.partition_point(|it| it.0 < at));
        self.later.push((at, total));
    }

    /// The total at an instant.
    #[must_use]
    pub fn at(&self, at: DateTime<Utc>) -> Quantity {
        self.at_second(second(at))
    }

    pub(super) fn at_second(&self, at: i64) -> Quantity {
        let place = self.later.partition_point(|it| it.0 <= at);
        match place.checked_sub(1).and_then(|it| self.later.get(it)) {
            Some((_, total)) => *total,
            None => self.first,
        }
    }

    /// Each later total and the instant from which on it applies, in order.
    pub fn later(&self) -> impl Iterator<Item = (DateTime<Utc>, Quantity)> + '_ {
        self.changes().map(|(at, total)| (instant(at), total))
    }

    /// The total as a number; unlimited is the greatest one.
    pub(super) fn number_at(&self, at: i64) -> u64 {
        self.at_second(at).number().unwrap_or(u64::MAX)
    }

    /// The first second of each later total, and the total, in order.
    pub(super) fn changes(&self) -> impl Iterator<Item = (i64, Quantity)> + '_ {
        self.later.iter().copied()
    }

    /// Whether the total never decreases after the second `from`, up to and including the second
    /// `until`.
    pub(super) fn never_falls(&self, from: i64, until: i64) -> bool {
        let within = self
            .changes()
            .filter(|(at, _)| from < *at && *at <= until)
            .map(|it| it.1);
        std::iter::once(self.at_second(from))
            .chain(within)
            .is_sorted()
    }
}
