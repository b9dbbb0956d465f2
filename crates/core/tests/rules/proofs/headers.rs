//! Headers that are not exactly those of a proof.

use license_core::proof::ProofError;
use serde_json::{Value, json};

use super::{decoded, parts, proof, refusal, signed, verified};

fn payload() -> String {
    decoded(parts(&proof())[1]).to_string()
}

fn header(change: impl FnOnce(&mut Value)) -> String {
    let mut header = decoded(parts(&proof())[0]);
    change(&mut header);
    signed(&header.to_string(), &payload())
}

#[test]
fn the_members_may_be_in_any_order() {
    assert!(verified(&header(|_| ())).is_ok());
    let jwk = decoded(parts(&proof())[0])["jwk"].clone();
    let spaced = format!(r#" {{ "jwk" : {jwk} , "alg":"EdDSA", "typ":"dpop+jwt" }} "#);
    assert!(verified(&signed(&spaced, &payload())).is_ok());
}

#[test]
fn unexpected_members_are_refused() {
    for (name, value) in [
        ("crit", json!(["exp"])),
        ("kid", json!("a")),
        ("jku", json!("https://attacker.example/keys")),
        ("x5c", json!([])),
        ("b64", json!(false)),
    ] {
        let proof = header(|header| header[name] = value);
        let error = ProofError::UnexpectedMember(name.to_owned());
        assert_eq!(refusal(&proof), error);
    }
    for name in ["d", "kid", "use", "alg", "n", "y"] {
        let proof = header(|header| header["jwk"][name] = json!("AAAA"));
        let error = ProofError::UnexpectedMember(name.to_owned());
        assert_eq!(refusal(&proof), error);
    }
}

#[test]
fn other_types_algorithms_and_keys_are_refused() {
    for typ in [
        json!("JWT"),
        json!("dpop+JWT"),
        json!("foxsight-license+jwt"),
        json!(1),
    ] {
        assert_eq!(refusal(&header(|it| it["typ"] = typ)), ProofError::Type);
    }
    for alg in [
        json!("none"),
        json!("HS256"),
        json!("ES256"),
        json!("Ed25519"),
        Value::Null,
    ] {
        assert_eq!(
            refusal(&header(|it| it["alg"] = alg)),
            ProofError::Algorithm
        );
    }
    // The neutral element: anyone can sign for it. The last one is not a point of the curve.
    let neutral = format!("AQ{}", "A".repeat(41));
    let no_point = format!("Ag{}", "A".repeat(41));
    for (name, value) in [
        ("kty", json!("RSA")),
        ("kty", json!("EC")),
        ("crv", json!("X25519")),
        ("crv", json!("Ed448")),
        ("x", json!("AAAA")),
        ("x", json!("")),
        ("x", json!(7)),
        ("x", json!(neutral)),
        ("x", json!(no_point)),
    ] {
        let proof = header(|header| header["jwk"][name] = value.clone());
        assert_eq!(refusal(&proof), ProofError::Key, "{name} {value}");
    }
    for jwk in [json!([]), json!("x"), Value::Null, json!({})] {
        assert_eq!(refusal(&header(|it| it["jwk"] = jwk)), ProofError::Key);
    }
}

#[test]
fn missing_members_are_refused() {
    for (name, error) in [
        ("typ", ProofError::Type),
        ("alg", ProofError::Algorithm),
        ("jwk", ProofError::Key),
    ] {
        let proof = header(|header| {
            header.as_object_mut().unwrap().remove(name);
        });
        assert_eq!(refusal(&proof), error, "{name}");
    }
    for name in ["kty", "crv", "x"] {
        let proof = header(|header| {
            header["jwk"].as_object_mut().unwrap().remove(name);
        });
        assert_eq!(refusal(&proof), ProofError::Key, "{name}");
    }
}

#[test]
fn duplicate_members_and_other_json_are_refused() {
    let jwk = decoded(parts(&proof())[0])["jwk"].clone();
    let x = &jwk["x"];
    for header in [
        format!(r#"{{"typ":"dpop+jwt","alg":"EdDSA","alg":"EdDSA","jwk":{jwk}}}"#),
        format!(r#"{{"typ":"dpop+jwt","\u0074yp":"dpop+jwt","alg":"EdDSA","jwk":{jwk}}}"#),
        format!(
            r#"{{"typ":"dpop+jwt","alg":"EdDSA","jwk":{{"kty":"OKP","crv":"Ed25519","x":{x},"x":{x}}}}}"#
        ),
        format!(r#"["dpop+jwt","EdDSA",{jwk}]"#),
        "{}{}".to_owned(),
        "null".to_owned(),
        String::new(),
    ] {
        let error = refusal(&signed(&header, &payload()));
        assert!(matches!(error, ProofError::Header(_)), "{header}: {error}");
    }
}
