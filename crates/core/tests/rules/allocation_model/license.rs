//! What is sold, and how that changes.

use license_core::allocation::Totals;
use license_core::entitlement::{Entitlement, Granted, Period, Quantity};
use license_core::feature::FeatureKey;

use super::{DAY, HOUR, KEYS, START, instant};
use crate::dice::Dice;

pub(super) struct License {
    pub(super) seats: u32,
    pub(super) is_pooled: bool,
    /// What is sold from a second on, in order.
    sold: Vec<(i64, Granted)>,
    /// When moves were spent.
    pub(super) moves_spent: Vec<i64>,
}

impl License {
    pub(super) fn issued(dice: &mut Dice) -> Self {
        Self {
            seats: 1 + u32::try_from(dice.roll(4)).unwrap(),
            is_pooled: dice.roll(4) != 0,
            sold: vec![(START - 10 * DAY, any_contents(START, dice))],
            moves_spent: Vec::new(),
        }
    }

    /// Something else is sold from `from` on, which replaces what would be sold later.
    pub(super) fn amend(&mut self, from: i64, dice: &mut Dice) {
        let contents = any_contents(from, dice);
        self.sold.retain(|it| it.0 < from);
        self.sold.push((from, contents));
    }

    /// The totals from `now` on.
    pub(super) fn totals(&mut self, now: i64) -> [Totals; 2] {
        // Clocks differ, so an amendment may be in force for one server alone.
        let is_past = |it: &(i64, Granted)| it.0 < now - HOUR;
        while self.sold.len() > 1 && is_past(&self.sold[1]) {
            self.sold.remove(0);
        }
        let first = self.sold.iter().rposition(|it| it.0 <= now).unwrap_or(0);
        let sold = self.sold.iter().skip(first);
        let sold: Vec<_> = sold
            .map(|(from, granted)| (instant(*from), granted.clone()))
            .collect();
        let until = instant(now + 200 * DAY);
        KEYS.map(|key| Totals::of(&sold, key, instant(now), until))
    }
}

/// A count that is always there, and some that are there for a time.
fn any_contents(from: i64, dice: &mut Dice) -> Granted {
    let mut all = Vec::new();
    for key in KEYS {
        let count = |amount, period| Entitlement {
            key: FeatureKey::parse(key).unwrap(),
            quantity: Some(amount),
            period,
        };
        all.push(count(Quantity::Of(dice.roll(120)), Period::ALWAYS));
        for _ in 0..dice.roll(3) {
            let mut bound = || i64::try_from(dice.roll(120)).unwrap() * DAY / 2;
            let (start, length) = (from + bound(), bound());
            let period = Period {
                from: Some(instant(start)).filter(|_| dice.roll(2) == 0),
                until: Some(instant(start + length)).filter(|_| dice.roll(4) != 0),
            };
            let amount = match dice.roll(40) {
                0 => Quantity::Unlimited,
                _ => Quantity::Of(dice.roll(80)),
            };
            all.push(count(amount, period));
        }
    }
    Granted::of(all)
}
