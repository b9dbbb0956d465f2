//! What a license is after its amendments.

mod bounds;
mod properties;
mod scheduled;
mod undo_chains;

pub use properties::history;

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use license_core::amendment::{
    Amendment, AmendmentError, Change, PlanVersion, Terms, Value, check, coming, contents, effects,
    holds_until,
};
use license_core::entitlement::{Entitlement, Grant, Granted, Period, Quantity};
use license_core::feature::FeatureKey;
use license_core::license_state::Decided;

use crate::signer::{at, exact};

const ANALYTICS: &str = "module.analytics_advanced";
const CAMERAS: &str = "cameras";

fn key(key: &str) -> FeatureKey {
    FeatureKey::parse(key).unwrap()
}

fn terms(seats: u32) -> Terms {
    Terms {
        seats,
        moves: 3,
        moves_period_days: 365,
        ..Terms::default()
    }
}

pub fn amendment(number: u32, hours: i64, changes: Vec<Change>) -> Amendment {
    Amendment {
        number,
        author: "ana".to_owned(),
        reason: None,
        order: None,
        recorded_at: at(0),
        effective_at: at(hours),
        undoes: None,
        changes,
    }
}

pub fn undoing(number: u32, hours: i64, undoes: u32) -> Amendment {
    Amendment {
        undoes: Some(undoes),
        ..amendment(number, hours, Vec::new())
    }
}

fn cameras(quantity: u64) -> Change {
    Change::Grant(Entitlement::count(key(CAMERAS), Quantity::Of(quantity)))
}

fn feature(name: &str, from: Option<i64>, until: Option<i64>) -> Change {
    Change::Grant(Entitlement {
        key: key(name),
        quantity: None,
        period: Period {
            from: from.map(at),
            until: until.map(at),
        },
    })
}

fn issued() -> Amendment {
    let plan = PlanVersion {
        name: "professional".to_owned(),
        version: 3,
    };
    let changes = vec![
        Change::Plan(plan),
        Change::Customer("harbour".to_owned()),
        Change::Terms(terms(1)),
        cameras(64),
        feature("module.map_view", None, None),
    ];
    amendment(1, 0, changes)
}

/// What a lease that is signed at `signed` grants at `then`.
fn granted(amendments: &[Amendment], signed: DateTime<Utc>, then: DateTime<Utc>) -> Offer {
    let granted = Granted::of(coming(amendments, signed));
    let features = granted.features();
    let in_force =
        features.filter(|key| granted.feature(key.as_str(), exact(then)) == Grant::InForce);
    let counts = granted.counted().map(|key| {
        let count = granted.count(key.as_str(), exact(then)).unwrap();
        (key.as_str().to_owned(), count)
    });
    (
        in_force.map(|key| key.as_str().to_owned()).collect(),
        counts
            .filter(|(_, count)| *count != Quantity::Of(0))
            .collect(),
    )
}

type Offer = (
    std::collections::BTreeSet<String>,
    BTreeMap<String, Quantity>,
);

/// The effects of the last amendment, from `hours` on.
fn told(amendments: &[Amendment], hours: i64) -> Vec<(DateTime<Utc>, String, Value, Value)> {
    let (_, before) = amendments.split_last().unwrap();
    let effects = effects(before, amendments, at(hours));
    let told = effects.into_iter().flat_map(|effect| {
        let changes = effect.changes.into_iter();
        changes.map(move |it| (effect.at, it.key.as_str().to_owned(), it.before, it.after))
    });
    told.collect()
}

