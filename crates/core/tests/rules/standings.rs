//! Each rule of standing, on both sides of each bound.

use chrono::{DateTime, TimeDelta, Utc};
use license_core::document::DenialReason;
use license_core::evidence::Evidence;
use license_core::lease::Lease;
use license_core::license::License;
use license_core::standing::{LapseReason, Policy, Standing, standing};

use crate::signer::{KEY, Signer, denial_claims, license_claims, license_object, signed_at};

const POLICY: Policy = Policy {
    grace: TimeDelta::hours(72),
    allow_unlicensed_core: true,
};

fn at(hours: i64) -> DateTime<Utc> {
    signed_at() + TimeDelta::hours(hours)
}

fn second() -> TimeDelta {
    TimeDelta::seconds(1)
}

fn signed() -> Evidence {
    let lease = Lease::Signed(Box::new(Signer::new(1).license(&license_claims())));
    Evidence::default().activated(KEY, lease, signed_at())
}

fn unsigned() -> Evidence {
    let lease = Lease::Unsigned {
        license: License::new(license_object()),
        valid_until: at(30),
    };
    Evidence::default().activated(KEY, lease, signed_at())
}

fn denied(seq: u64) -> Evidence {
    let mut claims = denial_claims();
    claims.seq = seq;
    Evidence {
        denial: Some(Signer::new(1).denial(&claims)),
        ..signed()
    }
}

fn grace(until: DateTime<Utc>) -> Standing {
    Standing::Grace { until }
}

fn expired_grace() -> Standing {
    Standing::Lapsed(LapseReason::GracePeriodExpired)
}

#[test]
fn without_a_license_there_is_no_standing_but_unlicensed() {
    let evidence = Evidence {
        grace_started_at: Some(at(0)),
        ..Evidence::default()
    };
    assert_eq!(standing(&evidence, at(0), &POLICY), Standing::Unlicensed);
}

#[test]
fn only_a_denial_newer_than_the_lease_counts() {
    let seq = license_claims().seq;
    let lapsed = Standing::Lapsed(LapseReason::Denied(DenialReason::Revoked));
    assert_eq!(standing(&denied(seq + 1), at(0), &POLICY), lapsed);
    assert_eq!(standing(&denied(seq), at(0), &POLICY), Standing::Active);
    assert_eq!(standing(&denied(seq - 1), at(0), &POLICY), Standing::Active);
    // A lease without a signature is older than any denial.
    let evidence = Evidence {
        denial: denied(1).denial,
        ..unsigned()
    };
    assert_eq!(standing(&evidence, at(0), &POLICY), lapsed);
}

#[test]
fn a_license_is_good_up_to_and_including_its_expiry() {
    let mut claims = license_claims();
    let end = at(2);
    claims
        .license
        .insert("expiresAt".into(), end.to_rfc3339().into());
    let lease = Lease::Signed(Box::new(Signer::new(1).license(&claims)));
    let evidence = Evidence::default().activated(KEY, lease, at(0));
    assert_eq!(standing(&evidence, end, &POLICY), Standing::Active);
    assert_eq!(
        standing(&evidence, end + second(), &POLICY),
        Standing::Lapsed(LapseReason::LicenseExpired)
    );
}

#[test]
fn a_confirmed_lease_is_active_up_to_its_validity_and_then_in_grace_until_its_signed_end() {
    assert_eq!(standing(&signed(), at(24), &POLICY), Standing::Active);
    assert_eq!(
        standing(&signed(), at(24) + second(), &POLICY),
        grace(at(96))
    );
    assert_eq!(standing(&signed(), at(96), &POLICY), grace(at(96)));
    assert_eq!(
        standing(&signed(), at(96) + second(), &POLICY),
        expired_grace()
    );
}

#[test]
fn grace_ends_72_hours_after_the_first_failure() {
    let evidence = Evidence {
        grace_started_at: Some(at(10)),
        ..signed()
    };
    assert_eq!(standing(&evidence, at(10), &POLICY), grace(at(82)));
    assert_eq!(standing(&evidence, at(82), &POLICY), grace(at(82)));
    assert_eq!(
        standing(&evidence, at(82) + second(), &POLICY),
        expired_grace()
    );
}

#[test]
fn the_setting_shortens_the_signed_grace_and_never_stretches_it() {
    let with = |hours| Policy {
        grace: TimeDelta::hours(hours),
        ..POLICY
    };
    assert_eq!(standing(&signed(), at(25), &with(1)), grace(at(25)));
    assert_eq!(
        standing(&signed(), at(25) + second(), &with(1)),
        expired_grace()
    );
    assert_eq!(standing(&signed(), at(96), &with(9999)), grace(at(96)));
    assert_eq!(
        standing(&signed(), at(96) + second(), &with(9999)),
        expired_grace()
    );
    assert_eq!(
        standing(&signed(), at(24) + second(), &with(0)),
        expired_grace()
    );
}

#[test]
fn an_unsigned_lease_has_no_end_but_the_settings() {
    assert_eq!(standing(&unsigned(), at(30), &POLICY), Standing::Active);
    assert_eq!(standing(&unsigned(), at(102), &POLICY), grace(at(102)));
    assert_eq!(
        standing(&unsigned(), at(102) + second(), &POLICY),
        expired_grace()
    );
}

#[test]
fn an_offline_lease_is_active_until_its_validity_whatever_contact_does() {
    let mut claims = license_claims();
    claims.offline = true;
    let lease = Lease::Signed(Box::new(Signer::new(1).license(&claims)));
    let evidence = Evidence {
        grace_started_at: Some(at(1)),
        ..Evidence::default().activated(KEY, lease, at(0))
    };
    assert_eq!(standing(&evidence, at(24), &POLICY), Standing::Active);
    assert_eq!(
        standing(&evidence, at(24) + second(), &POLICY),
        grace(at(73))
    );
}

#[test]
fn unreadable_expiry_of_an_unsigned_license_never_expires() {
    let mut license = license_object();
    license.insert("expiresAt".into(), "soon".into());
    let lease = Lease::Unsigned {
        license: License::new(license),
        valid_until: at(30),
    };
    let evidence = Evidence::default().activated(KEY, lease, at(0));
    assert_eq!(standing(&evidence, at(30), &POLICY), Standing::Active);
}

#[test]
fn absurd_settings_and_instants_do_not_overflow() {
    let policy = Policy {
        grace: TimeDelta::MAX,
        ..POLICY
    };
    for now in [DateTime::<Utc>::MIN_UTC, DateTime::<Utc>::MAX_UTC] {
        for evidence in [signed(), unsigned()] {
            let standing = standing(&evidence, now, &policy);
            assert_ne!(standing, Standing::Unlicensed);
        }
    }
}
