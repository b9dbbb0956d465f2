//! The payloads of licenses and denials.

use serde_json::{Value, json};

use super::case::Cases;
use crate::signer::{KEY, Signer, T0, at, denial_claims, license_claims};

pub(super) fn claims(cases: &mut Cases) {
    members(cases);
    questions(cases);
    times(cases);
    licenses(cases);
    odd_values(cases);
}

/// Members that are missing, unknown or of another type.
fn members(cases: &mut Cases) {
    for claim in [
        "iss",
        "sub",
        "jti",
        "iat",
        "nbf",
        "exp",
        "validUntil",
        "seq",
        "installationId",
        "hardwareId",
        "license",
    ] {
        cases.claim(&format!("without {claim}"), claim, None, "Payload");
    }
    cases.claim("without a nonce", "nonce", None, "ok");
    cases.claim(
        "a claim that nobody knows",
        "colour",
        Some(json!("red")),
        "ok",
    );
    cases.claim(
        "a sequence number below zero",
        "seq",
        Some(json!(-1)),
        "Payload",
    );
    cases.claim(
        "a sequence number that is a text",
        "seq",
        Some(json!("1")),
        "Payload",
    );
    cases.claim(
        "a time that is a text",
        "exp",
        Some(json!("2026-03-05T00:00:00Z")),
        "Payload",
    );
    cases.claim(
        "a license that is a text",
        "license",
        Some(json!("x")),
        "Payload",
    );
}

/// The call that a license answers.
fn questions(cases: &mut Cases) {
    for (call, expect) in [
        ("activate", "ok"),
        ("validate", "ok"),
        ("trial", "ok"),
        ("redeem", "NotALease"),
        ("heartbeat", "NotALease"),
        ("deactivate", "NotALease"),
        ("transfer", "NotALease"),
    ] {
        let name = format!("a license that answers {call}");
        cases.claim(&name, "question", Some(json!(call)), expect);
    }
    let name = "a question that is a number";
    cases.claim(name, "question", Some(json!(1)), "Payload");
    let hash = license_core::license_key::fingerprint("FXSADD-AAAA-BBBB-CCCC-DDDD");
    let name = "a license that answers a call with a code";
    cases.claim(name, "codeHash", Some(json!(hash)), "ok");
    let name = "a code hash that is a number";
    cases.claim(name, "codeHash", Some(json!(1)), "Payload");
}

/// Times that contradict each other.
fn times(cases: &mut Cases) {
    cases.claim(
        "valid until before it was signed",
        "validUntil",
        Some(json!(T0.timestamp() - 1)),
        "TimesOutOfOrder",
    );
    cases.claim(
        "ends before it is valid until",
        "exp",
        Some(json!(at(24).timestamp() - 1)),
        "TimesOutOfOrder",
    );
    cases.claim(
        "valid for no time at all",
        "validUntil",
        Some(json!(T0.timestamp())),
        "ok",
    );
}

/// The license in the payload.
fn licenses(cases: &mut Cases) {
    let license = |change: Value| {
        let mut license = license_claims().license;
        license.extend(change.as_object().unwrap().clone());
        Some(Value::Object(license))
    };
    cases.claim(
        "a license without a key",
        "license",
        Some(json!({"tier": "standard"})),
        "LicenseKeyMissing",
    );
    cases.claim(
        "a license key that is a number",
        "license",
        license(json!({"licenseKey": 7})),
        "LicenseKeyMissing",
    );
    cases.claim(
        "an expiry that is no time",
        "license",
        license(json!({"expiresAt": "soon"})),
        "ExpiryUnreadable",
    );
    cases.claim(
        "an expiry that is a number",
        "license",
        license(json!({"expiresAt": 7})),
        "ExpiryUnreadable",
    );
    cases.claim(
        "an expiry with a zone",
        "license",
        license(json!({"expiresAt": "2027-12-31T23:59:59+02:00"})),
        "ok",
    );
    cases.claim(
        "updates until a time",
        "license",
        license(json!({"updatesUntil": "2028-04-30T23:59:59Z", "updates": "enforce"})),
        "ok",
    );
    cases.claim(
        "updates until something that is no time, which restricts nothing",
        "license",
        license(json!({"updatesUntil": "soon", "updates": 7})),
        "ok",
    );
    let month = license(json!({"expiresAt": "2027-13-01T00:00:00Z"}));
    cases.claim(
        "an expiry in a 13th month",
        "license",
        month,
        "ExpiryUnreadable",
    );
}

fn odd_values(cases: &mut Cases) {
    cases.claim(
        "a sequence number that is true",
        "seq",
        Some(json!(true)),
        "Payload",
    );
    cases.claim(
        "a time with a fraction",
        "iat",
        Some(json!(1772323200.5)),
        "Payload",
    );
    cases.claim(
        "a lease for a site without internet",
        "offline",
        Some(json!(true)),
        "ok",
    );
}

pub(super) fn denials(cases: &mut Cases) {
    let vendor = Signer::vendor();
    cases.add(
        "denial",
        "as the vendor makes it",
        vendor.denial(&denial_claims()),
        "ok",
    );
    cases.add(
        "denial",
        "a license",
        vendor.license(&license_claims()),
        "Type",
    );
    for reason in [
        "suspended",
        "expired",
        "hardware_mismatch",
        "seat_limit",
        "unknown_license",
        "deactivated",
        "a_reason_of_later",
    ] {
        let mut claims = serde_json::to_value(denial_claims()).unwrap();
        claims["reason"] = reason.into();
        let header = vendor.license_header().replace("license+jwt", "denial+jwt");
        let document = vendor.raw(&header, &claims.to_string());
        cases.add("denial", &format!("the reason {reason}"), document, "ok");
    }
    let untrusted = Signer::untrusted().posing_as(&vendor);
    cases.add(
        "denial",
        "a stranger's under the vendor's name",
        untrusted.denial(&denial_claims()),
        "SignatureMismatch",
    );
}

pub(super) fn license_with(
    change: impl FnOnce(&mut license_core::document::LicenseClaims),
) -> String {
    let mut claims = license_claims();
    change(&mut claims);
    assert_eq!(claims.license["licenseKey"], KEY);
    Signer::vendor().license(&claims)
}

/// The installation key that a lease is bound to.
pub(super) fn bound_keys(cases: &mut Cases) {
    let jkt = "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k";
    for (name, cnf, expect) in [
        ("bound to a key", json!({"jkt": jkt}), "ok"),
        ("bound by a method of later", json!({"jwk": {}}), "ok"),
        ("bound to nothing", json!({}), "ok"),
        ("bound to half a key", json!({"jkt": &jkt[1..]}), "Payload"),
        ("bound to a number", json!({"jkt": 1}), "Payload"),
        ("bound without a method", json!("x"), "Payload"),
    ] {
        cases.claim(name, "cnf", Some(cnf), expect);
    }
}