#[test]
fn the_effects_of_an_amendment_are_known_before_it_is_made() {
    let count = |number| Value::Count(Quantity::Of(number));
    let mut amendments = vec![issued(), amendment(2, 30, vec![cameras(8)])];
    amendments.push(amendment(
        3,
        1,
        vec![cameras(32), feature(ANALYTICS, Some(10), Some(20))],
    ));
    let second = TimeDelta::seconds(1);
    let expected = [
        (at(1), CAMERAS.to_owned(), count(64), count(96)),
        (
            at(10),
            ANALYTICS.to_owned(),
            Value::Feature(false),
            Value::Feature(true),
        ),
        (
            at(20) + second,
            ANALYTICS.to_owned(),
            Value::Feature(false),
            Value::Feature(false),
        ),
        (at(30), CAMERAS.to_owned(), count(72), count(104)),
    ];
    assert_eq!(told(&amendments, 0), expected);
    let last = at(20) + second - TimeDelta::nanoseconds(1);
    let until = |at| holds_until(&amendments, &contents(&amendments, at), at);
    assert_eq!(until(at(10)), Some(last));
    assert_eq!(until(at(30)), None);
    // Undone, it has no effect any more.
    amendments.push(undoing(4, 15, 3));
    let expected = [
        (at(15), CAMERAS.to_owned(), count(96), count(64)),
        (
            at(15),
            ANALYTICS.to_owned(),
            Value::Feature(true),
            Value::Feature(false),
        ),
        (
            at(20) + second,
            ANALYTICS.to_owned(),
            Value::Feature(false),
            Value::Feature(false),
        ),
        (at(30), CAMERAS.to_owned(), count(104), count(72)),
    ];
    assert_eq!(told(&amendments, 12), expected);
}

#[test]
fn the_customer_calls() {
    let mut amendments = vec![issued()];
    let call = amendment(
        2,
        1,
        vec![
            Change::Grant(Entitlement {
                period: Period {
                    from: Some(at(100)),
                    until: None,
                },
                ..Entitlement::count(key(CAMERAS), Quantity::Of(32))
            }),
            feature(ANALYTICS, Some(100), Some(190)),
            Change::Customer("harbour-ltd".to_owned()),
        ],
    );
    check(&amendments, &call, Decided::Valid).unwrap();
    amendments.push(call);
    let (_, counts) = granted(&amendments, at(1), at(99));
    assert_eq!(counts[CAMERAS], Quantity::Of(64));
    let (features, counts) = granted(&amendments, at(1), at(100));
    assert_eq!(counts[CAMERAS], Quantity::Of(96));
    assert!(features.contains(ANALYTICS));
    let (features, _) = granted(&amendments, at(1), at(191));
    assert!(!features.contains(ANALYTICS));
    let now = contents(&amendments, at(1));
    assert_eq!(now.customer, "harbour-ltd");
    assert_eq!(now.plan.unwrap().to_string(), "professional@3");
}

#[test]
fn what_amendments_will_change_is_carried_before() {
    let end = Change::End { key: key(CAMERAS) };
    let amendments = [
        issued(),
        amendment(2, 50, vec![end, cameras(16)]),
        undoing(3, 80, 2),
    ];
    for (hours, cameras) in [(0, 64), (49, 64), (50, 16), (79, 16), (80, 64), (1000, 64)] {
        let (features, counts) = granted(&amendments, at(0), at(hours));
        assert_eq!(counts[CAMERAS], Quantity::Of(cameras), "{hours}");
        assert!(features.contains("module.map_view"));
    }
    let map_view = coming(&amendments, at(0));
    let map_view = map_view
        .iter()
        .filter(|it| it.key.as_str() == "module.map_view");
    // Changes of other entitlements do not split what continues.
    assert_eq!(
        map_view.map(|it| it.period).collect::<Vec<_>>(),
        [Period::ALWAYS]
    );
}

#[test]
fn nothing_is_in_force_before_the_start_or_after_the_end_of_the_license() {
    let bounds = vec![Change::Start(Some(at(10))), Change::Expiry(Some(at(20)))];
    let amendments = [issued(), amendment(2, 0, bounds)];
    for (hours, is_granted) in [(9, false), (10, true), (20, true), (21, false)] {
        let (features, counts) = granted(&amendments, at(0), at(hours));
        assert_eq!(!features.is_empty(), is_granted, "{hours}");
        assert_eq!(!counts.is_empty(), is_granted, "{hours}");
    }
}

