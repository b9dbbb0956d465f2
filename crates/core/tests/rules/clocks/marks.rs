//! High-water marks in other places.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use license_core::time_guard::{ClockEvent, Mark, TimeGuard};

use super::without_stored_time::without_kept_time;
use super::{Machine, begun, hours};
use crate::signer::{T0, at};

pub(super) fn mark(at: DateTime<Utc>, signed_at: Option<DateTime<Utc>>) -> Mark {
    Mark {
        at,
        signed_at,
        lead_ms: 0,
        assumed_ms: 0,
        shared_claim_ms: 0,
    }
}

#[test]
fn a_mark_does_not_turn_known_time_into_a_claim() {
    let mut machine = Machine::new();
    let guard = begun(&machine);
    machine.run(hours(200));
    let all = Mark {
        lead_ms: i64::MAX,
        assumed_ms: i64::MAX,
        shared_claim_ms: i64::MAX,
        ..mark(at(201), Some(at(900)))
    };
    for found in [all, Mark { at: at(200), ..all }] {
        let (guard, _) = guard.recalled(Some(&found), None, machine.read());
        let mut turned_back = machine.clone();
        turned_back.wall = T0;
        let (guard, _) = guard.answered(T0, turned_back.read());
        assert_eq!(guard.now(machine.running), at(200));
    }
}

#[test]
fn a_high_water_mark_raises_the_time_and_never_lowers_it() {
    let machine = Machine::new();
    let guard = begun(&machine);
    let kept = guard.stopped();
    for (hour, expected) in [(-50, 0), (0, 0), (50, 50)] {
        let found = mark(at(hour), Some(T0));
        let (recalled, _) = guard.recalled(Some(&found), None, machine.read());
        assert_eq!(recalled.now(machine.running), at(expected));
        let start = |kept, signed| {
            let floor = DateTime::UNIX_EPOCH;
            TimeGuard::start(kept, Some(&found), signed, floor, machine.read()).0
        };
        for guard in [start(Some(&kept), None), start(None, Some(T0))] {
            assert_eq!(guard.now(machine.running), at(expected));
        }
    }
    // Other records count as well.
    let (guard, _) = guard.recalled(None, Some(at(7)), machine.read());
    assert_eq!(guard.now(machine.running), at(7));
}

#[test]
fn a_mark_counts_until_there_is_a_newer_document() {
    for (signed_at, counts) in [
        (None, false),
        (Some(T0 - TimeDelta::seconds(1)), false),
        (Some(T0), true),
        (Some(at(900_000)), true),
    ] {
        let found = mark(at(100), signed_at);
        let (guard, _) = without_kept_time(T0, Some(&found));
        let expected = if counts { at(100) } else { T0 };
        assert_eq!(guard.now(Duration::ZERO), expected, "{signed_at:?}");
        let machine = Machine::new();
        let (guard, _) = begun(&machine).recalled(Some(&found), Some(T0), machine.read());
        assert_eq!(guard.now(Duration::ZERO), expected, "{signed_at:?}");
    }
    // Without a document nothing is newer.
    let machine = Machine::new();
    let found = mark(at(100), None);
    let floor = DateTime::UNIX_EPOCH;
    let (guard, _) = TimeGuard::start(None, Some(&found), None, floor, machine.read());
    assert_eq!(guard.now(Duration::ZERO), at(100));
}

#[test]
fn claims_that_led_to_a_mark_do_not_count_again() {
    let found = Mark {
        lead_ms: hours(20).num_milliseconds(),
        ..mark(at(50), Some(T0))
    };
    let (guard, _) = without_kept_time(at(54), Some(&found));
    assert_eq!(guard.now(Duration::ZERO), at(54));
    let (guard, _) = without_kept_time(at(55), Some(&found));
    assert_eq!(guard.now(Duration::ZERO), at(50));
    assert!(guard.awaits_validation());
}

