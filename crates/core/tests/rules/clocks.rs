//! The effective time, clock by clock and bound by bound.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use license_core::time_guard::{
    BELIEVED_LEAD, Believed, ClockEvent, DOUBT_STANDS, Doubt, Readings, TimeGuard,
};

use crate::signer::{T0, at};

/// A machine whose clocks a test moves.
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

    /// Off and on again; what runs is a new process.
    fn reboot(&mut self, off: TimeDelta, up: TimeDelta) {
        self.wall += off + up;
        self.running = Duration::ZERO;
        self.since_boot = up.to_std().unwrap();
        self.boots += 1;
    }
}

fn begun(machine: &Machine) -> TimeGuard {
    TimeGuard::start(None, Some(T0), DateTime::UNIX_EPOCH, machine.read()).0
}

fn hours(hours: i64) -> TimeDelta {
    TimeDelta::hours(hours)
}

#[test]
fn time_passes_with_the_running_machine_whatever_the_wall_shows() {
    let mut machine = Machine::new();
    let guard = begun(&machine);
    machine.run(hours(5));
    machine.wall = at(-10_000);
    assert_eq!(guard.now(machine.running), at(5));
    let (guard, events) = guard.observed(machine.read());
    assert_eq!(guard.now(machine.running), at(5));
    assert_eq!(events, [ClockEvent::Behind { by: hours(10_005) }]);
    // It is said once, and again only after it was right in between.
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
fn five_minutes_behind_are_not_worth_a_word_and_a_second_more_is() {
    for (seconds, said) in [(300, 0), (301, 1)] {
        let mut machine = Machine::new();
        let guard = begun(&machine);
        machine.wall = T0 - TimeDelta::seconds(seconds);
        let (guard, events) = guard.observed(machine.read());
        assert_eq!((guard.now(machine.running), events.len()), (T0, said));
    }
}

#[test]
fn claims_are_believed_up_to_a_day_together_and_not_a_millisecond_more() {
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
    // And claims may add up to a day again.
    machine.wall += hours(24);
    let (guard, _) = guard.observed(machine.read());
    assert_eq!(guard.now(machine.running), at(1096));
}

#[test]
fn a_doubt_that_changes_by_more_than_a_day_begins_anew_and_one_that_goes_is_gone() {
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
        // The wall is off by as much as before, and claims nothing new.
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
fn a_signed_answer_that_agrees_within_a_minute_changes_nothing_but_ends_doubt() {
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
fn an_answer_that_was_held_back_does_not_hold_back_the_time() {
    // Sent at T0, signed at once, and brought after 20 minutes.
    let waited = Duration::from_secs(20 * 60);
    let passed = TimeDelta::minutes(20);
    for (seconds_off, expected) in [
        // As it was signed, as it arrived, and in between: all agree.
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
        let (guard, _) = TimeGuard::start(None, None, DateTime::UNIX_EPOCH, machine.read());
        let (guard, event) = guard.proven(T0, waited, machine.read());
        let now = guard.now(machine.running);
        assert_eq!(now, expected.unwrap_or(machine.wall), "{seconds_off}");
        let by = now - machine.wall;
        assert_eq!(event, expected.map(|_| ClockEvent::Set { by }));
    }
}

#[test]
fn an_answer_by_hand_brings_back_a_time_that_was_far_ahead() {
    let (asked, signed) = (at(40_000), at(24));
    let mut machine = Machine::new();
    machine.wall = asked;
    let (guard, _) = TimeGuard::start(None, None, DateTime::UNIX_EPOCH, machine.read());
    // The file takes three days; the question says how many at most.
    machine.run(hours(72));
    let (guard, event) = guard.answered(signed, asked, machine.read());
    assert_eq!(guard.now(machine.running), at(24 + 72));
    let by = at(24 + 72) - at(40_072);
    assert_eq!(event, Some(ClockEvent::Set { by }));
    // A wall clock that is still wrong claims something anew.
    let (guard, events) = guard.observed(machine.read());
    assert!(matches!(events[..], [ClockEvent::Doubted { .. }]));
    machine.run(hours(1));
    assert_eq!(guard.now(machine.running), at(24 + 73));
}

#[test]
fn an_answer_by_hand_never_gives_time_to_a_site_whose_time_is_right() {
    let mut machine = Machine::new();
    let guard = begun(&machine);
    machine.run(hours(72));
    // Signed a day after it was asked for: by now it is anything from then on.
    let (guard, event) = guard.answered(at(24), T0, machine.read());
    assert_eq!((guard.now(machine.running), event), (at(72), None));
    // A site that is behind learns what time it is at least.
    let (guard, event) = guard.answered(at(100), T0, machine.read());
    let by = hours(28);
    assert_eq!(guard.now(machine.running), at(100));
    assert_eq!(event, Some(ClockEvent::Set { by }));
    // An answer that was signed before it was asked for only says how early.
    let (guard, event) = guard.answered(at(99), at(100), machine.read());
    assert_eq!(guard.now(machine.running), at(99));
    assert_eq!(event, Some(ClockEvent::Set { by: -hours(1) }));
    // Nor does one that will be asked for later.
    let (guard, _) = guard.answered(at(98), at(500), machine.read());
    assert_eq!(guard.now(machine.running), at(98));
}

#[test]
fn a_suspended_machine_gains_at_most_what_is_not_believed() {
    let mut machine = Machine::new();
    let guard = begun(&machine);
    // Five seconds are within the noise of reading clocks one by one.
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
fn a_restart_of_the_process_counts_all_of_the_time_between() {
    let mut machine = Machine::new();
    let guard = begun(&machine);
    machine.run(hours(2));
    let kept = guard.observed(machine.read()).0.believed();
    machine.run(hours(300));
    machine.running = Duration::ZERO;
    machine.wall = T0;
    let (guard, events) = TimeGuard::start(Some(&kept), None, T0, machine.read());
    assert_eq!(guard.now(Duration::ZERO), at(302));
    assert!(matches!(events[..], [ClockEvent::Behind { .. }]));
}

#[test]
fn a_restart_of_the_machine_counts_what_it_has_been_running_since_and_not_the_time_off() {
    let mut machine = Machine::new();
    let guard = begun(&machine);
    machine.run(hours(2));
    let kept = guard.observed(machine.read()).0.believed();
    machine.reboot(TimeDelta::days(10), hours(3));
    let (guard, events) = TimeGuard::start(Some(&kept), None, T0, machine.read());
    assert_eq!(guard.now(Duration::ZERO), at(5));
    assert_eq!(events, [ClockEvent::Doubted { ahead: hours(240) }]);
    // A night is believed.
    let mut machine = machine.clone();
    machine.wall = at(5 + 12);
    let (guard, _) = TimeGuard::start(Some(&kept), None, T0, machine.read());
    assert_eq!(guard.now(Duration::ZERO), at(17));
    // Where nobody says which start it is, nothing is added.
    let mut readings = machine.read();
    readings.boot_id = None;
    readings.wall = T0;
    let (guard, _) = TimeGuard::start(Some(&kept), None, T0, readings);
    assert_eq!(guard.now(Duration::ZERO), at(2));
}

#[test]
fn doubt_and_lead_outlive_restarts() {
    let mut machine = Machine::new();
    let guard = begun(&machine);
    machine.wall += hours(23);
    let (guard, _) = guard.observed(machine.read());
    assert_eq!(guard.believed().lead_ms, hours(23).num_milliseconds());
    machine.reboot(TimeDelta::minutes(30), TimeDelta::minutes(30));
    let (guard, _) = TimeGuard::start(Some(&guard.believed()), None, T0, machine.read());
    // Half an hour up, and half an hour off, which is believed.
    assert_eq!(guard.now(Duration::ZERO), at(24));
    machine.wall += hours(1);
    let (guard, events) = guard.observed(machine.read());
    assert_eq!(events, [ClockEvent::Doubted { ahead: hours(1) }]);
    machine.run(hours(71));
    let (guard, _) = guard.observed(machine.read());
    machine.reboot(TimeDelta::minutes(1), TimeDelta::minutes(1));
    let (guard, _) = TimeGuard::start(Some(&guard.believed()), None, T0, machine.read());
    machine.run(hours(1));
    let (_, events) = guard.observed(machine.read());
    assert!(
        matches!(events[..], [ClockEvent::Believed { .. }]),
        "{events:?}"
    );
}

#[test]
fn what_was_refuted_is_remembered_within_one_start_of_the_machine_only() {
    let mut machine = Machine::new();
    let guard = begun(&machine);
    let (guard, _) = guard.proven(at(-5), Duration::ZERO, machine.read());
    let kept = guard.believed();
    machine.run(hours(1));
    machine.running = Duration::ZERO;
    let (guard, _) = TimeGuard::start(Some(&kept), None, DateTime::UNIX_EPOCH, machine.read());
    assert_eq!(guard.now(Duration::ZERO), at(-4));
    machine.reboot(TimeDelta::minutes(1), TimeDelta::minutes(1));
    let (guard, _) = TimeGuard::start(Some(&kept), None, DateTime::UNIX_EPOCH, machine.read());
    assert_eq!(guard.now(Duration::ZERO), machine.wall);
}

#[test]
fn time_begins_with_whatever_is_latest_and_with_the_wall_when_there_is_nothing() {
    let start = |kept: Option<&Believed>, signed, floor, wall| {
        let machine = Machine {
            wall,
            ..Machine::new()
        };
        let (guard, _) = TimeGuard::start(kept, signed, floor, machine.read());
        guard.now(Duration::ZERO)
    };
    let kept = begun(&Machine::new()).believed();
    let early = at(-9000);
    assert_eq!(start(None, None, early, at(77_000)), at(77_000));
    assert_eq!(start(None, None, at(3), early), at(3));
    assert_eq!(start(None, Some(at(2)), at(1), early), at(2));
    assert_eq!(start(None, Some(at(2)), at(3), early), at(3));
    assert_eq!(start(Some(&kept), Some(at(2)), early, early), at(2));
    assert_eq!(start(Some(&kept), Some(at(-2)), early, early), T0);
    // A document is something to protect: a wall that is far off is not believed.
    assert_eq!(start(None, Some(at(2)), early, at(77_000)), at(2));
    assert_eq!(start(None, Some(at(2)), early, at(25)), at(25));
}

#[test]
fn a_document_that_came_by_hand_only_moves_the_time_forward() {
    let machine = Machine::new();
    let guard = begun(&machine);
    let at_least = |signed| guard.at_least(signed, machine.read()).now(machine.running);
    assert_eq!(at_least(at(-1)), T0);
    assert_eq!(at_least(at(9000)), at(9000));
}

#[test]
fn numbers_that_no_machine_has_are_survived() {
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
        };
        for wall in [DateTime::<Utc>::MIN_UTC, T0, DateTime::<Utc>::MAX_UTC] {
            let mut machine = Machine::new();
            machine.wall = wall;
            let (guard, _) = TimeGuard::start(Some(&kept), None, T0, machine.read());
            assert!(guard.now(Duration::ZERO) >= T0);
            machine.since_boot = Duration::MAX;
            machine.running = Duration::MAX;
            let (guard, _) = guard.observed(machine.read());
            assert!(guard.now(Duration::MAX) >= T0);
        }
    }
}

#[test]
fn what_is_kept_is_what_was_believed() {
    let mut machine = Machine::new();
    let guard = begun(&machine);
    machine.wall += hours(100);
    let (guard, _) = guard.observed(machine.read());
    let kept = guard.believed();
    let text = serde_json::to_string(&kept).unwrap();
    assert_eq!(serde_json::from_str::<Believed>(&text).unwrap(), kept);
    assert_eq!((kept.at, kept.since_boot_ms), (T0, 600_000));
    assert_eq!(kept.doubt.unwrap().ahead_ms, hours(100).num_milliseconds());
}

#[test]
fn a_wall_clock_that_was_shown_to_be_behind_is_not_reported_again() {
    for (seconds, said) in [(300, 1), (301, 0)] {
        let mut machine = Machine::new();
        let guard = begun(&machine);
        machine.wall = T0 - TimeDelta::seconds(seconds);
        let (guard, _) = guard.proven(T0, Duration::ZERO, machine.read());
        // Somebody sets it, and it is behind all the same.
        machine.wall = T0 - TimeDelta::seconds(400);
        let (_, events) = guard.observed(machine.read());
        assert_eq!(events.len(), said, "{seconds}");
    }
    // One that is ahead is not behind.
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
fn time_goes_on_from_a_document_that_came_by_hand() {
    let mut machine = Machine::new();
    let guard = begun(&machine);
    machine.run(hours(5));
    let guard = guard.at_least(at(7), machine.read());
    assert_eq!(guard.now(machine.running), at(7));
    machine.run(hours(1));
    assert_eq!(guard.now(machine.running), at(8));
}
