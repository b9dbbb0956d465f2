//! The form of a document, its header and its signature.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use license_core::document::MAX_BYTES;
use serde_json::json;

use super::case::Cases;
use super::claims::license_with;
use super::parts;
use crate::signer::{Signer, denial_claims, license_claims};

pub(super) fn forms(cases: &mut Cases) {
    let good = cases.vendor.license(&license_claims());
    let [header, payload, signature] = parts(&good);
    cases.add("license", "as the vendor makes it", good.clone(), "ok");
    cases.add("license", "empty", "", "NotCompact");
    cases.add("license", "one part", header, "NotCompact");
    cases.add(
        "license",
        "two parts",
        format!("{header}.{payload}"),
        "NotCompact",
    );
    cases.add("license", "four parts", format!("{good}.x"), "NotCompact");
    cases.add(
        "license",
        "no signature",
        format!("{header}.{payload}."),
        "SignatureMalformed",
    );
    cases.add(
        "license",
        "no payload",
        format!("{header}..{signature}"),
        "SignatureMismatch",
    );
    cases.add(
        "license",
        "no header",
        format!(".{payload}.{signature}"),
        "Header",
    );
    cases.add(
        "license",
        "a line break at the end",
        format!("{good}\n"),
        "SignatureMalformed",
    );
    cases.add("license", "a space in front", format!(" {good}"), "Header");
    cases.add(
        "license",
        "padding in the signature",
        format!("{good}=="),
        "SignatureMalformed",
    );
    let standard = signature.replace('-', "+").replace('_', "/");
    assert_ne!(standard, signature);
    cases.add(
        "license",
        "a signature in standard base64",
        format!("{header}.{payload}.{standard}"),
        "SignatureMalformed",
    );
    let json = json!({"payload": payload, "protected": header, "signature": signature});
    cases.add(
        "license",
        "the JSON serialization",
        json.to_string(),
        "NotCompact",
    );
    let long = license_with(|claims| {
        claims
            .license
            .insert("note".into(), "x".repeat(MAX_BYTES).into());
    });
    cases.add("license", "longer than 64 KiB", long, "TooLong");
    let full = license_with(|claims| {
        let features: Vec<String> = (0..1000).map(|n| format!("acme.feature_{n}")).collect();
        claims
            .license
            .insert("enabledFeatures".into(), features.into());
    });
    cases.add("license", "a thousand features", full, "ok");
}

pub(super) fn headers(cases: &mut Cases) {
    let kid = cases.vendor.kid.clone();
    let typ = "foxsight-license+jwt";
    for (alg, expect) in [
        ("EdDSA", "ok"),
        ("Ed25519", "ok"),
        ("none", "Algorithm"),
        ("None", "Algorithm"),
        ("HS256", "Algorithm"),
        ("RS256", "Algorithm"),
        ("ES256", "Algorithm"),
        ("Ed448", "Algorithm"),
        ("eddsa", "Algorithm"),
        ("", "Algorithm"),
    ] {
        let header = json!({"alg": alg, "kid": kid, "typ": typ});
        cases.header(&format!("the algorithm '{alg}'"), &header, expect);
    }
    cases.header("no algorithm", &json!({"kid": kid, "typ": typ}), "Header");
    cases.header(
        "an algorithm that is a number",
        &json!({"alg": 1, "kid": kid, "typ": typ}),
        "Header",
    );
    cases.header(
        "no key id",
        &json!({"alg": "EdDSA", "typ": typ}),
        "KeyIdMissing",
    );
    cases.header(
        "an unknown key id",
        &json!({"alg": "EdDSA", "kid": "x", "typ": typ}),
        "UnknownKeyId",
    );
    cases.header("no type", &json!({"alg": "EdDSA", "kid": kid}), "Type");
    cases.header(
        "the type JWT",
        &json!({"alg": "EdDSA", "kid": kid, "typ": "JWT"}),
        "Type",
    );
    cases.header(
        "a denial's type",
        &json!({"alg": "EdDSA", "kid": kid, "typ": "foxsight-denial+jwt"}),
        "Type",
    );
    cases.header(
        "an extension that must be understood",
        &json!({"alg": "EdDSA", "kid": kid, "typ": typ, "crit": ["exp"], "exp": 1}),
        "CriticalExtension",
    );
    cases.header(
        "a key of its own",
        &json!({"alg": "EdDSA", "kid": kid, "typ": typ, "jwk": {"kty": "OKP"}, "jku": "http://x"}),
        "ok",
    );
    cases.header("a header that is a list", &json!([1]), "Header");
    let payload = serde_json::to_string(&license_claims()).unwrap();
    let twice = cases.vendor.raw(
        &format!(r#"{{"alg":"EdDSA","alg":"none","kid":"{kid}","typ":"{typ}"}}"#),
        &payload,
    );
    cases.add("license", "a header with two algorithms", twice, "Header");
    let twice = cases.vendor.raw(
        &format!(r#"{{"alg":"none","alg":"EdDSA","kid":"{kid}","typ":"{typ}"}}"#),
        &payload,
    );
    cases.add(
        "license",
        "two algorithms, the good one last",
        twice,
        "Header",
    );
}

pub(super) fn signatures(cases: &mut Cases) {
    let good = cases.vendor.license(&license_claims());
    let [header, payload, signature] = parts(&good);
    let untrusted = Signer::untrusted();
    let posing = Signer::untrusted().posing_as(&cases.vendor);
    cases.add(
        "license",
        "a stranger's",
        untrusted.license(&license_claims()),
        "UnknownKeyId",
    );
    cases.add(
        "license",
        "a stranger's under the vendor's name",
        posing.license(&license_claims()),
        "SignatureMismatch",
    );
    let other = license_with(|claims| claims.seq += 1);
    let [_, other_payload, other_signature] = parts(&other);
    cases.add(
        "license",
        "another document's signature",
        format!("{header}.{payload}.{other_signature}"),
        "SignatureMismatch",
    );
    cases.add(
        "license",
        "another document's payload",
        format!("{header}.{other_payload}.{signature}"),
        "SignatureMismatch",
    );
    let mut bytes = URL_SAFE_NO_PAD.decode(signature).unwrap();
    let sign = |bytes: &[u8]| format!("{header}.{payload}.{}", URL_SAFE_NO_PAD.encode(bytes));
    cases.add(
        "license",
        "a signature of 63 bytes",
        sign(&bytes[..63]),
        "SignatureMalformed",
    );
    cases.add(
        "license",
        "a signature of 65 bytes",
        sign(&[&bytes[..], &[0]].concat()),
        "SignatureMalformed",
    );
    cases.add(
        "license",
        "a signature of zeros",
        sign(&[0; 64]),
        "SignatureMismatch",
    );
    // The scalar plus the order of the group (RFC 8032, 5.1.7): the same point.
    let mut carry = 0_u16;
    for (byte, order) in bytes[32..].iter_mut().zip(ORDER) {
        let sum = u16::from(*byte) + u16::from(order) + carry;
        *byte = sum.to_le_bytes()[0];
        carry = sum >> 8;
    }
    cases.add(
        "license",
        "a scalar that is not reduced",
        sign(&bytes),
        "SignatureMismatch",
    );
    let denial = cases.vendor.denial(&denial_claims());
    cases.add("license", "a denial", denial, "Type");
}

/// The order of the group of Ed25519, little-endian.
const ORDER: [u8; 32] = [
    0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
];
