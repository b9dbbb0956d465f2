//! The work that the amendments of one license can cause.

use license_core::amendment::{
    Amendment, AmendmentError, Change, MAX_ALL_CHANGES, MAX_SCHEDULED, check, coming, effects,
};
use license_core::license_state::Decided;

use super::{amendment, cameras, feature, issued, key};
use crate::signer::at;

/// As many changes as one license can have, and as many scheduled amendments; `spare` fewer.
fn largest(spare: usize) -> Vec<Amendment> {
    let mut all = vec![issued()];
    let mut left = MAX_ALL_CHANGES - issued().changes.len() - MAX_SCHEDULED - spare;
    while left > 0 {
        let size = left.min(850);
        let number = u32::try_from(all.len()).unwrap() + 1;
        let mut changes = vec![Change::End { key: key("a") }];
        changes.extend((1..size).map(|place| {
            let ends = i64::try_from(200 + place % 900).unwrap();
            feature("a", None, Some(ends))
        }));
        all.push(Amendment {
            recorded_at: at(0),
            ..amendment(number, i64::from(number), changes)
        });
        left -= size;
    }
    for place in 0..MAX_SCHEDULED {
        let number = u32::try_from(all.len()).unwrap() + 1;
        let scheduled = amendment(
            number,
            100 + i64::try_from(place).unwrap(),
            vec![cameras(1)],
        );
        all.push(Amendment {
            recorded_at: at(50),
            ..scheduled
        });
    }
    all
}

#[test]
fn all_amendments_together_have_a_bounded_number_of_changes() {
    let all = largest(1);
    let next = |changes| Amendment {
        recorded_at: at(300),
        ..amendment(u32::try_from(all.len()).unwrap() + 1, 300, changes)
    };
    assert_eq!(
        check(&all, &next(vec![cameras(1); 2]), Decided::Valid),
        Err(AmendmentError::HistoryTooLarge)
    );
    assert_eq!(check(&all, &next(vec![cameras(1)]), Decided::Valid), Ok(()));
}

#[test]
fn the_largest_history_is_judged_as_a_whole() {
    let all = largest(0);
    let (next, before) = all.split_last().unwrap();
    assert_eq!(check(before, next, Decided::Valid), Ok(()));
    assert!(coming(&all, at(50)).len() > MAX_SCHEDULED);
    assert_eq!(effects(before, &all, at(50)).len(), 1);
}
