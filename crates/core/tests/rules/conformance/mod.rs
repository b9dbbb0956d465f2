//! Named documents that every verifier has to accept or reject.
//!
//! This program generates `vectors/conformance.json`, and tests that the file and our
//! verifier agree. To regenerate the file:
//! `UPDATE_VECTORS=1 cargo test -p license-core conformance`.

mod case;
mod claims;
mod entitlements;
mod forms;
mod key_sets;
mod releases;

use license_core::document::{verify_denial, verify_license, verify_release};
use license_core::keyring::Keyring;
use license_core::rotation::walk;

use self::case::{Case, Cases};
use self::claims::{bound_keys, claims, denials};
use self::forms::{forms, headers, signatures};
use self::key_sets::{key_sets, key_windows, sets_of_keys};
use self::releases::releases;
use crate::signer::Signer;

const FILE: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/tests/vectors/conformance.json"
);

#[test]
fn the_vectors_are_up_to_date() {
    let made = cases();
    if is_regenerated() {
        let text = serde_json::to_string_pretty(&made).unwrap();
        std::fs::write(FILE, text + "\n").unwrap();
    }
    let kept: Vec<Case> = vectors(FILE);
    assert_eq!(kept.len(), made.len());
    for (kept, made) in kept.iter().zip(&made) {
        assert_eq!(kept, made, "{}", made.name);
    }
}

#[expect(clippy::disallowed_methods, reason = "a test has no config.rs")]
fn is_regenerated() -> bool {
    std::env::var_os("UPDATE_VECTORS").is_some()
}

fn vectors<T: serde::de::DeserializeOwned>(file: &str) -> Vec<T> {
    serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap()
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
        "release" => verify_release(document, &keyring).map_or_else(|e| word(&e), |_| ok()),
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
    releases(&mut cases);
    key_windows(&mut cases);
    key_sets(&mut cases);
    sets_of_keys(&mut cases);
    bound_keys(&mut cases);
    cases.all
}

fn parts(jws: &str) -> [&str; 3] {
    let parts: Vec<&str> = jws.split('.').collect();
    parts.try_into().unwrap()
}
