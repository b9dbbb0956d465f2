//! Key sets, their chain, and when a key may sign.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::TimeDelta;
use license_core::keyring::JwkSet;
use license_core::rotation::KeySetClaims;
use serde_json::json;

use super::case::Cases;
use super::parts;
use crate::signer::{Signer, T0, license_claims};

pub(super) fn key_windows(cases: &mut Cases) {
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

pub(super) fn key_sets(cases: &mut Cases) {
    successions(cases);
    revocations(cases);
    malformed_sets(cases);
}

/// Key sets that follow each other, or do not.
fn successions(cases: &mut Cases) {
    let (one, two, three) = (Signer::vendor(), Signer::numbered(2), Signer::numbered(3));
    let mut add = chain_from(&one, cases);
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
        vec![second, set(2, &[&three], &[], &one)],
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
}

fn revocations(cases: &mut Cases) {
    let (one, two) = (Signer::vendor(), Signer::numbered(2));
    let mut add = chain_from(&one, cases);
    let second = set(2, &[&two, &one], &[], &one);
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
}

/// Signed key sets that are not accepted for what they contain.
fn malformed_sets(cases: &mut Cases) {
    let (one, two) = (Signer::vendor(), Signer::numbered(2));
    let mut add = chain_from(&one, cases);
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

/// Adds chains of documents that are followed from the key set of `root`.
fn chain_from<'a>(root: &Signer, cases: &'a mut Cases) -> impl FnMut(&str, Vec<String>, &str) + 'a {
    let keys = root.jwk_set();
    move |name, documents, expect| {
        cases.with_keys("keyset", name, keys.clone(), documents, expect);
    }
}

pub(super) fn sets_of_keys(cases: &mut Cases) {
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
