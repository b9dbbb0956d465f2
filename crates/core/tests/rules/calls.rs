//! What calls to the License Server leave behind, and when the next are due.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use license_core::evidence::Evidence;
use license_core::lapse::LapseReason;
use license_core::schedule::calls::{Calls, Due, Intervals};
use license_core::schedule::jitter::Jitter;
use license_core::schedule::retry::MAX_RETRY_DELAY;
use license_core::standing::Standing;
use proptest::prelude::*;

use crate::signer::{T0, unsigned_lease};

const INTERVALS: Intervals = Intervals {
    validation: TimeDelta::hours(24),
    heartbeat: TimeDelta::hours(24),
};
const GRACE: Standing = Standing::Grace { until: T0 };
const LAPSED: Standing = Standing::Lapsed(LapseReason::GracePeriodExpired);

fn jitter() -> Jitter {
    Jitter::from_bits(0)
}

fn licensed() -> Evidence {
    Evidence::default().activated(unsigned_lease(), T0)
}

fn minutes(minutes: i64) -> DateTime<Utc> {
    T0 + TimeDelta::minutes(minutes)
}

fn due(calls: &Calls, standing: &Standing, now: DateTime<Utc>) -> Due {
    calls.due(&licensed(), standing, INTERVALS, now)
}

#[test]
fn without_a_license_nothing_is_due_even_if_a_validation_is_wanted() {
    let mut calls = Calls::new(T0, jitter(), jitter());
    calls.validation_wanted();
    let due = calls.due(&Evidence::default(), &Standing::Unlicensed, INTERVALS, T0);
    assert_eq!(due.earliest(), None);
}

#[test]
fn a_wanted_validation_is_due_now_and_one_validation_answers_it() {
    let mut calls = Calls::new(T0, jitter(), jitter());
    calls.validation_wanted();
    let now = minutes(5);
    assert_eq!(due(&calls, &Standing::Active, now).validation, Some(now));
    // As planned, it is due later: others do not stand in for what is wanted here.
    let planned = due(&calls, &Standing::Active, now).planned_validation;
    assert_eq!(planned, Some(T0 + INTERVALS.validation));
    calls.validated(true, now, jitter());
    assert!(!calls.is_validation_wanted());
    let next = due(&calls, &Standing::Active, now).validation;
    assert_eq!(next, Some(now + INTERVALS.validation));
}

#[test]
fn failures_add_up_and_one_confirmation_or_activation_ends_them() {
    let mut calls = Calls::new(T0, jitter(), jitter());
    for failures in 1..=3 {
        calls.validated(false, T0, jitter());
        let wait = TimeDelta::seconds(30) * 2_i32.pow(failures - 1);
        assert_eq!(due(&calls, &GRACE, T0).validation, Some(T0 + wait));
        assert!(!calls.is_confirmed());
    }
    let mut activated = calls;
    calls.validated(true, T0, jitter());
    assert!(calls.is_confirmed());
    activated.activated(minutes(9), jitter());
    assert!(activated.is_confirmed());
    assert_eq!(activated.heartbeat_at(), minutes(9));
}

#[test]
fn a_heartbeat_asks_for_a_validation_where_it_disagrees_with_the_standing() {
    for (is_answered, standing, wanted) in [
        (true, Standing::Active, false),
        (true, GRACE, true),
        (true, LAPSED, false),
        (false, Standing::Active, true),
        (false, GRACE, true),
    ] {
        let mut calls = Calls::new(T0, jitter(), jitter());
        calls.heartbeat_sent(is_answered, &standing, minutes(1), jitter());
        assert_eq!(calls.is_validation_wanted(), wanted, "{standing:?}");
        assert_eq!(calls.heartbeat_at(), minutes(1));
        // A later heartbeat that agrees does not take it back.
        calls.heartbeat_sent(true, &Standing::Active, minutes(2), jitter());
        assert_eq!(calls.is_validation_wanted(), wanted, "{standing:?}");
    }
}

#[test]
fn after_a_restart_a_site_that_is_not_active_is_validated_immediately() {
    for (standing, wanted) in [
        (Standing::Active, false),
        (Standing::Unlicensed, false),
        (GRACE, true),
        (LAPSED, true),
    ] {
        let mut calls = Calls::new(T0, jitter(), jitter());
        calls.resumed(&licensed(), &standing, Some(minutes(-3)), T0);
        assert_eq!(calls.is_validation_wanted(), wanted, "{standing:?}");
    }
}

