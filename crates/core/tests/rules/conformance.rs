//! Named documents that every verifier has to accept or reject.
//!
//! This program generates `vectors/conformance.json`, and tests that the file and our
//! verifier agree. To regenerate the file:
//! `UPDATE_VECTORS=1 cargo test -p license-core conformance`.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::TimeDelta;
use license_core::document::{MAX_BYTES, verify_denial, verify_license};
use license_core::keyring::{JwkSet, Keyring};
use license_core::rotation::{KeySetClaims, walk};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::signer::{KEY, Signer, T0, at, denial_claims, license_claims};

/// One case. The chain is followed from its keys, and its documents are verified in order;
/// the result of the last one counts.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Case {
    name: String,
    /// `license`, `denial` or `keyset`.
    kind: String,
    /// The trusted JWK Set.
    keys: JwkSet,
    documents: Vec<String>,
    /// `ok`, or the reason for rejection.
    expect: String,
}

const FILE: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/tests/vectors/conformance.json"
);

#[test]
fn the_vectors_are_up_to_date() {
    let made = cases();
    #[expect(clippy::disallowed_methods, reason = "a test has no config.rs")]
    if std::env::var_os("UPDATE_VECTORS").is_some() {
        let text = serde_json::to_string_pretty(&made).unwrap();
        std::fs::write(FILE, text + "\n").unwrap();
    }
    let kept: Vec<Case> = serde_json::from_str(&std::fs::read_to_string(FILE).unwrap()).unwrap();
    assert_eq!(kept.len(), made.len());
    for (kept, made) in kept.iter().zip(&made) {
        assert_eq!(kept, made, "{}", made.name);
    }
}

#[test]
fn every_vector_has_the_expected_result() {
    let cases = cases();
    assert!(cases.len() >= 60, "{} cases", cases.len());
    let mut names: Vec<&str> = cases.iter().map(|case| case.name.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), cases.len(), "each case has a name of its own");
    for case in &cases {
        assert_eq!(outcome(case), case.expect, "{}", case.name);
    }
}

fn outcome(case: &Case) -> String {
    let keyring = match Keyring::from_jwk_set(&case.keys) {
        Ok(keyring) => keyring,
        Err(error) => return word(&error),
    };
    let document = &case.documents[case.documents.len() - 1];
    match case.kind.as_str() {
        "license" => verify_license(document, &keyring).map_or_else(|e| word(&e), |_| ok()),
        "denial" => verify_denial(document, &keyring).map_or_else(|e| word(&e), |_| ok()),
        _ => {
            let walk = walk(keyring, &case.documents);
            walk.error.map_or_else(ok, |error| word(&error))
        }
    }
}

fn ok() -> String {
    "ok".to_owned()
}

/// The name of the reason.
fn word(error: &impl std::fmt::Debug) -> String {
    let text = format!("{error:?}");
    let end = text.find(|c: char| !c.is_alphanumeric());
    text[..end.unwrap_or(text.len())].to_owned()
}

struct Cases {
    vendor: Signer,
    all: Vec<Case>,
}

impl Cases {
    fn add(&mut self, kind: &str, name: &str, document: impl Into<String>, expect: &str) {
        let keys = self.vendor.jwk_set();
        self.with_keys(kind, name, keys, vec![document.into()], expect);
    }

    fn with_keys(
        &mut self,
        kind: &str,
        name: &str,
        keys: JwkSet,
        documents: Vec<String>,
        expect: &str,
    ) {
        self.all.push(Case {
            name: format!("{kind}: {name}"),
            kind: kind.to_owned(),
            keys,
            documents,
            expect: expect.to_owned(),
        });
    }

    /// The vendor's license with another header.
    fn header(&mut self, name: &str, header: &Value, expect: &str) {
        let payload = serde_json::to_string(&license_claims()).unwrap();
        let document = self.vendor.raw(&header.to_string(), &payload);
        self.add("license", name, document, expect);
    }

    /// The vendor's license with one claim changed or removed.
    fn claim(&mut self, name: &str, claim: &str, value: Option<Value>, expect: &str) {
        let mut claims = serde_json::to_value(license_claims()).unwrap();
        let object = claims.as_object_mut().unwrap();
        match value {
            Some(value) => object.insert(claim.into(), value),
            None => object.remove(claim),
        };
        let document = self
            .vendor
            .raw(&self.vendor.license_header(), &claims.to_string());
        self.add("license", name, document, expect);
    }
}

