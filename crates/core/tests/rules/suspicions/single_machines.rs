//! One machine, in every situation.

use chrono::TimeDelta;
use license_core::suspicion::{CALLS_BEHIND, Report};

use super::{SHARED, Seat};
use crate::signer::T0;

#[test]
fn an_honest_site_is_never_suspected_even_if_answers_are_lost() {
    let mut seat = Seat::new();
    let mut known = 100;
    for round in 0..50_u64 {
        for _ in 0..round % 7 {
            // The answer is lost: the site calls again with its old number.
            seat.validate(known, "a");
        }
        known = seat.validate(known, "a");
        // The site does not store the document of a heartbeat.
        seat.trail.issued += 1;
    }
    assert_eq!(seat.found, []);
}

#[test]
fn a_backup_that_is_restored_once_is_not_a_copy() {
    let mut seat = Seat::new();
    let mut known = seat.validate(100, "a");
    for _ in 0..5 {
        known = seat.validate(known, "a");
    }
    known = seat.validate(101, "a");
    for _ in 0..5 {
        known = seat.validate(known, "a");
    }
    assert_eq!(seat.found, []);
    assert_eq!((seat.trail.behind, seat.trail.behind_at), (0, None));
}

#[test]
fn a_site_without_numbers_and_a_reinstalled_site_are_not_suspected() {
    let mut old_site = Seat::new();
    for round in 0..50 {
        old_site.call(None, "a", round % 10 == 0);
    }
    assert_eq!(old_site.found, []);
    let mut seat = Seat::new();
    let mut known = seat.validate(100, "a");
    for _ in 0..10 {
        // Less often than three times in any month, all data is lost twice, and the earlier answers
        // are known again.
        seat.at += TimeDelta::days(11);
        seat.call(None, "a", true);
        known = seat.call(None, "a", true).max(known);
        known = seat.validate(known, "a");
    }
    assert_eq!(seat.found, []);
}

#[test]
fn a_request_file_and_a_new_installation_are_not_suspicious() {
    let mut seat = Seat::new();
    let known = seat.validate(100, "a");
    seat.validate(known, "a");
    // An answer was lost, so that the site is already behind.
    seat.validate(known, "a");
    let before = seat.trail.clone();
    assert_eq!(before.behind, 1);
    for is_activation in [false, true, false, false, false] {
        let report = Report {
            written_at: Some(T0),
            is_activation,
            installation_id: "a",
            ..Report::default()
        };
        assert_eq!(seat.trail.followed(&report), (before.clone(), Vec::new()));
    }
    // Reinstalled, and the first answer is lost as well.
    seat.call(None, "b", true);
    assert_eq!(seat.trail.behind, 1);
    let known = seat.call(None, "b", true);
    seat.validate(known, "b");
    assert_eq!((seat.found.as_slice(), seat.trail.behind), (&[][..], 0));
    // A copy that invents installations is detected when the real machine calls.
    seat.call(None, "c", true);
    seat.validate(known, "b");
    assert_eq!(seat.found, SHARED);
}

#[test]
fn a_backup_goes_back_once_and_regressions_of_other_months_are_not_added_up() {
    let mut seat = Seat::new();
    let mut known = 100;
    for month in 0..12 {
        seat.at = T0 + TimeDelta::days(31 * month);
        let before = known;
        for _ in 0..3 {
            known = seat.validate(known, "a");
        }
        // Restored from a state before the three.
        known = seat.validate(before, "a");
    }
    assert_eq!(seat.found, []);
}

#[test]
fn a_backup_that_is_restored_twice_in_a_month_on_a_bad_line_is_not_a_copy() {
    let mut seat = Seat::new();
    let backup = seat.validate(100, "a");
    let mut known = backup;
    for round in 0..24 {
        for _ in 0..5 {
            seat.at += TimeDelta::hours(12);
            // Only the fifth answer arrives.
            seat.validate(known, "a");
            seat.heartbeat(known, "a");
        }
        known = seat.validate(known, "a");
        if round == 5 || round == 15 {
            known = backup;
        }
    }
    assert_eq!(
        (seat.found.as_slice(), seat.trail.regressions.times.len()),
        (&[][..], 2)
    );
    // The third time it is for a person to tell.
    known = seat.validate(backup, "a");
    seat.validate(known, "a");
    assert_eq!(seat.found, []);
}

#[test]
fn going_back_to_version_1_0_0_and_returning_counts_once_each_time() {
    let mut seat = Seat::new();
    let mut known = seat.validate(100, "a");
    for time in 1..=3 {
        seat.at += TimeDelta::days(1);
        seat.call(None, "a", false);
        // The version that says numbers finds the one that it knew.
        known = seat.validate(known, "a");
        known = seat.validate(known, "a");
        assert_eq!(seat.trail.regressions.times.len(), time);
        assert_eq!(seat.found, SHARED[usize::from(time < 3)..], "{time}");
    }
    // One that stays there is noted by its third call.
    let mut seat = Seat::new();
    seat.validate(100, "a");
    for _ in 0..CALLS_BEHIND {
        assert_eq!(seat.found, []);
        seat.call(None, "a", false);
    }
    assert_eq!(seat.found, SHARED);
}

#[test]
fn a_site_that_is_switched_on_for_an_hour_a_week_is_not_a_copy() {
    for is_heard in [true, false] {
        let mut seat = Seat::new();
        let mut known = seat.validate(100, "a");
        for week in 1..50 {
            seat.at = T0 + TimeDelta::weeks(week);
            // The heartbeat comes first, long after the lease has ended.
            seat.heartbeat(known, "a");
            let answer = seat.validate(known, "a");
            // An answer in two is lost, or none.
            if is_heard || week % 2 == 0 {
                known = answer;
            }
            seat.at += TimeDelta::hours(1);
            seat.heartbeat(known, "a");
        }
        assert_eq!(seat.found, [], "{is_heard}");
    }
}
