//! Payloads that are signed and not accepted.

use license_core::document::{DocumentError, verify_denial, verify_license};
use serde_json::{Value, json};

use super::{refusal, signed};
use crate::signer::{Signer, denial_claims, just_after, license_claims};

/// A license with one claim changed or removed and a valid signature.
pub(super) fn with_claim(name: &str, value: Option<Value>) -> String {
    let mut claims = serde_json::to_value(license_claims()).unwrap();
    let claims = claims.as_object_mut().unwrap();
    match value {
        Some(value) => claims.insert(name.into(), value),
        None => claims.remove(name),
    };
    let vendor = Signer::vendor();
    vendor.raw(
        &vendor.license_header(),
        &serde_json::to_string(claims).unwrap(),
    )
}

#[test]
fn a_missing_or_malformed_claim_makes_the_payload_invalid() {
    let cases = [
        ("installationId", None, "missing field `installationId`"),
        ("hardwareId", None, "missing field `hardwareId`"),
        ("license", None, "missing field `license`"),
        ("seq", None, "missing field `seq`"),
        ("exp", None, "missing field `exp`"),
        ("validUntil", None, "missing field `validUntil`"),
        ("seq", Some(json!(-1)), "invalid value"),
        ("seq", Some(json!(1.5)), "invalid type"),
        ("exp", Some(json!("2026-03-01T00:00:00Z")), "invalid type"),
        ("exp", Some(json!(i64::MAX)), "legal timestamp"),
        ("license", Some(json!([])), "invalid type"),
        ("offline", Some(json!("false")), "invalid type"),
    ];
    for (name, value, expected) in cases {
        let refusal = refusal(&with_claim(name, value));
        let DocumentError::Payload(why) = &refusal else {
            panic!("{name}: {refusal}");
        };
        assert!(why.contains(expected), "{name}: {why}");
    }
}

#[test]
fn a_denial_without_a_reason_is_unreadable() {
    let vendor = Signer::vendor();
    let header = vendor.license_header().replace("license", "denial");
    let mut claims = serde_json::to_value(denial_claims()).unwrap();
    claims.as_object_mut().unwrap().remove("reason");
    let jws = vendor.raw(&header, &claims.to_string());
    let refusal = verify_denial(&jws, &vendor.keyring()).unwrap_err();
    assert!(
        matches!(&refusal, DocumentError::Payload(why) if why.contains("missing field `reason`")),
        "{refusal}"
    );
}

#[test]
fn times_out_of_order_are_refused_and_equal_ones_are_not() {
    assert_eq!(
        refusal(&signed(|claims| claims.iat = just_after(24))),
        DocumentError::TimesOutOfOrder
    );
    assert_eq!(
        refusal(&signed(|claims| claims.valid_until = just_after(96))),
        DocumentError::TimesOutOfOrder
    );
    let equal = signed(|claims| {
        claims.valid_until = claims.iat;
        claims.exp = claims.iat;
    });
    assert!(verify_license(&equal, &Signer::vendor().keyring()).is_ok());
}

#[test]
fn a_license_without_a_key_is_refused() {
    for key in [Value::Null, json!(7)] {
        let jws = signed(|claims| {
            claims.license.insert("licenseKey".into(), key);
        });
        assert_eq!(refusal(&jws), DocumentError::LicenseKeyMissing);
    }
    let absent = signed(|claims| {
        claims.license.remove("licenseKey");
    });
    assert_eq!(refusal(&absent), DocumentError::LicenseKeyMissing);
}

#[test]
fn a_license_with_an_invalid_expiry_is_refused() {
    for expiry in [json!("soon"), json!(""), json!(1_772_323_200), json!(false)] {
        let jws = signed(|claims| {
            claims.license.insert("expiresAt".into(), expiry);
        });
        assert_eq!(refusal(&jws), DocumentError::ExpiryUnreadable);
    }
}
