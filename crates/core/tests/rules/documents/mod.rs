//! Which documents are accepted, and why all others are rejected.

mod forms;
mod payloads;
mod signatures;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use license_core::document::{
    DenialReason, DocumentError, KeyConfirmation, LicenseClaims, key_id, verify_denial,
    verify_license,
};
use serde_json::{Value, json};

use self::payloads::with_claim;
use crate::signer::{KEY, Signer, denial_claims, license_claims};

fn refusal(jws: &str) -> DocumentError {
    verify_license(jws, &Signer::vendor().keyring()).unwrap_err()
}

/// A license with this header and a valid signature.
fn with_header(header: &Value) -> String {
    let payload = serde_json::to_string(&license_claims()).unwrap();
    Signer::vendor().raw(&header.to_string(), &payload)
}

fn signed(change: impl FnOnce(&mut LicenseClaims)) -> String {
    let mut claims = license_claims();
    change(&mut claims);
    Signer::vendor().license(&claims)
}

fn parts(jws: &str) -> [&str; 3] {
    let parts: Vec<&str> = jws.split('.').collect();
    parts.try_into().unwrap()
}

#[test]
fn a_license_has_the_signed_content() {
    let vendor = Signer::vendor();
    let jws = vendor.license(&license_claims());
    let document = verify_license(&jws, &vendor.keyring()).unwrap();
    assert_eq!(*document.claims(), license_claims());
    assert_eq!(document.jws(), jws);
    assert_eq!(document.license().license_key(), Some(KEY));
    assert_eq!(document.license().signature(), jws);
}

#[test]
fn a_license_names_the_installation_key_that_is_bound_to_its_seat() {
    const JKT: &str = "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k";
    let vendor = Signer::vendor();
    let bound = |cnf| {
        let document = verify_license(&with_claim("cnf", cnf), &vendor.keyring()).unwrap();
        document.claims().bound_key().map(|key| key.to_string())
    };
    assert_eq!(bound(Some(json!({"jkt": JKT}))).as_deref(), Some(JKT));
    assert_eq!(
        bound(Some(json!({"jkt": JKT, "later": 1}))).as_deref(),
        Some(JKT)
    );
    assert_eq!(bound(Some(json!({"jwk": {"kty": "OKP"}}))), None);
    assert_eq!(bound(None), None);
    let jws = signed(|claims| {
        let jkt = Some(JKT.parse().unwrap());
        claims.cnf = Some(KeyConfirmation { jkt });
    });
    let payload = URL_SAFE_NO_PAD.decode(parts(&jws)[1]).unwrap();
    let payload: Value = serde_json::from_slice(&payload).unwrap();
    assert_eq!(payload["cnf"], json!({"jkt": JKT}));
    let older = serde_json::to_value(license_claims()).unwrap();
    assert_eq!(older.get("cnf"), None, "older documents stay the same");
}

#[test]
fn a_denial_has_the_signed_content() {
    let vendor = Signer::vendor();
    let jws = vendor.denial(&denial_claims());
    let document = verify_denial(&jws, &vendor.keyring()).unwrap();
    assert_eq!(*document.claims(), denial_claims());
    assert_eq!(document.jws(), jws);
}

#[test]
fn an_unknown_reason_is_accepted() {
    let vendor = Signer::vendor();
    let mut claims = denial_claims();
    claims.reason = DenialReason::Other("embargo".into());
    let document = verify_denial(&vendor.denial(&claims), &vendor.keyring()).unwrap();
    assert_eq!(document.claims().reason.as_str(), "embargo");
}

#[test]
fn both_names_of_the_algorithm_are_accepted() {
    let vendor = Signer::vendor();
    for alg in ["EdDSA", "Ed25519"] {
        let jws =
            with_header(&json!({"alg": alg, "kid": vendor.kid, "typ": "foxsight-license+jwt"}));
        let document = verify_license(&jws, &vendor.keyring()).unwrap();
        assert_eq!(*document.claims(), license_claims(), "{alg}");
    }
}

#[test]
fn claims_and_header_members_of_later_servers_are_ignored() {
    let vendor = Signer::vendor();
    let jws = with_header(
        &json!({"alg": "EdDSA", "kid": vendor.kid, "typ": "foxsight-license+jwt", "x": 1}),
    );
    assert!(verify_license(&jws, &vendor.keyring()).is_ok());
    let jws = with_claim("later", Some(json!([1])));
    assert!(verify_license(&jws, &vendor.keyring()).is_ok());
}

#[test]
fn a_document_names_its_key_before_anything_is_verified() {
    let vendor = Signer::vendor();
    assert_eq!(key_id(&vendor.license(&license_claims())), Some(vendor.kid));
    assert_eq!(
        key_id(&Signer::untrusted().denial(&denial_claims())),
        Some(Signer::untrusted().kid)
    );
    for text in ["", "a.b.c", &with_header(&json!({"alg": "EdDSA"}))] {
        assert_eq!(key_id(text), None, "{text}");
    }
}
