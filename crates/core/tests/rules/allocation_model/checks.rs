//! What must be true after every step.

use license_core::allocation::{Allocation, CLOCK_MARGIN, Carried, Holding, Staircase, Totals};

use super::{DAY, Document, DocumentState, HOUR, KEYS, World, instant};

impl World {
    pub(super) fn check(&mut self) {
        let later = match self.dice.roll(3) {
            0 => self.up_to(100 * DAY),
            1 => self.up_to(100 * HOUR),
            _ => 0,
        };
        for key in 0..KEYS.len() {
            self.check_sum(key, self.truth);
            self.check_sum(key, self.truth + later);
            self.check_holdings(key, self.truth + later);
        }
    }

    /// The documents that carry something, and whose places were not passed on.
    fn documents_with(&self, key: usize, at: i64) -> impl Iterator<Item = &Document> {
        let all = self.documents.iter().map(AsRef::as_ref);
        let all = all.filter(move |it| it.is_pooled() && it.amount(key, at) > 0);
        all.filter(|it| it.state.get() != DocumentState::PlacePassedOn)
    }

    /// The sum over all seats of the largest allocation in any document that is signed and has not
    /// ended, except those for which moves were spent, is no more than the greatest total for which
    /// a document of these seats was signed.
    fn check_sum(&mut self, key: usize, at: i64) {
        let mut largest = vec![0; self.sites.len()];
        let documents = self.documents_with(key, at);
        for document in documents.filter(|it| it.state.get() == DocumentState::Counts) {
            let amount = document.amount(key, at);
            largest[document.site] = amount.max(largest[document.site]);
        }
        let sum = largest.iter().copied().fold(0, u64::saturating_add);
        if sum == 0 {
            return;
        }
        let total = |it: &Document| {
            let total = it.totals[key].at(instant(at.max(it.signed_at)));
            total.number().unwrap_or(u64::MAX)
        };
        let all = self.documents_with(key, at);
        let bound = all.map(total).max().unwrap();
        assert!(
            sum <= bound,
            "{sum} of {} are signed at {at} for at most {bound}: {largest:?}",
            KEYS[key]
        );
        let newest = self.documents.last().map_or(bound, |it| total(it));
        self.counted.tight += u64::from(sum == newest);
        self.counted.lowered += u64::from(newest < sum);
    }

    /// The database counts each document with what it carries, as counted or as passed on.
    fn check_holdings(&self, key: usize, at: i64) {
        for document in self.documents.iter().filter(|it| it.is_pooled()) {
            let seat = self.seats[document.site].as_ref().unwrap();
            let holding = &seat.holdings[key];
            let stored = match document.state.get() {
                DocumentState::Counts => holding.signed(),
                _ => holding.passed_on(),
            };
            assert!(document.amount(key, at) <= stored.at(instant(at)));
        }
    }

    /// A seat that reports what it uses keeps that: as long as its newest document carries it, and
    /// also afterward if the license covers what is signed.
    pub(super) fn check_kept(
        &mut self,
        in_use: u64,
        own: &Holding,
        others: &[&Staircase],
        (totals, granted): (&Totals, &Allocation),
        (now, exp): (i64, i64),
    ) {
        let carried = |at: i64| match &granted.carried {
            Carried::Part(part) => part.at(instant(at)),
            Carried::Total => totals.at(instant(at)).number().unwrap_or(u64::MAX),
        };
        let held = own.newest().at(instant(now));
        let total = |at: i64| totals.at(instant(at)).number().unwrap_or(u64::MAX);
        let is_part = matches!(granted.carried, Carried::Part(_));
        let kept = in_use.min(held).min(total(now));
        assert!(!is_part || kept <= carried(now) || exp < now);
        let from = instant(now) - CLOCK_MARGIN;
        let signed = others.iter().map(|it| it.at(from));
        let signed = signed.fold(own.signed().at(from), u64::saturating_add);
        let later = totals.later().map(|it| it.0.timestamp());
        let mut instants = later.filter(|at| now < *at && *at <= exp).chain([now]);
        if in_use > held || !instants.all(|at| signed <= total(at)) {
            return;
        }
        if now <= exp {
            self.counted.kept += 1;
            assert!(
                in_use <= carried(exp),
                "{in_use} of {} are cut, and {signed} of {} are signed",
                carried(exp),
                total(exp)
            );
        }
    }
}
