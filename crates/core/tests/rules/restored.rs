//! Denials of a License Server whose database was restored from a backup.

use chrono::TimeDelta;
use license_core::call::Call;
use license_core::restored::{
    Continuity, Coverage, IssuedNumbers, LostNumbers, MAX_LEAD, MAX_RESTART, MAX_UNRECORDED,
    Refusal, next_number, number_at, takes_seat,
};
use license_core::suspicion::{Report, Suspicion, Trail};
use proptest::prelude::*;

use crate::signer::T0;

/// A database with its newest number an hour ago.
fn restored_an_hour_ago() -> IssuedNumbers {
    IssuedNumbers::unknown_after(number_at(T0 - TimeDelta::hours(1)))
}

#[test]
fn numbers_between_the_newest_one_issued_and_ten_minutes_from_now_are_lost() {
    let numbers = restored_an_hour_ago();
    let newest = numbers.newest;
    let last = number_at(T0 + MAX_LEAD);
    for (known, is_lost) in [
        (0, false),
        (newest - 1, false),
        (newest, false),
        (newest + 1, true),
        (number_at(T0), true),
        (last, true),
        (last + 1, false),
        (u64::MAX, false),
    ] {
        assert_eq!(numbers.have_lost(known, T0), is_lost, "{known}");
    }
}

#[test]
fn lost_numbers_stay_lost_when_newer_ones_have_been_issued() {
    let (after, until) = (number_at(T0 - TimeDelta::hours(1)), number_at(T0));
    let later = T0 + TimeDelta::days(2);
    let numbers = IssuedNumbers {
        newest: number_at(later),
        lost: Some(LostNumbers { after, until }),
    };
    for (known, is_lost) in [
        (after, false),
        (after + 1, true),
        (until, true),
        (until + 1, false),
        (number_at(later), false),
        // A denial that no server has recorded yet.
        (number_at(later + MAX_UNRECORDED), false),
        // One that is further ahead was never issued.
        (number_at(later + MAX_UNRECORDED) + 1, false),
        (number_at(later + MAX_LEAD), false),
    ] {
        assert_eq!(numbers.have_lost(known, later), is_lost, "{known}");
    }
}

#[test]
fn numbers_of_a_lost_clock_that_was_ahead_are_lost_until_this_server_comes_to_them() {
    let (after, until) = (number_at(T0 - TimeDelta::hours(1)), number_at(T0));
    let lost = Some(LostNumbers { after, until });
    let at = |minutes| T0 + TimeDelta::minutes(minutes);
    for (newest, known, now, is_lost) in [
        (0, 5, 0, true),
        (0, 10, 0, true),
        (0, 11, 5, false),
        (4, 5, 4, true),
        (5, 5, 5, false),
        (60, 5, 60, false),
        (60, 65, 60, false),
    ] {
        let newest = number_at(at(newest));
        let numbers = IssuedNumbers { newest, lost };
        let found = numbers.have_lost(number_at(at(known)), at(now));
        assert_eq!(found, is_lost, "{known} at {now}");
    }
}

#[test]
fn only_a_short_rest_after_a_clean_stop_continues_what_is_recorded() {
    let second = TimeDelta::seconds(1);
    for (is_closed, rest, expected) in [
        (true, TimeDelta::zero(), Continuity::Kept),
        (true, MAX_RESTART, Continuity::Kept),
        (true, MAX_RESTART + second, Continuity::Broken),
        (false, TimeDelta::zero(), Continuity::OpenNow),
        (false, MAX_UNRECORDED, Continuity::OpenNow),
        (false, MAX_UNRECORDED + second, Continuity::Broken),
    ] {
        let first = Coverage::next(None, T0, false);
        let coverage = Coverage::next(Some(&first), T0, is_closed);
        assert!(coverage.version > first.version);
        let found = coverage.continuity(T0 + rest);
        assert_eq!(found, expected, "{is_closed} {rest}");
    }
}

