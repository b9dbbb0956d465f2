//! By which time things start that a license grants later.

use std::time::Duration;

use chrono::{DateTime, TimeDelta};
use license_core::time_guard::{BELIEVED_LEAD, TimeGuard};

use super::marks::mark;
use super::{Machine, begun, hours};
use crate::signer::{T0, at};

#[test]
fn an_honest_site_is_certain_for_as_long_as_it_runs() {
    let mut machine = Machine::new();
    let mut guard = begun(&machine);
    for _ in 0..60 {
        machine.run(hours(24));
        (guard, _) = guard.observed(machine.read());
        // Its program is updated, and its machine restarts, each month.
        machine.reboot(TimeDelta::minutes(5), TimeDelta::minutes(1));
        let kept = guard.stopped();
        let floor = DateTime::UNIX_EPOCH;
        (guard, _) = TimeGuard::start(Some(&kept), None, Some(T0), floor, machine.read());
        let now = guard.plausible(machine.running);
        assert_eq!((now.earliest(), now.latest()), (machine.wall, machine.wall));
    }
}

#[test]
fn no_lost_time_and_no_clock_and_no_mark_starts_anything_early() {
    let latest_start = T0 + BELIEVED_LEAD;
    // Without stored time, after a validation attempt.
    let mut machine = Machine::new();
    machine.wall = at(61 * 24);
    let (guard, _) = TimeGuard::start(None, None, Some(T0), DateTime::UNIX_EPOCH, machine.read());
    let (assumed, _) = guard.unanswered(machine.read());
    // A mark in the database or, without the note that it is a claim, in the local copy.
    let machine = Machine::new();
    let far = mark(at(61 * 24), Some(T0));
    let (in_the_row, _) = begun(&machine).recalled(Some(&far.as_claim()), None, machine.read());
    let (in_the_copy, _) = begun(&machine).recalled(Some(&far), None, machine.read());
    // A claim that has persisted.
    let mut machine = Machine::new();
    let mut persisted = begun(&machine);
    machine.wall = at(60 * 24 - 72);
    for _ in 0..=72 {
        (persisted, _) = persisted.observed(machine.read());
        machine.run(hours(1));
    }
    let ran = machine.running;
    for (guard, ran) in [
        (assumed, Duration::ZERO),
        (in_the_row, Duration::ZERO),
        (in_the_copy, Duration::ZERO),
        (persisted, ran),
    ] {
        let now = guard.plausible(ran);
        assert!(now.latest() >= at(60 * 24), "{now:?}");
        assert!(now.earliest() <= latest_start + hours(73), "{now:?}");
        let ran = TimeDelta::from_std(ran).unwrap();
        assert!(now.earliest() <= latest_start + ran, "{now:?}");
        // A restart changes nothing.
        let kept = guard.stopped();
        let readings = Machine::new().read();
        let floor = DateTime::UNIX_EPOCH;
        let (again, _) = TimeGuard::start(Some(&kept), None, Some(T0), floor, readings);
        assert!(again.plausible(Duration::ZERO).earliest() <= latest_start + ran);
        // A signed response ends the doubt.
        let readings = Machine::new().read();
        let (proven, _) = again.proven(at(9), Duration::ZERO, readings);
        let now = proven.plausible(Duration::ZERO);
        assert_eq!((now.earliest(), now.latest()), (at(9), at(9)));
    }
}
