//! Any license and any holdings.

use chrono::{DateTime, TimeDelta, Utc};
use license_core::allocation::{
    Allocation, CLOCK_MARGIN, Carried, Claim, Excess, Holding, MAX_STEPS, Pool, Staircase, Totals,
    Wanted, check_release,
};
use license_core::entitlement::{Entitlement, Quantity};
use proptest::prelude::*;

use super::{at, cameras, staircase, totals};

fn any_staircase() -> impl Strategy<Value = Staircase> {
    prop::collection::vec((-1_i64..100, 0_u64..60), 0..6).prop_map(|steps| staircase(&steps))
}

fn entitlements() -> impl Strategy<Value = Vec<Entitlement>> {
    let bound = || proptest::option::of(-10_i64..100);
    let one = (0_u64..150, bound(), bound()).prop_map(|(amount, one, other)| {
        let (from, until) = match (one, other) {
            (Some(one), Some(other)) => (Some(one.min(other)), Some(one.max(other))),
            bounds => bounds,
        };
        cameras(Quantity::Of(amount), from, until)
    });
    prop::collection::vec(one, 0..5)
}

/// A seat whose documents carry the first two staircases, and what is reserved for it.
#[derive(Clone, Debug)]
struct Seat {
    holding: Holding,
    reserved: Staircase,
}

fn seat() -> impl Strategy<Value = Seat> {
    (any_staircase(), any_staircase(), 0_u64..60, 0_i64..200).prop_map(
        |(older, newest, reserved, until)| {
            let any = totals([]);
            let holding = Holding::default().with(&older, &any, at(-2));
            Seat {
                holding: holding.with(&newest, &any, at(-1)),
                reserved: Staircase::level(reserved, at(until)),
            }
        },
    )
}

#[derive(Clone, Debug)]
struct Case {
    totals: Totals,
    own: Seat,
    others: Vec<Seat>,
    wanted: u64,
    exp: i64,
}

fn case() -> impl Strategy<Value = Case> {
    let others = prop::collection::vec(seat(), 0..4);
    let rest = (0_u64..200, 0_i64..110);
    (entitlements(), seat(), others, rest).prop_map(|(sold, own, others, rest)| Case {
        totals: totals(sold),
        own,
        others,
        wanted: rest.0,
        exp: rest.1,
    })
}

impl Case {
    fn pool(&self) -> Pool<'_> {
        let claims = self.others.iter().map(|seat| Claim {
            signed: seat.holding.signed(),
            reserved: Some(&seat.reserved),
        });
        Pool::new(&self.totals, claims, at(0))
    }

    fn grant(&self) -> Allocation {
        let wanted = Wanted::Of(self.wanted);
        self.pool().grant(&self.own.holding, wanted, at(self.exp))
    }

    fn total(&self, at: DateTime<Utc>) -> u64 {
        self.totals.at(at).number().unwrap()
    }

    /// What documents of the others may carry at an instant, by any clock.
    fn others_at(&self, at: DateTime<Utc>) -> u64 {
        let amounts = self.others.iter().map(|it| it.holding.signed().at(at));
        amounts.sum()
    }

    fn claimed_at(&self, at: DateTime<Utc>) -> u64 {
        let amounts = self.others.iter().map(|it| {
            let signed = it.holding.signed().at(at);
            signed.max(it.reserved.at(at))
        });
        amounts.sum()
    }
}

fn part(allocation: &Allocation) -> &Staircase {
    match &allocation.carried {
        Carried::Part(part) => part,
        Carried::Total => panic!("everything is granted"),
    }
}

/// Every second at which anything may change, around each hour, from now on.
fn instants() -> impl Iterator<Item = DateTime<Utc>> {
    let around = [0, 1].map(TimeDelta::seconds);
    (0..205).flat_map(move |hours| around.map(|it| at(hours) + it))
}

