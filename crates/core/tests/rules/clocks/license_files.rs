//! What documents that come by hand do to the time.

use std::time::Duration;

use chrono::DateTime;
use license_core::time_guard::{ClockEvent, Mark, TimeGuard};

use super::marks::mark;
use super::{Machine, begun, hours};
use crate::signer::{T0, at};

#[test]
fn a_license_file_corrects_a_time_far_ahead_after_the_clock_is_set() {
    let mut machine = Machine::new();
    machine.wall = at(40_000);
    let (guard, _) = TimeGuard::start(None, None, None, DateTime::UNIX_EPOCH, machine.read());
    machine.run(hours(72));
    // A clock that is still wrong makes the same claim as before.
    let (wrong, event) = guard.answered(at(24), machine.read());
    assert_eq!((wrong.now(machine.running), event), (at(40_072), None));
    for guard in [guard, wrong] {
        machine.wall = at(96);
        let (guard, event) = guard.answered(at(25), machine.read());
        let by = at(96) - at(40_072);
        assert_eq!(guard.now(machine.running), at(96));
        assert_eq!(event, Some(ClockEvent::Set { by }));
        // A wall clock that is wrong again makes a new claim.
        machine.wall = at(40_000);
        let (guard, events) = guard.observed(machine.read());
        assert!(matches!(events[..], [ClockEvent::Doubted { .. }]));
        assert_eq!(guard.now(machine.running), at(96));
    }
    // A clock that is corrected in two steps needs two files.
    let (guard, _) = TimeGuard::start(None, None, None, DateTime::UNIX_EPOCH, machine.read());
    machine.wall = at(5000);
    let (guard, _) = guard.answered(at(24), machine.read());
    assert_eq!(guard.now(machine.running), at(5000));
    machine.wall = at(30);
    let (guard, _) = guard.answered(at(26), machine.read());
    assert_eq!(guard.now(machine.running), at(30));
}

#[test]
fn a_license_file_never_gives_extra_time_to_a_site_whose_time_is_right() {
    let mut machine = Machine::new();
    let guard = begun(&machine);
    machine.run(hours(72));
    let (guard, event) = guard.answered(at(24), machine.read());
    assert_eq!((guard.now(machine.running), event), (at(72), None));
    // A site that is behind gets a lower bound of the time.
    let (guard, event) = guard.answered(at(100), machine.read());
    let by = hours(28);
    assert_eq!(guard.now(machine.running), at(100));
    assert_eq!(event, Some(ClockEvent::Set { by }));
    // Setting the wall clock back for the import has no effect.
    machine.wall = T0;
    let (guard, event) = guard.answered(at(99), machine.read());
    assert_eq!((guard.now(machine.running), event), (at(100), None));
}

#[test]
fn without_stored_time_a_file_does_not_set_a_correct_clock_back() {
    // The file was signed at T0, and everything else was lost half a year later.
    for wall_at_the_import in [at(24 * 182), at(650_000)] {
        let mut machine = Machine::new();
        machine.wall = at(24 * 182);
        let (guard, _) = TimeGuard::start(None, None, None, DateTime::UNIX_EPOCH, machine.read());
        machine.wall = wall_at_the_import;
        let (guard, event) = guard.answered(T0, machine.read());
        assert_eq!((guard.now(machine.running), event), (at(24 * 182), None));
    }
}

#[test]
fn files_take_back_claims_but_never_running_time() {
    let mut machine = Machine::new();
    let (mut guard, _) = begun(&machine).proven(T0, Duration::ZERO, machine.read());
    let turned_back = |machine: &Machine| {
        let mut machine = machine.clone();
        machine.wall = T0;
        machine.read()
    };
    for days in 1..=90 {
        machine.run(hours(24));
        let (next, event) = guard.answered(T0, turned_back(&machine));
        assert_eq!((next.now(machine.running), event), (at(24 * days), None));
        guard = next;
    }
    // The wall clock claims one more day, which is taken back once.
    machine.wall += hours(20);
    let (claimed, _) = guard.observed(machine.read());
    assert_eq!(claimed.now(machine.running), at(24 * 90 + 20));
    let (back, event) = claimed.answered(T0, turned_back(&machine));
    assert_eq!(back.now(machine.running), at(24 * 90));
    assert_eq!(event, Some(ClockEvent::Set { by: -hours(20) }));
    let (same, event) = back.answered(T0, turned_back(&machine));
    assert_eq!((same.now(machine.running), event), (at(24 * 90), None));
}

#[test]
fn a_file_takes_back_any_shared_mark() {
    let found = Mark {
        signed_at: Some(at(700_000)),
        ..mark(at(600_000), None)
    };
    let mut machine = Machine::new();
    let kept = begun(&machine).stopped();
    for (kept, signed) in [(Some(&kept), None), (None, Some(T0))] {
        let floor = DateTime::UNIX_EPOCH;
        let (guard, _) = TimeGuard::start(kept, None, signed, floor, machine.read());
        let (guard, _) = guard.recalled(Some(&found.as_claim()), signed, machine.read());
        assert_eq!(guard.now(machine.running), at(600_000));
        // Also after a restart, from its file or from the local copy.
        let (believed, own) = (guard.stopped(), guard.mark());
        let again = |kept, mark| TimeGuard::start(kept, mark, Some(T0), floor, machine.read()).0;
        for guard in [guard, again(Some(&believed), None), again(None, Some(&own))] {
            assert_eq!(guard.now(machine.running), at(600_000));
            let (guard, event) = guard.answered(T0, machine.read());
            assert!(matches!(event, Some(ClockEvent::Set { .. })));
            assert_eq!(guard.now(machine.running), T0);
        }
    }
    // The running time since then is not taken back.
    let (guard, _) = TimeGuard::start(Some(&kept), None, None, T0, machine.read());
    let (guard, _) = guard.recalled(Some(&found.as_claim()), None, machine.read());
    machine.run(hours(50));
    machine.wall = T0;
    let (guard, _) = guard.answered(T0, machine.read());
    assert_eq!(guard.now(machine.running), at(50));
}

#[test]
fn a_request_uses_the_wall_clock_if_it_is_behind() {
    let mut machine = Machine::new();
    let guard = begun(&machine);
    machine.run(hours(10));
    for (wall, says) in [(-1, 10), (0, 0), (4, 4), (10, 10), (400, 10)] {
        machine.wall = at(wall);
        assert_eq!(guard.written_at(&machine.read()), at(says), "{wall}");
    }
    // Without a document, a wall clock is never certainly wrong.
    let (guard, _) = TimeGuard::start(None, None, None, DateTime::UNIX_EPOCH, machine.read());
    machine.wall = at(-90_000);
    assert_eq!(guard.written_at(&machine.read()), at(-90_000));
}

#[test]
fn a_document_from_a_file_only_moves_the_time_forward() {
    let machine = Machine::new();
    let guard = begun(&machine);
    let at_least = |signed| guard.at_least(signed, machine.read()).now(machine.running);
    assert_eq!(at_least(at(-1)), T0);
    assert_eq!(at_least(at(9000)), at(9000));
}

#[test]
fn time_continues_from_a_document_in_a_file() {
    let mut machine = Machine::new();
    let guard = begun(&machine);
    machine.run(hours(5));
    let guard = guard.at_least(at(7), machine.read());
    assert_eq!(guard.now(machine.running), at(7));
    machine.run(hours(1));
    assert_eq!(guard.now(machine.running), at(8));
}