#[test]
fn an_amendment_that_cannot_be_added_says_why() {
    let amendments = [issued(), undoing_nothing()];
    let end = |name: &str| Change::End { key: key(name) };
    let with_time = |at| Amendment {
        effective_at: at,
        ..amendment(3, 1, vec![cameras(1)])
    };
    let millis = at(5) + TimeDelta::milliseconds(1);
    for (next, expected) in [
        (
            amendment(2, 1, vec![cameras(1)]),
            AmendmentError::NotNext {
                newest: 2,
                expected: 1,
            },
        ),
        (amendment(3, 1, Vec::new()), AmendmentError::Nothing),
        (
            amendment(3, 1, vec![cameras(1); 1001]),
            AmendmentError::TooLarge,
        ),
        (
            with_time(at(0) - TimeDelta::seconds(1)),
            AmendmentError::InThePast {
                at: at(0) - TimeDelta::seconds(1),
                earliest: at(0),
            },
        ),
        (with_time(millis), AmendmentError::Time(millis)),
        (undoing(3, 1, 1), AmendmentError::NotUndoable(1)),
        (undoing(3, 1, 7), AmendmentError::NotUndoable(7)),
        (
            amendment(3, 1, vec![end("doors")]),
            AmendmentError::NotGranted("doors".to_owned()),
        ),
        (
            amendment(3, 1, vec![feature(ANALYTICS, Some(3), Some(2))]),
            AmendmentError::EndBeforeStart {
                from: at(3),
                until: at(2),
            },
        ),
        (
            amendment(
                3,
                1,
                vec![Change::Start(Some(at(3))), Change::Expiry(Some(at(2)))],
            ),
            AmendmentError::EndBeforeStart {
                from: at(3),
                until: at(2),
            },
        ),
        (
            amendment(3, 1, vec![Change::Terms(terms(0))]),
            AmendmentError::Term {
                name: "seats",
                from: 1,
                to: 1_000_000,
            },
        ),
    ] {
        assert_eq!(check(&amendments, &next, Decided::Valid), Err(expected));
    }
    let fine = amendment(3, 1, vec![cameras(1)]);
    check(&amendments, &fine, Decided::Suspended).unwrap();
    let revoked = check(&amendments, &fine, Decided::Revoked);
    assert_eq!(revoked, Err(AmendmentError::Revoked));
}

fn undoing_nothing() -> Amendment {
    amendment(2, 0, vec![Change::Customer("other".to_owned())])
}

#[test]
fn an_amendment_is_checked_with_those_that_take_effect_later() {
    let many = |from: u64| (from..from + 600).map(cameras).collect();
    let amendments = [issued(), amendment(2, 50, many(0))];
    let earlier = amendment(3, 20, many(600));
    let refused = check(&amendments, &earlier, Decided::Valid);
    assert_eq!(refused, Err(AmendmentError::TooManyEntitlements));
    let amendments = [
        issued(),
        amendment(2, 50, vec![Change::Expiry(Some(at(60)))]),
    ];
    let start = amendment(3, 20, vec![Change::Start(Some(at(70)))]);
    let refused = check(&amendments, &start, Decided::Valid);
    let (from, until) = (at(70), at(60));
    assert_eq!(refused, Err(AmendmentError::EndBeforeStart { from, until }));
}

#[test]
fn what_is_ended_is_looked_for_after_the_changes_before() {
    let end = || Change::End { key: key(CAMERAS) };
    let amendments = [issued(), amendment(2, 1, vec![end()])];
    let again = amendment(3, 2, vec![end()]);
    let missing = Err(AmendmentError::NotGranted(CAMERAS.to_owned()));
    assert_eq!(check(&amendments, &again, Decided::Valid), missing);
    let undo_and_end = Amendment {
        changes: vec![end()],
        ..undoing(3, 2, 2)
    };
    check(&amendments, &undo_and_end, Decided::Valid).unwrap();
    let grant_and_end = amendment(3, 2, vec![cameras(1), end()]);
    check(&amendments, &grant_and_end, Decided::Valid).unwrap();
    let twice = amendment(3, 2, vec![cameras(1), end(), end()]);
    assert_eq!(check(&amendments, &twice, Decided::Valid), missing);
}

#[test]
fn an_amendment_is_undone_at_most_one_time_and_an_undo_can_be_undone() {
    let mut amendments = vec![
        issued(),
        amendment(2, 1, vec![cameras(8)]),
        undoing(3, 2, 2),
    ];
    let again = undoing(4, 3, 2);
    let refused = check(&amendments, &again, Decided::Valid);
    assert_eq!(refused, Err(AmendmentError::NotUndoable(2)));
    amendments.push(undoing(4, 3, 3));
    for (hours, expected) in [(0, 64), (1, 72), (2, 64), (3, 72)] {
        let (_, counts) = granted(&amendments, at(0), at(hours));
        assert_eq!(counts[CAMERAS], Quantity::Of(expected), "{hours}");
    }
}
