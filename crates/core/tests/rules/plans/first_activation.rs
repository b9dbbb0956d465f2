//! Plans whose duration counts from the first activation.

use chrono::TimeDelta;
use license_core::amendment::{Amendment, AmendmentError, Change, MAX_AMENDMENTS, check, contents};
use license_core::license_state::Decided;
use license_core::plan::{LicenseEnd, Order, Plan, issued, replaced};
use serde_json::json;

use super::{amendment, catalogue, parking, plan, standard, version};
use crate::signer::at;

fn trial() -> Plan {
    plan(json!({
        "title": "Trial", "trial": true, "duration": "P30D", "durationFrom": "first_activation",
        "terms": {"seats": 1}, "entitlements": [{"key": "module.map_view"}],
    }))
}

/// A license that is sold as a plan and starts at `starts_at`.
fn sold(plan: &Plan, starts_at: Option<i64>) -> Amendment {
    let order = Order {
        starts_at: starts_at.map(at),
        end: plan.end(at(0)).unwrap(),
        ..Order::default()
    };
    amendment(1, 0, issued(version("trial"), plan, order, at(0)).unwrap())
}

#[test]
fn the_first_activation_sets_the_end_once_and_undoing_it_lets_the_next_one_set_it() {
    let issued = sold(&trial(), None);
    let before = contents(std::slice::from_ref(&issued), at(5));
    assert_eq!((before.expires_at, before.lasts), (None, trial().duration));
    let end = before
        .first_activated(at(5) + TimeDelta::milliseconds(1))
        .unwrap();
    let last = at(5 + 30 * 24) - TimeDelta::seconds(1);
    assert_eq!(end, Change::Expiry(Some(last)));
    let mut history = vec![issued, amendment(2, 5, vec![end])];
    let after = contents(&history, at(5));
    assert_eq!((after.expires_at, after.lasts), (Some(last), None));
    assert_eq!(after.first_activated(at(6)), None);
    history.push(Amendment {
        undoes: Some(2),
        ..amendment(3, 7, Vec::new())
    });
    let undone = contents(&history, at(7));
    assert_eq!((undone.expires_at, undone.lasts), (None, trial().duration));
    let again = undone.first_activated(at(8));
    let last = at(8 + 30 * 24) - TimeDelta::seconds(1);
    assert_eq!(again, Some(Change::Expiry(Some(last))));
}

#[test]
fn a_license_that_starts_later_lasts_from_its_start() {
    let before = contents(&[sold(&trial(), Some(100))], at(5));
    let last = at(100 + 30 * 24) - TimeDelta::seconds(1);
    assert_eq!(
        before.first_activated(at(5)),
        Some(Change::Expiry(Some(last)))
    );
    // A license with an end of its own, or with none, does not get one.
    for plan in [standard(), parking()] {
        assert_eq!(
            contents(&[sold(&plan, None)], at(0)).first_activated(at(1)),
            None
        );
    }
}

#[test]
fn another_plan_counts_from_the_first_activation_only_while_that_is_awaited() {
    let (trial, parking) = (trial(), parking());
    let waiting = contents(&[sold(&trial, None)], at(1));
    let (_, end) = replaced(&waiting, Some(&trial), &parking, at(2)).unwrap();
    let year = at(2 + 365 * 24) - TimeDelta::seconds(1);
    assert_eq!(end, LicenseEnd::At(Some(year)));
    let (_, end) = replaced(&waiting, Some(&trial), &trial, at(2)).unwrap();
    assert_eq!(end, LicenseEnd::AfterActivation("P30D".parse().unwrap()));
    let (_, end) = replaced(&waiting, Some(&trial), &standard(), at(2)).unwrap();
    assert_eq!(end, LicenseEnd::At(None));
    // A running license may never be activated again.
    let running = contents(&[sold(&parking, None)], at(1));
    let (_, end) = replaced(&running, Some(&parking), &trial, at(2)).unwrap();
    let month = at(2 + 30 * 24) - TimeDelta::seconds(1);
    assert_eq!(end, LicenseEnd::At(Some(month)));
}

#[test]
fn a_plan_without_a_duration_cannot_count_it_from_the_first_activation() {
    let plan = plan(json!({
        "title": "Trial", "durationFrom": "first_activation", "terms": {"seats": 1},
    }));
    let error = plan.check(&catalogue()).unwrap_err();
    assert_eq!(error.field, "durationFrom");
    // What counts from the issue is stored as before.
    let stored = serde_json::to_value(parking()).unwrap();
    assert_eq!(stored.get("durationFrom"), None);
    assert_eq!(
        serde_json::to_value(trial()).unwrap()["durationFrom"],
        "first_activation"
    );
}

#[test]
fn nothing_may_be_scheduled_that_would_keep_an_activation_from_setting_the_end() {
    let issued = sold(&trial(), None);
    // A start after the end that an activation would set before then.
    let scheduled = |days: i64, changes| Amendment {
        recorded_at: at(0),
        ..amendment(2, days * 24, changes)
    };
    let late = scheduled(100, vec![Change::Start(Some(at(101 * 24)))]);
    let judged = |next: &Amendment| check(std::slice::from_ref(&issued), next, Decided::Valid);
    assert_eq!(
        judged(&late),
        Err(AmendmentError::EndBeforeStart {
            from: at(101 * 24),
            until: at(30 * 24) - TimeDelta::seconds(1),
        })
    );
    let soon = scheduled(10, vec![Change::Start(Some(at(11 * 24)))]);
    assert_eq!(judged(&soon), Ok(()));
    // Once the time of a scheduled plan counts, the license ends later.
    let year = "P1Y".parse().unwrap();
    let both = [issued.clone(), scheduled(20, vec![Change::Lasts(year)])];
    let late = Amendment { number: 3, ..late };
    assert_eq!(check(&both, &late, Decided::Valid), Ok(()));
}

#[test]
fn the_end_fits_into_the_largest_history() {
    let mut history = vec![sold(&trial(), None)];
    for number in 2..=MAX_AMENDMENTS {
        history.push(amendment(number, 1, vec![Change::Customer("a".to_owned())]));
    }
    let end = contents(&history, at(2)).first_activated(at(2)).unwrap();
    let next = |changes| amendment(MAX_AMENDMENTS + 1, 2, changes);
    let other = next(vec![Change::Start(None)]);
    assert_eq!(
        check(&history, &other, Decided::Valid),
        Err(AmendmentError::TooMany)
    );
    let activated = next(vec![end]);
    assert_eq!(check(&history, &activated, Decided::Valid), Ok(()));
}
