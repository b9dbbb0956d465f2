//! What looks like a copy, and what only looks like one.

use chrono::{DateTime, TimeDelta, Utc};
use license_core::suspicion::{
    CALLS_BEHIND, MAX_FORMER_INSTALLATIONS, Report, Suspicion, Trail, installation_fingerprint,
};

use crate::signer::T0;

const SHARED: &[Suspicion] = &[Suspicion::SharedIdentity];

/// A License Server's side of one seat.
struct Seat {
    trail: Trail,
    at: DateTime<Utc>,
    found: Vec<Suspicion>,
}

impl Seat {
    fn new() -> Self {
        let trail = Trail {
            issued: 100,
            answered: 100,
            installation_id: "a".into(),
            ..Trail::default()
        };
        Self {
            trail,
            at: T0,
            found: Vec::new(),
        }
    }

    /// A validation by a site that knows `seq`; returns the new number.
    fn validate(&mut self, seq: u64, installation_id: &str) -> u64 {
        self.call(Some(seq), installation_id, false)
    }

    /// A validation or activation by a site that may omit its number.
    fn call(&mut self, newest_seq: Option<u64>, installation_id: &str, is_activation: bool) -> u64 {
        let report = Report {
            newest_seq,
            is_activation,
            installation_id,
            at: self.at,
            longest_lease: TimeDelta::hours(96),
            ..Report::default()
        };
        let (trail, found) = self.trail.followed(&report);
        self.trail = trail;
        self.found.extend(found);
        self.trail.issued += 1;
        self.trail.answered = self.trail.issued;
        self.trail.issued
    }
}

impl Seat {
    /// A heartbeat whose answer the site does not store.
    fn heartbeat(&mut self, seq: u64, installation_id: &str) {
        let answered = self.trail.answered;
        self.call(Some(seq), installation_id, false);
        self.trail.answered = answered;
    }
}

#[test]
fn an_honest_site_is_never_suspected_even_if_answers_are_lost() {
    let mut seat = Seat::new();
    let mut known = 100;
    for round in 0..50_u64 {
        for _ in 0..round % 7 {
            // The answer is lost: the site calls again with its old number.
            seat.validate(known, "a");
        }
        known = seat.validate(known, "a");
        // The site does not store the document of a heartbeat.
        seat.trail.issued += 1;
    }
    assert_eq!(seat.found, []);
}

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
fn a_backup_that_is_restored_once_is_not_a_copy() {
    let mut seat = Seat::new();
    let mut known = seat.validate(100, "a");
    for _ in 0..5 {
        known = seat.validate(known, "a");
    }
    known = seat.validate(101, "a");
    for _ in 0..5 {
        known = seat.validate(known, "a");
    }
    assert_eq!(seat.found, []);
    assert_eq!((seat.trail.behind, seat.trail.behind_at), (0, None));
}

