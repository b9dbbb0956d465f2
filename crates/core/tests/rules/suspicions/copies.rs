//! Several machines on one identity.

use chrono::TimeDelta;
use license_core::suspicion::{CALLS_BEHIND, Report, Suspicion};

use super::{SHARED, Seat};
use crate::signer::T0;

#[test]
fn two_machines_on_one_identity_are_noticed_with_the_third_crossing() {
    let mut seat = Seat::new();
    let mut known = [100, 100];
    let mut calls = 0;
    while seat.found.is_empty() {
        let machine = calls % 2;
        known[machine] = seat.validate(known[machine], "a");
        calls += 1;
        assert!(calls < 10);
    }
    assert_eq!(seat.found, SHARED);
    assert_eq!(seat.trail.behind, CALLS_BEHIND);
    assert_eq!(calls, 4);
    // It continues, and is noted again with every call.
    seat.validate(known[0], "a");
    assert_eq!(seat.found.len(), 2);
}

#[test]
fn a_copy_that_hides_its_number_is_noticed_like_one_that_shows_an_old_one() {
    for is_activation in [false, true] {
        // Only the copy hides it.
        let mut seat = Seat::new();
        let mut known = seat.validate(100, "a");
        let mut calls = 0;
        while seat.found.is_empty() {
            seat.call(None, "a", is_activation);
            known = seat.validate(known, "a");
            calls += 2;
            assert!(calls < 10, "hidden");
        }
        assert_eq!((calls, seat.found[0]), (4, Suspicion::SharedIdentity));
        // Both do, from some day on.
        let mut seat = Seat::new();
        seat.validate(100, "a");
        for _ in 0..CALLS_BEHIND {
            assert_eq!(seat.found, []);
            seat.call(None, "a", is_activation);
        }
        assert_eq!(seat.found, SHARED);
    }
}

#[test]
fn a_copy_on_the_normal_schedule_is_detected_within_a_week() {
    for seed in 0..150_u64 {
        let mut random = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let start = |offset: i64, validations| Machine {
            known: 100,
            heartbeat_at: offset,
            validation_at: offset,
            validations,
        };
        let offset = jittered(24 * 60, &mut random) * 7 % (24 * 60);
        for validations in [1, 2] {
            let mut pair = [start(0, 1), start(offset, validations)];
            let noticed = lived(&mut pair, 8, 1000, &mut random);
            assert!(noticed.is_some(), "seed {seed}, {validations} validations");
        }
        let honest = lived(&mut [start(0, 2)], 60, 3, &mut random);
        assert_eq!(honest, None, "seed {seed}");
    }
}

/// A site on the normal schedule, or its copy.
struct Machine {
    known: u64,
    heartbeat_at: i64,
    validation_at: i64,
    /// Number of validations each time.
    validations: u32,
}

/// The suspicions when `machines` share a seat for this many days, with one answer in `lost`
/// lost.
fn lived(machines: &mut [Machine], days: i64, lost: u64, random: &mut u64) -> Option<i64> {
    let mut seat = Seat::new();
    for minute in 0..days * 24 * 60 {
        seat.at = T0 + TimeDelta::minutes(minute);
        for machine in machines.iter_mut() {
            if machine.validation_at <= minute {
                machine.validation_at = minute + jittered(24 * 60, random);
                for _ in 0..machine.validations {
                    let answer = seat.validate(machine.known, "a");
                    *random = random
                        .wrapping_mul(6_364_136_223_846_793_005)
                        .wrapping_add(1);
                    if !(*random >> 33).is_multiple_of(lost) {
                        machine.known = answer;
                    }
                }
            }
            if machine.heartbeat_at <= minute {
                machine.heartbeat_at = minute + jittered(4 * 60, random);
                seat.heartbeat(machine.known, "a");
            }
        }
        if !seat.found.is_empty() {
            return Some(minute / (24 * 60));
        }
    }
    None
}

#[test]
fn a_copy_that_hides_or_repeats_its_number_beside_a_busy_site_is_noticed_within_two_weeks() {
    for disguise in [
        Disguise::Hidden,
        Disguise::HiddenInHeartbeats,
        Disguise::HiddenInActivations,
        Disguise::Repeated,
        Disguise::RepeatedInActivations,
        Disguise::Alternating,
    ] {
        for hours in [94, 24] {
            for seed in 0..50_u64 {
                let mut random = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15);
                let noticed = disguised(disguise, hours, &mut random);
                assert!(
                    noticed.is_some_and(|day| day < hours / 7 + 3),
                    "{disguise:?} every {hours} h, seed {seed}: {noticed:?}"
                );
            }
        }
    }
}

/// What a copy says beside a machine that says the newest number.
#[derive(Clone, Copy, Debug)]
enum Disguise {
    Hidden,
    HiddenInHeartbeats,
    HiddenInActivations,
    Repeated,
    RepeatedInActivations,
    Alternating,
}

