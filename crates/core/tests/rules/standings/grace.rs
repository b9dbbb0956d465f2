//! Conditions 6 and 7: grace, and its end.

use chrono::TimeDelta;
use license_core::standing::{Policy, Standing, grace_end, standing};

use super::{
    NO_MORE_GRACE, POLICY, after, confirmation, grace_until, policy, signed, signed_with, silence,
    unsigned, unsigned_denial,
};
use crate::signer::{SEQ, at, just_after};

#[test]
fn grace_starts_at_the_first_failed_validation() {
    for contact in [silence(), unsigned_denial()] {
        let failed = after(&unsigned(), &contact, 10);
        assert_eq!(failed.grace_started_at, Some(at(10)));
        assert_eq!(standing(&failed, at(10), &POLICY), grace_until(82));
    }
}

#[test]
fn grace_ends_exactly_72_hours_after_the_first_failure() {
    for evidence in [signed(), unsigned()] {
        let failed = after(&evidence, &silence(), 10);
        assert_eq!(standing(&failed, at(82), &POLICY), grace_until(82));
        assert_eq!(standing(&failed, just_after(82), &POLICY), NO_MORE_GRACE);
    }
}

#[test]
fn grace_starts_at_the_end_of_validity_without_an_attempt() {
    for evidence in [signed(), unsigned()] {
        assert_eq!(standing(&evidence, at(96), &POLICY), grace_until(96));
        assert_eq!(standing(&evidence, just_after(96), &POLICY), NO_MORE_GRACE);
    }
}

#[test]
fn grace_never_starts_later_than_the_end_of_validity() {
    let failed = after(&unsigned(), &silence(), 90);
    assert_eq!(failed.grace_started_at, Some(at(24)));
    assert_eq!(standing(&failed, at(96), &POLICY), grace_until(96));
    assert_eq!(standing(&failed, just_after(96), &POLICY), NO_MORE_GRACE);
}

#[test]
fn failing_again_does_not_move_the_grace_period() {
    let mut evidence = after(&unsigned(), &silence(), 10);
    for hours in 11..82 {
        evidence = after(&evidence, &unsigned_denial(), hours);
        assert_eq!(evidence.grace_started_at, Some(at(10)));
        assert_eq!(standing(&evidence, at(hours), &POLICY), grace_until(82));
    }
}

#[test]
fn a_confirmation_ends_the_grace_period() {
    let failed = after(&signed(), &silence(), 10);
    let confirmed = after(&failed, &confirmation(SEQ + 1, 20), 20);
    assert_eq!(confirmed.grace_started_at, None);
    assert_eq!(confirmed.confirmed_at, Some(at(20)));
    assert_eq!(standing(&confirmed, at(44), &POLICY), Standing::Active);
    let failed = after(&confirmed, &silence(), 30);
    assert_eq!(standing(&failed, at(30), &POLICY), grace_until(102));
}

#[test]
fn a_confirmation_after_a_lapse_is_active_again() {
    let failed = after(&signed(), &silence(), 10);
    assert_eq!(standing(&failed, at(500), &POLICY), NO_MORE_GRACE);
    let confirmed = after(&failed, &confirmation(SEQ + 1, 500), 500);
    assert_eq!(standing(&confirmed, at(500), &POLICY), Standing::Active);
}

#[test]
fn the_setting_shortens_a_signed_grace_period() {
    assert_eq!(standing(&signed(), at(34), &policy(10)), grace_until(34));
    assert_eq!(
        standing(&signed(), just_after(34), &policy(10)),
        NO_MORE_GRACE
    );
}

#[test]
fn the_setting_never_lengthens_a_signed_grace_period() {
    let forever = Policy {
        grace: TimeDelta::MAX,
        ..POLICY
    };
    for policy in [policy(73), policy(87_600), forever] {
        assert_eq!(grace_end(&signed(), &policy), Some(at(96)));
        assert_eq!(standing(&signed(), at(96), &policy), grace_until(96));
        assert_eq!(standing(&signed(), just_after(96), &policy), NO_MORE_GRACE);
    }
}

#[test]
fn a_failure_late_in_the_validity_does_not_pass_the_signed_end() {
    let evidence = signed_with(|claims| claims.exp = at(30));
    let failed = after(&evidence, &silence(), 23);
    assert_eq!(standing(&failed, at(30), &POLICY), grace_until(30));
    assert_eq!(standing(&failed, just_after(30), &POLICY), NO_MORE_GRACE);
}

#[test]
fn without_grace_a_site_lapses_right_after_the_failure() {
    let failed = after(&signed(), &silence(), 10);
    assert_eq!(standing(&failed, at(10), &policy(0)), grace_until(10));
    assert_eq!(standing(&failed, just_after(10), &policy(0)), NO_MORE_GRACE);
}