#[test]
fn only_recorded_decisions_are_signed_for_a_site_with_a_lost_number() {
    for refusal in Refusal::ALL {
        let is_held = match refusal {
            Refusal::MalformedKey | Refusal::Suspended | Refusal::Revoked | Refusal::SeatFreed => {
                true
            }
            Refusal::UnknownKey | Refusal::Expired | Refusal::NoSeat | Refusal::SeatLimit => false,
        };
        assert_eq!(refusal.may_be_signed(true), is_held, "{refusal:?}");
        assert!(refusal.may_be_signed(false), "{refusal:?}");
    }
}

#[test]
fn a_lost_seat_is_taken_again_by_any_call_that_needs_it() {
    for (call, when_lost) in [
        (Call::Validate, true),
        (Call::Heartbeat, true),
        (Call::Deactivate, false),
        (Call::Unknown, false),
    ] {
        assert_eq!(takes_seat(call, false, true), when_lost, "{call:?}");
        assert!(!takes_seat(call, true, true), "{call:?}: it was freed");
        assert!(!takes_seat(call, false, false), "{call:?}: nothing is lost");
    }
    for (is_recorded, is_lost) in [(true, true), (true, false), (false, true), (false, false)] {
        assert!(takes_seat(Call::Activate, is_recorded, is_lost));
    }
}

#[test]
fn a_lost_number_neither_accuses_a_seat_nor_clears_it() {
    let trail = Trail {
        issued: 100,
        answered: 100,
        says_seq: true,
        behind: 2,
        behind_at: Some(50),
        acknowledged: 100,
        installation_id: "a".into(),
        ..Trail::default()
    };
    let report = |seq, knows_lost_number| Report {
        newest_seq: Some(seq),
        installation_id: "a",
        knows_lost_number,
        at: T0,
        ..Report::default()
    };
    let (next, found) = trail.followed(&report(5000, true));
    let claimed = Trail {
        lost_claim: Some(5000),
        ..trail.clone()
    };
    assert_eq!((next, found), (claimed, vec![]));
    let (_, found) = trail.followed(&report(5000, false));
    assert_eq!(found, [Suspicion::ImpossibleSequence]);
}

proptest! {
    #[test]
    fn whoever_was_answered_by_a_lost_server_is_never_denied_for_what_is_not_held(
        backup in 0_i64..100_000_000,
        answered in 1_i64..100_000_000,
        restored in 0_i64..100_000_000,
        asked in 0_i64..100_000_000,
        newer in any::<bool>(),
        lead in 0_i64..=600_000,
    ) {
        let at = |millis: i64| T0 + TimeDelta::milliseconds(millis);
        let (answered, restored) = (backup + answered, backup + answered + restored);
        let now = at(restored + asked);
        // The lost server's clock was ahead, within the allowed limit.
        let known = number_at(at(answered + lead));
        let stored = LostNumbers {
            after: number_at(at(backup)),
            until: number_at(at(restored)),
        };
        // Other sites may or may not have been answered since.
        let numbers = match newer {
            true => IssuedNumbers {
                newest: number_at(at(restored)),
                lost: Some(stored),
            },
            false => IssuedNumbers::unknown_after(stored.after),
        };
        let is_lost = numbers.have_lost(known, now);
        // A number after the restoration looks like one that was issued since.
        prop_assert!(is_lost || (newer && known > stored.until && known <= number_at(at(restored) + MAX_UNRECORDED)));
        if is_lost {
            prop_assert!(!Refusal::UnknownKey.may_be_signed(is_lost));
        }
    }

    #[test]
    fn a_healthy_database_signs_every_refusal(
        newest in 0_u64..4_000_000_000_000,
        known in any::<u64>(),
    ) {
        let numbers = IssuedNumbers { newest, lost: None };
        prop_assert!(!numbers.have_lost(known, T0));
    }

    #[test]
    fn numbers_grow_past_all_that_the_site_knows_and_run_away_from_no_clock(
        last in 0_u64..=u64::MAX,
        lead in -1_000_000_i64..=600_000,
    ) {
        let now = T0;
        let known = number_at(now + TimeDelta::milliseconds(lead));
        let next = next_number(last, Some(known), now);
        prop_assert!(next > known && (next > last || last == u64::MAX));
        let bound = number_at(now + MAX_LEAD).max(last);
        prop_assert!(next <= bound.saturating_add(1));
    }
}
