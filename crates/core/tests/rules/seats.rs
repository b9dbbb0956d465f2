//! Seats, moves and overlaps: signed leases never exceed the seats that were sold and the moves
//! that were allowed.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use license_core::seat::{
    Extension, Occupancy, Overlap, SeatLimit, SeatState, TransferBudget, silent,
};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

fn at(hours: i64) -> DateTime<Utc> {
    "2026-11-24T12:00:00Z".parse::<DateTime<Utc>>().unwrap() + TimeDelta::hours(hours)
}

fn occupancy(held: u64, waiting_until: &[DateTime<Utc>], moves_left: u32) -> Occupancy<'_> {
    Occupancy {
        seats: 2,
        held,
        waiting: u64::try_from(waiting_until.len()).unwrap(),
        waiting_until,
        silent: 0,
        moves_left,
    }
}

#[test]
fn a_machine_may_run_until_the_end_of_its_lease_also_after_its_seat_was_freed() {
    let now = at(0);
    for (is_held, signed_until, expected) in [
        (true, Some(now), true),
        (true, Some(now - TimeDelta::seconds(1)), false),
        (true, None, false),
        (false, Some(at(1)), true),
    ] {
        let seat = SeatState {
            is_held,
            signed_until,
            overlap: None,
        };
        assert_eq!(seat.may_run(now), expected, "{seat:?}");
    }
}

#[test]
fn a_freed_seat_counts_until_its_lease_ends_or_is_taken() {
    let state = |is_held, signed_until, overlap| SeatState {
        is_held,
        signed_until,
        overlap,
    };
    let now = at(0);
    for (seat, occupies) in [
        (state(true, None, None), true),
        (state(true, Some(at(-1)), None), true),
        (state(false, None, None), false),
        (state(false, Some(now), None), true),
        (state(false, Some(now - TimeDelta::seconds(1)), None), false),
        (state(false, Some(at(1)), Some(Overlap::Moved)), false),
        (state(false, Some(at(1)), Some(Overlap::Released)), false),
    ] {
        assert_eq!(seat.occupies(now), occupies, "{seat:?}");
    }
}

#[test]
fn a_seat_is_taken_freely_by_a_move_or_not_at_all() {
    let longest_move = at(96);
    let take = |occupancy: Occupancy<'_>| occupancy.take(longest_move);
    assert_eq!(take(occupancy(1, &[], 0)), Ok(0));
    assert_eq!(take(occupancy(0, &[at(5)], 0)), Ok(0));
    assert_eq!(take(occupancy(2, &[], 9)), Err(SeatLimit::AllHeld));
    // Waiting seats do not make room for those in use.
    assert_eq!(take(occupancy(2, &[at(5)], 9)), Err(SeatLimit::AllHeld));
    assert_eq!(take(occupancy(1, &[at(5)], 1)), Ok(1));
    assert_eq!(take(occupancy(1, &[at(96)], 1)), Ok(1));
    let until = at(5);
    let no_moves = Err(SeatLimit::NoMovesLeft { until });
    assert_eq!(take(occupancy(1, &[at(5)], 0)), no_moves);
    let until = longest_move + TimeDelta::seconds(1);
    let long = Err(SeatLimit::LongLease { until });
    assert_eq!(take(occupancy(1, &[until], 9)), long);
    // More than the seats sold, as before waiting seats were counted.
    assert_eq!(take(occupancy(1, &[at(5), at(7)], 2)), Ok(2));
    let until = at(7);
    let no_moves = Err(SeatLimit::NoMovesLeft { until });
    assert_eq!(take(occupancy(1, &[at(5), at(7)], 1)), no_moves);
}

#[test]
fn a_seat_of_a_silent_machine_is_taken_by_a_move() {
    let longest_move = at(96);
    let take = |held, waiting: &[DateTime<Utc>], silent, moves| {
        let occupancy = Occupancy {
            silent,
            ..occupancy(held, waiting, moves)
        };
        occupancy.take(longest_move)
    };
    assert_eq!(take(2, &[], 1, 1), Ok(1));
    assert_eq!(take(2, &[], 2, 9), Ok(1));
    assert_eq!(take(2, &[at(5)], 1, 2), Ok(2));
    assert_eq!(take(1, &[at(5)], 1, 1), Ok(1));
    for (held, silent, moves) in [(2, 0, 9), (2, 1, 0), (3, 1, 9), (3, 2, 1)] {
        let refused = Err(SeatLimit::AllHeld);
        assert_eq!(
            take(held, &[], silent, moves),
            refused,
            "{held} {silent} {moves}"
        );
    }
    // A freed machine with a license file for months does not keep the seat of a dead one.
    let until = at(97);
    assert_eq!(take(1, &[until], 1, 9), Ok(1));
    assert_eq!(take(2, &[until], 1, 9), Err(SeatLimit::AllHeld));
    assert_eq!(take(1, &[until], 0, 9), Err(SeatLimit::LongLease { until }));
    let now = at(0);
    for (valid_until, last_seen, expected) in [
        (Some(at(-1)), at(-25), true),
        (Some(at(0)), at(-25), false),
        (Some(at(1)), at(-25), false),
        (Some(at(-1)), at(-24), false),
        (None, at(-900), false),
    ] {
        assert_eq!(
            silent(valid_until, last_seen, now),
            expected,
            "{valid_until:?}"
        );
    }
}

