//! The header of a proof: exactly three members, and the public key.

use ed25519_dalek::VerifyingKey;
use serde_json::{Map, Value};

use super::ProofError;
use crate::document::read_part;
use crate::foreign_text;
use crate::keyring::verifying_key;

/// `typ` of a `DPoP` proof (RFC 9449, section 4.2).
const TYPE: &str = "dpop+jwt";

/// The header of proofs by the key with this `x`, which is base64url and needs no escapes.
pub(super) fn of(x: &str) -> String {
    format!(r#"{{"typ":"{TYPE}","alg":"EdDSA","jwk":{{"kty":"OKP","crv":"Ed25519","x":"{x}"}}}}"#)
}

/// The key in a header.
///
/// # Errors
/// The first [`ProofError`] that applies: the header is not exactly that of a proof.
pub(super) fn key(header: &str) -> Result<VerifyingKey, ProofError> {
    let header: Map<String, Value> = read_part(header).map_err(ProofError::Header)?;
    only(&header, &["typ", "alg", "jwk"])?;
    if !has(&header, "typ", TYPE) {
        return Err(ProofError::Type);
    }
    if !has(&header, "alg", "EdDSA") {
        return Err(ProofError::Algorithm);
    }
    let jwk = header.get("jwk").and_then(Value::as_object);
    let jwk = jwk.ok_or(ProofError::Key)?;
    only(jwk, &["kty", "crv", "x"])?;
    if !has(jwk, "kty", "OKP") || !has(jwk, "crv", "Ed25519") {
        return Err(ProofError::Key);
    }
    let x = jwk.get("x").and_then(Value::as_str);
    x.and_then(verifying_key).ok_or(ProofError::Key)
}

fn only(object: &Map<String, Value>, names: &[&str]) -> Result<(), ProofError> {
    let mut others = object.keys().filter(|name| !names.contains(&name.as_str()));
    match others.next() {
        Some(name) => Err(ProofError::UnexpectedMember(foreign_text::identifier(name))),
        None => Ok(()),
    }
}

fn has(object: &Map<String, Value>, name: &str, value: &str) -> bool {
    object.get(name).and_then(Value::as_str) == Some(value)
}
