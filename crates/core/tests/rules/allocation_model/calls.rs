//! A site calls a server.

use std::cell::Cell;
use std::rc::Rc;

use license_core::allocation::{
    Allocation, Asked, Claim, Demand, Holding, Pool, Staircase, Totals, Wanted,
};
use license_core::seat::{Extension, Occupancy, SeatState};

use super::{DAY, Document, DocumentState, KEYS, LEASE, Seat, World, instant};

/// Everything that a transaction changes.
struct Written {
    seat: Seat,
    document: Document,
}

impl World {
    /// A site activates or validates, over the network or by file.
    pub(super) fn call(&mut self, by_file: bool) {
        let site = self.any_site();
        let now = self.server_time();
        if !self.is_held(site) && !self.take_seat(site, now) {
            return;
        }
        let Some(written) = self.answer(site, by_file, now) else {
            return;
        };
        // Not committed: nothing is sent.
        if self.dice.roll(20) == 0 {
            return;
        }
        self.seats[site] = Some(written.seat);
        let document = Rc::new(written.document);
        self.documents.push(document.clone());
        self.counted.documents += 1;
        match self.dice.roll(10) {
            0 => {}
            _ if by_file => self.files.push(document),
            _ => self.deliver(&document),
        }
        let too_many = self.files.len().saturating_sub(8);
        self.files.drain(..too_many);
    }

    pub(super) fn is_held(&self, site: usize) -> bool {
        self.seats[site].as_ref().is_some_and(|it| it.state.is_held)
    }

    /// Takes a seat as [`Occupancy`] allows.
    fn take_seat(&mut self, site: usize, now: i64) -> bool {
        let others = (0..self.seats.len()).filter(|it| *it != site);
        let others = others.filter_map(|it| Some((it, self.seats[it].as_ref()?.state)));
        let others: Vec<(usize, SeatState)> = others.collect();
        let held = others.iter().filter(|it| it.1.is_held).count();
        let waiting = others.iter().filter(|it| it.1.is_waiting(instant(now)));
        let mut waiting: Vec<_> = waiting
            .map(|it| (it.1.signed_until.unwrap(), it.0))
            .collect();
        waiting.sort_unstable();
        let waiting_until: Vec<_> = waiting.iter().map(|it| it.0).collect();
        let occupancy = Occupancy {
            seats: self.license.seats,
            held: u64::try_from(held).unwrap(),
            waiting: u64::try_from(waiting.len()).unwrap(),
            waiting_until: &waiting_until,
            silent: 0,
            moves_left: self.moves_left(now),
        };
        let Ok(moves) = occupancy.take(instant(now + LEASE)) else {
            return false;
        };
        for (_, other) in waiting.into_iter().take(moves) {
            self.counted.moves += 1;
            self.license.moves_spent.push(now);
            self.pass_on_place(other, true);
        }
        self.seq += 1;
        let none = || [Staircase::default(), Staircase::default()];
        let former = self.seats[site].take();
        self.seats[site] = Some(Seat {
            state: SeatState {
                is_held: true,
                signed_until: former.as_ref().and_then(|it| it.state.signed_until),
                overlap: None,
            },
            taken: self.seq,
            newest_seq: former.as_ref().map_or(0, |it| it.newest_seq),
            holdings: former.map_or_else(Default::default, |it| it.holdings),
            reserved: none(),
        });
        true
    }

    /// Until when a lease may last; `None` if the seat has no place any more.
    fn end_of_lease(&mut self, site: usize, by_file: bool, now: i64) -> Option<i64> {
        let length = match by_file {
            true => 90 * DAY,
            false => LEASE,
        };
        let state = self.seats[site].as_ref()?.state;
        let taken = self.seats[site].as_ref()?.taken;
        let earlier = self.seats.iter().flatten();
        let earlier = earlier.filter(|it| it.state.occupies(instant(now)) && it.taken < taken);
        let is_excess = earlier.count() >= usize::try_from(self.license.seats).unwrap();
        match state.extension(is_excess, instant(now)) {
            Extension::Full => Some(now + length),
            Extension::Until(end) => Some(end.timestamp().min(now + length)),
            Extension::Ended => {
                let seat = self.seats[site].as_mut()?;
                seat.state.is_held = false;
                None
            }
        }
    }