#[test]
fn only_the_lease_of_an_excess_seat_is_not_extended() {
    let state = |signed_until| SeatState {
        is_held: true,
        signed_until,
        overlap: None,
    };
    let now = at(0);
    let over = now - TimeDelta::seconds(1);
    for (signed_until, is_excess, expected) in [
        (Some(at(5)), false, Extension::Full),
        (Some(over), false, Extension::Full),
        (None, false, Extension::Full),
        (Some(at(5)), true, Extension::Until(at(5))),
        (Some(now), true, Extension::Until(now)),
        (Some(over), true, Extension::Ended),
        (None, true, Extension::Ended),
    ] {
        let found = state(signed_until).extension(is_excess, now);
        assert_eq!(found, expected, "{signed_until:?} {is_excess}");
    }
}

#[test]
fn moves_count_for_a_whole_period() {
    let budget = TransferBudget {
        moves: 3,
        period_days: 365,
    };
    assert_eq!(budget.counts_after(at(365 * 24)), at(0));
    assert_eq!(
        [0, 2, 3, 4, u64::MAX].map(|spent| budget.left(spent)),
        [3, 1, 0, 0, 0]
    );
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Activate(u8),
    Sign(u8),
    SignByFile(u8),
    Free(u8),
    Release(u8),
    Amend(u32),
    Wait(i64),
}

/// A License Server for one license.
struct Server {
    seats: u32,
    budget: TransferBudget,
    now: DateTime<Utc>,
    machines: BTreeMap<u8, SeatState>,
    /// In which order the seats were taken.
    taken: BTreeMap<u8, usize>,
    /// Each number of seats that was lowered, and the end of the last lease that was then signed.
    lowered: Vec<(u32, DateTime<Utc>)>,
    /// Every lease that was signed.
    leases: BTreeMap<u8, Vec<DateTime<Utc>>>,
    /// When each move was used, and when its overlap ends.
    moves: Vec<(DateTime<Utc>, DateTime<Utc>)>,
    /// When each released overlap ends.
    releases: Vec<DateTime<Utc>>,
}

impl Server {
    fn apply(&mut self, step: Step) {
        let now = self.now;
        match step {
            Step::Amend(seats) => {
                let last = self.leases.values().flatten().max();
                if seats < self.seats {
                    self.lowered.extend(last.map(|end| (self.seats, *end)));
                }
                self.seats = seats;
            }
            Step::Wait(hours) => self.now += TimeDelta::hours(hours),
            Step::Activate(machine) => {
                let is_held = self.machines.get(&machine).is_some_and(|it| it.is_held);
                if is_held || self.take(machine) {
                    let seat = self.machines.entry(machine).or_insert(SeatState {
                        is_held: true,
                        signed_until: None,
                        overlap: None,
                    });
                    seat.is_held = true;
                    seat.overlap = None;
                    if !is_held {
                        let newest = self.taken.values().max().map_or(0, |it| it + 1);
                        self.taken.insert(machine, newest);
                    }
                    self.sign(machine, TimeDelta::hours(96));
                }
            }
            Step::Sign(machine) => self.sign(machine, TimeDelta::hours(96)),
            Step::SignByFile(machine) => self.sign(machine, TimeDelta::days(93)),
            Step::Free(machine) => {
                if let Some(seat) = self.machines.get_mut(&machine) {
                    seat.is_held = false;
                }
            }
            Step::Release(machine) => {
                if let Some(seat) = self.machines.get_mut(&machine)
                    && seat.is_waiting(now)
                {
                    seat.overlap = Some(Overlap::Released);
                    self.releases.extend(seat.signed_until);
                }
            }
        }
    }

