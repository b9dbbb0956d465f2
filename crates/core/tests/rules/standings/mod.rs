//! Each rule of the standing, on both sides of each bound.

mod denials;
mod ends;
mod evidence;
mod grace;

use chrono::TimeDelta;
use license_core::document::{DenialReason, LicenseClaims};
use license_core::evidence::Evidence;
use license_core::lapse::LapseReason;
use license_core::protocol;
use license_core::response::{Contact, Denial, Reply, TransportFailure, Trust};
use license_core::standing::{Policy, Standing, grace_end, holds_until, standing};

use crate::signer::{
    SEQ, Signer, answer, at, denial_claims, license_claims, license_object, question,
    unsigned_lease, validation,
};

const POLICY: Policy = Policy {
    grace: TimeDelta::hours(72),
    allow_unlicensed_core: true,
};
const NO_MORE_GRACE: Standing = Standing::Lapsed(LapseReason::GracePeriodExpired);
const EXPIRED: Standing = Standing::Lapsed(LapseReason::LicenseExpired);
const REVOKED: Standing = Standing::Lapsed(LapseReason::Denied(DenialReason::Revoked));

fn policy(grace_hours: i64) -> Policy {
    Policy {
        grace: TimeDelta::hours(grace_hours),
        ..POLICY
    }
}

fn grace_until(hours: i64) -> Standing {
    Standing::Grace { until: at(hours) }
}

/// Activated with the default lease: valid for 24 hours, ends after 96.
fn signed() -> Evidence {
    Signer::vendor().evidence(&license_claims())
}

fn signed_with(change: impl FnOnce(&mut LicenseClaims)) -> Evidence {
    let mut claims = license_claims();
    change(&mut claims);
    Signer::vendor().evidence(&claims)
}

fn unsigned() -> Evidence {
    Evidence::default().activated(unsigned_lease(), at(0))
}

fn silence() -> Contact {
    let reply = Reply::Failure(TransportFailure::TimedOut { seconds: 30 });
    validation(&reply, &question(), &Trust::Unsigned)
}

fn unsigned_denial() -> Contact {
    let body = protocol::denied(&DenialReason::Suspended, "Unpaid", None).to_string();
    validation(&answer(200, body), &question(), &Trust::Unsigned)
}

fn signed_denial(seq: u64) -> Contact {
    let mut claims = denial_claims();
    claims.seq = seq;
    let denial = Signer::vendor().verified_denial(&claims);
    Contact::Denied(Denial::Signed(Box::new(denial)))
}

fn confirmation(seq: u64, hours: i64) -> Contact {
    let vendor = Signer::vendor();
    let mut claims = license_claims();
    claims.seq = seq;
    claims.iat = at(hours);
    claims.valid_until = at(hours + 24);
    claims.exp = at(hours + 96);
    let mut license = license_object();
    license.insert("signature".into(), vendor.license(&claims).into());
    let body = protocol::confirmed(&license).to_string();
    validation(&answer(200, body), &question(), &vendor.trust())
}

fn after(evidence: &Evidence, contact: &Contact, hours: i64) -> Evidence {
    evidence.validated(contact, at(hours), TimeDelta::hours(30))
}

#[test]
fn without_a_license_a_site_is_unlicensed() {
    let nothing = Evidence::default();
    assert_eq!(standing(&nothing, at(0), &POLICY), Standing::Unlicensed);
    assert_eq!(grace_end(&nothing, &POLICY), None);
}

#[test]
fn a_validation_without_a_license_leaves_no_evidence() {
    let nothing = Evidence::default();
    for contact in [silence(), unsigned_denial(), signed_denial(SEQ)] {
        assert_eq!(after(&nothing, &contact, 0), nothing);
    }
}

#[test]
fn every_lapse_has_a_code() {
    let codes = [REVOKED, EXPIRED, NO_MORE_GRACE].map(|standing| match standing {
        Standing::Lapsed(reason) => reason.code().to_owned(),
        other => panic!("{other:?}"),
    });
    assert_eq!(
        codes,
        ["revoked", "license_expired", "grace_period_expired"]
    );
}

#[test]
fn a_standing_is_valid_until_the_next_one_begins() {
    let until = |evidence: &Evidence, hours: i64| holds_until(evidence, at(hours), &policy(72));
    assert_eq!(until(&Evidence::default(), 0), None);
    // Active, then grace, then lapsed permanently.
    assert_eq!(until(&signed(), 0), Some(at(24)));
    assert_eq!(until(&signed(), 24), Some(at(24)));
    assert_eq!(until(&signed(), 25), Some(at(96)));
    assert_eq!(until(&signed(), 97), None);
    // In grace since the first failure, so the end of validity changes nothing.
    let failing = after(&signed(), &silence(), 2);
    assert_eq!(until(&failing, 3), Some(at(74)));
    let expiring = signed_with(|claims| {
        claims
            .license
            .insert("expiresAt".into(), at(5).to_rfc3339().into());
    });
    assert_eq!(until(&expiring, 0), Some(at(5)));
    assert_eq!(until(&expiring, 6), None);
    assert_eq!(
        until(&after(&signed(), &signed_denial(SEQ + 1), 1), 1),
        None
    );
}

#[test]
fn standings_have_codes() {
    let words = [
        (Standing::Unlicensed, "unlicensed"),
        (Standing::Active, "active"),
        (grace_until(1), "grace"),
        (Standing::Lapsed(LapseReason::GracePeriodExpired), "lapsed"),
    ];
    for (standing, word) in words {
        assert_eq!(standing.as_str(), word);
    }
}
