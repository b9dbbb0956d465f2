//! A start without stored time.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use license_core::time_guard::{Believed, ClockEvent, Mark, TimeGuard};

use super::marks::mark;
use super::{Machine, hours};
use crate::signer::{T0, at};

/// A site whose stored time was lost, with `wall` on the wall clock.
pub(super) fn without_kept_time(
    wall: DateTime<Utc>,
    mark: Option<&Mark>,
) -> (TimeGuard, Vec<ClockEvent>) {
    let mut machine = Machine::new();
    machine.wall = wall;
    TimeGuard::start(None, mark, Some(T0), DateTime::UNIX_EPOCH, machine.read())
}

#[test]
fn without_stored_time_the_wall_clock_counts_after_a_validation_attempt() {
    for ahead in [30, 365 * 24] {
        let mut machine = Machine::new();
        machine.wall = at(ahead);
        let (guard, events) = without_kept_time(at(ahead), None);
        let ahead = hours(ahead);
        assert_eq!(events, [ClockEvent::AwaitsValidation { ahead }]);
        assert!(guard.awaits_validation());
        // Regardless of how long that takes, and how often the clocks are read.
        machine.run(hours(80));
        let (guard, events) = guard.observed(machine.read());
        assert_eq!((guard.now(machine.running), events.len()), (at(80), 0));
        let (guard, events) = guard.unanswered(machine.read());
        assert_eq!(events, [ClockEvent::Assumed { ahead }]);
        assert_eq!(guard.now(machine.running), machine.wall);
        assert!(!guard.awaits_validation() && !guard.doubts());
        // This happens only once.
        machine.wall += hours(100);
        let (guard, events) = guard.unanswered(machine.read());
        assert!(matches!(events[..], [ClockEvent::Doubted { .. }]));
        assert_eq!(guard.now(machine.running), machine.wall - hours(100));
    }
}

#[test]
fn without_stored_time_one_day_ahead_is_believed_and_more_waits() {
    let (guard, events) = without_kept_time(at(24), None);
    assert_eq!((guard.now(Duration::ZERO), events.len()), (at(24), 0));
    assert!(!guard.awaits_validation());
    let (guard, _) = without_kept_time(at(24) + TimeDelta::milliseconds(1), None);
    assert_eq!(guard.now(Duration::ZERO), T0);
    assert!(guard.awaits_validation());
    let (guard, events) = without_kept_time(at(-1000), None);
    assert_eq!(guard.now(Duration::ZERO), T0);
    assert!(matches!(events[..], [ClockEvent::Behind { .. }]));
    assert!(!guard.awaits_validation());
}

#[test]
fn a_signed_answer_overrides_a_wall_clock_without_stored_time() {
    let mut machine = Machine::new();
    machine.wall = at(100_000);
    let (guard, _) = without_kept_time(machine.wall, None);
    let (guard, _) = guard.proven(at(300), Duration::ZERO, machine.read());
    let (guard, _) = guard.unanswered(machine.read());
    assert_eq!(guard.now(machine.running), at(300));
    // The same if a validation had failed before.
    let (guard, _) = without_kept_time(machine.wall, None);
    let (guard, _) = guard.unanswered(machine.read());
    let (guard, _) = guard.proven(at(300), Duration::ZERO, machine.read());
    assert_eq!(guard.now(machine.running), at(300));
    assert_eq!(guard.mark(), mark(at(300), Some(at(300))));
    // A wall clock that is corrected in the meantime does not wait.
    let (guard, _) = without_kept_time(machine.wall, None);
    machine.wall = at(20);
    let (guard, _) = guard.observed(machine.read());
    assert!(!guard.awaits_validation());
    assert_eq!(guard.now(machine.running), at(20));
}

#[test]
fn a_start_after_one_that_was_ended_while_it_waited_goes_by_the_wall_clock() {
    let mut machine = Machine::new();
    machine.wall = at(240);
    let start = |kept: Option<&Believed>, machine: &Machine| {
        let signed = kept.is_none().then_some(T0);
        TimeGuard::start(kept, None, signed, DateTime::UNIX_EPOCH, machine.read())
    };
    let (guard, events) = start(None, &machine);
    let ahead = hours(240);
    assert_eq!(events, [ClockEvent::AwaitsValidation { ahead }]);
    assert!(guard.awaits_validation());
    assert_eq!(guard.now(machine.running), T0);
    // What it runs for counts, however it ends.
    machine.run(TimeDelta::minutes(1));
    let (guard, _) = guard.observed(machine.read());
    for kept in [guard.believed(), guard.stopped()] {
        assert!(kept.awaits_validation);
        assert_eq!(kept.at, T0 + TimeDelta::minutes(1));
        let (guard, events) = start(Some(&kept), &machine);
        assert!(
            matches!(events[..], [ClockEvent::Assumed { .. }]),
            "{events:?}"
        );
        assert!(!guard.awaits_validation());
        assert_eq!(guard.now(machine.running), machine.wall);
        assert!(!guard.stopped().awaits_validation);
        // A signed answer sets it, as always.
        let (guard, _) = guard.proven(at(1), Duration::ZERO, machine.read());
        assert_eq!(guard.now(machine.running), at(1));
        // Once the wall clock is no longer ahead, there is nothing to report.
        let mut right = machine.clone();
        right.wall = at(1);
        let (guard, events) = start(Some(&kept), &right);
        assert_eq!(events, []);
        assert_eq!(guard.now(right.running), at(1));
    }
}
