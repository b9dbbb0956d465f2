//! Claims of the wall clock, and of the boot clock after a suspend.

use std::time::Duration;

use chrono::TimeDelta;
use license_core::time_guard::{BELIEVED_LEAD, ClockEvent, DOUBT_DURATION};

use super::{Machine, begun, hours};
use crate::signer::{T0, at};

#[test]
fn time_passes_with_the_running_machine_regardless_of_the_wall_clock() {
    let mut machine = Machine::new();
    let guard = begun(&machine);
    machine.run(hours(5));
    machine.wall = at(-10_000);
    assert_eq!(guard.now(machine.running), at(5));
    let (guard, events) = guard.observed(machine.read());
    assert_eq!(guard.now(machine.running), at(5));
    assert_eq!(events, [ClockEvent::Behind { by: hours(10_005) }]);
    // Reported once, and again only after it was right in between.
    machine.run(hours(1));
    let (guard, events) = guard.observed(machine.read());
    assert_eq!((guard.now(machine.running), events.len()), (at(6), 0));
    assert_eq!(guard.wall_ahead(), hours(-10_005));
    machine.wall = at(6);
    let (guard, _) = guard.observed(machine.read());
    machine.wall = at(5);
    let (_, events) = guard.observed(machine.read());
    assert_eq!(events, [ClockEvent::Behind { by: hours(1) }]);
}

#[test]
fn more_than_five_minutes_behind_is_reported() {
    for (seconds, said) in [(300, 0), (301, 1)] {
        let mut machine = Machine::new();
        let guard = begun(&machine);
        machine.wall = T0 - TimeDelta::seconds(seconds);
        let (guard, events) = guard.observed(machine.read());
        assert_eq!((guard.now(machine.running), events.len()), (T0, said));
    }
}

#[test]
fn claims_are_believed_up_to_a_total_of_one_day() {
    let mut machine = Machine::new();
    let guard = begun(&machine);
    machine.wall += hours(20);
    let (guard, events) = guard.observed(machine.read());
    assert_eq!((guard.now(machine.running), events.len()), (at(20), 0));
    let mut exactly = machine.clone();
    exactly.wall += hours(4);
    let (full, events) = guard.observed(exactly.read());
    assert_eq!((full.now(exactly.running), events.len()), (at(24), 0));
    let more = hours(4) + TimeDelta::milliseconds(1);
    machine.wall += more;
    let (doubting, events) = guard.observed(machine.read());
    assert_eq!(doubting.now(machine.running), at(20));
    assert_eq!(events, [ClockEvent::Doubted { ahead: more }]);
    assert!(doubting.doubts() && !full.doubts());
    assert_eq!(BELIEVED_LEAD, hours(24));
}

#[test]
fn a_doubted_clock_is_believed_after_it_has_stood_for_72_hours_of_running_time() {
    let mut machine = Machine::new();
    let (mut guard, _) = begun(&machine).observed(machine.read());
    machine.wall += hours(1000);
    (guard, _) = guard.observed(machine.read());
    for hour in 1..72 {
        machine.run(hours(1));
        let events;
        (guard, events) = guard.observed(machine.read());
        assert_eq!((guard.now(machine.running), events.len()), (at(hour), 0));
    }
    machine.run(hours(1));
    let (guard, events) = guard.observed(machine.read());
    assert_eq!(events, [ClockEvent::Believed { ahead: hours(1000) }]);
    assert_eq!(guard.now(machine.running), at(1072));
    assert!(!guard.doubts());
    assert_eq!(DOUBT_DURATION, hours(72));
    // After that, claims may again add up to a day.
    machine.wall += hours(24);
    let (guard, _) = guard.observed(machine.read());
    assert_eq!(guard.now(machine.running), at(1096));
}

#[test]
fn a_doubt_restarts_if_it_changes_by_more_than_a_day_and_clears_with_its_cause() {
    let mut machine = Machine::new();
    let guard = begun(&machine);
    machine.wall += hours(100);
    let (guard, _) = guard.observed(machine.read());
    machine.run(hours(71));
    let (guard, _) = guard.observed(machine.read());
    let mut leaping = machine.clone();
    leaping.wall += hours(24) + TimeDelta::milliseconds(1);
    leaping.run(hours(1));
    let (again, events) = guard.observed(leaping.read());
    assert_eq!(again.now(leaping.running), at(72));
    assert!(matches!(events[..], [ClockEvent::Doubted { .. }]));
    let mut drifting = machine.clone();
    drifting.wall += hours(24);
    drifting.run(hours(1));
    let (believed, _) = guard.observed(drifting.read());
    assert_eq!(believed.now(drifting.running), drifting.wall);
    machine.wall = at(71);
    let (guard, _) = guard.observed(machine.read());
    assert!(!guard.doubts());
}

#[test]
fn a_suspended_machine_gains_at_most_the_time_that_is_not_believed() {
    let mut machine = Machine::new();
    let guard = begun(&machine);
    // Five seconds are within the noise of reading the clocks one after another.
    let mut dozing = machine.clone();
    dozing.since_boot += Duration::from_secs(5);
    assert_eq!(guard.observed(dozing.read()).0.now(dozing.running), T0);
    dozing.since_boot += Duration::from_secs(1);
    let (awake, _) = guard.observed(dozing.read());
    assert_eq!(awake.now(dozing.running), T0 + TimeDelta::seconds(6));

    machine.sleep(hours(10));
    machine.wall = T0;
    let (guard, events) = guard.observed(machine.read());
    assert_eq!((guard.now(machine.running), events.len()), (at(10), 1));
    machine.sleep(hours(14));
    let (full, _) = guard.observed(machine.read());
    assert_eq!(full.now(machine.running), at(24));
    machine.sleep(TimeDelta::seconds(6));
    let (guard, events) = full.observed(machine.read());
    assert_eq!(guard.now(machine.running), at(24));
    let by = TimeDelta::seconds(6);
    assert_eq!(events, [ClockEvent::BootClockLeapt { by }]);
}

#[test]
fn a_wall_clock_known_to_be_behind_is_not_reported_again() {
    for (seconds, said) in [(300, 1), (301, 0)] {
        let mut machine = Machine::new();
        let guard = begun(&machine);
        machine.wall = T0 - TimeDelta::seconds(seconds);
        let (guard, _) = guard.proven(T0, Duration::ZERO, machine.read());
        // It is set, and is still behind.
        machine.wall = T0 - TimeDelta::seconds(400);
        let (_, events) = guard.observed(machine.read());
        assert_eq!(events.len(), said, "{seconds}");
    }
    // A clock that is ahead is not behind.
    let mut machine = Machine::new();
    let guard = begun(&machine);
    machine.wall = at(5);
    let (guard, _) = guard.proven(T0, Duration::ZERO, machine.read());
    machine.wall = at(-5);
    let (_, events) = guard.observed(machine.read());
    assert_eq!(events, [ClockEvent::Behind { by: hours(5) }]);
}

#[test]
fn a_wall_clock_that_agrees_with_a_signed_answer_is_not_refuted() {
    for (seconds, believed) in [(60, true), (61, false)] {
        let mut machine = Machine::new();
        let guard = begun(&machine);
        machine.wall = T0 + TimeDelta::seconds(seconds);
        let (guard, _) = guard.proven(T0, Duration::ZERO, machine.read());
        let (guard, _) = guard.observed(machine.read());
        let expected = if believed { machine.wall } else { T0 };
        assert_eq!(guard.now(machine.running), expected, "{seconds}");
    }
}
