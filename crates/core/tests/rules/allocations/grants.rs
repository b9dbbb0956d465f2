//! What a seat gets.

use chrono::TimeDelta;
use license_core::allocation::{
    Allocation, Asked, CLOCK_MARGIN, Carried, Claim, Demand, Holding, Pool, Staircase, Wanted,
};
use license_core::entitlement::Quantity;

use super::{always, at, cameras, holding, pool, staircase, totals};

fn part(allocation: &Allocation) -> &Staircase {
    match &allocation.carried {
        Carried::Part(part) => part,
        Carried::Total => panic!("everything is granted"),
    }
}

fn demand(usage: Option<u64>, asked: Asked, reserved: u64) -> Demand {
    Demand {
        usage,
        asked,
        reserved,
    }
}

#[test]
fn a_seat_gets_the_greatest_of_what_it_uses_asks_for_and_has_reserved() {
    use Asked::{CannotAsk, Nothing, Of};
    for (usage, asked, reserved, held, expected) in [
        (Some(7), Of(9), 0, 0, 9),
        (Some(9), Of(7), 0, 0, 9),
        (Some(3), Of(4), 8, 0, 8),
        (None, Of(4), 0, 20, 4),
        (Some(3), Nothing, 0, 0, 3),
        (Some(0), Nothing, 0, 0, 0),
        (None, Nothing, 0, 0, 5),
        (None, Nothing, 0, 2, 2),
        (None, Nothing, 6, 2, 6),
        (Some(3), CannotAsk, 0, 0, 5),
        (Some(9), CannotAsk, 0, 0, 9),
        (None, CannotAsk, 0, 0, 5),
        (None, CannotAsk, 0, 8, 8),
        (Some(3), CannotAsk, 4, 0, 4),
        (Some(9), CannotAsk, 4, 0, 9),
    ] {
        let demand = demand(usage, asked, reserved);
        assert_eq!(
            demand.wanted(2, held, 5),
            Wanted::Of(expected),
            "{demand:?}"
        );
        assert_eq!(demand.wanted(1, held, 5), Wanted::Everything);
    }
}

#[test]
fn seats_that_cannot_ask_share_everything_equally() {
    let totals = always(500);
    let mut held: Vec<Holding> = Vec::new();
    for occupied in 0..3 {
        let pool = pool(&totals, &held);
        let share = pool.share(3, occupied);
        let wanted = demand(None, Asked::CannotAsk, 0).wanted(3, 0, share);
        let granted = pool.grant(&Holding::default(), wanted, at(96));
        assert_eq!(granted.missing, 0);
        held.push(granted.holding);
    }
    let amounts: Vec<u64> = held.iter().map(|it| it.signed().at(at(96))).collect();
    assert_eq!(amounts, [167, 167, 166]);
    // Renewing changes nothing.
    let first = held.remove(0);
    let pool = pool(&totals, &held);
    assert_eq!(pool.share(3, 2), 167);
    let again = pool.grant(&first, Wanted::Of(167), at(97));
    assert_eq!(*part(&again), staircase(&[(97, 167)]));
}

#[test]
fn a_seat_gets_what_others_leave_and_learns_when_the_rest_is_free() {
    let totals = always(100);
    let others = [holding(&[(24, 50), (48, 20)]), holding(&[(96, 30)])];
    let granted = pool(&totals, &others).grant(&Holding::default(), Wanted::Of(60), at(72));
    assert_eq!(*part(&granted), staircase(&[(72, 20)]));
    assert_eq!(granted.missing, 40);
    let after = |hours| Some(at(hours) + CLOCK_MARGIN + TimeDelta::seconds(1));
    assert_eq!(granted.more_at, after(24));
    assert_eq!(granted.free_at, after(48));
    let granted = pool(&totals, &others).grant(&Holding::default(), Wanted::Of(101), at(72));
    assert_eq!((granted.missing, granted.free_at), (81, None));
    let granted = pool(&totals, &others).grant(&Holding::default(), Wanted::Of(20), at(72));
    assert_eq!(
        (granted.missing, granted.free_at, granted.more_at),
        (0, None, None)
    );
}

#[test]
fn an_amount_ends_before_the_total_falls() {
    let totals = totals([
        cameras(Quantity::Of(50), None, None),
        cameras(Quantity::Of(100), None, Some(10)),
    ]);
    let others = [holding(&[(5, 40), (96, 30)])];
    let granted = pool(&totals, &others).grant(&Holding::default(), Wanted::Of(80), at(96));
    assert_eq!(*part(&granted), staircase(&[(10, 80), (96, 20)]));
}