#[test]
fn a_wrong_wall_clock_is_not_shared_with_other_processes() {
    // Believed because no time was stored, and because it was stable for 72 h.
    let mut machine = Machine::new();
    machine.wall = at(100_000);
    let (guard, _) = without_kept_time(machine.wall, None);
    let (assumed, _) = guard.unanswered(machine.read());
    let (doubting, _) = begun(&Machine::new()).observed(machine.read());
    machine.run(hours(72));
    let (stood, events) = doubting.observed(machine.read());
    assert!(matches!(events[..], [ClockEvent::Believed { .. }]));
    let (assumed, _) = assumed.observed(machine.read());
    for guard in [assumed, stood] {
        assert_eq!(guard.now(machine.running), machine.wall);
        assert_eq!(guard.shared_mark().at, at(72));
        // The state stored by this machine does not share it either.
        let mut again = machine.clone();
        again.running = Duration::ZERO;
        let floor = DateTime::UNIX_EPOCH;
        let kept = guard.stopped();
        let (same, _) = TimeGuard::start(Some(&kept), None, None, floor, again.read());
        assert_eq!(same.shared_mark().at, at(72));
        let mark = guard.mark();
        let (other, _) = TimeGuard::start(None, Some(&mark), Some(T0), floor, again.read());
        assert_eq!(other.now(again.running), machine.wall);
        assert_eq!(other.shared_mark().at, at(72));
    }
}

#[test]
fn signed_times_are_shared_although_the_wall_clock_claims_more() {
    let mut machine = Machine::new();
    machine.wall = at(100_000);
    let (guard, _) = without_kept_time(machine.wall, None);
    let (guard, _) = guard.unanswered(machine.read());
    assert_eq!(guard.shared_mark().at, T0);
    let learned = guard.at_least(at(50), machine.read());
    let (recalled, _) = guard.recalled(None, Some(at(50)), machine.read());
    let floor = DateTime::UNIX_EPOCH;
    let kept = guard.stopped();
    let (started, _) = TimeGuard::start(Some(&kept), None, Some(at(50)), floor, machine.read());
    for guard in [learned, recalled, started] {
        assert_eq!(guard.now(machine.running), at(100_000));
        assert_eq!(guard.shared_mark().at, at(50));
    }
}

#[test]
fn a_forged_mark_does_not_spoil_the_shared_mark() {
    let machine = Machine::new();
    let found = Mark {
        assumed_ms: i64::MAX,
        lead_ms: i64::MAX,
        ..mark(at(9), Some(at(9000)))
    };
    let (guard, _) = begun(&machine).recalled(Some(&found), Some(T0), machine.read());
    assert_eq!(guard.now(machine.running), at(9));
    assert_eq!(guard.shared_mark().at, T0);
    let (guard, _) = without_kept_time(T0, Some(&found));
    assert_eq!(guard.now(Duration::ZERO), at(9));
    assert_eq!(guard.shared_mark().at, T0);
}

#[test]
fn marks_are_ordered_by_document_and_then_by_time() {
    let older = mark(at(900), Some(T0));
    let newer = mark(at(5), Some(at(4)));
    let later = mark(at(6), Some(at(4)));
    for (one, other, kept) in [(older, newer, newer), (newer, later, later)] {
        assert_eq!(one.merged(other), kept);
        assert_eq!(other.merged(one), kept);
    }
}

#[test]
fn changes_of_the_time_are_stored_immediately() {
    let mut machine = Machine::new();
    let guard = begun(&machine);
    let kept = guard.believed();
    machine.run(hours(5));
    let (guard, _) = guard.observed(machine.read());
    assert!(!guard.has_moved_since(&kept));
    machine.wall += TimeDelta::seconds(60);
    let (guard, _) = guard.observed(machine.read());
    assert!(!guard.has_moved_since(&kept));
    machine.wall += TimeDelta::milliseconds(1);
    let (claimed, _) = guard.observed(machine.read());
    assert!(claimed.has_moved_since(&kept));
    assert!(
        guard
            .at_least(at(900), machine.read())
            .has_moved_since(&kept)
    );
    let (proven, _) = guard.proven(at(5), Duration::ZERO, machine.read());
    assert!(proven.has_moved_since(&kept));
    let (waiting, _) = without_kept_time(at(1000), None);
    machine.wall = at(1000);
    let (assumed, _) = waiting.unanswered(machine.read());
    assert!(assumed.has_moved_since(&waiting.believed()));
}

#[test]
fn marks_know_documents_from_files() {
    let mut machine = Machine::new();
    machine.run(hours(72));
    let guard = begun(&machine);
    for signed in [at(-20), T0] {
        let (same, event) = guard.answered(signed, machine.read());
        assert_eq!((event, same.mark().signed_at), (None, Some(T0)));
    }
    let (set, event) = guard.answered(at(100), machine.read());
    assert!(event.is_some());
    assert_eq!(set.mark().signed_at, Some(at(100)));
}