    fn answer(&mut self, site: usize, by_file: bool, now: i64) -> Option<Written> {
        let exp = self.end_of_lease(site, by_file, now)?;
        let totals = self.license.totals(now);
        let mut seat = self.seats[site].clone()?;
        let mut carried = Vec::new();
        if self.license.is_pooled {
            for (key, totals) in totals.iter().enumerate() {
                let granted = self.grant(site, key, totals, exp, now);
                carried.push(granted.carried);
                seat.holdings[key] = granted.holding;
            }
        }
        self.seq += 1;
        seat.newest_seq = self.seq;
        seat.state.signed_until = seat.state.signed_until.max(Some(instant(exp)));
        let document = Document {
            site,
            seq: self.seq,
            signed_at: now,
            exp,
            carried: carried.try_into().ok(),
            totals,
            state: Cell::new(DocumentState::Counts),
        };
        Some(Written { seat, document })
    }

    fn grant(
        &mut self,
        site: usize,
        key: usize,
        totals: &Totals,
        exp: i64,
        now: i64,
    ) -> Allocation {
        let demand = self.demand(site, key, now);
        let seats = self.seats.clone();
        let own = seats[site]
            .as_ref()
            .map_or_else(Holding::default, |it| it.holdings[key].clone());
        let others = seats.iter().enumerate().filter(|it| it.0 != site);
        let others: Vec<&Seat> = others.filter_map(|it| it.1.as_ref()).collect();
        let pool = pool(totals, &others, key, now);
        let occupied = others.iter().filter(|it| it.state.occupies(instant(now)));
        let occupied = u64::try_from(occupied.count()).unwrap();
        let share = pool.share(self.license.seats, occupied);
        let held = own.newest().at(instant(now));
        let wanted = demand.wanted(self.license.seats, held, share);
        let granted = pool.grant(&own, wanted, instant(exp));
        self.counted.refused += u64::from(granted.missing > 0 && wanted != Wanted::Everything);
        if demand.usage == Some(self.sites[site].in_use[key]) {
            let in_use = self.sites[site].in_use[key];
            let others = others.iter().map(|it| it.holdings[key].signed());
            let others: Vec<&Staircase> = others.collect();
            self.check_kept(in_use, &own, &others, (totals, &granted), (now, exp));
        }
        granted
    }

    fn demand(&mut self, site: usize, key: usize, now: i64) -> Demand {
        let Self { sites, dice, .. } = self;
        let site_now = &sites[site];
        let in_use = site_now.in_use[key];
        let number = |dice: &mut crate::dice::Dice| match dice.roll(8) {
            0 => u64::MAX,
            _ => dice.roll(150),
        };
        let usage = match () {
            () if !site_now.reports_usage => None,
            () if site_now.is_cheat => Some(number(dice)),
            () => Some(in_use),
        };
        let asked = match dice.roll(3) {
            _ if !site_now.can_ask => Asked::CannotAsk,
            0 => Asked::Nothing,
            _ if site_now.is_cheat => Asked::Of(number(dice)),
            _ => Asked::Of(in_use + dice.roll(30)),
        };
        let seat = self.seats[site].as_ref();
        Demand {
            usage,
            asked,
            reserved: seat.map_or(0, |it| it.reserved[key].at(instant(now))),
        }
    }
}

pub(super) fn pool<'a>(totals: &'a Totals, others: &[&'a Seat], key: usize, now: i64) -> Pool<'a> {
    debug_assert!(key < KEYS.len());
    let claims = others.iter().map(|it| Claim {
        signed: it.holdings[key].signed(),
        reserved: Some(&it.reserved[key]).filter(|_| it.state.is_held),
    });
    Pool::new(totals, claims, instant(now))
}