proptest! {
    #[test]
    fn no_document_increases_the_sum_beyond_the_total_at_any_instant(case in case()) {
        let granted = case.grant();
        for at in instants() {
            let before = case.others_at(at) + case.own.holding.signed().at(at);
            let after = case.others_at(at) + granted.holding.signed().at(at);
            prop_assert!(after <= before.max(case.total(at)), "{}: {} {}", at, before, after);
        }
    }

    #[test]
    fn a_document_never_carries_more_than_was_wanted_nor_anything_after_its_end(case in case()) {
        let granted = case.grant();
        let part = part(&granted);
        prop_assert!(part.at(at(0)) <= case.wanted);
        prop_assert!(part.until() <= Some(at(case.exp)));
        prop_assert!(part.steps().count() <= MAX_STEPS);
        let amounts: Vec<u64> = part.steps().map(|it| it.1).collect();
        prop_assert!(amounts.is_sorted_by(|one, next| one > next));
        prop_assert_eq!(granted.missing, case.wanted - part.at(at(0)));
        prop_assert_eq!(granted.holding.newest(), part);
        for instant in instants() {
            let all = case.own.holding.signed().at(instant).max(part.at(instant));
            prop_assert_eq!(granted.holding.signed().at(instant), all);
        }
    }

    #[test]
    fn a_seat_keeps_what_its_documents_hold_and_renews_it_while_the_license_covers_it(case in case()) {
        let granted = case.grant();
        let newest = case.own.holding.newest();
        let kept = newest.at(at(0)).min(case.wanted);
        let is_covered = |instant| case.others_at(instant) + kept <= case.total(instant);
        let mut was_covered = case.others_at(at(0) - CLOCK_MARGIN) + kept <= case.total(at(0));
        let mut limit = case.wanted;
        for instant in instants().take_while(|it| *it <= at(case.exp)) {
            let carried = part(&granted).at(instant);
            limit = limit.min(case.total(instant));
            prop_assert!(newest.at(instant).min(limit) <= carried);
            was_covered &= is_covered(instant);
            prop_assert!(!was_covered || kept <= carried, "{}: {} {}", instant, kept, carried);
        }
    }

    #[test]
    fn what_is_free_throughout_a_document_is_granted(case in case()) {
        let granted = case.grant();
        let free = |at| case.total(at).saturating_sub(case.claimed_at(at));
        let first = case.claimed_at(at(0) - CLOCK_MARGIN);
        let mut left = case.wanted.min(case.total(at(0)).saturating_sub(first));
        for instant in instants().take_while(|it| *it <= at(case.exp)) {
            left = left.min(free(instant));
            prop_assert!(left <= part(&granted).at(instant));
        }
    }

    #[test]
    fn more_is_granted_at_the_stated_instant_and_not_before(case in case()) {
        let granted = case.grant();
        let carried = part(&granted).at(at(0));
        prop_assume!(carried < case.wanted);
        let free = |at: DateTime<Utc>| {
            case.total(at).saturating_sub(case.claimed_at(at - CLOCK_MARGIN))
        };
        let more = granted.more_at.unwrap_or(DateTime::<Utc>::MAX_UTC);
        let enough = granted.free_at.unwrap_or(DateTime::<Utc>::MAX_UTC);
        prop_assert!(more <= enough);
        for instant in instants().map(|it| it + CLOCK_MARGIN).chain(instants()) {
            prop_assert!(instant <= at(0) || more <= instant || free(instant) <= carried);
            prop_assert!(instant <= at(0) || enough <= instant || free(instant) < case.wanted);
        }
        if granted.more_at.is_some() {
            prop_assert!(carried < free(more));
        }
        if granted.free_at.is_some() {
            prop_assert!(case.wanted <= free(enough));
        }
    }

    #[test]
    fn a_reservation_is_accepted_exactly_if_it_fits_at_every_instant(case in case()) {
        let until = at(case.exp);
        let fits = |at| case.claimed_at(at) + case.wanted <= case.total(at);
        let first = case.claimed_at(at(0) - CLOCK_MARGIN) + case.wanted <= case.total(at(0));
        let all = first && instants().take_while(|it| *it <= until).all(fits);
        let reserved = case.pool().reserve(case.wanted, Some(until));
        prop_assert_eq!(reserved.is_ok(), all || case.wanted == 0);
    }

    #[test]
    fn seats_that_only_take_equal_shares_get_what_is_there_and_differ_by_one_at_most(
        total in 0_u64..1_000,
        seats in 2_u32..12,
    ) {
        let totals = totals([cameras(Quantity::Of(total), None, None)]);
        let mut held: Vec<Holding> = Vec::new();
        for occupied in 0..seats {
            let pool = Pool::new(&totals, held.iter().map(Claim::from), at(0));
            let share = Wanted::Of(pool.share(seats, occupied.into()));
            held.push(pool.grant(&Holding::default(), share, at(96)).holding);
        }
        let amounts: Vec<u64> = held.iter().map(|it| it.signed().at(at(1))).collect();
        prop_assert_eq!(amounts.iter().sum::<u64>(), total);
        let (least, greatest) = (amounts.iter().min().unwrap(), amounts.iter().max().unwrap());
        prop_assert!(greatest - least <= 1);
    }

    #[test]
    fn a_release_frees_exactly_the_excess_and_keeps_what_the_newest_document_carries(seat in seat()) {
        let now = at(0);
        let after = seat.holding.with_excess_released();
        let excess = Excess::of(&seat.holding, now);
        let newest = seat.holding.newest();
        let freed = |at| seat.holding.signed().at(at) - newest.at(at);
        let most = instants().map(freed).max().unwrap();
        prop_assert_eq!(excess.map_or(0, |it| it.amount), most);
        for at in instants() {
            prop_assert_eq!(after.signed().at(at), newest.at(at));
            let all = seat.holding.signed().at(at);
            prop_assert_eq!(after.passed_on().at(at), all);
            prop_assert!(excess.is_some_and(|it| at <= it.until) || freed(at) == 0);
        }
        let until = excess.map(|it| it.until);
        prop_assert_eq!(check_release(excess, 1, at(300)).ok(), until);
    }

    #[test]
    fn merged_steps_never_count_less_and_take_nothing_from_others(
        documents in prop::collection::vec((0_i64..100, 1_u64..1_000), 17..60),
    ) {
        let total = documents.iter().map(|it| it.1).max().unwrap();
        let totals = totals([cameras(Quantity::Of(total), None, None)]);
        let mut all = Holding::default();
        let mut exact = Staircase::default();
        for (until, amount) in documents {
            let document = Staircase::level(amount, at(until));
            all = all.with(&document, &totals, at(0));
            exact = exact.joined(&document);
        }
        prop_assert!(all.signed().steps().count() <= MAX_STEPS);
        prop_assert_eq!(all.signed().until(), exact.until());
        for at in instants() {
            prop_assert!(exact.at(at) <= all.signed().at(at));
            prop_assert!(all.signed().at(at) <= total);
        }
        let text = serde_json::to_string(&all).unwrap();
        prop_assert_eq!(serde_json::from_str::<Holding>(&text).unwrap(), all);
    }
}
