//! How many changes are applied for one operation, regardless of what is scheduled.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};

use super::timeline::applied;
use super::{
    Amendment, Change, Contents, MAX_ALL_CHANGES, MAX_SCHEDULED, PlanVersion, Terms, check, coming,
    contents, documents, states, steps,
};
use crate::entitlement::{Entitlement, Quantity};
use crate::feature::FeatureKey;
use crate::license_state::Decided;

fn at(days: usize) -> DateTime<Utc> {
    let days = TimeDelta::days(i64::try_from(days).unwrap());
    DateTime::from_timestamp(1_800_000_000, 0).unwrap() + days
}

fn key() -> FeatureKey {
    FeatureKey::parse("users").unwrap()
}

fn users() -> Change {
    Change::Grant(Entitlement::count(key(), Quantity::Of(1)))
}

/// A license that lasts 10 days from its first activation on.
fn issued() -> Amendment {
    Amendment {
        number: 1,
        author: "ana".to_owned(),
        reason: None,
        order: None,
        recorded_at: at(0),
        effective_at: at(0),
        undoes: None,
        changes: [
            vec![
                Change::Terms(Terms::default()),
                Change::Customer(String::new()),
            ],
            plan(0),
        ]
        .concat(),
    }
}

/// One of two plans that count from the first activation.
fn plan(place: usize) -> Vec<Change> {
    let days = ["P10D", "P20D"][place % 2];
    let version = PlanVersion {
        name: days.to_lowercase(),
        version: 1,
    };
    vec![
        users(),
        Change::Plan(version),
        Change::Lasts(days.parse().unwrap()),
    ]
}

fn add(all: &mut Vec<Amendment>, day: usize, undoes: Option<u32>, changes: Vec<Change>) {
    all.push(Amendment {
        number: u32::try_from(all.len()).unwrap() + 1,
        effective_at: at(day),
        undoes,
        changes,
        ..issued()
    });
}

/// A license with almost as many changes as there can be, in amendments of this size.
fn largest(size: usize, undoes_each: bool) -> Vec<Amendment> {
    let mut all = vec![issued()];
    let spare = 4 * MAX_SCHEDULED;
    for number in 2..(MAX_ALL_CHANGES - spare) / size {
        let mut changes = vec![Change::End { key: key() }];
        changes.resize(size, users());
        let undoes = (undoes_each && number > 2).then(|| u32::try_from(number - 1).unwrap());
        add(&mut all, 0, undoes, changes);
    }
    all
}

/// Schedules one amendment a day, each of which undoes the one before.
fn undone_daily(all: &mut Vec<Amendment>, changes: impl Fn(usize) -> Vec<Change>) {
    for day in 1..=MAX_SCHEDULED {
        let undoes = u32::try_from(all.len()).unwrap();
        add(all, day, Some(undoes), changes(day));
    }
}

/// That one operation applies each change a few times, and which states there are.
fn assert_bounded(all: &[Amendment]) {
    let (next, before) = all.split_last().unwrap();
    let changes: usize = all.iter().map(|it| it.changes.len()).sum();
    let mut is_accepted = Ok(());
    let applied = applied::by(|| is_accepted = check(before, next, Decided::Valid));
    assert_eq!(is_accepted, Ok(()));
    assert!(applied <= 3 * changes, "{applied} of {changes}");
    let instants = states(all, at(0)).len();
    assert_eq!(instants, MAX_SCHEDULED + 1);
    for applied in [
        applied::by(|| drop(contents(all, at(0)))),
        applied::by(|| drop(states(all, at(0)))),
        applied::by(|| drop(coming(all, at(0)))),
        applied::by(|| drop(documents(all, at(0)).next())),
    ] {
        assert!(applied <= changes, "{applied} of {changes}");
    }
}

#[test]
fn scheduled_undos_apply_each_change_once() {
    for size in [20, 980] {
        let mut all = largest(size, false);
        undone_daily(&mut all, |_| Vec::new());
        assert_bounded(&all);
    }
}

#[test]
fn scheduled_plans_that_count_from_the_first_activation_apply_each_change_once() {
    for size in [20, 980] {
        let mut all = largest(size, false);
        undone_daily(&mut all, plan);
        assert_bounded(&all);
    }
}

#[test]
fn a_long_chain_of_undos_applies_each_change_once() {
    let mut all = largest(8, true);
    assert!(all.len() > 2_000);
    undone_daily(&mut all, plan);
    assert_bounded(&all);
}

#[test]
fn the_steps_of_a_history_apply_each_change_a_few_times() {
    let mut all = largest(8, true);
    assert!(all.len() > 2_000);
    undone_daily(&mut all, plan);
    let of: Vec<&Amendment> = all.iter().collect();
    let changes: usize = all.iter().map(|it| it.changes.len()).sum();
    let mut found = Vec::new();
    let applied = applied::by(|| found = steps(&all, &of));
    assert_eq!(found.len(), all.len());
    assert!(applied <= 6 * changes, "{applied} of {changes}");
    let newest = applied::by(|| drop(steps(&all, &of[of.len() - 50..])));
    assert!(newest <= changes, "{newest} of {changes}");
}

#[test]
fn a_step_is_the_license_without_later_amendments() {
    let mut all = largest(900, true);
    undone_daily(&mut all, plan);
    let term = |seats| {
        vec![Change::Terms(Terms {
            seats,
            ..Terms::default()
        })]
    };
    let first = u32::try_from(all.len()).unwrap();
    add(&mut all, 50, None, term(7));
    add(&mut all, 60, Some(first + 1), term(8));
    add(&mut all, 60, Some(first + 2), Vec::new());
    add(&mut all, 10, Some(first + 3), term(9));
    let of: Vec<&Amendment> = all.iter().collect();
    let without_grants = |amendments: &[Amendment], at| Contents {
        granted: BTreeMap::new(),
        ..contents(amendments, at)
    };
    for (place, (amendment, step)) in all.iter().zip(steps(&all, &of)).enumerate() {
        let at = amendment.effective_at;
        let undoing = Amendment {
            changes: Vec::new(),
            ..amendment.clone()
        };
        let undone = [&all[..place], &[undoing]].concat();
        assert_eq!(step.before, without_grants(&all[..place], at), "{place}");
        assert_eq!(step.undone, without_grants(&undone, at), "{place}");
        assert_eq!(step.after, without_grants(&all[..=place], at), "{place}");
    }
}
