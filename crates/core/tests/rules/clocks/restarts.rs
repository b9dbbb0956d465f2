//! What is stored for the next start, and what counts after it.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use license_core::time_guard::{Believed, ClockEvent, Doubt, Mark, TimeGuard};

use super::{Machine, begun, hours};
use crate::signer::{T0, at};

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
            certain_at: match number {
                0 => None,
                ..0 => Some(DateTime::<Utc>::MIN_UTC),
                1.. => Some(DateTime::<Utc>::MAX_UTC),
            },
            assumed_ms: number,
            shared_claim_ms: number,
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
            let now = guard.plausible(Duration::MAX);
            assert!(now.earliest() <= now.latest());
            for at in [DateTime::<Utc>::MIN_UTC, T0, DateTime::<Utc>::MAX_UTC] {
                let mark = Mark {
                    at,
                    signed_at: Some(DateTime::<Utc>::MAX_UTC),
                    lead_ms: number,
                    assumed_ms: number,
                    shared_claim_ms: number,
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
        (older.shared_claim_ms, older.unseen_ms, kept.unseen_ms),
        (0, 0, 10_000)
    );
    assert_eq!(kept.doubt.unwrap().ahead_ms, hours(100).num_milliseconds());
}