#[test]
fn a_document_that_has_just_ended_still_counts_because_clocks_differ() {
    let totals = always(100);
    let second = TimeDelta::seconds(1);
    let granted = |end| {
        let other = Staircase::level(60, end);
        let claim = Claim {
            signed: &other,
            reserved: None,
        };
        let pool = Pool::new(&totals, [claim], at(0));
        let granted = pool.grant(&Holding::default(), Wanted::Of(100), at(24));
        part(&granted).at(at(0))
    };
    assert_eq!(granted(at(0)), 40);
    assert_eq!(granted(at(0) - CLOCK_MARGIN), 40);
    assert_eq!(granted(at(0) - CLOCK_MARGIN - second), 100);
}

#[test]
fn a_seat_renews_what_it_holds_after_the_total_was_lowered() {
    let others = [holding(&[(48, 50)])];
    let own = holding(&[(24, 50)]);
    let totals = always(60);
    let granted = pool(&totals, &others).grant(&own, Wanted::Of(50), at(72));
    assert_eq!(*part(&granted), staircase(&[(24, 50), (72, 10)]));
    // It gets no more than it holds while the others hold too much.
    let granted = pool(&totals, &others).grant(&own, Wanted::Of(80), at(72));
    assert_eq!(*part(&granted), staircase(&[(24, 50), (72, 10)]));
    assert_eq!(granted.missing, 30);
}

#[test]
fn a_reservation_that_no_longer_fits_takes_nothing_from_what_is_held() {
    let totals = always(90);
    let reserved = staircase(&[(10_000, 60)]);
    let none = Staircase::default();
    let claim = Claim {
        signed: &none,
        reserved: Some(&reserved),
    };
    let pool = Pool::new(&totals, [claim], at(0));
    let own = holding(&[(24, 50)]);
    let granted = pool.grant(&own, Wanted::Of(70), at(72));
    assert_eq!(*part(&granted), staircase(&[(72, 50)]));
    let granted = pool.grant(&Holding::default(), Wanted::Of(70), at(72));
    assert_eq!(*part(&granted), staircase(&[(72, 30)]));
}

#[test]
fn the_only_seat_gets_everything_as_it_changes() {
    let totals = totals([
        cameras(Quantity::Of(10), None, None),
        cameras(Quantity::Of(5), Some(2), Some(4)),
    ]);
    let granted = pool(&totals, &[]).grant(&Holding::default(), Wanted::Everything, at(96));
    assert_eq!(granted.carried, Carried::Total);
    assert_eq!(*granted.holding.signed(), staircase(&[(4, 15), (96, 10)]));
    let stated = granted.carried.quantities(&totals, at(0), at(96));
    let second = TimeDelta::seconds(1);
    let expected = [
        (at(2) - second, Quantity::Of(10)),
        (at(4), Quantity::Of(15)),
        (at(96), Quantity::Of(10)),
    ];
    assert_eq!(stated, expected);
    // Documents of other seats may still be in use after the number of seats was lowered.
    let others = [holding(&[(24, 8)])];
    let granted = pool(&totals, &others).grant(&Holding::default(), Wanted::Everything, at(96));
    assert_eq!(*part(&granted), staircase(&[(96, 2)]));
    assert_eq!(granted.missing, 8);
}

#[test]
fn an_unlimited_count_is_unlimited_for_every_seat() {
    let totals = totals([
        cameras(Quantity::Unlimited, None, Some(10)),
        cameras(Quantity::Of(50), None, None),
    ]);
    let others = [holding(&[(96, 45)])];
    let granted = pool(&totals, &others).grant(&Holding::default(), Wanted::Of(20), at(96));
    let stated = granted.carried.quantities(&totals, at(0), at(96));
    let expected = [(at(10), Quantity::Unlimited), (at(96), Quantity::Of(5))];
    assert_eq!(stated, expected);
}

#[test]
fn a_part_is_stated_step_by_step() {
    let part = Carried::Part(staircase(&[(-5, 9), (24, 7), (48, 3)]));
    let totals = always(100);
    let stated = |until| part.quantities(&totals, at(0), at(until));
    let steps = [(at(24), Quantity::Of(7)), (at(48), Quantity::Of(3))];
    assert_eq!(stated(48), steps);
    let none = (at(50), Quantity::Of(0));
    assert_eq!(stated(50), [steps[0], steps[1], none]);
    let empty = Carried::Part(Staircase::default());
    let stated = empty.quantities(&totals, at(0), at(5));
    assert_eq!(stated, [(at(5), Quantity::Of(0))]);
}

#[test]
fn a_lease_that_would_have_ended_carries_nothing() {
    let granted = pool(&always(10), &[]).grant(&Holding::default(), Wanted::Of(5), at(-1));
    assert!(part(&granted).is_empty());
    assert_eq!(granted.missing, 5);
}
