//! Amendments that undo one another, now and later, against a plain evaluation of each instant.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use license_core::add_on::restored_refund;
use license_core::amendment::{
    Amendment, Change, Contents, Origin, PlanVersion, contents, documents, is_undone_from, listed,
    states, undone,
};
use license_core::entitlement::Entitlement;
use proptest::prelude::*;

use super::properties::change;
use super::{amendment, issued, undoing};
use crate::signer::at;

/// Amendments that take effect in any order, of which every other one undoes an earlier one.
fn chains() -> impl Strategy<Value = Vec<Amendment>> {
    let changes = || {
        let lasts = prop_oneof![Just("P1D"), Just("P2D")]
            .prop_map(|duration| Change::Lasts(duration.parse().unwrap()));
        let plan = (1_u32..9).prop_map(|version| {
            let name = "standard".to_owned();
            Change::Plan(PlanVersion { name, version })
        });
        let start = proptest::option::of(0_i64..60).prop_map(|it| Change::Start(it.map(at)));
        proptest::collection::vec(
            prop_oneof![4 => change(), 1 => lasts, 1 => plan, 1 => start],
            0..4,
        )
    };
    let one = (
        0_i64..60,
        changes(),
        any::<u32>(),
        any::<bool>(),
        any::<bool>(),
    );
    proptest::collection::vec(one, 0..12).prop_map(|list| {
        let mut all = vec![issued()];
        for (number, (hours, changes, which, undoes, the_last)) in (2_u32..).zip(list) {
            let undoes = (undoes && number > 2).then_some(match the_last {
                true => number - 1,
                false => 2 + which % (number - 2).max(1),
            });
            all.push(Amendment {
                undoes,
                ..amendment(number, hours, changes)
            });
        }
        all
    })
}

/// Which amendments are undone, from the last one to the first.
fn plainly_undone(all: &[Amendment], at: DateTime<Utc>) -> BTreeSet<u32> {
    let mut undone = BTreeSet::new();
    for amendment in all.iter().rev().filter(|it| it.effective_at <= at) {
        if !undone.contains(&amendment.number) {
            undone.extend(amendment.undoes);
        }
    }
    undone
}

/// What the license consists of: each amendment is applied after those that took effect before.
fn plainly(all: &[Amendment], at: DateTime<Utc>) -> Contents {
    let undone = plainly_undone(all, at);
    let mut in_order: Vec<&Amendment> = all.iter().filter(|it| it.effective_at <= at).collect();
    in_order.retain(|it| !undone.contains(&it.number));
    in_order.sort_by_key(|it| (it.effective_at, it.number));
    let mut license = Contents::default();
    for amendment in in_order {
        for (place, change) in amendment.changes.iter().enumerate() {
            let origin = Origin {
                amendment: amendment.number,
                change: place,
            };
            apply(&mut license, origin, change);
        }
    }
    license
}

fn apply(license: &mut Contents, origin: Origin, change: &Change) {
    let granted: &mut BTreeMap<Origin, Entitlement> = &mut license.granted;
    match change {
        Change::Grant(entitlement) => drop(granted.insert(origin, entitlement.clone())),
        Change::End { key } => granted.retain(|it, entitlement| {
            entitlement.key != *key || (origin.amendment, origin.change) < (it.amendment, it.change)
        }),
        Change::Plan(plan) => {
            if let Some(former) = license.plan_set_by.replace(origin) {
                granted
                    .retain(|it, _| it.amendment != former.amendment || former.change < it.change);
            }
            license.plan = Some(plan.clone());
        }
        Change::Customer(customer) => license.customer.clone_from(customer),
        Change::Start(at) => license.starts_at = *at,
        Change::Expiry(at) => (license.expires_at, license.lasts) = (*at, None),
        Change::Lasts(duration) => (license.expires_at, license.lasts) = (None, Some(*duration)),
        Change::Terms(terms) => license.terms = terms.clone(),
        Change::TermChanges(changes) => license.terms = license.terms.clone().with(changes),
    }
}