#[test]
fn an_answer_that_asks_to_wait_delays_scheduled_and_wanted_calls_until_the_next_answer() {
    let mut calls = Calls::new(T0, jitter(), jitter());
    calls.validation_wanted();
    calls.asked_to_wait(Some(Duration::from_secs(600)), T0, jitter());
    let wait = due(&calls, &Standing::Active, T0).validation;
    assert_eq!(wait, Some(minutes(10)));
    calls.asked_to_wait(None, minutes(1), jitter());
    let now = minutes(1);
    assert_eq!(due(&calls, &Standing::Active, now).validation, Some(now));
}

/// What can happen.
#[derive(Clone, Debug)]
enum Event {
    Validated(bool),
    ValidatedElsewhere(i64, bool),
    Activated,
    HeartbeatSent(bool),
    HeartbeatSentElsewhere(Option<i64>),
    Wanted,
    Nothing,
    AskedToWait(Option<u64>),
    /// The clock is set to so many minutes.
    ClockSet(i64),
    Resumed(Option<i64>),
    /// So many minutes pass.
    Passed(i64),
}

fn event() -> impl Strategy<Value = Event> {
    let far = -100_000..100_000_i64;
    prop_oneof![
        any::<bool>().prop_map(Event::Validated),
        (far.clone(), any::<bool>()).prop_map(|(at, failed)| Event::ValidatedElsewhere(at, failed)),
        Just(Event::Activated),
        any::<bool>().prop_map(Event::HeartbeatSent),
        proptest::option::of(far.clone()).prop_map(Event::HeartbeatSentElsewhere),
        Just(Event::Wanted),
        Just(Event::Nothing),
        proptest::option::of(0..10_000_u64).prop_map(Event::AskedToWait),
        far.clone().prop_map(Event::ClockSet),
        proptest::option::of(far).prop_map(Event::Resumed),
        (0..3_000_i64).prop_map(Event::Passed),
    ]
}

proptest! {
    /// After any events, no call is put off for longer than the regular interval or an hour,
    /// whichever is longer.
    #[test]
    fn no_sequence_of_events_puts_calls_off(events in prop::collection::vec(event(), 0..40)) {
        let mut calls = Calls::new(T0, jitter(), jitter());
        let mut now = T0;
        for event in events {
            match event {
                Event::Validated(confirmed) => {
                    calls.validation_begun();
                    calls.validated(confirmed, now, jitter());
                }
                Event::ValidatedElsewhere(at, failed) => {
                    calls.validated_elsewhere(minutes(at), failed, now);
                }
                Event::Activated => calls.activated(now, jitter()),
                Event::HeartbeatSent(answered) => {
                    calls.heartbeat_sent(answered, &GRACE, now, jitter());
                }
                Event::HeartbeatSentElsewhere(at) => {
                    calls.heartbeat_sent_elsewhere(at.map(minutes), now);
                }
                Event::Wanted => calls.validation_wanted(),
                Event::Nothing => calls.nothing_to_validate(),
                Event::AskedToWait(seconds) => {
                    calls.asked_to_wait(seconds.map(Duration::from_secs), now, jitter());
                }
                Event::ClockSet(at) => {
                    now = minutes(at);
                    calls.clock_set(now);
                }
                Event::Resumed(at) => calls.resumed(&licensed(), &GRACE, at.map(minutes), now),
                Event::Passed(passed) => now += TimeDelta::minutes(passed),
            }
            prop_assert!(calls.validated_at() <= now && calls.heartbeat_at() <= now);
            for standing in [Standing::Active, GRACE, LAPSED] {
                let due = due(&calls, &standing, now);
                let latest = now + INTERVALS.validation.max(MAX_RETRY_DELAY);
                prop_assert!(due.validation.is_some_and(|at| at <= latest), "{due:?}");
                prop_assert!(due.heartbeat.is_some_and(|at| at <= latest), "{due:?}");
                prop_assert!(due.overdue_validation > due.planned_validation);
                if calls.is_validation_wanted() {
                    prop_assert!(due.validation.is_some_and(|at| at <= now + MAX_RETRY_DELAY));
                }
            }
        }
    }
}
