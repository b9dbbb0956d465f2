//! Conditions 3 to 5: the expiry of the license, an offline lease, and a confirmed one.

use license_core::evidence::Evidence;
use license_core::lease::Lease;
use license_core::license::License;
use license_core::standing::{Standing, standing};
use serde_json::json;

use super::{
    EXPIRED, NO_MORE_GRACE, POLICY, REVOKED, after, grace_until, policy, signed, signed_denial,
    signed_with, silence, unsigned,
};
use crate::signer::{KEY, SEQ, at, just_after, license_object};

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
