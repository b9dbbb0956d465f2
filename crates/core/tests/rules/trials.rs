//! How many trials a code starts.

use chrono::NaiveDate;
use license_core::calendar_duration::CalendarDuration;
use license_core::plan::{DurationFrom, Plan, PlanTerms};
use license_core::trial::{
    Allowance, NotATrial, Repeated, Started, TrialRefusal, again, check_plan,
};
use license_core::trial_secret::TrialSecret;
use proptest::prelude::*;

use crate::signer::at;

fn allowance(max: Option<u32>, max_a_day: u32) -> Allowance {
    Allowance {
        max,
        max_a_day,
        ends_at: None,
        is_withdrawn: false,
        started: 0,
        day: None,
        started_on_day: 0,
    }
}

#[test]
fn a_code_starts_no_trial_after_its_end_or_when_it_is_withdrawn() {
    let code = Allowance {
        ends_at: Some(at(5)),
        ..allowance(Some(1), 1)
    };
    assert!(code.start(at(5)).is_ok(), "the last instant is included");
    assert_eq!(code.start(at(6)), Err(TrialRefusal::Ended(at(5))));
    let used = code.start(at(1)).unwrap();
    assert_eq!(used.start(at(1)), Err(TrialRefusal::UsedUp));
    let withdrawn = Allowance {
        is_withdrawn: true,
        ..code
    };
    assert_eq!(withdrawn.start(at(1)), Err(TrialRefusal::Withdrawn));
}

fn secret(character: &str) -> TrialSecret {
    TrialSecret::parse(&character.repeat(43)).unwrap()
}

#[test]
fn only_the_secret_of_its_start_proves_a_trial_and_only_the_code_where_there_is_none() {
    let (right, wrong) = (secret("a"), secret("b"));
    let hash = right.hash();
    for (kept, sent, has_code, is_proven) in [
        (true, Some(&right), false, true),
        (true, Some(&right), true, true),
        (true, Some(&wrong), true, false),
        (true, None, true, false),
        (true, None, false, false),
        (false, None, true, true),
        (false, Some(&right), true, true),
        (false, Some(&right), false, false),
        (false, None, false, false),
    ] {
        let started = Started {
            hardware_id: "machine",
            secret_hash: kept.then_some(&*hash),
            is_trial: true,
            is_given_up: false,
        };
        let asked = Repeated {
            hardware_id: "machine",
            secret: sent,
            has_code,
        };
        let expected = match is_proven {
            true => Ok(()),
            false => Err(TrialRefusal::NotProven),
        };
        assert_eq!(again(&started, &asked), expected, "{asked:?}");
    }
}

#[test]
fn a_trial_that_is_none_any_more_is_not_given_again() {
    let secret = secret("a");
    let hash = secret.hash();
    let asked = Repeated {
        hardware_id: "machine",
        secret: Some(&secret),
        has_code: true,
    };
    for (hardware_id, is_trial, is_given_up, refused) in [
        ("machine", true, false, None),
        ("other", true, false, Some(TrialRefusal::OtherMachine)),
        ("machine", false, false, Some(TrialRefusal::Converted)),
        ("machine", false, true, Some(TrialRefusal::Converted)),
        ("machine", true, true, Some(TrialRefusal::GivenUp)),
    ] {
        let started = Started {
            hardware_id,
            secret_hash: Some(&hash),
            is_trial,
            is_given_up,
        };
        assert_eq!(again(&started, &asked).err(), refused);
    }
}

#[test]
fn secrets_are_long_random_texts_and_never_shown() {
    for text in ["", &"a".repeat(42), &"a".repeat(87), &"a b".repeat(20)] {
        assert!(TrialSecret::parse(text).is_err(), "{text}");
    }
    let longest = TrialSecret::parse(&"_".repeat(86)).unwrap();
    assert_eq!(longest.hash().len(), 43);
    assert!(!format!("{longest:?}").contains("__"));
}

#[test]
fn a_new_day_has_its_own_limit_and_a_clock_that_went_back_has_none() {
    let code = allowance(None, 2);
    let code = code.start(at(1)).and_then(|it| it.start(at(2))).unwrap();
    let refused = code.start(at(3));
    assert_eq!(refused, Err(TrialRefusal::DayUsedUp));
    assert!(refused.unwrap_err().is_for_today());
    let tomorrow = code.start(at(24)).unwrap();
    assert_eq!((tomorrow.started, tomorrow.started_on_day), (3, 1));
    // A clock that went back counts for the newest day.
    let back = tomorrow.start(at(1)).unwrap();
    assert_eq!((back.day, back.started_on_day), (tomorrow.day, 2));
    assert_eq!(back.start(at(1)), Err(TrialRefusal::DayUsedUp));
}

#[test]
fn only_plans_that_end_are_for_trials() {
    let mut plan = Plan {
        title: "Trial".to_owned(),
        description: String::new(),
        trial: false,
        add_on: false,
        duration: Some("P30D".parse::<CalendarDuration>().unwrap()),
        duration_from: DurationFrom::default(),
        terms: PlanTerms::default(),
        entitlements: Vec::new(),
    };
    assert_eq!(check_plan(&plan), Err(NotATrial::Unmarked));
    plan.trial = true;
    assert_eq!(check_plan(&plan), Ok(()));
    plan.duration = None;
    assert_eq!(check_plan(&plan), Err(NotATrial::Endless));
}

proptest! {
    #[test]
    fn the_limits_hold_for_any_times(
        max in proptest::option::of(1_u32..20), max_a_day in 1_u32..6,
        hours in proptest::collection::vec(0_i64..200, 0..60),
    ) {
        let mut code = allowance(max, max_a_day);
        let mut started: Vec<Option<NaiveDate>> = Vec::new();
        let mut newest = None;
        for hour in hours {
            if let Ok(next) = code.start(at(hour)) {
                prop_assert_eq!(next.started, code.started + 1);
                code = next;
                newest = newest.max(Some(at(hour).date_naive()));
                prop_assert_eq!(code.day, newest);
                started.push(code.day);
            }
        }
        prop_assert!(max.is_none_or(|max| started.len() <= max as usize));
        // A start while the clock is back counts for the newest day.
        for day in &started {
            let on_day = started.iter().filter(|it| *it == day).count();
            prop_assert!(on_day <= max_a_day as usize, "{day:?}");
        }
    }
}
