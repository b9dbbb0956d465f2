//! A License Server's signing key, and documents made with it by the server or an attacker.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, TimeDelta, Utc};
use ed25519_dalek::{Signer as _, SigningKey};
use license_core::document::{
    DenialClaims, DenialReason, DocumentType, LicenseClaims, ReleaseClaims, VerifiedDenial, encode,
    verify_denial, verify_license,
};
use license_core::evidence::Evidence;
use license_core::keyring::{Jwk, JwkSet, Keyring};
use license_core::lease::Lease;
use license_core::license::License;
use license_core::plausible_time::PlausibleTime;
use license_core::protocol::{
    ActivateRequest, DeactivateRequest, HeartbeatRequest, RedeemRequest, TrialRequest,
    ValidateRequest,
};
use license_core::release::PRODUCT;
use license_core::response::{
    Acknowledgement, Contact, Question, Receipt, Redeemed, Reply, Request as _, Trust,
};
use license_core::rotation::KeySetClaims;
use serde_json::{Map, Value, json};

pub const KEY: &str = "FXSGHT-AAAA-BBBB-CCCC-DDDD";
pub const INSTALLATION: &str = "b5684f06-7c6a-4b44-bfbd-68bd127e7617";
pub const HARDWARE: &str = "42aac9ae7f559498944c2f70daee1d98877b695d52072845a93173f78cf670ae";
pub const NONCE: &str = "3q2-7wAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
/// 2026-03-01T00:00:00Z, when the default documents were signed.
pub const T0: DateTime<Utc> = DateTime::from_timestamp(1_772_323_200, 0).unwrap();
/// The default lease's sequence number.
pub const SEQ: u64 = 1_000;
/// The private key of RFC 8037, appendix A.1.
const RFC_8037_SEED: &str = "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A";

/// The instant `hours` after [`T0`].
pub fn at(hours: i64) -> DateTime<Utc> {
    T0 + TimeDelta::hours(hours)
}

/// A time that is not in doubt.
pub fn exact(at: DateTime<Utc>) -> PlausibleTime {
    PlausibleTime::exact(at)
}

/// One second after `hours` from [`T0`].
pub fn just_after(hours: i64) -> DateTime<Utc> {
    at(hours) + TimeDelta::seconds(1)
}

/// The holder of a signing key.
pub struct Signer {
    key: SigningKey,
    pub kid: String,
}

impl Signer {
    fn new(seed: &[u8; 32]) -> Self {
        let key = SigningKey::from_bytes(seed);
        let kid = Jwk::from_verifying_key(&key.verifying_key()).kid.unwrap();
        Self { key, kid }
    }

    /// The vendor, whose key is trusted.
    pub fn vendor() -> Self {
        let seed = URL_SAFE_NO_PAD.decode(RFC_8037_SEED).unwrap();
        Self::new(&seed.try_into().unwrap())
    }

    /// Another party, whose key is not trusted.
    pub fn untrusted() -> Self {
        Self::new(&[7; 32])
    }

    /// One of the vendor's later keys.
    pub fn numbered(number: u8) -> Self {
        Self::new(&[100 + number; 32])
    }

    pub fn key_set(&self, claims: &KeySetClaims) -> String {
        let sign = |input: &[u8]| self.key.sign(input).to_bytes();
        encode(DocumentType::KeySet, &self.kid, claims, sign).unwrap()
    }

    /// The same key under another id.
    pub fn posing_as(mut self, other: &Self) -> Self {
        self.kid.clone_from(&other.kid);
        self
    }

    pub fn jwk_set(&self) -> JwkSet {
        JwkSet {
            keys: vec![Jwk::from_verifying_key(&self.key.verifying_key())],
            ..JwkSet::default()
        }
    }

    pub fn keyring(&self) -> Keyring {
        Keyring::from_jwk_set(&self.jwk_set()).unwrap()
    }

    pub fn trust(&self) -> Trust {
        Trust::Keys(self.keyring())
    }

    pub fn license(&self, claims: &LicenseClaims) -> String {
        let sign = |input: &[u8]| self.key.sign(input).to_bytes();
        encode(DocumentType::License, &self.kid, claims, sign).unwrap()
    }

    pub fn denial(&self, claims: &DenialClaims) -> String {
        let sign = |input: &[u8]| self.key.sign(input).to_bytes();
        encode(DocumentType::Denial, &self.kid, claims, sign).unwrap()
    }

    pub fn release(&self, claims: &ReleaseClaims) -> String {
        let sign = |input: &[u8]| self.key.sign(input).to_bytes();
        encode(DocumentType::Release, &self.kid, claims, sign).unwrap()
    }

    /// A verified lease.
    pub fn lease(&self, claims: &LicenseClaims) -> Lease {
        let document = verify_license(&self.license(claims), &self.keyring()).unwrap();
        Lease::Signed(Box::new(document))
    }

    /// A verified denial.
    pub fn verified_denial(&self, claims: &DenialClaims) -> VerifiedDenial {
        verify_denial(&self.denial(claims), &self.keyring()).unwrap()
    }