    fn take(&mut self, machine: u8) -> bool {
        let now = self.now;
        let others = || self.machines.iter().filter(|(id, _)| **id != machine);
        let mut waiting: Vec<_> = others()
            .filter(|(_, it)| it.is_waiting(now))
            .filter_map(|(id, it)| it.signed_until.map(|until| (until, *id)))
            .collect();
        waiting.sort_unstable();
        let until: Vec<_> = waiting.iter().map(|(until, _)| *until).collect();
        let after = self.budget.counts_after(now);
        let spent = self.moves.iter().filter(|(at, _)| *at > after).count();
        let occupancy = Occupancy {
            seats: self.seats,
            held: u64::try_from(others().filter(|(_, it)| it.is_held).count()).unwrap(),
            waiting: u64::try_from(waiting.len()).unwrap(),
            waiting_until: &until,
            silent: 0,
            moves_left: self.budget.left(u64::try_from(spent).unwrap()),
        };
        let Ok(moved) = occupancy.take(now + TimeDelta::hours(96)) else {
            return false;
        };
        for (until, id) in waiting.into_iter().take(moved) {
            self.machines.get_mut(&id).unwrap().overlap = Some(Overlap::Moved);
            self.moves.push((now, until));
        }
        true
    }

    fn sign(&mut self, machine: u8, lease: TimeDelta) {
        let (now, taken) = (self.now, &self.taken);
        let is_ahead = |id: &u8| taken.get(id) < taken.get(&machine);
        let occupied = self.machines.iter().filter(|(_, it)| it.occupies(now));
        let ahead = occupied.filter(|(id, _)| is_ahead(id)).count();
        let is_excess = ahead >= usize::try_from(self.seats).unwrap();
        if let Some(seat) = self.machines.get_mut(&machine)
            && seat.is_held
        {
            let exp = match seat.extension(is_excess, now) {
                Extension::Full => now + lease,
                Extension::Until(end) => end.min(now + lease),
                Extension::Ended => {
                    seat.is_held = false;
                    return;
                }
            };
            seat.signed_until = seat.signed_until.max(Some(exp));
            self.leases.entry(machine).or_default().push(exp);
        }
    }

    /// At this instant and at each later one, if nothing else happens.
    fn check(&self) {
        let ends = self.leases.values().flatten().copied();
        for now in ends.chain([self.now]).filter(|it| *it >= self.now) {
            let running = |leases: &&Vec<DateTime<Utc>>| leases.iter().any(|exp| now <= *exp);
            let running = self.leases.values().filter(running).count();
            let moves = self.moves.iter().filter(|(_, until)| now <= *until).count();
            let releases = self.releases.iter().filter(|until| now <= **until).count();
            let lowered = self.lowered.iter().filter(|(_, end)| now <= *end);
            let seats = lowered.map(|(seats, _)| *seats).chain([self.seats]).max();
            let allowed = usize::try_from(seats.unwrap()).unwrap() + moves + releases;
            assert!(running <= allowed, "{running} > {allowed} at {now}");
        }
        for (end, _) in &self.moves {
            let after = self.budget.counts_after(*end);
            let in_period = |(at, _): &&(DateTime<Utc>, DateTime<Utc>)| at <= end && *at > after;
            let spent = self.moves.iter().filter(in_period).count();
            assert!(spent <= usize::try_from(self.budget.moves).unwrap());
        }
    }
}

#[test]
fn signed_leases_never_exceed_seats_open_moves_and_releases() {
    let machine = || 0..6_u8;
    let step = prop_oneof![
        6 => machine().prop_map(Step::Activate),
        2 => machine().prop_map(Step::Sign),
        1 => machine().prop_map(Step::SignByFile),
        4 => machine().prop_map(Step::Free),
        1 => machine().prop_map(Step::Release),
        1 => (1..4_u32).prop_map(Step::Amend),
        3 => (0..200_i64).prop_map(Step::Wait),
    ];
    let histories = (
        1..4_u32,
        0..4_u32,
        1..40_u32,
        prop::collection::vec(step, 1..80),
    );
    let mut runner = TestRunner::new(Config::with_cases(2000));
    let result = runner.run(&histories, |(seats, moves, period_days, steps)| {
        let mut server = Server {
            seats,
            budget: TransferBudget { moves, period_days },
            now: at(0),
            machines: BTreeMap::new(),
            taken: BTreeMap::new(),
            lowered: Vec::new(),
            leases: BTreeMap::new(),
            moves: Vec::new(),
            releases: Vec::new(),
        };
        for step in steps {
            server.apply(step);
            server.check();
        }
        Ok(())
    });
    result.unwrap();
}
