//! Proofs of the installation key: which are accepted, for which call, and why others are not.

mod claims;
mod files;
mod forms;
mod headers;
mod properties;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek::{Signer as _, SigningKey};
use license_core::installation_key::InstallationKey;
use license_core::proof::{
    CallAddress, Endpoint, MAX_PROOF_BYTES, ProofError, ReceivedCall, Statement, VerifiedProof,
    create, document_hash, verify,
};
use license_core::protocol::VALIDATE;
use serde_json::{Value, json};

use crate::signer::{NONCE, T0};

const SEED: [u8; 32] = [3; 32];
const BODY: &[u8] = br#"{"licenseKey":"FXSGHT-AAAA-BBBB-CCCC-DDDD","hardwareId":"42aac9"}"#;
const URL: &str = "https://licenses.example/api/licenses/validate";

fn key() -> InstallationKey {
    InstallationKey::from_seed(&SEED)
}

fn statement() -> Statement<'static> {
    Statement {
        at_address: CallAddress::Http {
            method: "POST",
            url: URL,
        },
        body: BODY,
        nonce: NONCE,
        seq: Some(1000),
        document: Some("a.b.c"),
        challenge: None,
        at: T0,
    }
}

fn received() -> ReceivedCall<'static> {
    ReceivedCall {
        endpoint: endpoint("POST", VALIDATE),
        body: BODY,
        nonce: NONCE,
    }
}

fn endpoint(method: &'static str, path: &'static str) -> Endpoint<'static> {
    Endpoint::Http {
        method,
        path,
        hosts: &[],
    }
}

fn proof() -> String {
    create(&key(), &statement())
}

fn refusal(proof: &str) -> ProofError {
    verify(proof, &received()).unwrap_err()
}

fn verified(proof: &str) -> Result<VerifiedProof, ProofError> {
    verify(proof, &received())
}

fn parts(proof: &str) -> [&str; 3] {
    let parts: Vec<&str> = proof.split('.').collect();
    parts.try_into().unwrap()
}

fn decoded(part: &str) -> Value {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
}

/// Any header and payload with a valid signature.
fn signed(header: &str, payload: &str) -> String {
    let parts = [header, payload].map(|part| URL_SAFE_NO_PAD.encode(part));
    let input = parts.join(".");
    let signature = SigningKey::from_bytes(&SEED).sign(input.as_bytes());
    format!("{input}.{}", URL_SAFE_NO_PAD.encode(signature.to_bytes()))
}

#[test]
fn a_proof_has_the_form_of_rfc_9449() {
    let proof = proof();
    let [header, payload, _] = parts(&proof);
    let x = URL_SAFE_NO_PAD.encode(SigningKey::from_bytes(&SEED).verifying_key().as_bytes());
    assert_eq!(
        decoded(header),
        json!({
            "typ": "dpop+jwt",
            "alg": "EdDSA",
            "jwk": {"kty": "OKP", "crv": "Ed25519", "x": x},
        })
    );
    assert_eq!(
        decoded(payload),
        json!({
            "jti": NONCE,
            "htm": "POST",
            "htu": URL,
            "iat": T0.timestamp(),
            "bd": document_hash(std::str::from_utf8(BODY).unwrap()),
            "nonce": NONCE,
            "seq": 1000,
            "ath": document_hash("a.b.c"),
        })
    );
}

#[test]
fn a_verified_proof_has_the_signed_content() {
    let said = verified(&proof()).unwrap();
    assert_eq!(said.thumbprint(), key().thumbprint());
    assert_eq!(said.nonce(), NONCE);
    assert_eq!(said.seq(), Some(1000));
    assert_eq!(said.document_hash(), Some(&*document_hash("a.b.c")));
    assert_eq!(said.challenge(), None);
    let statement = Statement {
        seq: None,
        document: None,
        challenge: Some(u64::MAX),
        ..statement()
    };
    let said = verified(&create(&key(), &statement)).unwrap();
    assert_eq!(said.seq(), None);
    assert_eq!(said.document_hash(), None);
    assert_eq!(said.challenge(), Some(u64::MAX));
}

/// The License Server may spend 100 µs more for each call.
#[test]
#[expect(clippy::disallowed_methods, reason = "measures, and decides nothing")]
fn verification_is_cheap() {
    const ROUNDS: u32 = 2_000;
    let proof = proof();
    let start = std::time::Instant::now();
    for _ in 0..ROUNDS {
        assert!(verified(&proof).is_ok());
    }
    let each = start.elapsed() / ROUNDS;
    println!(
        "a proof of {} bytes is verified in {} µs",
        proof.len(),
        each.as_micros()
    );
    assert!(proof.len() < MAX_PROOF_BYTES / 4, "{}", proof.len());
}