#[test]
fn installations_that_alternate_on_one_machine_are_noticed_and_one_that_follows_is_not() {
    let mut seat = Seat::new();
    let known = seat.validate(100, "a");
    let known = seat.validate(known, "b");
    assert_eq!(seat.found, []);
    let known = seat.validate(known, "b");
    assert_eq!(seat.found, []);
    let known = seat.validate(known, "a");
    assert_eq!(seat.found, SHARED);
    // An installation that does not identify itself is ignored.
    seat.validate(known, "");
    assert_eq!(seat.found, SHARED);
    assert_eq!(seat.trail.installation_id, "a");
    let mut first = Seat::new();
    first.trail.installation_id = String::new();
    first.validate(100, "a");
    assert_eq!(first.trail.former_installations, []);
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
fn a_site_without_numbers_and_a_reinstalled_site_are_not_suspected() {
    let mut old_site = Seat::new();
    for round in 0..50 {
        old_site.call(None, "a", round % 10 == 0);
    }
    assert_eq!(old_site.found, []);
    let mut seat = Seat::new();
    let mut known = seat.validate(100, "a");
    for _ in 0..10 {
        // All data is lost twice, and the earlier answers are known again.
        seat.call(None, "a", true);
        known = seat.call(None, "a", true).max(known);
        known = seat.validate(known, "a");
    }
    assert_eq!(seat.found, []);
}

#[test]
fn a_number_that_was_never_issued_does_not_change_the_trail_or_accuse_a_machine() {
    let mut seat = Seat::new();
    let known = seat.validate(100, "a");
    let before = seat.trail.clone();
    for huge in [known + 1, u64::MAX] {
        let trail = before.clone();
        let report = Report {
            newest_seq: Some(huge),
            installation_id: "a",
            ..Report::default()
        };
        let (after, found) = trail.followed(&report);
        assert_eq!(after, before);
        assert_eq!(found, [Suspicion::ImpossibleSequence]);
        assert!(found.iter().all(|it| !it.accuses_machine()));
    }
    // A site that activates another license sends the number of its former one.
    seat.call(Some(u64::MAX), "a", true);
    assert_eq!(seat.found, []);
    assert!(Suspicion::SharedIdentity.accuses_machine());
    assert!(Suspicion::HardwareDrift.accuses_machine());
}

#[test]
fn a_number_that_was_never_issued_and_changed_hardware_are_noticed() {
    let seat = Seat::new();
    let found = |newest_seq, drifted| {
        let report = Report {
            newest_seq,
            installation_id: "a",
            drifted,
            at: T0,
            ..Report::default()
        };
        seat.trail.followed(&report).1
    };
    assert_eq!(found(Some(100), false), []);
    assert_eq!(found(Some(101), false), [Suspicion::ImpossibleSequence]);
    assert_eq!(found(None, true), [Suspicion::HardwareDrift]);
    assert_eq!(found(None, false), []);
    let words: Vec<&str> = [
        Suspicion::SharedIdentity,
        Suspicion::ImpossibleSequence,
        Suspicion::HardwareDrift,
    ]
    .map(Suspicion::as_str)
    .to_vec();
    assert_eq!(
        words,
        ["shared_identity", "impossible_sequence", "hardware_drift"]
    );
    for word in words {
        let json = serde_json::to_string(word).unwrap();
        let read: Suspicion = serde_json::from_str(&json).unwrap();
        assert_eq!(read.as_str(), word);
    }
}

#[test]
fn a_request_file_and_a_new_installation_are_not_suspicious() {
    let mut seat = Seat::new();
    let known = seat.validate(100, "a");
    seat.validate(known, "a");
    // An answer was lost, so that the site is already behind.
    seat.validate(known, "a");
    let before = seat.trail.clone();
    assert_eq!(before.behind, 1);
    for is_activation in [false, true, false, false, false] {
        let report = Report {
            written_at: Some(T0),
            is_activation,
            installation_id: "a",
            ..Report::default()
        };
        assert_eq!(seat.trail.followed(&report), (before.clone(), Vec::new()));
    }
    // Reinstalled, and the first answer is lost as well.
    seat.call(None, "b", true);
    assert_eq!(seat.trail.behind, 1);
    let known = seat.call(None, "b", true);
    seat.validate(known, "b");
    assert_eq!((seat.found.as_slice(), seat.trail.behind), (&[][..], 0));
    // A copy that invents installations is detected when the real machine calls.
    seat.call(None, "c", true);
    seat.validate(known, "b");
    assert_eq!(seat.found, SHARED);
}

/// A site on the normal schedule, or its copy.
struct Machine {
    known: u64,
    heartbeat_at: i64,
    validation_at: i64,
    /// Number of validations each time.
    validations: u32,
}

/// Minutes until the next call; regular intervals are shortened by up to 10 %.
fn jittered(minutes: i64, random: &mut u64) -> i64 {
    *random = random
        .wrapping_mul(6_364_136_223_846_793_005)
        .wrapping_add(1);
    minutes - minutes * i64::from((*random >> 33) as u32 % 100) / 1000
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

#[test]
fn a_backup_goes_back_once_and_regressions_of_other_months_are_not_added_up() {
    let mut seat = Seat::new();
    let mut known = 100;
    for month in 0..12 {
        seat.at = T0 + TimeDelta::days(31 * month);
        let before = known;
        for _ in 0..3 {
            known = seat.validate(known, "a");
        }
        // Restored from a state before the three.
        known = seat.validate(before, "a");
    }
    assert_eq!(seat.found, []);
}

/// Several machines with one hardware id that never validate: each activates without a number
/// shortly before its lease ends, as the installation that `id` returns for its machine and
/// round. Returns the hour at which they are detected.
fn taking_turns(machines: i64, id: impl Fn(i64, i64) -> String) -> Option<i64> {
    let mut seat = Seat::new();
    for hour in 0..60 * 24 {
        seat.at = T0 + TimeDelta::hours(hour);
        for machine in 0..machines {
            let since_first = hour - machine * 96 / machines;
            if since_first >= 0 && since_first % 95 == 0 {
                seat.call(None, &id(machine, since_first / 95), true);
            }
        }
        if !seat.found.is_empty() {
            assert_eq!(seat.found, SHARED);
            return Some(hour);
        }
    }
    None
}

#[test]
fn machines_that_activate_in_turn_are_detected_as_fast_as_a_copy() {
    for machines in 2..=40 {
        let kept = taking_turns(machines, |machine, _| format!("machine-{machine}"));
        assert!(
            kept.is_some_and(|hour| hour <= 8 * 24),
            "{machines}: {kept:?}"
        );
        // Each starts with a new state directory.
        let fresh = taking_turns(machines, |machine, round| format!("{machine}-{round}"));
        assert!(
            fresh.is_some_and(|hour| hour <= 8 * 24),
            "{machines}: {fresh:?}"
        );
    }
    assert_eq!(taking_turns(1, |_, _| "a".to_owned()), None, "one machine");
}

#[test]
fn reinstalling_three_times_a_month_is_not_suspicious_but_daily_is() {
    let noticed = |every: i64| {
        let mut seat = Seat::new();
        (0..40).find(|time| {
            seat.at = T0 + TimeDelta::days(every * time);
            let known = seat.call(None, &format!("setup-{time}"), true);
            seat.validate(known, &format!("setup-{time}"));
            !seat.found.is_empty()
        })
    };
    assert_eq!(noticed(11), None);
    // The fourth change: `a`, which has the seat first, is the first to leave.
    assert_eq!(noticed(10), Some(3));
    assert_eq!(noticed(1), Some(3));
}

#[test]
fn the_list_of_former_installations_is_bounded_and_denied_calls_count_once() {
    let mut seat = Seat::new();
    for month in 0..50 {
        seat.at = T0 + TimeDelta::days(31 * month);
        seat.call(None, &format!("setup-{month}"), true);
    }
    assert_eq!(seat.found, []);
    assert_eq!(
        seat.trail.former_installations.len(),
        MAX_FORMER_INSTALLATIONS
    );
    let newest = seat.trail.former_installations.last().unwrap();
    assert_eq!(newest.fingerprint, installation_fingerprint("setup-48"));
    // Any of them that returns is detected, no matter how long ago it left.
    seat.call(None, "setup-42", true);
    assert_eq!(seat.found, SHARED);

    // While the license is suspended, the calls of `b` fail: `a` keeps the seat.
    let mut seat = Seat::new();
    for _ in 0..20 {
        seat.call(None, "b", false);
        seat.trail.installation_id = "a".to_owned();
    }
    assert_eq!(
        (seat.found.len(), seat.trail.former_installations.len()),
        (0, 1)
    );
}

#[test]
fn a_number_that_outlives_its_lease_is_behind_and_a_few_days_of_lost_answers_are_not() {
    for (days, noticed) in [(6, false), (7, true)] {
        let mut seat = Seat::new();
        let known = seat.validate(100, "a");
        seat.validate(known, "a");
        for day in 0..=days {
            seat.at = T0 + TimeDelta::days(day);
            seat.validate(known, "a");
        }
        assert_eq!(seat.found.first(), noticed.then_some(&SHARED[0]), "{days}");
    }
    // A number of a license file is good for as long as its lease.
    let mut seat = Seat::new();
    let report = Report {
        newest_seq: Some(100),
        written_at: Some(T0),
        installation_id: "a",
        at: T0,
        ..Report::default()
    };
    let (trail, found) = seat.trail.followed(&report);
    assert_eq!(found, []);
    seat.trail = trail;
    let found = seat.trail.note_file(&report, 101, T0 + TimeDelta::days(93));
    assert_eq!(found, None);
    seat.trail.issued = 101;
    seat.validate(101, "a");
    let noticed = (0..100).find(|day| {
        seat.at = T0 + TimeDelta::days(*day);
        seat.validate(101, "a");
        !seat.found.is_empty()
    });
    assert_eq!(noticed, Some(96), "the third call that is behind");
    // One that was switched off for days after a lost answer, and loses some more.
    let mut seat = Seat::new();
    seat.validate(100, "a");
    seat.validate(100, "a");
    seat.at += TimeDelta::days(30);
    for _ in 0..20 {
        seat.at += TimeDelta::hours(1);
        seat.validate(100, "a");
    }
    assert_eq!(seat.found, []);
}

#[test]
fn a_number_between_answers_that_sites_keep_is_behind() {
    let mut seat = Seat::new();
    let known = seat.validate(100, "a");
    seat.heartbeat(known, "a");
    seat.validate(known + 1, "a");
    assert_eq!(
        (seat.trail.behind, seat.trail.behind_at),
        (1, Some(known + 1))
    );
}

#[test]
fn a_seat_has_one_lost_number_and_another_one_is_behind() {
    let mut seat = Seat::new();
    seat.validate(100, "a");
    let mut claim = |seq| {
        let report = Report {
            newest_seq: Some(seq),
            installation_id: "a",
            knows_lost_number: true,
            at: T0,
            ..Report::default()
        };
        let (trail, found) = seat.trail.followed(&report);
        seat.trail = trail;
        (seat.trail.behind, found)
    };
    assert_eq!(claim(5000), (0, vec![]));
    // Its answer was lost, and the clock of the lost server was ahead.
    assert_eq!(claim(5000), (0, vec![]));
    assert_eq!(claim(6000), (1, vec![]));
    assert_eq!(claim(5000), (2, vec![]));
    assert_eq!(claim(7000), (3, SHARED.to_vec()));
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

#[test]
fn going_back_to_version_1_0_0_and_returning_counts_once_each_time() {
    let mut seat = Seat::new();
    let mut known = seat.validate(100, "a");
    for time in 1..=3 {
        seat.at += TimeDelta::days(1);
        seat.call(None, "a", false);
        // The version that says numbers finds the one that it knew.
        known = seat.validate(known, "a");
        known = seat.validate(known, "a");
        assert_eq!(seat.trail.regressions.times.len(), time);
        assert_eq!(seat.found, SHARED[usize::from(time < 3)..], "{time}");
    }
    // One that stays there is noted by its third call.
    let mut seat = Seat::new();
    seat.validate(100, "a");
    for _ in 0..CALLS_BEHIND {
        assert_eq!(seat.found, []);
        seat.call(None, "a", false);
    }
    assert_eq!(seat.found, SHARED);
}

#[test]
fn a_backup_that_is_restored_twice_in_a_month_on_a_bad_line_is_not_a_copy() {
    let mut seat = Seat::new();
    let backup = seat.validate(100, "a");
    let mut known = backup;
    for round in 0..24 {
        for _ in 0..5 {
            seat.at += TimeDelta::hours(12);
            // Only the fifth answer arrives.
            seat.validate(known, "a");
            seat.heartbeat(known, "a");
        }
        known = seat.validate(known, "a");
        if round == 5 || round == 15 {
            known = backup;
        }
    }
    assert_eq!(
        (seat.found.as_slice(), seat.trail.regressions.times.len()),
        (&[][..], 2)
    );
    // The third time it is for a person to tell.
    known = seat.validate(backup, "a");
    seat.validate(known, "a");
    assert_eq!(seat.found, []);
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
fn lost_numbers_after_the_first_count_although_the_machine_is_up_to_date_in_between() {
    let mut seat = Seat::new();
    let mut known = seat.validate(100, "a");
    for claim in 0..4 {
        assert_eq!(seat.found, []);
        seat.at += TimeDelta::days(3);
        let report = Report {
            newest_seq: Some(seat.trail.issued + 60_000),
            installation_id: "a",
            knows_lost_number: true,
            longest_lease: TimeDelta::hours(96),
            at: seat.at,
            ..Report::default()
        };
        let (trail, found) = seat.trail.followed(&report);
        seat.trail = trail;
        seat.trail.issued += 60_001;
        seat.trail.answered = seat.trail.issued;
        if claim == 3 {
            assert_eq!(found, SHARED);
            return;
        }
        assert_eq!(found, []);
        // Its first call after that is behind; then it has the newest number.
        known = seat.validate(known, "a");
        known = seat.validate(known, "a");
    }
}
