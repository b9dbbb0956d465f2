//! The payloads of releases.

use chrono::TimeDelta;
use license_core::document::ReleaseClaims;
use serde_json::{Value, json};

use super::case::Cases;
use crate::signer::{Signer, T0, license_claims, release_claims};

pub(super) fn releases(cases: &mut Cases) {
    let vendor = Signer::vendor();
    let good = vendor.release(&release_claims());
    cases.add("release", "as the vendor makes it", good, "ok");
    let exempt = ReleaseClaims {
        exempt: true,
        ..release_claims()
    };
    cases.add("release", "exempt", vendor.release(&exempt), "ok");
    let license = vendor.license(&license_claims());
    cases.add("release", "a license", license, "Type");
    let untrusted = Signer::untrusted().posing_as(&vendor);
    cases.add(
        "release",
        "a stranger's under the vendor's name",
        untrusted.release(&release_claims()),
        "SignatureMismatch",
    );
    for claim in ["iss", "iat", "product", "version", "released"] {
        with(cases, &format!("without {claim}"), claim, None, "Payload");
    }
    let long = "3".repeat(65);
    let after = (T0 + TimeDelta::seconds(1)).timestamp();
    for (name, claim, value, expect) in [
        ("a claim that nobody knows", "colour", json!("red"), "ok"),
        ("another product", "product", json!("other"), "OtherProduct"),
        ("a product that is a number", "product", json!(7), "Payload"),
        ("a version of one digit", "version", json!("3"), "ok"),
        (
            "a version with suffixes",
            "version",
            json!("3.2.0-rc.1+7_x"),
            "ok",
        ),
        (
            "a version without a digit in front",
            "version",
            json!("v3.2"),
            "Payload",
        ),
        ("an empty version", "version", json!(""), "Payload"),
        (
            "a version with a space",
            "version",
            json!("3.2 "),
            "Payload",
        ),
        (
            "a version with another digit",
            "version",
            json!("３"),
            "Payload",
        ),
        (
            "a version that is too long",
            "version",
            json!(long),
            "Payload",
        ),
        ("released before it was signed", "released", json!(0), "ok"),
        (
            "released after it was signed",
            "released",
            json!(after),
            "TimesOutOfOrder",
        ),
        (
            "released at a text",
            "released",
            json!("2026-03-01"),
            "Payload",
        ),
        ("exempt is false", "exempt", json!(false), "ok"),
        ("exempt is a text", "exempt", json!("true"), "Payload"),
    ] {
        with(cases, name, claim, Some(value), expect);
    }
}

/// The vendor's document with one claim changed or removed.
fn with(cases: &mut Cases, name: &str, claim: &str, value: Option<Value>, expect: &str) {
    let mut claims = serde_json::to_value(release_claims()).unwrap();
    let object = claims.as_object_mut().unwrap();
    match value {
        Some(value) => object.insert(claim.into(), value),
        None => object.remove(claim),
    };
    let header = cases.vendor.license_header();
    let header = header.replace("license+jwt", "release+jwt");
    let document = cases.vendor.raw(&header, &claims.to_string());
    cases.add("release", name, document, expect);
}
