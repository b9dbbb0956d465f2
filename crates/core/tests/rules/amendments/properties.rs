//! Any history of amendments.

use std::collections::BTreeSet;

use license_core::amendment::{
    Amendment, Change, PlanVersion, TermChanges, coming, contents, states,
};
use license_core::entitlement::{Entitlement, Quantity};
use proptest::prelude::*;

use super::{amendment, feature, granted, issued, key, terms, undoing};
use crate::signer::at;

pub fn change() -> impl Strategy<Value = Change> {
    let name = || prop_oneof![Just("a"), Just("b"), Just("c")];
    let bound = || proptest::option::of(0_i64..60);
    prop_oneof![
        (name(), bound(), bound()).prop_filter_map("no period", |(name, from, until)| {
            let is_period = from.zip(until).is_none_or(|(from, until)| from <= until);
            is_period.then(|| feature(name, from, until))
        }),
        (name(), 0_u64..100).prop_map(|(name, quantity)| {
            let key = key(&format!("n_{name}"));
            Change::Grant(Entitlement::count(key, Quantity::Of(quantity)))
        }),
        name().prop_map(|name| Change::End { key: key(name) }),
        name().prop_map(|name| Change::End {
            key: key(&format!("n_{name}"))
        }),
        bound().prop_map(|hours| Change::Expiry(hours.map(at))),
        (1_u32..9).prop_map(|seats| Change::Terms(terms(seats))),
        (1_u32..9).prop_map(|hours| Change::TermChanges(TermChanges {
            lease_hours: Some((hours < 8).then_some(hours)),
            ..TermChanges::default()
        })),
        (1_u32..9).prop_map(|version| Change::Plan(PlanVersion {
            name: "standard".to_owned(),
            version,
        })),
    ]
}

/// Amendments with later and later numbers, and undoing ones among them.
pub fn history() -> impl Strategy<Value = Vec<Amendment>> {
    let one = (
        0_i64..60,
        proptest::collection::vec(change(), 1..4),
        any::<u32>(),
        0_u8..4,
    );
    proptest::collection::vec(one, 0..8).prop_map(|list| {
        let mut amendments = vec![issued()];
        for (number, (hours, changes, which, kind)) in (2_u32..).zip(list) {
            amendments.push(match kind {
                0 if number > 2 => undoing(number, hours, 2 + which % (number - 2)),
                _ => amendment(number, hours, changes),
            });
        }
        amendments
    })
}

proptest! {
    #[test]
    fn the_order_in_which_amendments_are_read_does_not_matter(
        history in history(), shuffled in Just(()).prop_perturb(|(), mut random| random.random::<u64>()),
        hours in 0_i64..70,
    ) {
        let mut other = history.clone();
        let middle = usize::try_from(shuffled % other.len() as u64).unwrap();
        other.rotate_left(middle);
        other.reverse();
        prop_assert_eq!(contents(&history, at(hours)), contents(&other, at(hours)));
        prop_assert_eq!(coming(&history, at(hours)), coming(&other, at(hours)));
    }

    #[test]
    fn an_undo_restores_exactly(history in history(), change in change(), hours in 0_i64..70) {
        let number = u32::try_from(history.len()).unwrap() + 1;
        let mut longer = history.clone();
        longer.push(amendment(number, 5, vec![change]));
        longer.push(undoing(number + 1, 5, number));
        prop_assert_eq!(contents(&history, at(hours)), contents(&longer, at(hours)));
        prop_assert_eq!(
            granted(&history, at(hours), at(hours)), granted(&longer, at(hours), at(hours))
        );
    }

    #[test]
    fn a_lease_carries_what_the_license_will_be(
        history in history(), signed in 0_i64..60, later in 0_i64..60,
    ) {
        let then = at(signed + later);
        prop_assert_eq!(granted(&history, at(signed), then), granted(&history, then, then));
    }

    /// One pass finds the same states as looking at each instant.
    #[test]
    fn states_are_what_the_license_is_at_each_instant(history in history(), hours in 0_i64..70) {
        let states = states(&history, at(hours));
        prop_assert_eq!(states[0].from, at(hours));
        let later = history.iter().map(|it| it.effective_at).filter(|it| at(hours) < *it);
        let instants: BTreeSet<_> = later.chain([at(hours)]).collect();
        prop_assert!(instants.iter().eq(states.iter().map(|it| &it.from)));
        for state in states {
            prop_assert_eq!(state.contents, contents(&history, state.from));
        }
    }

    /// What comes from a later instant on is part of what comes from now on.
    #[test]
    fn what_comes_later_is_part_of_what_comes(
        history in history(), now in 0_i64..60, later in 0_i64..60,
    ) {
        let then = at(now + later);
        let from_now = coming(&history, at(now)).into_iter().filter_map(|mut it| {
            if it.period.until.is_some_and(|until| until < then) {
                return None;
            }
            it.period.from = it.period.from.filter(|from| then < *from);
            Some(it)
        });
        let mut from_then = coming(&history, then);
        for it in &mut from_then {
            it.period.from = it.period.from.filter(|from| then < *from);
        }
        let sorted = |mut list: Vec<Entitlement>| {
            list.sort();
            list
        };
        prop_assert_eq!(sorted(from_now.collect()), sorted(from_then));
    }

    #[test]
    fn a_history_is_stored_and_read(history in history()) {
        let stored = serde_json::to_string(&history).unwrap();
        prop_assert_eq!(serde_json::from_str::<Vec<Amendment>>(&stored).unwrap(), history);
    }

    #[test]
    fn never_more_than_the_sum_of_what_was_granted(history in history(), hours in 0_i64..70) {
        let (features, counts) = granted(&history, at(hours), at(hours));
        let changes = history.iter().flat_map(|it| &it.changes);
        let grants: Vec<&Entitlement> = changes
            .filter_map(|change| match change {
                Change::Grant(entitlement) => Some(entitlement),
                _ => None,
            })
            .collect();
        for feature in features {
            prop_assert!(grants.iter().any(|it| it.key.as_str() == feature));
        }
        for (key, count) in counts {
            let of_key = grants.iter().filter(|it| it.key.as_str() == key);
            let all = of_key.filter_map(|it| it.quantity).fold(Quantity::Of(0), Quantity::plus);
            prop_assert!(count <= all);
        }
    }
}
