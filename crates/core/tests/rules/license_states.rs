//! The state of a sold license.

use chrono::{DateTime, TimeDelta, Utc};
use license_core::document::DenialReason;
use license_core::entitlement::Period;
use license_core::license_state::{Decided, EXPIRING_WITHIN, End, LicenseState, StateBounds};
use proptest::prelude::*;

use crate::signer::T0;

fn state(decided: Decided, from: Option<i64>, until: Option<i64>) -> LicenseState {
    let at = |seconds| T0 + TimeDelta::seconds(seconds);
    let period = Period {
        from: from.map(at),
        until: until.map(at),
    };
    LicenseState::of(decided, period, T0)
}

#[test]
fn a_license_expires_after_its_end_unless_suspended_or_revoked() {
    let soon = EXPIRING_WITHIN.num_seconds();
    for (end, valid) in [
        (None, LicenseState::Active),
        (Some(soon + 1), LicenseState::Active),
        (Some(soon), LicenseState::Expiring),
        (Some(1), LicenseState::Expiring),
        (Some(0), LicenseState::Expiring),
        (Some(-1), LicenseState::Expired),
    ] {
        for (decided, expected, denial) in [
            (
                Decided::Valid,
                valid,
                (valid == LicenseState::Expired).then_some(DenialReason::Expired),
            ),
            (
                Decided::Suspended,
                LicenseState::Suspended,
                Some(DenialReason::Suspended),
            ),
            (
                Decided::Revoked,
                LicenseState::Revoked,
                Some(DenialReason::Revoked),
            ),
        ] {
            let state = state(decided, None, end);
            assert_eq!((state, state.denial()), (expected, denial), "{end:?}");
        }
    }
}

#[test]
fn a_license_is_scheduled_before_its_start_and_is_never_refused_for_it() {
    for (from, until, expected) in [
        (1, None, LicenseState::Scheduled),
        (1, Some(2), LicenseState::Scheduled),
        (0, None, LicenseState::Active),
        (-1, Some(1), LicenseState::Expiring),
        (-2, Some(-1), LicenseState::Expired),
    ] {
        let state = state(Decided::Valid, Some(from), until);
        assert_eq!(state, expected, "{from} {until:?}");
    }
    assert_eq!(LicenseState::Scheduled.denial(), None);
    let suspended = state(Decided::Suspended, Some(1), None);
    assert_eq!(suspended, LicenseState::Suspended);
}

/// Whether a license is within bounds, as a database finds it.
fn is_within(bounds: StateBounds, decided: Decided, period: Period) -> bool {
    let has_started = bounds
        .has_started
        .is_none_or(|(expected, at)| period.from.is_none_or(|from| from <= at) == expected);
    let end = period.until;
    let ends = bounds.ends.is_none_or(|ends| match ends {
        End::Before(at) => end.is_some_and(|end| end < at),
        End::From(at) => end.is_none_or(|end| at <= end),
        End::After(at) => end.is_none_or(|end| at < end),
        End::Between(from, to) => end.is_some_and(|end| from <= end && end <= to),
    });
    bounds.decided == decided && has_started && ends
}

fn instant() -> impl Strategy<Value = DateTime<Utc>> {
    let near = -2..=2_i64;
    let days = prop_oneof![Just(0), Just(30), -40..=40_i64];
    (days, near)
        .prop_map(|(days, seconds)| T0 + TimeDelta::days(days) + TimeDelta::seconds(seconds))
}

proptest! {
    #[test]
    fn a_license_is_within_the_bounds_of_its_state_and_of_no_other(
        decided in prop_oneof![
            4 => Just(Decided::Valid),
            1 => Just(Decided::Suspended),
            1 => Just(Decided::Revoked),
        ],
        from in proptest::option::of(instant()),
        until in proptest::option::of(instant()),
        nanoseconds in prop_oneof![Just(0), Just(1), Just(999_999_999)],
    ) {
        let now = T0 + TimeDelta::nanoseconds(nanoseconds);
        let period = Period { from, until };
        let state = LicenseState::of(decided, period, now);
        for it in LicenseState::ALL {
            let is_in = is_within(it.bounds(now), decided, period);
            prop_assert_eq!(is_in, it == state, "{:?} is {:?}", it, state);
        }
    }
}