    /// Evidence of one activation with `claims`, at the time they were signed.
    pub fn evidence(&self, claims: &LicenseClaims) -> Evidence {
        Evidence::default().activated(self.lease(claims), claims.iat)
    }

    /// The header that [`encode`] writes for a license.
    pub fn license_header(&self) -> String {
        format!(
            r#"{{"alg":"EdDSA","kid":"{}","typ":"foxsight-license+jwt"}}"#,
            self.kid
        )
    }

    /// Signs any header and payload unchanged.
    pub fn raw(&self, header: &str, payload: &str) -> String {
        self.raw_parts(
            &URL_SAFE_NO_PAD.encode(header),
            &URL_SAFE_NO_PAD.encode(payload),
        )
    }

    /// Signs any two parts unchanged.
    pub fn raw_parts(&self, header: &str, payload: &str) -> String {
        let input = format!("{header}.{payload}");
        let signature = URL_SAFE_NO_PAD.encode(self.signature(&input));
        format!("{input}.{signature}")
    }

    pub fn signature(&self, input: &str) -> [u8; 64] {
        self.key.sign(input.as_bytes()).to_bytes()
    }
}

/// The license, without an expiry.
pub fn license_object() -> Map<String, Value> {
    object(json!({
        "licenseKey": KEY,
        "tier": "professional",
        "status": "active",
        "expiresAt": null,
        "maxCameras": 64,
        "maxUsers": 20,
        "enabledFeatures": ["module.map_view", "module.analytics_advanced", "acme.drone_dock"],
    }))
}

pub fn object(value: Value) -> Map<String, Value> {
    let Value::Object(object) = value else {
        panic!("{value} is not an object");
    };
    object
}

/// A default lease of a License Server: validated again within 24 hours, not valid after
/// 96.
pub fn license_claims() -> LicenseClaims {
    LicenseClaims {
        iss: "https://licenses.example".into(),
        sub: "lic_01".into(),
        jti: "doc_01".into(),
        iat: T0,
        nbf: T0,
        exp: at(96),
        valid_until: at(24),
        seq: SEQ,
        nonce: Some(NONCE.into()),
        question: None,
        code_hash: None,
        installation_id: INSTALLATION.into(),
        hardware_id: HARDWARE.into(),
        offline: false,
        key_set: None,
        cnf: None,
        license: license_object(),
    }
}

/// A release on the day of the default documents.
pub fn release_claims() -> ReleaseClaims {
    ReleaseClaims {
        iss: "https://licenses.example".into(),
        iat: T0,
        product: PRODUCT.into(),
        version: "3.2.0".into(),
        released: T0,
        exempt: false,
    }
}

/// A denial that is newer than the default lease.
pub fn denial_claims() -> DenialClaims {
    DenialClaims {
        iss: "https://licenses.example".into(),
        sub: "lic_01".into(),
        iat: T0,
        seq: SEQ + 1,
        nonce: Some(NONCE.into()),
        question: None,
        code_hash: None,
        installation_id: INSTALLATION.into(),
        hardware_id: HARDWARE.into(),
        key_set: None,
        license_key_hash: None,
        amendment: None,
        reason: DenialReason::Revoked,
        message: "The license was revoked; ask your vendor".into(),
    }
}

/// The license cached by version 1.0.0, or sent by a server that does not sign.
pub fn unsigned_lease() -> Lease {
    Lease::Unsigned {
        license_key: KEY.into(),
        license: License::new(license_object()),
        valid_until: at(24),
    }
}

/// The request that the default documents answer.
pub fn question() -> Question<'static> {
    Question {
        nonce: NONCE,
        license_key: KEY,
        installation_id: INSTALLATION,
        hardware_id: HARDWARE,
        code_hash: None,
        newest_seq: None,
    }
}

pub fn answer(status: u16, body: impl Into<Vec<u8>>) -> Reply {
    let body = body.into();
    Reply::Answer { status, body }
}

pub fn activation(reply: &Reply, question: &Question, trust: &Trust) -> Contact {
    ActivateRequest::judge(reply, question, trust)
}

pub fn validation(reply: &Reply, question: &Question, trust: &Trust) -> Contact {
    ValidateRequest::judge(reply, question, trust)
}

pub fn heartbeat(reply: &Reply, question: &Question, trust: &Trust) -> Contact<Acknowledgement> {
    HeartbeatRequest::judge(reply, question, trust)
}

pub fn redemption(reply: &Reply, question: &Question, trust: &Trust) -> Contact<Redeemed> {
    RedeemRequest::judge(reply, question, trust)
}

/// The answer to a trial: to a question without a license key.
pub fn trial(reply: &Reply, question: &Question, trust: &Trust) -> Contact {
    TrialRequest::judge(reply, question, trust)
}

pub fn deactivation(reply: &Reply, question: &Question, trust: &Trust) -> Contact<Receipt> {
    DeactivateRequest::judge(reply, question, trust)
}
