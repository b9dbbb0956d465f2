//! The effective time for each clock and each limit.

use std::time::Duration;

use chrono::{DateTime, SubsecRound as _, TimeDelta, Utc};
use license_core::time_guard::{
    BELIEVED_LEAD, Believed, ClockEvent, DOUBT_STANDS, Doubt, Mark, Readings, TimeGuard,
};

use proptest::prelude::*;

use crate::signer::{T0, at};

/// A machine with clocks that the test controls.
#[derive(Clone)]
struct Machine {
    wall: DateTime<Utc>,
    running: Duration,
    since_boot: Duration,
    boots: u32,
}

impl Machine {
    fn new() -> Self {
        Self {
            wall: T0,
            running: Duration::ZERO,
            since_boot: Duration::from_secs(600),
            boots: 1,
        }
    }

    fn read(&self) -> Readings {
        Readings {
            wall: self.wall,
            running: self.running,
            since_boot: self.since_boot,
            boot_id: Some(self.boots.to_string()),
        }
    }

    fn run(&mut self, by: TimeDelta) {
        self.wall += by;
        self.running += by.to_std().unwrap();
        self.since_boot += by.to_std().unwrap();
    }

    fn sleep(&mut self, by: TimeDelta) {
        self.wall += by;
        self.since_boot += by.to_std().unwrap();
    }

    /// Power off and on again, with a new process.
    fn reboot(&mut self, off: TimeDelta, up: TimeDelta) {
        self.wall += off + up;
        self.running = Duration::ZERO;
        self.since_boot = up.to_std().unwrap();
        self.boots += 1;
    }
}

fn begun(machine: &Machine) -> TimeGuard {
    TimeGuard::start(None, None, Some(T0), DateTime::UNIX_EPOCH, machine.read()).0
}

fn hours(hours: i64) -> TimeDelta {
    TimeDelta::hours(hours)
}

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
    assert_eq!(DOUBT_STANDS, hours(72));
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
        let (guard, _) = guard.recalled(Some(&found.told()), signed, machine.read());
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
    let (guard, _) = guard.recalled(Some(&found.told()), None, machine.read());
    machine.run(hours(50));
    machine.wall = T0;
    let (guard, _) = guard.answered(T0, machine.read());
    assert_eq!(guard.now(machine.running), at(50));
}