fn cases() -> Vec<Case> {
    let mut cases = Cases {
        vendor: Signer::vendor(),
        all: Vec::new(),
    };
    forms(&mut cases);
    headers(&mut cases);
    signatures(&mut cases);
    claims(&mut cases);
    denials(&mut cases);
    key_windows(&mut cases);
    key_sets(&mut cases);
    sets_of_keys(&mut cases);
    cases.all
}

fn forms(cases: &mut Cases) {
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

fn headers(cases: &mut Cases) {
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

fn signatures(cases: &mut Cases) {
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

fn claims(cases: &mut Cases) {
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
    let month = license(json!({"expiresAt": "2027-13-01T00:00:00Z"}));
    cases.claim(
        "an expiry in a 13th month",
        "license",
        month,
        "ExpiryUnreadable",
    );
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

fn denials(cases: &mut Cases) {
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

fn key_windows(cases: &mut Cases) {
    let document = cases.vendor.license(&license_claims());
    let second = TimeDelta::seconds(1);
    for (name, nbf, exp, expect) in [
        ("a key that signs from this second on", Some(T0), None, "ok"),
        (
            "a key that signs from the next second on",
            Some(T0 + second),
            None,
            "KeyNotInUse",
        ),
        ("a key that signs up to this second", None, Some(T0), "ok"),
        (
            "a key that signed up to the second before",
            None,
            Some(T0 - second),
            "KeyNotInUse",
        ),
    ] {
        let mut keys = cases.vendor.jwk_set();
        keys.keys[0].nbf = nbf;
        keys.keys[0].exp = exp;
        cases.with_keys("license", name, keys, vec![document.clone()], expect);
    }
    let mut keys = Signer::untrusted().jwk_set();
    keys.keys.extend(cases.vendor.jwk_set().keys);
    keys.revoked.push(cases.vendor.kid.clone());
    cases.with_keys(
        "license",
        "a revoked key",
        keys,
        vec![document.clone()],
        "RevokedKeyId",
    );
    let mut keys = Signer::untrusted().jwk_set();
    keys.keys.extend(cases.vendor.jwk_set().keys);
    cases.with_keys("license", "one key of several", keys, vec![document], "ok");
}

/// The set of version `version` with the keys of `signers`, signed by the first
/// of `by`.
fn set(version: u64, signers: &[&Signer], revoked: &[&Signer], by: &Signer) -> String {
    by.key_set(&KeySetClaims {
        iss: "https://licenses.example".into(),
        iat: T0,
        version,
        keys: signers.iter().flat_map(|it| it.jwk_set().keys).collect(),
        revoked: revoked.iter().map(|it| it.kid.clone()).collect(),
    })
}

fn key_sets(cases: &mut Cases) {
    let (one, two, three) = (Signer::vendor(), Signer::numbered(2), Signer::numbered(3));
    let root = one.jwk_set();
    let mut add = |name: &str, documents: Vec<String>, expect: &str| {
        cases.with_keys("keyset", name, root.clone(), documents, expect);
    };
    let second = set(2, &[&two, &one], &[], &one);
    let third = set(3, &[&three, &two], &[], &two);
    add("the next version", vec![second.clone()], "ok");
    add(
        "two versions in a row",
        vec![second.clone(), third.clone()],
        "ok",
    );
    add(
        "signed by a key of a set that is missing",
        vec![third],
        "UnknownKeyId",
    );
    add(
        "versions are left out",
        vec![set(4, &[&two], &[], &one), set(9, &[&two], &[], &two)],
        "ok",
    );
    add(
        "signed by a key that left with the versions that are left out",
        vec![set(4, &[&two], &[], &one), set(9, &[&one], &[], &one)],
        "UnknownKeyId",
    );
    add(
        "the version that is known",
        vec![set(1, &[&two], &[], &one)],
        "ok",
    );
    add(
        "an older version after a newer",
        vec![second.clone(), set(2, &[&three], &[], &one)],
        "ok",
    );
    add(
        "signed by the new key alone",
        vec![set(2, &[&two], &[], &two)],
        "UnknownKeyId",
    );
    add(
        "signed by a stranger under the vendor's name",
        vec![set(2, &[&two], &[], &Signer::untrusted().posing_as(&one))],
        "SignatureMismatch",
    );
    let without_one = set(2, &[&two], &[], &one);
    add(
        "signed by a key that has left",
        vec![without_one, set(3, &[&one], &[], &one)],
        "UnknownKeyId",
    );
    let revokes_one = set(3, &[&two], &[&one], &two);
    add(
        "a key is revoked",
        vec![second.clone(), revokes_one.clone()],
        "ok",
    );
    add(
        "signed by a revoked key",
        vec![
            second.clone(),
            revokes_one.clone(),
            set(4, &[&one], &[], &one),
        ],
        "RevokedKeyId",
    );
    let brings_back = set(4, &[&one, &two], &[], &two);
    add(
        "a revoked key does not come back",
        vec![second, revokes_one, brings_back, set(5, &[&one], &[], &one)],
        "RevokedKeyId",
    );
    add(
        "no key is left",
        vec![set(2, &[&one], &[&one], &one)],
        "KeySet",
    );
    add("no key at all", vec![set(2, &[], &[], &one)], "KeySet");
    add(
        "the same key twice",
        vec![set(2, &[&two, &two], &[], &one)],
        "KeySet",
    );
    add(
        "a license in its place",
        vec![one.license(&license_claims())],
        "Type",
    );
    let mut private = serde_json::to_value(KeySetClaims {
        iss: "x".into(),
        iat: T0,
        version: 2,
        keys: two.jwk_set().keys,
        revoked: Vec::new(),
    })
    .unwrap();
    let header = one.license_header().replace("license+jwt", "keyset+jwt");
    private["keys"][0]["d"] = "AAAA".into();
    add(
        "a private key",
        vec![one.raw(&header, &private.to_string())],
        "KeySet",
    );
    private["keys"] = json!("none");
    add(
        "keys that are a text",
        vec![one.raw(&header, &private.to_string())],
        "Payload",
    );
}

fn sets_of_keys(cases: &mut Cases) {
    let document = cases.vendor.license(&license_claims());
    let good = cases.vendor.jwk_set().keys.remove(0);
    let mut add = |name: &str, keys: Vec<_>, expect: &str| {
        let keys = JwkSet {
            keys,
            ..JwkSet::default()
        };
        cases.with_keys("license", name, keys, vec![document.clone()], expect);
    };
    let changed = |change: &dyn Fn(&mut license_core::keyring::Jwk)| {
        let mut key = good.clone();
        change(&mut key);
        key
    };
    add("no trusted key", vec![], "Empty");
    add(
        "a trusted key of another curve",
        vec![changed(&|key| key.crv = Some("X25519".into()))],
        "Empty",
    );
    add(
        "a trusted key for encryption",
        vec![changed(&|key| key.usage = Some("enc".into()))],
        "Empty",
    );
    add(
        "a trusted key of 31 bytes",
        vec![changed(&|key| {
            key.x = Some(URL_SAFE_NO_PAD.encode([1; 31]));
        })],
        "UnsoundKey",
    );
    add(
        "a trusted key that anybody can sign for",
        vec![changed(&|key| {
            key.x = Some(format!("AQ{}", "A".repeat(41)));
        })],
        "UnsoundKey",
    );
    add(
        "two trusted keys with one id",
        vec![good.clone(), good.clone()],
        "DuplicateKeyId",
    );
    add(
        "a trusted key without an id",
        vec![changed(&|key| key.kid = None)],
        "ok",
    );
    add(
        "a trusted key of another type",
        vec![changed(&|key| key.kty = "EC".into())],
        "Empty",
    );
    let many = (0..65).map(|n| changed(&|key| key.kid = Some(format!("key-{n}"))));
    add("65 trusted keys", many.collect(), "TooManyKeys");
    // Anyone can sign for the neutral element without a secret: the point itself and a scalar
    // of 0 (RFC 8032, 5.1.7).
    let neutral = [&[1][..], &[0; 31]].concat();
    let [header, payload, _] = parts(&document).map(str::to_owned);
    let signature = URL_SAFE_NO_PAD.encode([&neutral[..], &[0; 32]].concat());
    let forged = format!("{header}.{payload}.{signature}");
    let keys = JwkSet {
        keys: vec![changed(&|key| {
            key.x = Some(URL_SAFE_NO_PAD.encode(&neutral));
        })],
        ..JwkSet::default()
    };
    cases.with_keys(
        "license",
        "signed by nobody for a key of small order",
        keys,
        vec![forged],
        "UnsoundKey",
    );
}

fn license_with(change: impl FnOnce(&mut license_core::document::LicenseClaims)) -> String {
    let mut claims = license_claims();
    change(&mut claims);
    assert_eq!(claims.license["licenseKey"], KEY);
    Signer::vendor().license(&claims)
}

fn parts(jws: &str) -> [&str; 3] {
    let parts: Vec<&str> = jws.split('.').collect();
    parts.try_into().unwrap()
}
