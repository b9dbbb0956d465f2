//! Amendments that take effect in another order than they were recorded in, and those that undo one in
//! the middle.

use license_core::amendment::{
    Amendment, AmendmentError, Change, TermChanges, Terms, check, contents,
};
use license_core::calendar_duration::CalendarDuration;
use license_core::license_state::Decided;
use proptest::prelude::*;

use super::{CAMERAS, amendment, cameras, feature, issued, key, terms, undoing};
use crate::signer::at;

fn seats(seats: u32) -> Change {
    Change::TermChanges(TermChanges {
        seats: Some(seats),
        ..TermChanges::default()
    })
}

fn lease(hours: Option<u32>) -> Change {
    Change::TermChanges(TermChanges {
        lease_hours: Some(hours),
        ..TermChanges::default()
    })
}

fn grace(hours: u32) -> Change {
    Change::TermChanges(TermChanges {
        grace_hours: Some(Some(hours)),
        ..TermChanges::default()
    })
}

fn terms_at(amendments: &[Amendment], hours: i64) -> Terms {
    contents(amendments, at(hours)).terms
}

#[test]
fn a_scheduled_term_leaves_the_others_as_they_are_then() {
    let all = [
        issued(),
        amendment(2, 100, vec![lease(Some(48))]),
        amendment(3, 1, vec![seats(10)]),
    ];
    assert_eq!(terms_at(&all, 1).seats, 10);
    let expected = Terms {
        lease_hours: Some(48),
        ..terms(10)
    };
    assert_eq!(terms_at(&all, 100), expected);
}

#[test]
fn undoing_a_term_in_the_middle_leaves_later_ones() {
    let mut all = vec![
        issued(),
        amendment(2, 1, vec![seats(5)]),
        amendment(3, 2, vec![grace(48)]),
        amendment(4, 3, vec![lease(None)]),
        undoing(5, 4, 2),
    ];
    let expected = Terms {
        grace_hours: Some(48),
        ..terms(1)
    };
    assert_eq!(terms_at(&all, 4), expected);
    all.push(undoing(6, 5, 5));
    let restored = Terms {
        seats: 5,
        ..expected
    };
    assert_eq!(terms_at(&all, 5), restored);
}

#[test]
fn a_scheduled_end_keeps_what_was_added_after_it_was_recorded() {
    let end = Change::End { key: key(CAMERAS) };
    let all = [
        issued(),
        amendment(2, 100, vec![end, cameras(8)]),
        amendment(3, 1, vec![cameras(16)]),
    ];
    let granted = contents(&all, at(100)).granted;
    let numbers = granted.values().filter(|it| it.key.as_str() == CAMERAS);
    let numbers: Vec<_> = numbers.filter_map(|it| it.quantity?.number()).collect();
    assert_eq!(numbers, [8, 16]);
}

#[test]
fn no_amendment_ends_a_license_in_the_past() {
    let renewed = [
        amendment(
            1,
            0,
            [issued().changes, vec![Change::Expiry(Some(at(10)))]].concat(),
        ),
        amendment(2, 5, vec![Change::Expiry(Some(at(1_000)))]),
    ];
    let judged = |next: &Amendment| check(&renewed, next, Decided::Valid);
    let ends_in_the_past = |until, at| Err(AmendmentError::EndsInThePast { until, at });
    // The end before the renewal has passed in the meantime.
    assert_eq!(judged(&undoing(3, 20, 2)), ends_in_the_past(at(10), at(20)));
    assert_eq!(judged(&undoing(3, 9, 2)), Ok(()));
    let scheduled = amendment(3, 100, vec![Change::Expiry(Some(at(50)))]);
    assert_eq!(judged(&scheduled), ends_in_the_past(at(50), at(100)));
    // An end that has passed already does not forbid other changes.
    assert_eq!(judged(&amendment(3, 2_000, vec![seats(2)])), Ok(()));
}

#[test]
fn the_differences_of_an_undo_are_named() {
    let year: CalendarDuration = "P1Y".parse().unwrap();
    let all = [
        issued(),
        amendment(
            2,
            1,
            vec![
                Change::Expiry(Some(at(900))),
                Change::Start(Some(at(3))),
                Change::Customer("other".to_owned()),
                lease(Some(48)),
            ],
        ),
        amendment(3, 2, vec![Change::Lasts(year)]),
    ];
    let before = contents(&all[..1], at(2));
    let after = contents(&all[..2], at(2));
    let expected = [
        Change::Customer("harbour".to_owned()),
        Change::Start(None),
        Change::Expiry(None),
        lease(None),
    ];
    assert_eq!(before.differences(&after), expected);
    assert_eq!(after.differences(&after), []);
    let waiting = contents(&all, at(2));
    assert_eq!(waiting.differences(&after), [Change::Lasts(year)]);
}

#[test]
fn changed_terms_are_stored_and_read_also_as_null() {
    for change in [seats(2), lease(Some(4)), lease(None), grace(0)] {
        let stored = serde_json::to_string(&change).unwrap();
        assert_eq!(serde_json::from_str::<Change>(&stored).unwrap(), change);
    }
    let stored = serde_json::to_string(&lease(None)).unwrap();
    assert_eq!(stored, r#"{"termChanges":{"leaseHours":null}}"#);
}

fn term_change() -> impl Strategy<Value = Change> {
    let hours = || proptest::option::of(1_u32..9);
    prop_oneof![
        (1_u32..9).prop_map(seats),
        hours().prop_map(lease),
        (1_u32..9).prop_map(grace),
        hours().prop_map(|hours| feature("a", None, hours.map(i64::from))),
        (0_i64..60).prop_map(|hours| Change::Expiry(Some(at(hours)))),
        Just(cameras(3)),
    ]
}

proptest! {
    /// Regardless of what was recorded after it, and of when each amendment takes effect.
    #[test]
    fn an_undone_amendment_might_as_well_not_exist(
        list in proptest::collection::vec((0_i64..60, term_change()), 1..8),
        which in any::<prop::sample::Index>(), later in 0_i64..20,
    ) {
        let mut all = vec![issued()];
        for (number, (hours, change)) in (2_u32..).zip(list) {
            all.push(amendment(number, hours, vec![change]));
        }
        let undone = 1 + which.index(all.len() - 1);
        let number = all[undone].number;
        let without: Vec<_> = all.iter().filter(|it| it.number != number).cloned().collect();
        let next = u32::try_from(all.len()).unwrap() + 1;
        all.push(undoing(next, 60, number));
        let then = at(60 + later);
        prop_assert_eq!(contents(&all, then), contents(&without, then));
    }
}
