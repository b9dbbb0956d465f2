//! Each rule of the standing, on both sides of each bound.

use chrono::TimeDelta;
use license_core::contact::{Contact, Denial, NoContact, Reply, TransportFailure, Trust};
use license_core::document::{DenialReason, LicenseClaims};
use license_core::evidence::{Evidence, Failure};
use license_core::lease::Lease;
use license_core::license::License;
use license_core::protocol;
use license_core::standing::{LapseReason, Policy, Standing, grace_end, holds_until, standing};
use serde_json::json;

use crate::signer::{
    KEY, SEQ, Signer, T0, answer, at, denial_claims, just_after, license_claims, license_object,
    question, unsigned_lease, validation,
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

// 1: no license.

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

// 2: a verified denial newer than the lease.

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

// 3: the license's expiry.

#[test]
fn a_license_is_valid_up_to_and_including_its_expiry() {
    let evidence = signed_with(|claims| {
        let expiry = json!("2026-03-01T10:00:00Z");
        claims.license.insert("expiresAt".into(), expiry);
    });
    assert_eq!(standing(&evidence, at(10), &POLICY), Standing::Active);
    assert_eq!(standing(&evidence, just_after(10), &POLICY), EXPIRED);
}

#[test]
fn grace_does_not_outlast_the_license() {
    let evidence = signed_with(|claims| {
        let expiry = json!("2026-03-02T10:00:00Z");
        claims.license.insert("expiresAt".into(), expiry);
    });
    assert_eq!(standing(&evidence, at(34), &POLICY), grace_until(96));
    assert_eq!(standing(&evidence, just_after(34), &POLICY), EXPIRED);
}

#[test]
fn an_offline_lease_does_not_outlast_the_license() {
    let evidence = signed_with(|claims| {
        claims.offline = true;
        let expiry = json!("2026-03-01T10:00:00Z");
        claims.license.insert("expiresAt".into(), expiry);
    });
    assert_eq!(standing(&evidence, at(10), &POLICY), Standing::Active);
    assert_eq!(standing(&evidence, just_after(10), &POLICY), EXPIRED);
}

#[test]
fn an_unsigned_license_without_a_readable_expiry_never_expires() {
    for expiry in [json!(null), json!("soon"), json!(0)] {
        let mut license = license_object();
        license.insert("expiresAt".into(), expiry);
        let lease = Lease::Unsigned {
            license_key: KEY.into(),
            license: License::new(license),
            valid_until: at(1_000_000),
        };
        let evidence = Evidence::default().activated(lease, at(0));
        assert_eq!(
            standing(&evidence, at(1_000_000), &POLICY),
            Standing::Active
        );
    }
}

#[test]
fn the_status_field_of_the_license_decides_nothing() {
    for status in ["revoked", "suspended", "expired"] {
        let evidence = signed_with(|claims| {
            claims.license.insert("status".into(), status.into());
        });
        assert_eq!(standing(&evidence, at(1), &POLICY), Standing::Active);
    }
}

// 4: an offline lease.

#[test]
fn an_offline_lease_is_active_until_it_ends_regardless_of_contact() {
    let evidence = signed_with(|claims| claims.offline = true);
    let failed = after(&evidence, &silence(), 1);
    for evidence in [&evidence, &failed] {
        assert_eq!(standing(evidence, at(24), &policy(0)), Standing::Active);
        assert_eq!(
            standing(evidence, just_after(24), &policy(0)),
            NO_MORE_GRACE
        );
    }
}

#[test]
fn an_offline_lease_that_ran_out_untried_has_its_grace() {
    let evidence = signed_with(|claims| claims.offline = true);
    assert_eq!(
        standing(&evidence, just_after(24), &POLICY),
        grace_until(96)
    );
}

#[test]
fn a_signed_denial_ends_an_offline_lease() {
    let evidence = signed_with(|claims| claims.offline = true);
    let denied = after(&evidence, &signed_denial(SEQ + 1), 1);
    assert_eq!(standing(&denied, at(1), &POLICY), REVOKED);
}

// 5: confirmed, and not overdue.

#[test]
fn a_confirmed_lease_is_active_up_to_and_including_the_end_of_its_validity() {
    for evidence in [signed(), unsigned()] {
        assert_eq!(standing(&evidence, at(24), &POLICY), Standing::Active);
        assert_eq!(
            standing(&evidence, just_after(24), &POLICY),
            grace_until(96)
        );
    }
}

#[test]
fn a_lease_is_active_before_the_time_it_was_signed() {
    assert_eq!(standing(&signed(), at(-1), &POLICY), Standing::Active);
}

// 6 and 7: grace, and its end.

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

// The evidence after each validation.

#[test]
fn the_message_of_a_failed_validation_is_kept() {
    let failed = after(&signed(), &silence(), 10).last_failure;
    let timed_out = NoContact::from(TransportFailure::TimedOut { seconds: 30 });
    assert_eq!(
        failed,
        Some(Failure::new(
            at(10),
            "timed_out",
            &timed_out.to_string(),
            false
        ))
    );
    let denied = after(&unsigned(), &unsigned_denial(), 11).last_failure;
    assert_eq!(
        denied,
        Some(Failure::new(at(11), "suspended", "Unpaid", true))
    );
}

#[test]
fn the_newest_number_is_that_of_the_lease_or_of_the_denial() {
    assert_eq!(Evidence::default().newest_seq(KEY), None);
    assert_eq!(unsigned().newest_seq(KEY), None);
    assert_eq!(signed().newest_seq(KEY), Some(SEQ));
    let denied = after(&signed(), &signed_denial(SEQ + 5), 1);
    assert_eq!(denied.newest_seq(KEY), Some(SEQ + 5));
    assert_eq!(
        denied.newest_seq("fxsght aaaa bbbb cccc dddd"),
        Some(SEQ + 5)
    );
    assert_eq!(denied.newest_seq("FXSGHT-ZZZZ-ZZZZ-ZZZZ-ZZZZ"), None);
}

#[test]
fn another_license_replaces_the_old_one_regardless_of_its_number() {
    let other = "FXSGHT-ZZZZ-ZZZZ-ZZZZ-ZZZZ";
    let mut claims = license_claims();
    claims.seq = 1;
    claims.license.insert("licenseKey".into(), other.into());
    let lease = Signer::vendor().lease(&claims);
    let denied = after(&signed(), &signed_denial(SEQ + 1), 1);
    let activated = denied.activated(lease.clone(), at(2));
    let expected = Evidence {
        lease: Some(lease),
        activated_at: Some(at(2)),
        confirmed_at: Some(at(2)),
        ..Evidence::default()
    };
    assert_eq!(activated, expected);
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
fn the_message_of_the_newest_failure_is_kept() {
    let evidence = after(&signed(), &silence(), 1);
    let failure = |evidence: &Evidence| evidence.last_failure.clone().unwrap();
    assert_eq!(failure(&evidence).at(), at(1));
    assert!(!failure(&evidence).is_denial());
    let denied = after(&evidence, &signed_denial(SEQ + 1), 2);
    assert_eq!(failure(&denied).at(), at(2));
    assert_eq!(failure(&denied).reason(), "revoked");
    assert!(failure(&denied).is_denial());
    // An older denial adds nothing; the known one may come again.
    assert_eq!(after(&evidence, &signed_denial(SEQ - 1), 2), evidence);
    let again = after(&denied, &signed_denial(SEQ + 1), 3);
    assert_eq!(failure(&again).at(), at(3));
}

#[test]
fn merging_keeps_the_earlier_grace_and_the_newer_failure() {
    let one = after(&signed(), &silence(), 1);
    let two = after(&signed(), &unsigned_denial(), 2);
    for merged in [one.merged(&two), two.merged(&one)] {
        assert_eq!(merged.grace_started_at, Some(at(1)));
        assert_eq!(merged.last_failure, two.last_failure);
    }
    let none = signed();
    assert_eq!(one.merged(&none).last_failure, one.last_failure);
    assert_eq!(none.merged(&one).last_failure, one.last_failure);
    // If both are equally new, the shared one is kept.
    let same = after(&signed(), &unsigned_denial(), 1);
    assert_eq!(one.merged(&same).last_failure, one.last_failure);
}

#[test]
fn the_newest_document_says_when_it_was_signed() {
    assert_eq!(Evidence::default().newest_signed_at(), None);
    assert_eq!(unsigned().newest_signed_at(), None);
    assert_eq!(signed().newest_signed_at(), Some(T0));
    let later = signed_with(|claims| claims.iat = at(5));
    assert_eq!(later.newest_signed_at(), Some(at(5)));
    let denied = after(&unsigned(), &signed_denial(SEQ + 1), 1);
    assert_eq!(denied.newest_signed_at(), Some(denial_claims().iat));
    let denied = after(&later, &signed_denial(SEQ + 1), 6);
    assert_eq!(denied.newest_signed_at(), Some(at(5)));
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
