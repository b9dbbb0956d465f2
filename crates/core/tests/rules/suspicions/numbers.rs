//! What a single number says.

use chrono::TimeDelta;
use license_core::suspicion::{Report, Suspicion};

use super::{SHARED, Seat};
use crate::signer::T0;

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
