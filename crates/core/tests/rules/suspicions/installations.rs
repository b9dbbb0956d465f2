//! Installations that take turns on one seat.

use chrono::TimeDelta;
use license_core::suspicion::{MAX_FORMER_INSTALLATIONS, installation_fingerprint};

use super::{SHARED, Seat};
use crate::signer::T0;

#[test]
fn installations_that_alternate_on_one_machine_are_noticed_and_one_that_follows_is_not() {
    let mut seat = Seat::new();
    let known = seat.validate(100, "a");
    let known = seat.validate(known, "b");
    assert_eq!(seat.found, []);
    let known = seat.validate(known, "b");
    assert_eq!(seat.found, []);
    let known = seat.validate(known, "a");
    assert_eq!(seat.found, SHARED);
    // An installation that does not identify itself is ignored.
    seat.validate(known, "");
    assert_eq!(seat.found, SHARED);
    assert_eq!(seat.trail.installation_id, "a");
    let mut first = Seat::new();
    first.trail.installation_id = String::new();
    first.validate(100, "a");
    assert_eq!(first.trail.former_installations, []);
}

/// Several machines with one hardware id that never validate: each activates without a number
/// shortly before its lease ends, as the installation that `id` returns for its machine and
/// round. Returns the hour at which they are detected.
fn taking_turns(machines: i64, id: impl Fn(i64, i64) -> String) -> Option<i64> {
    let mut seat = Seat::new();
    for hour in 0..60 * 24 {
        seat.at = T0 + TimeDelta::hours(hour);
        for machine in 0..machines {
            let since_first = hour - machine * 96 / machines;
            if since_first >= 0 && since_first % 95 == 0 {
                seat.call(None, &id(machine, since_first / 95), true);
            }
        }
        if !seat.found.is_empty() {
            assert_eq!(seat.found, SHARED);
            return Some(hour);
        }
    }
    None
}

#[test]
fn machines_that_activate_in_turn_are_detected_as_fast_as_a_copy() {
    for machines in 2..=40 {
        let kept = taking_turns(machines, |machine, _| format!("machine-{machine}"));
        assert!(
            kept.is_some_and(|hour| hour <= 8 * 24),
            "{machines}: {kept:?}"
        );
        // Each starts with a new state directory.
        let fresh = taking_turns(machines, |machine, round| format!("{machine}-{round}"));
        assert!(
            fresh.is_some_and(|hour| hour <= 8 * 24),
            "{machines}: {fresh:?}"
        );
    }
    assert_eq!(taking_turns(1, |_, _| "a".to_owned()), None, "one machine");
}

#[test]
fn reinstalling_three_times_a_month_is_not_suspicious_but_daily_is() {
    let noticed = |every: i64| {
        let mut seat = Seat::new();
        (0..40).find(|time| {
            seat.at = T0 + TimeDelta::days(every * time);
            let known = seat.call(None, &format!("setup-{time}"), true);
            seat.validate(known, &format!("setup-{time}"));
            !seat.found.is_empty()
        })
    };
    assert_eq!(noticed(11), None);
    // The fourth change: `a`, which has the seat first, is the first to leave.
    assert_eq!(noticed(10), Some(3));
    assert_eq!(noticed(1), Some(3));
}

#[test]
fn the_list_of_former_installations_is_bounded_and_denied_calls_count_once() {
    let mut seat = Seat::new();
    for month in 0..50 {
        seat.at = T0 + TimeDelta::days(31 * month);
        seat.call(None, &format!("setup-{month}"), true);
    }
    assert_eq!(seat.found, []);
    assert_eq!(
        seat.trail.former_installations.len(),
        MAX_FORMER_INSTALLATIONS
    );
    let newest = seat.trail.former_installations.last().unwrap();
    assert_eq!(newest.fingerprint, installation_fingerprint("setup-48"));
    // Any of them that returns is detected, no matter how long ago it left.
    seat.call(None, "setup-42", true);
    assert_eq!(seat.found, SHARED);

    // While the license is suspended, the calls of `b` fail: `a` keeps the seat.
    let mut seat = Seat::new();
    for _ in 0..20 {
        seat.call(None, "b", false);
        seat.trail.installation_id = "a".to_owned();
    }
    assert_eq!(
        (seat.found.len(), seat.trail.former_installations.len()),
        (0, 1)
    );
}
