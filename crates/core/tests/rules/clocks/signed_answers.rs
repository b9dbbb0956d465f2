//! What a signed answer to the own question does to the time.

use std::time::Duration;

use chrono::{DateTime, SubsecRound as _, TimeDelta};
use license_core::time_guard::{ClockEvent, TimeGuard};

use super::{Machine, begun, hours};
use crate::signer::{T0, at};

#[test]
fn a_signed_answer_sets_the_time_down_and_up_and_what_it_refutes_stays_refuted() {
    for hours_off in [-50, -1, 1, 50] {
        let mut machine = Machine::new();
        let guard = begun(&machine);
        let truth = at(hours_off);
        let (guard, event) = guard.proven(truth, Duration::ZERO, machine.read());
        assert_eq!(guard.now(machine.running), truth);
        let by = hours(hours_off);
        assert_eq!(event, Some(ClockEvent::Set { by }));
        // The wall clock is off by as much as before, and makes no new claim.
        machine.run(hours(3));
        let (guard, events) = guard.observed(machine.read());
        assert_eq!(
            (guard.now(machine.running), events.len()),
            (truth + hours(3), 0)
        );
        // Five seconds are within the noise, ten are not.
        machine.wall += TimeDelta::seconds(5);
        let (guard, _) = guard.observed(machine.read());
        assert_eq!(guard.now(machine.running), truth + hours(3));
        if hours_off == -1 {
            machine.wall += TimeDelta::seconds(5);
            let (guard, _) = guard.observed(machine.read());
            assert_eq!(guard.now(machine.running), machine.wall);
        }
    }
}

#[test]
fn a_signed_answer_that_agrees_within_a_minute_only_ends_doubt() {
    for (seconds, set) in [(-61, true), (-60, false), (60, false), (61, true)] {
        let mut machine = Machine::new();
        let guard = begun(&machine);
        machine.wall += hours(100);
        let (guard, _) = guard.observed(machine.read());
        assert!(guard.doubts());
        let signed = T0 + TimeDelta::seconds(seconds);
        let (guard, event) = guard.proven(signed, Duration::ZERO, machine.read());
        assert_eq!(event.is_some(), set, "{seconds}");
        let expected = if set { signed } else { T0 };
        assert_eq!(guard.now(machine.running), expected);
        assert!(!guard.doubts());
        let believed = guard.believed();
        assert_eq!((believed.lead_ms, believed.doubt), (0, None));
    }
}

#[test]
fn a_signed_answer_takes_back_time_counted_for_killed_processes() {
    let mut machine = Machine::new();
    let mut guard = begun(&machine);
    for _ in 0..4 {
        machine.run(TimeDelta::seconds(1));
        let (next, _) = TimeGuard::start(
            Some(&guard.believed()),
            None,
            None,
            DateTime::UNIX_EPOCH,
            machine.read(),
        );
        guard = next;
    }
    let ahead = |guard: &TimeGuard, machine: &Machine| guard.now(machine.running) - machine.wall;
    assert_eq!(ahead(&guard, &machine), TimeDelta::seconds(36));
    let signed = machine.wall.trunc_subsecs(0);
    let (guard, event) = guard.proven(signed, Duration::ZERO, machine.read());
    assert_eq!(event, None);
    assert!(ahead(&guard, &machine) <= TimeDelta::seconds(1));
    // There is nothing left to take back.
    let earlier = signed - TimeDelta::seconds(30);
    let (after, _) = guard.proven(earlier, Duration::ZERO, machine.read());
    assert_eq!(after.now(machine.running), guard.now(machine.running));
}

#[test]
fn a_delayed_answer_does_not_set_the_time_back() {
    // Sent at T0, signed immediately, and delivered after 20 minutes.
    let waited = Duration::from_secs(20 * 60);
    let passed = TimeDelta::minutes(20);
    for (seconds_off, expected) in [
        // Times as signed, as received, and in between: all agree.
        (0, None),
        (600, None),
        (1200, None),
        (-60, None),
        (1260, None),
        (-61, Some(T0 + passed)),
        (1261, Some(T0 + passed)),
    ] {
        let mut machine = Machine::new();
        machine.wall = T0 + TimeDelta::seconds(seconds_off);
        let (guard, _) = TimeGuard::start(None, None, None, DateTime::UNIX_EPOCH, machine.read());
        let (guard, event) = guard.proven(T0, waited, machine.read());
        let now = guard.now(machine.running);
        assert_eq!(now, expected.unwrap_or(machine.wall), "{seconds_off}");
        let by = now - machine.wall;
        assert_eq!(event, expected.map(|_| ClockEvent::Set { by }));
    }
}