/// How long a list is in a document, which names features a second time.
fn bytes(list: &[Entitlement]) -> usize {
    let entries = list.iter().map(|it| {
        let is_feature = usize::from(it.quantity.is_none());
        it.to_json().to_string().len() + 1 + is_feature * (it.key.as_str().len() + 3)
    });
    entries.sum()
}

proptest! {
    #[test]
    fn one_pass_finds_what_each_instant_has(all in chains(), hours in 0_i64..70) {
        let from = at(hours);
        prop_assert_eq!(contents(&all, from), plainly(&all, from));
        let states = states(&all, from);
        let later = all.iter().map(|it| it.effective_at).filter(|it| from < *it);
        let instants: BTreeSet<_> = later.chain([from]).collect();
        prop_assert!(instants.iter().eq(states.iter().map(|it| &it.from)));
        for state in &states {
            prop_assert_eq!(&state.contents, &plainly(&all, state.from));
            prop_assert_eq!(undone(&all, state.from), plainly_undone(&all, state.from));
        }
        for amendment in &all {
            let always = states
                .iter()
                .all(|it| plainly_undone(&all, it.from).contains(&amendment.number));
            prop_assert_eq!(is_undone_from(&all, amendment.number, from), always);
        }
    }

    /// What a first activation can lead to is known when an amendment is recorded.
    #[test]
    fn no_activation_makes_a_document_longer_than_was_checked(
        all in chains(), now in 0_i64..60, later in 0_i64..30,
    ) {
        let checked: Vec<_> = documents(&all, at(now)).collect();
        prop_assert_eq!(checked.len(), states(&all, at(now)).len());
        let activated_at = at(now + later);
        let end = contents(&all, activated_at).first_activated(activated_at);
        let mut activated = all.clone();
        activated.extend(end.map(|end| {
            let number = u32::try_from(all.len()).unwrap() + 1;
            amendment(number, now + later, vec![end])
        }));
        for (place, (state, list)) in checked.iter().enumerate() {
            let before = listed(&all, state.from);
            prop_assert!(bytes(&before) <= bytes(list), "{before:?} {list:?}");
            let ends_before = checked.get(place + 1).is_some_and(|it| it.0.from <= activated_at);
            let from = state.from.max(activated_at);
            if !ends_before {
                let after = listed(&activated, from);
                prop_assert!(bytes(&after) <= bytes(list), "{after:?} {list:?}");
            }
        }
    }

    /// However often undos are undone, nothing refunded comes back.
    #[test]
    fn no_chain_of_undos_restores_a_refund(
        all in chains(), more in proptest::collection::vec((0_i64..60, any::<u32>()), 1..12),
        now in 0_i64..60, which in any::<prop::sample::Index>(),
    ) {
        prop_assume!(all.len() > 1);
        let number = u32::try_from(which.index(all.len() - 1)).unwrap() + 2;
        let mut all = all;
        let mut next = u32::try_from(all.len()).unwrap() + 1;
        if !is_undone_from(&all, number, at(now)) {
            all.push(undoing(next, now, number));
            next += 1;
        }
        prop_assert!(is_undone_from(&all, number, at(now)));
        for (later, undoes) in more {
            let undo = undoing(next, now + later, 2 + undoes % (next - 2));
            let longer = [&all[..], std::slice::from_ref(&undo)].concat();
            let is_undone = is_undone_from(&longer, number, at(now));
            let refused = restored_refund(&all, &undo, &[number]);
            prop_assert_eq!(refused, (!is_undone).then_some(number));
            if refused.is_none() {
                all = longer;
                next += 1;
            }
            prop_assert!(is_undone_from(&all, number, at(now)));
        }
    }
}

/// Two plans count from the first activation, and the second one replaces the first later.
#[test]
fn an_end_that_is_set_does_not_split_what_is_listed() {
    let mut all = vec![issued()];
    all.push(amendment(
        2,
        0,
        vec![Change::Lasts("P10D".parse().unwrap())],
    ));
    all.push(amendment(
        3,
        24 * 30,
        vec![Change::Lasts("P20D".parse().unwrap())],
    ));
    let before = listed(&all, at(1));
    let end = contents(&all, at(1)).first_activated(at(1)).unwrap();
    all.push(amendment(4, 1, vec![end]));
    assert_eq!(listed(&all, at(1)), before);
}
