//! The total of a license over time.

use chrono::TimeDelta;
use license_core::allocation::{AlreadyPooled, CountRule, Totals};
use license_core::amendment::{Amendment, Change, Terms};
use license_core::entitlement::{Granted, Quantity};

use super::{at, cameras, totals};

#[test]
fn a_total_changes_with_entitlements_until_the_whole_last_second_has_passed() {
    let totals = totals([
        cameras(Quantity::Of(10), None, None),
        cameras(Quantity::Of(5), Some(2), Some(4)),
        cameras(Quantity::Unlimited, Some(6), Some(8)),
    ]);
    let second = TimeDelta::seconds(1);
    for (instant, expected) in [
        (at(0), Quantity::Of(10)),
        (at(2) - second, Quantity::Of(10)),
        (at(2), Quantity::Of(15)),
        (at(4) + TimeDelta::milliseconds(999), Quantity::Of(15)),
        (at(4) + second, Quantity::Of(10)),
        (at(7), Quantity::Unlimited),
        (at(8) + second, Quantity::Of(10)),
        (at(1_000_000), Quantity::Of(10)),
    ] {
        assert_eq!(totals.at(instant), expected, "{instant}");
    }
}

#[test]
fn a_total_includes_amendments_that_take_effect_later() {
    let amendment = |number, effective_at, changes| Amendment {
        number,
        author: "ana".to_owned(),
        reason: None,
        order: None,
        recorded_at: at(0),
        effective_at,
        undoes: None,
        changes,
    };
    let grant = |amount, until| Change::Grant(cameras(Quantity::Of(amount), None, until));
    let all = [
        amendment(
            1,
            at(0),
            vec![
                Change::Terms(Terms::default()),
                Change::Customer("c".to_owned()),
                grant(10, None),
                grant(1, Some(1)),
            ],
        ),
        amendment(2, at(3), vec![grant(20, Some(5))]),
    ];
    let totals = Totals::of_license(&all, "cameras", at(0), at(100));
    let amounts = [0, 2, 3, 5, 6].map(|hours| totals.at(at(hours)).number().unwrap());
    assert_eq!(amounts, [11, 10, 30, 30, 10]);
    let known = Totals::of_license(&all, "cameras", at(0), at(2));
    assert_eq!(known.at(at(3)), Quantity::Of(10));
    let others = Totals::of_license(&all, "users", at(0), at(100));
    assert_eq!(others.at(at(0)), Quantity::Of(0));
}

#[test]
fn a_change_within_a_second_never_counts_for_more_than_there_is() {
    let half = TimeDelta::milliseconds(500);
    let sold = |total| Granted::of([cameras(Quantity::Of(total), None, None)]);
    let changes = |totals: &[(TimeDelta, u64)]| {
        let sold: Vec<_> = totals.iter().map(|it| (at(0) + it.0, sold(it.1))).collect();
        let totals = Totals::of(&sold, "cameras", at(0), at(9));
        [1, 2].map(|it| totals.at(at(0) + TimeDelta::seconds(it)).number().unwrap())
    };
    let (start, second) = (TimeDelta::zero(), TimeDelta::seconds(1));
    assert_eq!(changes(&[(start, 10), (second + half, 20)]), [10, 20]);
    assert_eq!(changes(&[(start, 10), (second + half, 5)]), [5, 5]);
    let twice = [(start, 10), (second + half, 20), (second + half * 3 / 2, 8)];
    assert_eq!(changes(&twice), [8, 8]);
    let up_again = [(start, 10), (second, 5), (second + half, 20)];
    assert_eq!(changes(&up_again), [5, 20]);
}

#[test]
fn counts_become_pooled_and_stay_pooled() {
    let (per_seat, pooled) = (CountRule::PerSeat, CountRule::Pooled);
    assert_eq!(per_seat.check_change(pooled), Ok(()));
    assert_eq!(pooled.check_change(pooled), Ok(()));
    assert_eq!(per_seat.check_change(per_seat), Ok(()));
    assert_eq!(pooled.check_change(per_seat), Err(AlreadyPooled));
    assert!(AlreadyPooled.to_string().starts_with("counts is pooled"));
    assert_eq!(CountRule::default(), per_seat);
    for rule in [per_seat, pooled] {
        assert_eq!(CountRule::of(rule.as_str()), Some(rule));
        let json = serde_json::to_value(rule).unwrap();
        assert_eq!(json, rule.as_str());
    }
    assert_eq!(CountRule::of("shared"), None);
}
