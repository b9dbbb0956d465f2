//! Denials of a License Server whose database was restored from a backup.

use chrono::TimeDelta;
use license_core::call::Call;
use license_core::restored::{
    Continuity, Coverage, LostNumbers, MAX_LEAD, MAX_RESTART, MAX_SKEW, MAX_UNRECORDED, Refusal,
    is_excused, next_number, number_at, takes_seat,
};
use license_core::suspicion::{Report, Suspicion, Trail};
use proptest::prelude::*;

use crate::signer::T0;

#[test]
fn numbers_between_the_newest_one_recorded_and_ten_minutes_from_now_are_lost() {
    let newest = number_at(T0 - TimeDelta::hours(1));
    let numbers = LostNumbers::noticed(newest, T0);
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
        assert_eq!(numbers.contain(known, T0), is_lost, "{known}");
    }
}

#[test]
fn lost_numbers_and_those_of_a_lost_clock_that_was_ahead_stay_lost() {
    let (after, until) = (number_at(T0 - TimeDelta::hours(1)), number_at(T0));
    let numbers = LostNumbers { after, until };
    let last = number_at(T0 + MAX_LEAD);
    for later in [TimeDelta::minutes(11), TimeDelta::days(2)] {
        let later = T0 + later;
        for (known, is_lost) in [
            (after, false),
            (after + 1, true),
            (until, true),
            (until + 1, true),
            (last, true),
            (last + 1, false),
            (number_at(later), false),
            // One that is ahead was never issued.
            (number_at(later + MAX_UNRECORDED) + 1, false),
            (number_at(later + MAX_LEAD), false),
        ] {
            assert_eq!(numbers.contain(known, later), is_lost, "{known}");
        }
    }
    // A clock is never further ahead than that.
    let ahead = |minutes| number_at(T0 + TimeDelta::minutes(minutes));
    assert!(numbers.contain(ahead(5), T0 - TimeDelta::minutes(5)));
    assert!(!numbers.contain(ahead(6), T0 - TimeDelta::minutes(5)));
}

#[test]
fn a_record_of_a_clock_that_was_ahead_says_only_what_was_before_its_lead() {
    // Recorded by a clock that was five minutes ahead, and restored two minutes later.
    let (backup, restored) = (T0, T0 + TimeDelta::minutes(2));
    let recorded = number_at(backup + TimeDelta::minutes(5));
    let numbers = LostNumbers::noticed(recorded, restored);
    for (minutes, is_lost) in [(-6, false), (-4, true), (1, true), (6, true), (12, true)] {
        let known = number_at(backup + TimeDelta::minutes(minutes));
        assert_eq!(numbers.contain(known, restored), is_lost, "{minutes}");
    }
    // The clocks of two healthy servers differ a little.
    let numbers = LostNumbers::noticed(number_at(T0 + MAX_SKEW), T0);
    assert!(!numbers.contain(number_at(T0), T0));
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
        // The clocks of two healthy servers differ a little.
        (true, -MAX_SKEW, Continuity::Kept),
        (false, -MAX_SKEW, Continuity::OpenNow),
        (true, -MAX_SKEW - second, Continuity::Broken),
        (false, -MAX_SKEW - second, Continuity::Broken),
        (true, -MAX_LEAD, Continuity::Broken),
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
            Refusal::MalformedKey
            | Refusal::Suspended
            | Refusal::Revoked
            | Refusal::SeatFreed
            | Refusal::AddOnKey
            | Refusal::TrialCode
            | Refusal::MalformedAddOn
            | Refusal::AddOnElsewhere
            | Refusal::AddOnRefunded
            | Refusal::MalformedTrialCode
            | Refusal::TrialElsewhere
            | Refusal::TrialConverted => true,
            Refusal::UnknownKey
            | Refusal::Expired
            | Refusal::NoSeat
            | Refusal::SeatLimit
            | Refusal::UnknownAddOn
            | Refusal::AddOnNotPossible
            | Refusal::UnknownTrialCode
            | Refusal::TrialCodeUsedUp
            | Refusal::TrialsOfTheDay
            | Refusal::Unproven => false,
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
        (Call::Redeem, false),
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
        recorded_lead in 0_i64..=600_000,
        lead in 0_i64..=600_000,
    ) {
        let at = |millis: i64| T0 + TimeDelta::milliseconds(millis);
        let (answered, restored) = (backup + answered, backup + answered + restored);
        let now = at(restored + asked);
        // The lost server's clock was ahead, within the allowed limit, and not always by as much.
        let recorded = number_at(at(backup + recorded_lead));
        let known = number_at(at(answered + lead));
        let numbers = LostNumbers::noticed(recorded, at(restored));
        // A clock that went back may have issued numbers up to its own record again, where too
        // much time has passed to see that the record was ahead.
        let went_back = known <= recorded && recorded <= number_at(at(restored) + MAX_SKEW);
        let is_lost = numbers.contain(known, now);
        prop_assert!(is_lost || went_back);
        if is_lost {
            prop_assert!(!Refusal::UnknownKey.may_be_signed(is_lost));
        }
    }

    #[test]
    fn a_number_outside_the_time_of_a_loss_is_not_lost(
        recorded in 0_i64..100_000_000,
        noticed in 0_i64..100_000_000,
        known in -1_000_000_i64..202_000_000,
        asked in 0_i64..100_000_000,
    ) {
        let at = |millis: i64| T0 + TimeDelta::milliseconds(millis);
        let noticed = recorded + noticed;
        let numbers = LostNumbers::noticed(number_at(at(recorded)), at(noticed));
        let known = number_at(at(known));
        let now = at(noticed + asked);
        let is_of_it = number_at(at(recorded)) < known && known <= number_at(at(noticed) + MAX_LEAD);
        prop_assert_eq!(numbers.contain(known, now), is_of_it);
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

proptest! {
    #[test]
    fn an_excess_seat_is_excused_once_for_each_amendment(
        calls in prop::collection::vec((any::<bool>(), 0u32..2), 1..100),
    ) {
        let (mut newest, mut excused, mut times) = (2, None, 0);
        for (knows_lost_number, amendments) in calls {
            newest += amendments;
            if is_excused(knows_lost_number, excused, newest) {
                prop_assert!(knows_lost_number);
                prop_assert_ne!(excused, Some(newest));
                (excused, times) = (Some(newest), times + 1);
            }
            prop_assert!(!is_excused(false, excused, newest));
        }
        prop_assert!(times < newest);
    }
}
