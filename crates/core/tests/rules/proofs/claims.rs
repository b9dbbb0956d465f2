//! Payloads that lack a claim, and claims of another type.

use license_core::proof::ProofError;
use serde_json::{Value, json};

use super::{decoded, parts, proof, refusal, signed, verified};

fn header() -> String {
    decoded(parts(&proof())[0]).to_string()
}

fn payload(change: impl FnOnce(&mut Value)) -> String {
    let mut payload = decoded(parts(&proof())[1]);
    change(&mut payload);
    signed(&header(), &payload.to_string())
}

fn is_claims(error: &ProofError) -> bool {
    matches!(error, ProofError::Claims(_))
}

#[test]
fn required_claims_may_not_be_missing() {
    for name in ["jti", "htm", "htu", "iat", "bd", "nonce"] {
        let proof = payload(|claims| {
            claims.as_object_mut().unwrap().remove(name);
        });
        assert!(is_claims(&refusal(&proof)), "{name}");
    }
    for name in ["seq", "ath"] {
        let proof = payload(|claims| {
            claims.as_object_mut().unwrap().remove(name);
        });
        assert!(verified(&proof).is_ok(), "{name}");
    }
}

#[test]
fn claims_of_another_type_are_refused() {
    for (name, value) in [
        ("jti", json!(1)),
        ("htm", json!(["POST"])),
        ("htu", Value::Null),
        ("iat", json!("2026-03-01T00:00:00Z")),
        ("iat", json!(1.5)),
        ("bd", json!(true)),
        ("nonce", json!({})),
        ("seq", json!(-1)),
        ("seq", json!("1")),
        ("seq", json!(1.5)),
        ("ath", json!(1)),
        ("challenge", json!("1")),
    ] {
        let proof = payload(|claims| claims[name] = value.clone());
        assert!(is_claims(&refusal(&proof)), "{name} {value}");
    }
}

#[test]
fn the_time_is_never_judged() {
    for iat in [0, -1, 1, i64::MIN, i64::MAX] {
        assert!(
            verified(&payload(|claims| claims["iat"] = iat.into())).is_ok(),
            "{iat}"
        );
    }
}

#[test]
fn claims_of_later_versions_are_ignored() {
    let proof = payload(|claims| claims["later"] = json!({"a": [1]}));
    assert_eq!(verified(&proof), verified(&super::proof()));
}

#[test]
fn both_ids_of_a_proof_are_the_nonce() {
    for name in ["jti", "nonce"] {
        let proof = payload(|claims| claims[name] = "another".into());
        assert_eq!(refusal(&proof), ProofError::OtherNonce, "{name}");
    }
}

#[test]
fn duplicate_claims_and_other_json_are_refused() {
    let claims = decoded(parts(&proof())[1]).to_string();
    let again = claims.replacen('{', r#"{"seq":2000,"#, 1);
    for payload in [&again, "[]", "1", "", "{} {}"] {
        let error = refusal(&signed(&header(), payload));
        assert!(is_claims(&error), "{payload}: {error}");
    }
}