#[test]
fn a_mark_does_not_turn_known_time_into_a_claim() {
    let mut machine = Machine::new();
    let guard = begun(&machine);
    machine.run(hours(200));
    let all = Mark {
        lead_ms: i64::MAX,
        assumed_ms: i64::MAX,
        told_ms: i64::MAX,
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
fn a_process_without_a_clean_stop_counts_as_running_for_longer() {
    for (ran, unseen) in [
        (0, 10),
        (500, 10),
        (3600, 72),
        (15_000, 300),
        (900_000, 300),
    ] {
        let mut machine = Machine::new();
        let guard = begun(&machine);
        machine.run(TimeDelta::seconds(ran));
        let guard = guard.observed(machine.read()).0;
        let then = T0 + TimeDelta::seconds(ran);
        let unseen = TimeDelta::seconds(unseen);
        let up = TimeDelta::seconds(60);
        let mut rebooted = machine.clone();
        rebooted.reboot(TimeDelta::zero(), up);
        rebooted.wall = T0;
        let begin = |kept: &Believed, machine: &Machine| {
            let (guard, _) = TimeGuard::start(Some(kept), None, None, T0, machine.read());
            guard.now(Duration::ZERO)
        };
        assert_eq!(begin(&guard.stopped(), &rebooted), then + up);
        assert_eq!(begin(&guard.believed(), &rebooted), then + up + unseen);
        // Within one boot of the machine its clock determines the duration, unless it shows less
        // than is possible.
        let mut killed = machine.clone();
        killed.running = Duration::ZERO;
        killed.wall = T0;
        assert_eq!(begin(&guard.believed(), &killed), then + unseen);
        killed.run(hours(1));
        assert_eq!(begin(&guard.believed(), &killed), then + hours(1));
        assert_eq!(begin(&guard.stopped(), &killed), then + hours(1));
        // No file can extend it.
        let forged = Believed {
            unseen_ms: u64::MAX,
            ..guard.stopped()
        };
        assert_eq!(begin(&forged, &rebooted), then + up + TimeDelta::minutes(5));
    }
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
fn a_restart_of_the_process_counts_all_time_in_between() {
    let mut machine = Machine::new();
    let guard = begun(&machine);
    machine.run(hours(2));
    let kept = guard.observed(machine.read()).0.believed();
    machine.run(hours(300));
    machine.running = Duration::ZERO;
    machine.wall = T0;
    let (guard, events) = TimeGuard::start(Some(&kept), None, None, T0, machine.read());
    assert_eq!(guard.now(Duration::ZERO), at(302));
    assert!(matches!(events[..], [ClockEvent::Behind { .. }]));
}

#[test]
fn a_restart_of_the_machine_counts_running_time_but_not_time_off() {
    let mut machine = Machine::new();
    let guard = begun(&machine);
    machine.run(hours(2));
    let kept = guard.observed(machine.read()).0.stopped();
    machine.reboot(TimeDelta::days(10), hours(3));
    let (guard, events) = TimeGuard::start(Some(&kept), None, None, T0, machine.read());
    assert_eq!(guard.now(Duration::ZERO), at(5));
    assert_eq!(events, [ClockEvent::Doubted { ahead: hours(240) }]);
    // A night is believed.
    let mut machine = machine.clone();
    machine.wall = at(5 + 12);
    let (guard, _) = TimeGuard::start(Some(&kept), None, None, T0, machine.read());
    assert_eq!(guard.now(Duration::ZERO), at(17));
    // Without a boot id the boot clock decides: it has been running for three hours in
    // total, or for 2 h 10 min when the time was stored.
    let mut readings = machine.read();
    readings.wall = T0;
    let without = Believed {
        boot_id: None,
        ..kept
    };
    for (kept, boot_id) in [
        (&kept, None),
        (&without, None),
        (&without, readings.boot_id.clone()),
    ] {
        readings.boot_id = boot_id;
        for (since_boot, counted) in [(180, 50), (131, 1), (130, 0), (129, 129), (1, 1)] {
            readings.since_boot = Duration::from_secs(since_boot * 60);
            let (guard, _) = TimeGuard::start(Some(kept), None, None, T0, readings.clone());
            let counted = TimeDelta::minutes(counted);
            assert_eq!(guard.now(Duration::ZERO), at(2) + counted, "{since_boot}");
        }
    }
    // The same boot id with a contradicting boot clock counts as another boot.
    readings.boot_id = kept.boot_id.clone();
    readings.since_boot = Duration::from_secs(60);
    let (guard, _) = TimeGuard::start(Some(&kept), None, None, T0, readings);
    assert_eq!(guard.now(Duration::ZERO), at(2) + TimeDelta::minutes(1));
}

#[test]
fn doubt_and_lead_outlive_restarts() {
    let mut machine = Machine::new();
    let guard = begun(&machine);
    machine.wall += hours(23);
    let (guard, _) = guard.observed(machine.read());
    assert_eq!(guard.believed().lead_ms, hours(23).num_milliseconds());
    machine.reboot(TimeDelta::minutes(30), TimeDelta::minutes(30));
    let (guard, _) = TimeGuard::start(Some(&guard.stopped()), None, None, T0, machine.read());
    // Half an hour running, and half an hour off, which is believed.
    assert_eq!(guard.now(Duration::ZERO), at(24));
    machine.wall += hours(1);
    let (guard, events) = guard.observed(machine.read());
    assert_eq!(events, [ClockEvent::Doubted { ahead: hours(1) }]);
    machine.run(hours(71));
    let (guard, _) = guard.observed(machine.read());
    machine.reboot(TimeDelta::minutes(1), TimeDelta::minutes(1));
    let (guard, _) = TimeGuard::start(Some(&guard.stopped()), None, None, T0, machine.read());
    machine.run(hours(1));
    let (_, events) = guard.observed(machine.read());
    assert!(
        matches!(events[..], [ClockEvent::Believed { .. }]),
        "{events:?}"
    );
}

#[test]
fn refuted_claims_are_remembered_within_one_boot_only() {
    let mut machine = Machine::new();
    let guard = begun(&machine);
    let (guard, _) = guard.proven(at(-5), Duration::ZERO, machine.read());
    let kept = guard.stopped();
    machine.run(hours(1));
    machine.running = Duration::ZERO;
    let (guard, _) = TimeGuard::start(
        Some(&kept),
        None,
        None,
        DateTime::UNIX_EPOCH,
        machine.read(),
    );
    assert_eq!(guard.now(Duration::ZERO), at(-4));
    machine.reboot(TimeDelta::minutes(1), TimeDelta::minutes(1));
    let (guard, _) = TimeGuard::start(
        Some(&kept),
        None,
        None,
        DateTime::UNIX_EPOCH,
        machine.read(),
    );
    assert_eq!(guard.now(Duration::ZERO), machine.wall);
}

#[test]
fn time_starts_with_the_latest_record_or_else_the_wall_clock() {
    let start = |kept: Option<&Believed>, signed, floor, wall| {
        let machine = Machine {
            wall,
            ..Machine::new()
        };
        let (guard, _) = TimeGuard::start(kept, None, signed, floor, machine.read());
        guard.now(Duration::ZERO)
    };
    let kept = begun(&Machine::new()).stopped();
    let early = at(-9000);
    assert_eq!(start(None, None, early, at(77_000)), at(77_000));
    assert_eq!(start(None, None, at(3), early), at(3));
    assert_eq!(start(None, Some(at(2)), at(1), early), at(2));
    assert_eq!(start(None, Some(at(2)), at(3), early), at(3));
    assert_eq!(start(Some(&kept), Some(at(2)), early, early), at(2));
    assert_eq!(start(Some(&kept), Some(at(-2)), early, early), T0);
    // With a document, a wall clock that is far off is not believed.
    assert_eq!(start(None, Some(at(2)), early, at(77_000)), at(2));
    assert_eq!(start(None, Some(at(2)), early, at(25)), at(25));
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
fn impossible_numbers_do_not_panic() {
    for number in [i64::MIN, -1, 0, 1, i64::MAX] {
        let kept = Believed {
            at: T0,
            since_boot_ms: u64::MAX,
            boot_id: Some("1".into()),
            lead_ms: number,
            doubt: Some(Doubt {
                ahead_ms: number,
                stood_ms: number,
            }),
            refuted_ms: Some(number),
            signed_at: Some(T0),
            assumed_ms: number,
            told_ms: number,
            unseen_ms: number.cast_unsigned(),
            charged_ms: number,
            awaits_validation: false,
        };
        for wall in [DateTime::<Utc>::MIN_UTC, T0, DateTime::<Utc>::MAX_UTC] {
            let mut machine = Machine::new();
            machine.wall = wall;
            let (guard, _) = TimeGuard::start(Some(&kept), None, None, T0, machine.read());
            assert!(guard.now(Duration::ZERO) >= T0);
            machine.since_boot = Duration::MAX;
            machine.running = Duration::MAX;
            let (guard, _) = guard.observed(machine.read());
            assert!(guard.now(Duration::MAX) >= T0);
            for at in [DateTime::<Utc>::MIN_UTC, T0, DateTime::<Utc>::MAX_UTC] {
                let mark = Mark {
                    at,
                    signed_at: Some(DateTime::<Utc>::MAX_UTC),
                    lead_ms: number,
                    assumed_ms: number,
                    told_ms: number,
                };
                let (guard, _) = guard.recalled(Some(&mark), Some(at), machine.read());
                let (guard, _) = guard.unanswered(machine.read());
                assert!(guard.now(Duration::MAX) >= T0);
                let _ = (guard.believed(), guard.shared_mark());
                let start =
                    |kept| TimeGuard::start(kept, Some(&mark), Some(at), T0, machine.read()).0;
                for guard in [start(None), start(Some(&kept))] {
                    let (guard, _) = guard.unanswered(machine.read());
                    assert!(guard.now(Duration::MAX) >= T0);
                }
            }
        }
    }
}

#[test]
fn the_stored_time_is_the_believed_time() {
    let mut machine = Machine::new();
    let guard = begun(&machine);
    machine.wall += hours(100);
    let (guard, _) = guard.observed(machine.read());
    let kept = guard.believed();
    let text = serde_json::to_string(&kept).unwrap();
    assert_eq!(serde_json::from_str::<Believed>(&text).unwrap(), kept);
    assert_eq!((kept.at, kept.since_boot_ms), (T0, 600_000));
    // An older file lacks two fields.
    let mut older: serde_json::Value = serde_json::from_str(&text).unwrap();
    for field in ["toldMs", "unseenMs"] {
        older.as_object_mut().unwrap().remove(field).unwrap();
    }
    let older: Believed = serde_json::from_value(older).unwrap();
    assert_eq!(
        (older.told_ms, older.unseen_ms, kept.unseen_ms),
        (0, 0, 10_000)
    );
    assert_eq!(kept.doubt.unwrap().ahead_ms, hours(100).num_milliseconds());
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

/// A site whose stored time was lost, with `wall` on the wall clock.
fn without_kept_time(wall: DateTime<Utc>, mark: Option<&Mark>) -> (TimeGuard, Vec<ClockEvent>) {
    let mut machine = Machine::new();
    machine.wall = wall;
    TimeGuard::start(None, mark, Some(T0), DateTime::UNIX_EPOCH, machine.read())
}

fn mark(at: DateTime<Utc>, signed_at: Option<DateTime<Utc>>) -> Mark {
    Mark {
        at,
        signed_at,
        lead_ms: 0,
        assumed_ms: 0,
        told_ms: 0,
    }
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

/// Actions of a user who wants extra time, or makes mistakes. Hours are relative to the
/// true time.
#[derive(Clone, Debug)]
enum Deed {
    /// This many minutes pass.
    Run(i64),
    SetTheWall(i64),
    /// Imports a file that was signed this long ago, while the wall clock briefly shows another
    /// time.
    Import(i64, i64),
    /// A mark with arbitrary numbers appears in the database or in the local copy.
    FindAMark(i64, i64, [i64; 3], bool),
    Kill,
    Stop,
    /// Off for this many hours, and running for this many minutes before the service starts.
    Reboot(i64, i64, bool),
    /// What the kernel reports as the boot id from now on: none, always the same, or the correct
    /// one.
    Mask(u8),
    /// The boot clock starts at the same value at each boot.
    HoldTheBootClock(bool),
}

/// Usually a little off, sometimes far.
fn off() -> impl Strategy<Value = i64> {
    prop_oneof![4 => -300..30_i64, 1 => -9000..700_000_i64]
}

fn number() -> impl Strategy<Value = i64> {
    prop_oneof![any::<i64>(), 0..2_000_000_000_i64]
}

fn deed() -> impl Strategy<Value = Deed> {
    use Deed::*;
    prop_oneof![
        5 => (1..900_i64).prop_map(Run),
        2 => off().prop_map(SetTheWall),
        3 => (0..3000_i64, off()).prop_map(|(ago, wall)| Import(ago, wall)),
        2 => (prop_oneof![Just(0), off()], off(), [number(), number(), number()], any::<bool>())
            .prop_map(|(at, signed, numbers, shared)| FindAMark(at, signed, numbers, shared)),
        3 => Just(Kill),
        1 => Just(Stop),
        2 => (0..500_i64, 0..90_i64, any::<bool>())
            .prop_map(|(off, up, in_order)| Reboot(off, up, in_order)),
        1 => (0..3_u8).prop_map(Mask),
        1 => any::<bool>().prop_map(HoldTheBootClock),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// With the last version of its file, nothing that a licensee does sets the time back behind
    /// the running time of the service since the last proof.
    #[test]
    fn no_file_no_mark_and_no_clock_takes_back_what_the_service_has_run(
        deeds in prop::collection::vec(deed(), 1..60),
    ) {
        let mut machine = Machine::new();
        let (mut guard, _) = begun(&machine).proven(T0, Duration::ZERO, machine.read());
        let (mut ran, mut unkept) = (TimeDelta::zero(), TimeDelta::zero());
        let (mut mask, mut held) = (2, None);
        let mut kept = guard.believed();
        let read = |machine: &Machine, mask: u8, held: Option<Duration>| Readings {
            boot_id: [None, Some("same".to_owned()), machine.read().boot_id][usize::from(mask)].clone(),
            since_boot: held.map_or(machine.since_boot, |held: Duration| held + machine.running),
            ..machine.read()
        };
        for deed in deeds {
            match deed {
                Deed::Run(minutes) => {
                    let mut left = TimeDelta::minutes(minutes);
                    while left > TimeDelta::zero() {
                        let gap = TimeDelta::milliseconds(kept.unseen_ms.cast_signed());
                        let piece = left.min(gap - unkept);
                        machine.run(piece);
                        (left, ran, unkept) = (left - piece, ran + piece, unkept + piece);
                        (guard, _) = guard.observed(read(&machine, mask, held));
                        if unkept >= gap {
                            (kept, unkept) = (guard.believed(), TimeDelta::zero());
                        }
                    }
                }
                Deed::SetTheWall(off) => machine.wall = T0 + ran + hours(off),
                Deed::Import(ago, off) => {
                    let mut shown = machine.clone();
                    shown.wall = T0 + ran + hours(off);
                    let signed = T0 + ran - hours(ago);
                    (guard, _) = guard.answered(signed, read(&shown, mask, held));
                    (kept, unkept) = (guard.believed(), TimeDelta::zero());
                }
                Deed::FindAMark(off, signed, [lead_ms, assumed_ms, told_ms], shared) => {
                    let mark = Mark {
                        at: guard.now(machine.running) + hours(off),
                        signed_at: Some(T0 + ran + hours(signed)),
                        lead_ms,
                        assumed_ms,
                        told_ms,
                    };
                    let mark = if shared { mark.told() } else { mark };
                    (guard, _) = guard.recalled(Some(&mark), None, read(&machine, mask, held));
                    (kept, unkept) = (guard.believed(), TimeDelta::zero());
                }
                Deed::Kill | Deed::Stop | Deed::Reboot(..) => {
                    if matches!(deed, Deed::Stop | Deed::Reboot(_, _, true)) {
                        (guard, _) = guard.observed(read(&machine, mask, held));
                        kept = guard.stopped();
                    }
                    if let Deed::Reboot(off, up, _) = deed {
                        machine.reboot(hours(off), TimeDelta::minutes(up));
                    }
                    machine.running = Duration::ZERO;
                    if held.is_some() {
                        held = Some(Duration::from_millis(kept.since_boot_ms));
                    }
                    let readings = read(&machine, mask, held);
                    let floor = DateTime::UNIX_EPOCH;
                    (guard, _) = TimeGuard::start(Some(&kept), None, None, floor, readings);
                    (kept, unkept) = (guard.believed(), TimeDelta::zero());
                }
                Deed::Mask(to) => mask = to,
                Deed::HoldTheBootClock(to) => held = to.then_some(Duration::from_secs(600)),
            }
            let now = guard.now(machine.running);
            prop_assert!(now >= T0 + ran, "{now} after {ran}");
        }
    }

    /// If everything stored was lost and the wall clock is right, an old file keeps its true
    /// age.
    #[test]
    fn a_right_clock_is_enough_against_any_file(
        signed in 0..9000_i64, since in 0..9000_i64, wall in off(),
        waits in any::<bool>(),
    ) {
        let truth = at(signed + since);
        let mut machine = Machine::new();
        machine.wall = truth;
        let floor = DateTime::UNIX_EPOCH;
        let (guard, _) = TimeGuard::start(None, None, None, floor, machine.read());
        machine.wall = truth + hours(wall).max(TimeDelta::zero());
        let (guard, _) = if waits { guard.observed(machine.read()) } else { (guard, vec![]) };
        let (guard, _) = guard.answered(at(signed), machine.read());
        prop_assert!(guard.now(machine.running) >= truth);
        let (again, _) = TimeGuard::start(Some(&guard.stopped()), None, None, floor, machine.read());
        prop_assert!(again.now(machine.running) >= truth);
    }

    /// A file and a correct wall clock end the effect of any shared mark.
    #[test]
    fn what_a_shared_mark_has_spoiled_a_file_mends(
        hour in prop_oneof![0..900_i64, 0..700_000_i64], signed in any::<Option<i64>>(),
        numbers in [number(), number(), number()],
        keeps_a_file in any::<bool>(), restarts in 0..3_usize, ran in 0..300_i64,
    ) {
        let mut machine = Machine::new();
        let floor = DateTime::UNIX_EPOCH;
        let mark = Mark {
            at: at(hour),
            signed_at: signed.map(|hours| at(hours.rem_euclid(900_000))),
            lead_ms: numbers[0],
            assumed_ms: numbers[1],
            told_ms: numbers[2],
        };
        let kept = begun(&machine).stopped();
        let kept = keeps_a_file.then_some(&kept);
        let (guard, _) = TimeGuard::start(kept, None, Some(T0), floor, machine.read());
        let (mut guard, _) = guard.recalled(Some(&mark.told()), Some(T0), machine.read());
        machine.run(hours(ran));
        for _ in 0..restarts {
            (guard, _) = guard.observed(machine.read());
            let kept = guard.stopped();
            (guard, _) = TimeGuard::start(Some(&kept), None, Some(T0), floor, machine.read());
        }
        prop_assert!(guard.written_at(&machine.read()) <= machine.wall);
        let (guard, _) = guard.answered(machine.wall, machine.read());
        let off = guard.now(machine.running) - machine.wall;
        prop_assert!(off.abs() <= TimeDelta::minutes(1), "{off}");
    }
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
        // A wall clock that is not ahead any more claims nothing.
        let mut right = machine.clone();
        right.wall = at(1);
        let (guard, events) = start(Some(&kept), &right);
        assert_eq!(events, []);
        assert_eq!(guard.now(right.running), at(1));
    }
}
