//! Condition 2: a verified denial newer than the lease.

use license_core::evidence::Evidence;
use license_core::standing::{Standing, standing};
use serde_json::json;

use super::{
    POLICY, REVOKED, after, confirmation, signed, signed_denial, signed_with, silence, unsigned,
};
use crate::signer::{SEQ, Signer, at, denial_claims};

#[test]
fn a_newer_signed_denial_takes_effect_immediately() {
    let denied = after(&signed(), &signed_denial(SEQ + 1), 1);
    assert_eq!(standing(&denied, at(1), &POLICY), REVOKED);
}

#[test]
fn a_denial_older_than_the_lease_does_not_count() {
    let evidence = signed();
    let denied = after(&evidence, &signed_denial(SEQ - 1), 1);
    assert_eq!(denied, evidence);
    assert_eq!(standing(&denied, at(1), &POLICY), Standing::Active);
}

#[test]
fn a_stored_denial_that_is_not_newer_than_the_lease_does_not_count() {
    for seq in [SEQ - 1, SEQ] {
        let mut claims = denial_claims();
        claims.seq = seq;
        let evidence = Evidence {
            denial: Some(Signer::vendor().verified_denial(&claims)),
            ..signed()
        };
        assert_eq!(standing(&evidence, at(1), &POLICY), Standing::Active);
    }
}

#[test]
fn a_signed_denial_counts_against_an_unsigned_lease() {
    let denied = after(&unsigned(), &signed_denial(0), 1);
    assert_eq!(standing(&denied, at(1), &POLICY), REVOKED);
}

#[test]
fn a_denial_outlives_the_grace_period_and_failed_validations() {
    let denied = after(&signed(), &signed_denial(SEQ + 1), 1);
    let denied = after(&denied, &silence(), 2);
    for hours in [2, 200, 20_000] {
        assert_eq!(standing(&denied, at(hours), &POLICY), REVOKED);
    }
}

#[test]
fn a_confirmation_newer_than_the_denial_reinstates() {
    let denied = after(&signed(), &signed_denial(SEQ + 1), 1);
    let reinstated = after(&denied, &confirmation(SEQ + 2, 2), 2);
    assert_eq!(standing(&reinstated, at(2), &POLICY), Standing::Active);
    assert_eq!((reinstated.denial, reinstated.last_failure), (None, None));
}

#[test]
fn a_confirmation_older_than_the_denial_does_not_reinstate() {
    let denied = after(&signed(), &signed_denial(SEQ + 2), 1);
    assert_eq!(after(&denied, &confirmation(SEQ + 1, 2), 2), denied);
}

#[test]
fn a_denial_is_named_before_the_expiry() {
    let evidence = signed_with(|claims| {
        claims
            .license
            .insert("expiresAt".into(), json!("2026-03-01"));
    });
    let denied = after(&evidence, &signed_denial(SEQ + 1), 1);
    assert_eq!(standing(&denied, at(2), &POLICY), REVOKED);
}
