//! A vendor's key, and what is signed with it.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, TimeDelta, Utc};
use ed25519_dalek::{Signer as _, SigningKey};
use license_core::document::{
    DenialClaims, DenialReason, DocumentType, LicenseClaims, VerifiedDenial, VerifiedLicense,
    encode, verify_denial, verify_license,
};
use license_core::keyring::{Jwk, JwkSet, Keyring};
use serde::Serialize;
use serde_json::{Map, Value, json};

pub const KEY: &str = "FXSGHT-AAAA-BBBB-CCCC-DDDD";
pub const INSTALLATION: &str = "b5684f06-7c6a-4b44-bfbd-68bd127e7617";
pub const HARDWARE: &str = "42aac9ae7f559498944c2f70daee1d98877b695d52072845a93173f78cf670ae";
pub const NONCE: &str = "bm9uY2Utb2YtdGhpcy1yZXF1ZXN0LXdpdGgtMzItYnk";

/// The instant at which documents are signed unless they say otherwise.
pub fn signed_at() -> DateTime<Utc> {
    "2026-11-24T12:00:00Z".parse().unwrap()
}

pub fn license_object() -> Map<String, Value> {
    let object = json!({
        "licenseKey": KEY,
        "tier": "professional",
        "status": "active",
        "expiresAt": "2027-12-31T00:00:00Z",
        "maxCameras": 64,
        "maxUsers": 20,
        "enabledFeatures": ["module.map_view", "module.analytics_advanced"],
    });
    object.as_object().unwrap().clone()
}

pub fn license_claims() -> LicenseClaims {
    let iat = signed_at();
    LicenseClaims {
        iss: "foxsight-license-server".into(),
        sub: "0b0e3a58-3a3c-4f0e-9c5c-3f2b5d3c7a11".into(),
        jti: "7f7a0c36-6a43-4d51-8f0f-0e6f7f2f1f10".into(),
        iat,
        nbf: iat,
        exp: iat + TimeDelta::hours(96),
        valid_until: iat + TimeDelta::hours(24),
        seq: 1_795_521_600_000,
        nonce: Some(NONCE.into()),
        installation_id: INSTALLATION.into(),
        hardware_id: HARDWARE.into(),
        offline: false,
        license: license_object(),
    }
}

pub fn denial_claims() -> DenialClaims {
    DenialClaims {
        iss: "foxsight-license-server".into(),
        sub: "0b0e3a58-3a3c-4f0e-9c5c-3f2b5d3c7a11".into(),
        iat: signed_at(),
        seq: 1_795_521_600_001,
        nonce: Some(NONCE.into()),
        installation_id: INSTALLATION.into(),
        hardware_id: HARDWARE.into(),
        reason: DenialReason::Revoked,
        message: "The license was revoked; ask your vendor for a new one".into(),
    }
}

/// A key made from one byte.
pub struct Signer(SigningKey);

impl Signer {
    pub fn new(seed: u8) -> Self {
        Self(SigningKey::from_bytes(&[seed; 32]))
    }

    pub fn jwk(&self) -> Jwk {
        Jwk::from_verifying_key(&self.0.verifying_key())
    }

    pub fn kid(&self) -> String {
        self.jwk().kid.unwrap()
    }

    pub fn keyring(&self) -> Keyring {
        let keys = vec![self.jwk()];
        Keyring::from_jwk_set(&JwkSet { keys }).unwrap()
    }

    pub fn sign<C: Serialize>(&self, document_type: DocumentType, claims: &C) -> String {
        encode(document_type, &self.kid(), claims, |input| {
            self.0.sign(input).to_bytes()
        })
        .unwrap()
    }

    pub fn license(&self, claims: &LicenseClaims) -> VerifiedLicense {
        let jws = self.sign(DocumentType::License, claims);
        verify_license(&jws, &self.keyring()).unwrap()
    }

    pub fn denial(&self, claims: &DenialClaims) -> VerifiedDenial {
        let jws = self.sign(DocumentType::Denial, claims);
        verify_denial(&jws, &self.keyring()).unwrap()
    }

    /// Any header and payload, with a right signature over them.
    pub fn raw(&self, header: &str, payload: &str) -> String {
        let input = format!(
            "{}.{}",
            URL_SAFE_NO_PAD.encode(header),
            URL_SAFE_NO_PAD.encode(payload)
        );
        let signature = self.0.sign(input.as_bytes()).to_bytes();
        format!("{input}.{}", URL_SAFE_NO_PAD.encode(signature))
    }
}
