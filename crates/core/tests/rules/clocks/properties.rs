//! Any sequence of events and files.

use std::time::Duration;

use chrono::{DateTime, TimeDelta};
use license_core::time_guard::{BELIEVED_LEAD, Mark, Readings, TimeGuard};
use proptest::prelude::*;

use super::{Machine, begun, hours};
use crate::signer::{T0, at};

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
        let mut off_for = TimeDelta::zero();
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
                Deed::FindAMark(off, signed, [lead_ms, assumed_ms, shared_claim_ms], shared) => {
                    let mark = Mark {
                        at: guard.now(machine.running) + hours(off),
                        signed_at: Some(T0 + ran + hours(signed)),
                        lead_ms,
                        assumed_ms,
                        shared_claim_ms,
                    };
                    let mark = if shared { mark.as_claim() } else { mark };
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
                        off_for += hours(off) + TimeDelta::minutes(up);
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
            let starts = guard.plausible(machine.running);
            prop_assert_eq!(starts.latest(), now);
            // Nothing starts earlier than this, whatever was claimed.
            let true_time = T0 + ran + off_for;
            prop_assert!(starts.earliest() <= true_time + BELIEVED_LEAD, "{starts:?}");
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
            shared_claim_ms: numbers[2],
        };
        let kept = begun(&machine).stopped();
        let kept = keeps_a_file.then_some(&kept);
        let (guard, _) = TimeGuard::start(kept, None, Some(T0), floor, machine.read());
        let (mut guard, _) = guard.recalled(Some(&mark.as_claim()), Some(T0), machine.read());
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

pub(super) fn number() -> impl Strategy<Value = i64> {
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
