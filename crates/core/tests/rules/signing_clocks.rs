//! When a License Server trusts its clock for signing.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use license_core::signing_clock::{ClockDoubt, ClockWatch, Reading};

const BOOTED: Duration = Duration::from_secs(3600);

fn start() -> DateTime<Utc> {
    "2026-11-24T12:00:00Z".parse().unwrap()
}

/// The clocks this long after the start, with the wall clock ahead by this much.
fn after(passed: TimeDelta, ahead: TimeDelta) -> Reading {
    Reading {
        wall: start() + passed + ahead,
        since_boot: BOOTED + passed.to_std().unwrap(),
    }
}

fn minutes(minutes: i64) -> TimeDelta {
    TimeDelta::minutes(minutes)
}

fn word(watch: &mut ClockWatch, reading: Reading) -> &'static str {
    match watch.permit(reading, reading.wall) {
        Ok(at) => {
            assert_eq!(at.instant(), reading.wall);
            "signs"
        }
        Err(ClockDoubt::Database { .. }) => "database",
        Err(ClockDoubt::Recorded { .. }) => "recorded",
        Err(ClockDoubt::Behind { .. }) => "behind",
        Err(ClockDoubt::Jumped { .. }) => "jumped",
    }
}

#[test]
fn a_start_is_believed_for_a_day_after_the_newest_recorded_instant() {
    for (newest, expected) in [
        (None, "signs"),
        (Some(TimeDelta::zero()), "signs"),
        (Some(-TimeDelta::hours(24)), "signs"),
        (
            Some(-TimeDelta::hours(24) - TimeDelta::seconds(1)),
            "recorded",
        ),
        (Some(-TimeDelta::days(4000)), "recorded"),
        // A server has already run at a later time, so one of the clocks is wrong.
        (Some(minutes(10)), "signs"),
        (Some(minutes(10) + TimeDelta::seconds(1)), "behind"),
        (Some(TimeDelta::days(4000)), "behind"),
    ] {
        let reading = after(TimeDelta::zero(), TimeDelta::zero());
        let mut watch = ClockWatch::started(reading, newest.map(|newest| start() + newest));
        assert_eq!(word(&mut watch, reading), expected, "{newest:?}");
        // Waiting changes nothing.
        let later = after(TimeDelta::days(30), TimeDelta::zero());
        assert_eq!(word(&mut watch, later), expected, "{newest:?}");
    }
}

#[test]
fn a_database_clock_with_another_time_stops_signing() {
    let now = after(minutes(5), TimeDelta::zero());
    for (ahead, expected) in [
        (0, "signs"),
        (10, "signs"),
        (11, "database"),
        (-10, "signs"),
        (-11, "database"),
        (5_000_000, "database"),
    ] {
        let mut watch = ClockWatch::started(now, None);
        watch.compare(now, minutes(ahead));
        assert_eq!(word(&mut watch, now), expected, "{ahead}");
    }
    // The latest comparison counts, even if the clock moves after it.
    let mut watch = ClockWatch::started(now, None);
    watch.compare(now, minutes(0));
    let set_back = after(minutes(6), minutes(-11));
    assert_eq!(word(&mut watch, set_back), "database");
    // Correcting the clock is not a jump.
    let right = after(minutes(7), minutes(0));
    watch.compare(right, minutes(0));
    assert_eq!(word(&mut watch, right), "signs");
}

#[test]
fn a_clock_that_is_set_forward_does_not_sign_until_it_is_set_back_or_accepted() {
    let begun = after(TimeDelta::zero(), TimeDelta::zero());
    let mut watch = ClockWatch::started(begun, Some(start()));
    for (passed, ahead, expected) in [
        (1, 0, "signs"),
        (2, 10, "signs"),
        (3, 12, "jumped"),
        (4, 6_000_000, "recorded"),
        (5, 0, "signs"),
        // Setting it back and correcting it again is not a jump.
        (6, -60, "behind"),
        (7, 0, "signs"),
        (8, -10, "signs"),
        (9, 10, "signs"),
        (10, 12, "jumped"),
    ] {
        let reading = after(minutes(passed), minutes(ahead));
        assert_eq!(word(&mut watch, reading), expected, "after {passed} min");
    }
    let jumped = after(minutes(11), minutes(60));
    assert_eq!(word(&mut watch, jumped), "jumped");
    // The clock of another server was accepted.
    assert!(!watch.accept(jumped, start()));
    assert_eq!(word(&mut watch, jumped), "jumped");
    assert!(watch.accept(jumped, jumped.wall - minutes(1)));
    assert_eq!(word(&mut watch, jumped), "signs");
}

