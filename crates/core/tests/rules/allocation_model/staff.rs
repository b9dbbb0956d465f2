//! What staff do, and what sites do with their seats.

use license_core::allocation::{Excess, Holding, check_release};
use license_core::seat::{DEFAULT_MOVES, Overlap, TransferBudget};

use super::calls::pool;
use super::{DAY, DocumentState, LEASE, Seat, World, instant};

impl World {
    pub(super) fn moves_left(&self, now: i64) -> u32 {
        let budget = TransferBudget {
            moves: DEFAULT_MOVES,
            period_days: 30,
        };
        let after = budget.counts_after(instant(now)).timestamp();
        let spent = self.license.moves_spent.iter().filter(|it| after < **it);
        budget.left(u64::try_from(spent.count()).unwrap())
    }

    /// A site frees its seat. A copy of it continues to use its documents.
    pub(super) fn deactivate(&mut self) {
        let site = self.any_site();
        if let Some(seat) = &mut self.seats[site] {
            seat.state.is_held = false;
        }
        self.sites[site].newest = None;
        self.sites[site].in_use = [0, 0];
    }

    /// Staff release the place of a freed seat.
    pub(super) fn release_place(&mut self) {
        let site = self.any_site();
        let now = instant(self.server_time());
        let state = self.seats[site].as_ref().map(|it| it.state);
        if state.is_some_and(|it| it.is_waiting(now)) {
            self.pass_on_place(site, false);
        }
    }

    pub(super) fn pass_on_place(&mut self, site: usize, is_move: bool) {
        let Some(seat) = &mut self.seats[site] else {
            return;
        };
        seat.state.overlap = Some(match is_move {
            true => Overlap::Moved,
            false => Overlap::Released,
        });
        seat.holdings = seat.holdings.each_ref().map(Holding::with_place_passed_on);
        let all = self.documents.iter().filter(|it| it.site == site);
        all.for_each(|it| it.state.set(DocumentState::PlacePassedOn));
    }

    /// Others get what the older documents of a seat carry: by a move, or by staff.
    pub(super) fn release_excess(&mut self) {
        let site = self.any_site();
        let now = self.server_time();
        let moves_left = self.moves_left(now);
        let by_staff = self.dice.roll(4) == 0;
        let Some(seat) = &mut self.seats[site] else {
            return;
        };
        let excesses = seat.holdings.iter();
        let excesses = excesses.filter_map(|it| Excess::of(it, instant(now)));
        let longest = match by_staff {
            true => now + 1_000 * DAY,
            false => now + LEASE,
        };
        if check_release(excesses, moves_left, instant(longest)).is_err() {
            return;
        }
        if !by_staff {
            self.license.moves_spent.push(now);
        }
        seat.holdings = seat.holdings.each_ref().map(Holding::with_excess_released);
        self.counted.releases += 1;
        let newest = seat.newest_seq;
        let documents = self.documents.iter().filter(|it| it.is_pooled());
        let older = documents.filter(|it| it.site == site && it.seq != newest);
        let counted = older.filter(|it| it.state.get() == DocumentState::Counts);
        counted.for_each(|it| it.state.set(DocumentState::ExcessReleased));
    }

    pub(super) fn reserve(&mut self) {
        let (site, key) = (self.any_site(), usize::from(self.dice.roll(2) == 0));
        let now = self.server_time();
        if !self.is_held(site) {
            return;
        }
        let totals = self.license.totals(now);
        let others = self.seats.iter().enumerate().filter(|it| it.0 != site);
        let others: Vec<&Seat> = others.filter_map(|it| it.1.as_ref()).collect();
        let pool = pool(&totals[key], &others, key, now);
        let amount = self.dice.roll(60);
        let until = match self.dice.roll(2) {
            0 => None,
            days => Some(instant(now + i64::try_from(days).unwrap() * 30 * DAY)),
        };
        let reserved = pool.reserve(amount, until);
        match (reserved, &mut self.seats[site]) {
            (Ok(reserved), Some(seat)) => {
                self.counted.reservations += 1;
                seat.reserved[key] = reserved;
            }
            _ => self.counted.refused_reservations += 1,
        }
    }

    pub(super) fn amend(&mut self) {
        let later = match self.dice.roll(3) {
            0 => self.up_to(40 * DAY),
            _ => 0,
        };
        let from = self.server_time() + later;
        self.license.amend(from, &mut self.dice);
        self.counted.amendments += 1;
    }

    pub(super) fn change_seats(&mut self) {
        self.license.seats = 1 + u32::try_from(self.dice.roll(5)).unwrap();
    }
}