/// The days until a copy that calls every so many hours beside a site on the normal schedule
/// is noticed.
fn disguised(disguise: Disguise, hours: i64, random: &mut u64) -> Option<i64> {
    let mut seat = Seat::new();
    let mut known = 100;
    let (mut heartbeat_at, mut validation_at) = (0, 0);
    let mut copy_at = jittered(hours * 600, random) * 31 % (hours * 60);
    let mut calls = 0;
    for minute in 0..40 * 24 * 60 {
        seat.at = T0 + TimeDelta::minutes(minute);
        if validation_at <= minute {
            validation_at = minute + jittered(24 * 60, random);
            known = seat.validate(known, "a");
        }
        if heartbeat_at <= minute {
            heartbeat_at = minute + jittered(4 * 60, random);
            seat.heartbeat(known, "a");
        }
        if copy_at <= minute {
            copy_at = minute + hours * 60;
            calls += 1;
            let old = (calls % 2 == 0).then_some(100);
            let answered = seat.trail.answered;
            match disguise {
                Disguise::Hidden => _ = seat.call(None, "a", false),
                Disguise::HiddenInHeartbeats => {
                    seat.call(None, "a", false);
                    seat.trail.answered = answered;
                }
                Disguise::HiddenInActivations => _ = seat.call(None, "a", true),
                Disguise::Repeated => _ = seat.validate(100, "a"),
                Disguise::RepeatedInActivations => _ = seat.call(Some(100), "a", true),
                Disguise::Alternating => _ = seat.call(old, "a", false),
            }
        }
        if !seat.found.is_empty() {
            return Some(minute / (24 * 60));
        }
    }
    None
}

/// Minutes until the next call; regular intervals are shortened by up to 10 %.
fn jittered(minutes: i64, random: &mut u64) -> i64 {
    *random = random
        .wrapping_mul(6_364_136_223_846_793_005)
        .wrapping_add(1);
    minutes - minutes * i64::from((*random >> 33) as u32 % 100) / 1000
}

#[test]
fn three_hidden_calls_within_any_thirty_days_are_noticed() {
    for (days, noticed) in [
        (&[1, 29, 32, 33][..], Some(33)),
        (&[64, 91, 95, 96], Some(96)),
        (&[1, 16, 31], Some(31)),
        (&[1, 16, 32, 47, 63], None),
    ] {
        let mut seat = Seat::new();
        let mut known = seat.validate(100, "a");
        let mut found = None;
        for day in days {
            seat.at = T0 + TimeDelta::days(*day);
            seat.call(None, "a", false);
            for _ in 0..2 {
                known = seat.validate(known, "a");
            }
            found = found.or((!seat.found.is_empty()).then_some(*day));
        }
        assert_eq!(found, noticed, "{days:?}");
    }
}

#[test]
fn any_number_of_copies_that_only_send_heartbeats_are_noticed_when_the_lease_has_ended() {
    for seed in 0..150_u64 {
        let mut random = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let mut seat = Seat::new();
        let known = seat.validate(100, "a");
        let lease_end = seat.lease_end;
        // Each copy stores what it gets as its lease, and calls before that ends.
        let mut copies = vec![0; 1 + seed as usize % 3];
        while seat.found.is_empty() {
            copies.sort_unstable();
            seat.at = T0 + TimeDelta::minutes(copies[0]);
            assert!(seat.at < lease_end + TimeDelta::days(12), "seed {seed}");
            seat.heartbeat(known, "a");
            random = random
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            copies[0] += i64::from((random >> 33) as u32 % (95 * 60));
        }
        assert_eq!(seat.found, SHARED);
        assert!(seat.at > lease_end + TimeDelta::days(2), "seed {seed}");
    }
}

/// Machines that activate in turn without a number that counts, and say the newest one right after.
/// Returns the number of activations until they are noticed.
fn activated_in_turn(seat: &mut Seat, said: impl Fn(&Seat) -> Option<u64>, days: i64) -> usize {
    for turn in 1..40 {
        seat.at += TimeDelta::days(days);
        let known = seat.call(said(seat), "a", true);
        // Up to date, as the machine has just been answered.
        seat.heartbeat(known, "a");
        seat.validate(known, "a");
        if !seat.found.is_empty() {
            assert_eq!(seat.found, SHARED);
            return turn;
        }
    }
    usize::MAX
}

#[test]
fn machines_that_activate_without_a_number_and_then_say_the_newest_are_noticed() {
    let known = || {
        let mut seat = Seat::new();
        seat.validate(100, "a");
        seat
    };
    assert_eq!(activated_in_turn(&mut known(), |_| None, 1), 4);
    assert_eq!(activated_in_turn(&mut known(), |_| None, 7), 4);
    // A number that was never issued says no more than none.
    let invented = |seat: &Seat| Some(seat.trail.issued + 1_000_000);
    assert_eq!(activated_in_turn(&mut known(), invented, 1), 4);
    let old = |_: &Seat| Some(50);
    assert!(activated_in_turn(&mut known(), old, 1) <= 4);
    // A machine that loses its data three times in any month is not.
    assert_eq!(activated_in_turn(&mut known(), |_| None, 11), usize::MAX);
    // Nor is one that repeats an activation whose responses are lost.
    let mut seat = known();
    for _ in 0..2 {
        seat.call(None, "a", true);
    }
    let newest = seat.trail.issued;
    seat.validate(newest, "a");
    assert_eq!(seat.found, []);
    assert_eq!(seat.trail.former_installations.len(), 1);
}

#[test]
fn with_longer_leases_machines_have_longer_to_take_turns() {
    const LONG: TimeDelta = TimeDelta::days(30);
    let mut seat = Seat::new();
    let noticed = (1..40).find(|turn| {
        seat.at = T0 + LONG / 3 * *turn;
        seat.follow(Report {
            is_activation: true,
            installation_id: &format!("machine-{turn}"),
            asks_for_lease: true,
            longest_lease: LONG,
            ..Report::default()
        });
        !seat.found.is_empty()
    });
    assert_eq!(noticed, Some(4));
}