#[test]
fn a_clock_that_is_behind_at_the_start_signs_when_it_is_right() {
    // Behind the record or the database's clock: by how much, whether the server reads the
    // clock before it is corrected, and what it then reports.
    for by in [11, 15, 60 * 24 * 300] {
        for looks in [false, true] {
            for by_database in [false, true] {
                let begun = after(minutes(0), minutes(-by));
                let recorded = Some(start()).filter(|_| !by_database);
                let mut watch = ClockWatch::started(begun, recorded);
                let case = format!("{by} min, {looks}, {by_database}");
                let doubt = if by_database {
                    watch.compare(begun, minutes(-by));
                    "database"
                } else {
                    "behind"
                };
                if looks {
                    assert_eq!(word(&mut watch, begun), doubt, "{case}");
                    let later = after(minutes(30), minutes(-by));
                    assert_eq!(word(&mut watch, later), doubt, "{case}");
                }
                let right = after(minutes(31), minutes(0));
                assert_eq!(word(&mut watch, right), "signs", "{case}");
                let wrong = after(minutes(32), minutes(11));
                let expected = if by_database { "database" } else { "jumped" };
                assert_eq!(word(&mut watch, wrong), expected, "{case}");
                assert_eq!(word(&mut watch, begun), doubt, "{case}");
                assert_eq!(word(&mut watch, right), "signs", "{case}");
            }
        }
    }
    // A person confirms that the record is wrong.
    let begun = after(minutes(0), minutes(0));
    let mut watch = ClockWatch::started(begun, Some(start() + TimeDelta::days(300)));
    assert_eq!(word(&mut watch, begun), "behind");
    assert!(watch.accept(begun, begun.wall));
    assert_eq!(word(&mut watch, begun), "signs");
}

#[test]
fn an_instant_that_was_read_while_the_clock_was_wrong_is_not_signed() {
    let now = after(minutes(5), minutes(0));
    let mut watch = ClockWatch::started(now, Some(start()));
    for (read, expected) in [
        (0, true),
        (-10, true),
        (10, true),
        (11, false),
        (-11, false),
    ] {
        let at = now.wall + minutes(read);
        let permitted = watch.permit(now, at);
        assert_eq!(permitted.is_ok(), expected, "{read}");
        assert!(permitted.is_err() || permitted.unwrap().instant() == at);
    }
    let later = after(minutes(5), TimeDelta::days(4000));
    let expected = ClockDoubt::Jumped {
        by: TimeDelta::days(4000),
    };
    assert_eq!(watch.permit(now, later.wall), Err(expected));
    assert_eq!(word(&mut watch, now), "signs", "it leaves no trace");
}

#[test]
fn neither_a_suspend_nor_slow_drift_is_a_jump() {
    let begun = after(TimeDelta::zero(), TimeDelta::zero());
    let mut watch = ClockWatch::started(begun, Some(start()));
    // The boot clock counts suspended time.
    assert_eq!(
        word(&mut watch, after(TimeDelta::days(3), TimeDelta::zero())),
        "signs"
    );
    // A virtual machine that loses a minute with each nightly backup.
    for night in 4..400 {
        let reading = after(TimeDelta::days(night), minutes(night));
        assert_eq!(word(&mut watch, reading), "signs", "night {night}");
    }
    // A clock that gains nine minutes per hour is wrong.
    let words: Vec<_> = (1..=4)
        .map(|hour| {
            let passed = TimeDelta::days(400) + TimeDelta::hours(hour);
            word(&mut watch, after(passed, minutes(400 + 9 * hour)))
        })
        .collect();
    assert_eq!(words, ["signs", "signs", "jumped", "jumped"]);
}

#[test]
fn a_doubt_names_the_problem_and_the_remedy() {
    let begun = after(TimeDelta::zero(), TimeDelta::zero());
    let mut watch = ClockWatch::started(begun, Some(start()));
    let text = |watch: &mut ClockWatch, reading| {
        watch.permit(reading, reading.wall).unwrap_err().to_string()
    };
    let jumped = after(minutes(1), minutes(95));
    let said = text(&mut watch, jumped);
    assert!(said.contains("set forward by 1 h 34 min"), "{said}");
    assert!(said.contains("license-server clock accept"), "{said}");
    let far = after(minutes(1), TimeDelta::days(4000));
    let said = text(&mut watch, far);
    assert!(
        said.contains("4000 d 0 h ahead of the newest recorded time 2026-11-24"),
        "{said}"
    );
    watch.compare(begun, minutes(-12));
    let said = text(&mut watch, begun);
    assert!(
        said.contains("12 min behind the database's clock"),
        "{said}"
    );
    // The limits of what a clock can show.
    let last = Reading {
        wall: DateTime::<Utc>::MAX_UTC,
        since_boot: Duration::MAX,
    };
    let mut watch = ClockWatch::started(last, Some(DateTime::<Utc>::MIN_UTC));
    assert!(watch.permit(last, last.wall).is_err());
    let mut watch = ClockWatch::started(begun, Some(DateTime::<Utc>::MAX_UTC));
    assert!(watch.permit(begun, begun.wall).is_err());
    let mut watch = ClockWatch::started(begun, Some(start() + minutes(95)));
    let said = text(&mut watch, begun);
    assert!(
        said.contains("1 h 35 min behind the newest recorded time 2026-11-24"),
        "{said}"
    );
    assert!(said.contains("license-server clock accept"), "{said}");
}
