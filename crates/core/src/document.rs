//! Signed documents: JWS compact serialization with Ed25519
//! (RFC 7515, RFC 8037, RFC 9864), in both directions.
//!
//! Only [`verify_license`] and [`verify_denial`] return a [`VerifiedLicense`] or
//! [`VerifiedDenial`]: the type is the proof. Values are taken from the verified
//! payload, never from the JSON around the document. `docs/license-format.md` describes
//! the format.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::serde::ts_seconds;
use chrono::{DateTime, Utc};
use ed25519_dalek::Signature;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::call::Call;
use crate::foreign_text;
use crate::keyring::{Keyring, KeyringError};
use crate::license::{Expiry, License};
use crate::unambiguous_json;

/// Maximum size of a document in bytes.
pub const MAX_BYTES: usize = 64 * 1024;

/// Maximum size of the license in a document, in bytes of JSON. With it, a document stays below
/// [`MAX_BYTES`] even where the texts of its other claims have 255 characters that JSON escapes.
pub const MAX_LICENSE_BYTES: usize = 40 * 1024;

/// The type of a document, in the header's `typ`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DocumentType {
    /// A license confirmed for one installation: a lease.
    License,
    /// A denial.
    Denial,
    /// The keys that are trusted from then on: see [`crate::rotation`].
    KeySet,
}

impl DocumentType {
    /// The value of `typ`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::License => "foxsight-license+jwt",
            Self::Denial => "foxsight-denial+jwt",
            Self::KeySet => "foxsight-keyset+jwt",
        }
    }
}

/// The payload of a signed license. Instants are whole seconds since 1970.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LicenseClaims {
    /// The issuer.
    pub iss: String,
    /// License id.
    pub sub: String,
    /// Id of this document.
    pub jti: String,
    /// When it was signed.
    #[serde(with = "ts_seconds")]
    pub iat: DateTime<Utc>,
    /// Not before; equal to `iat`.
    #[serde(with = "ts_seconds")]
    pub nbf: DateTime<Utc>,
    /// End of grace: the document is not valid after this instant.
    #[serde(with = "ts_seconds")]
    pub exp: DateTime<Utc>,
    /// When the next validation is due.
    #[serde(with = "ts_seconds")]
    pub valid_until: DateTime<Utc>,
    /// Higher than in any earlier document for this license and installation.
    pub seq: u64,
    /// The request's `X-License-Nonce`, absent if the request had none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nonce: Option<String>,
    /// The call that the document answers; `None` from servers that do not name it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub question: Option<Call>,
    /// The installation that made the call.
    pub installation_id: String,
    /// The machine that holds the seat.
    pub hardware_id: String,
    /// An air-gapped lease: valid until `validUntil` without contact.
    #[serde(default, skip_serializing_if = "is_false")]
    pub offline: bool,
    /// Version of the License Server's newest key set, so that a client knows when it is
    /// behind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_set: Option<u64>,
    /// The whole license object.
    pub license: Map<String, Value>,
}

/// The payload of a signed denial.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DenialClaims {
    /// The issuer.
    pub iss: String,
    /// License id; empty if the license is unknown.
    pub sub: String,
    /// When it was signed.
    #[serde(with = "ts_seconds")]
    pub iat: DateTime<Utc>,
    /// As in [`LicenseClaims::seq`].
    pub seq: u64,
    /// As in [`LicenseClaims::nonce`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nonce: Option<String>,
    /// As in [`LicenseClaims::question`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub question: Option<Call>,
    /// The installation that made the call.
    pub installation_id: String,
    /// The machine that made the call.
    pub hardware_id: String,
    /// As in [`LicenseClaims::key_set`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_set: Option<u64>,
    /// The [`fingerprint`](crate::license_key::fingerprint) of the key in the call;
    /// `None` from servers that do not include it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub license_key_hash: Option<String>,
    /// The reason.
    pub reason: DenialReason,
    /// The reason for the operator, and what to do.
    pub message: String,
}

/// Why the License Server denies the license.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DenialReason {
    /// The vendor has revoked the license.
    Revoked,
    /// The vendor has suspended the license.
    Suspended,
    /// The license's `expiresAt` has passed.
    Expired,
    /// This machine holds no seat of the license.
    HardwareMismatch,
    /// All seats are taken by other machines.
    SeatLimit,
    /// The license does not exist.
    UnknownLicense,
    /// The site has deactivated the license: the receipt of an air-gapped
    /// deactivation.
    Deactivated,
    /// A reason of a later License Server that this version does not know. A signed denial
    /// is still a denial.
    #[serde(untagged)]
    Other(Box<str>),
}

impl DenialReason {
    /// The reason in the protocol.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Revoked => "revoked",
            Self::Suspended => "suspended",
            Self::Expired => "expired",
            Self::HardwareMismatch => "hardware_mismatch",
            Self::SeatLimit => "seat_limit",
            Self::UnknownLicense => "unknown_license",
            Self::Deactivated => "deactivated",
            Self::Other(text) => text,
        }
    }
}

/// A license whose signature and form have been checked.
#[derive(Clone, Debug, PartialEq)]
pub struct VerifiedLicense {
    jws: String,
    claims: LicenseClaims,
    license: License,
}

impl VerifiedLicense {
    /// The document as it was signed.
    #[must_use]
    pub fn jws(&self) -> &str {
        &self.jws
    }

    /// The verified payload.
    #[must_use]
    pub fn claims(&self) -> &LicenseClaims {
        &self.claims
    }

    /// The license in the payload, with `signature` set to the document.
    #[must_use]
    pub fn license(&self) -> &License {
        &self.license
    }
}

/// A denial whose signature and form have been checked.
#[derive(Clone, Debug, PartialEq)]
pub struct VerifiedDenial {
    jws: String,
    claims: DenialClaims,
}

impl VerifiedDenial {
    /// The document as it was signed.
    #[must_use]
    pub fn jws(&self) -> &str {
        &self.jws
    }

    /// The verified payload.
    #[must_use]
    pub fn claims(&self) -> &DenialClaims {
        &self.claims
    }
}

/// Why a document is not accepted. The texts in it are presentable: see
/// [`crate::foreign_text`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DocumentError {
    /// Longer than [`MAX_BYTES`].
    #[error("the document has {bytes} bytes, the maximum is {MAX_BYTES}")]
    TooLong {
        /// The size.
        bytes: usize,
    },
    /// Not three parts separated by dots.
    #[error("the document is not a JWS in compact serialization")]
    NotCompact,
    /// The header is not base64url of a JSON object with the expected members.
    #[error("invalid document header: {0}")]
    Header(String),
    /// `alg` is not `EdDSA` or `Ed25519`.
    #[error("the document's algorithm '{0}' is not supported")]
    Algorithm(String),
    /// The header has `crit` (RFC 7515, 4.1.11), and no extension is supported.
    #[error("the document requires an unsupported extension")]
    CriticalExtension,
    /// `typ` is missing or names another type of document.
    #[error("the document's type is '{found}', expected '{expected}'")]
    Type {
        /// The expected type.
        expected: &'static str,
        /// The type in the header.
        found: String,
    },
    /// The header has no `kid`.
    #[error("the document names no key")]
    KeyIdMissing,
    /// No trusted key has this id.
    #[error("the document is signed by '{0}', which is not a trusted key")]
    UnknownKeyId(String),
    /// The key with this id was revoked.
    #[error("the document is signed by '{0}', a revoked key")]
    RevokedKeyId(String),
    /// The key was not in use when the document claims to have been signed.
    #[error("the document is signed by '{kid}', which was not in use at {iat}")]
    KeyNotInUse {
        /// Key id.
        kid: String,
        /// When the document claims to have been signed.
        iat: DateTime<Utc>,
    },
    /// The signature is not 64 bytes in base64url.
    #[error("the document's signature is malformed")]
    SignatureMalformed,
    /// The signature does not match the text and the key.
    #[error("the document's signature is invalid")]
    SignatureMismatch,
    /// The payload is signed, but does not match its type.
    #[error("invalid document payload: {0}")]
    Payload(String),
    /// `iat`, `validUntil` and `exp` are not in this order.
    #[error("the document's times contradict each other")]
    TimesOutOfOrder,
    /// The license inside has no `licenseKey`.
    #[error("the document's license has no key")]
    LicenseKeyMissing,
    /// The license inside has an `expiresAt` that is not a time.
    #[error("the document's license has an invalid expiresAt")]
    ExpiryUnreadable,
    /// A key set does not follow the known one.
    #[error("the key set has version {found}, expected one above {known}")]
    KeySetVersion {
        /// The version of the document.
        found: u64,
        /// The known version.
        known: u64,
    },
    /// A key set contains keys that cannot be trusted.
    #[error("invalid key set: {0}")]
    KeySet(#[from] KeyringError),
}

#[derive(Serialize, Deserialize)]
struct Header {
    alg: String,
    #[serde(default)]
    kid: Option<String>,
    #[serde(default)]
    typ: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    crit: Option<Value>,
}

/// Frames and signs `claims`. `sign` gets the signing input of RFC 7515,
/// section 5.1, and returns the Ed25519 signature.
///
/// # Errors
/// If the claims have no JSON form, which those of this module always have.
pub fn encode<C: Serialize>(
    document_type: DocumentType,
    kid: &str,
    claims: &C,
    sign: impl FnOnce(&[u8]) -> [u8; 64],
) -> Result<String, serde_json::Error> {
    let header = Header {
        alg: "EdDSA".into(),
        kid: Some(kid.into()),
        typ: Some(document_type.as_str().into()),
        crit: None,
    };
    let mut jws = URL_SAFE_NO_PAD.encode(serde_json::to_vec(&header)?);
    jws.push('.');
    jws.push_str(&URL_SAFE_NO_PAD.encode(serde_json::to_vec(claims)?));
    let signature = sign(jws.as_bytes());
    jws.push('.');
    jws.push_str(&URL_SAFE_NO_PAD.encode(signature));
    Ok(jws)
}

/// Verifies a signed license: first the signature, then the form. [`crate::contact`]
/// checks whether it answers our call, [`crate::standing`] whether it is still valid.
///
/// # Errors
/// The first [`DocumentError`] that applies.
pub fn verify_license(jws: &str, keyring: &Keyring) -> Result<VerifiedLicense, DocumentError> {
    let claims: LicenseClaims = verify(jws, DocumentType::License, keyring)?;
    if claims.iat > claims.valid_until || claims.valid_until > claims.exp {
        return Err(DocumentError::TimesOutOfOrder);
    }
    let license = License::new(claims.license.clone());
    if license.license_key().is_none() {
        return Err(DocumentError::LicenseKeyMissing);
    }
    if license.expiry() == Expiry::Unreadable {
        return Err(DocumentError::ExpiryUnreadable);
    }
    Ok(VerifiedLicense {
        license: license.with_signature(jws),
        jws: jws.to_owned(),
        claims,
    })
}

/// Verifies a signed denial in the same way.
///
/// # Errors
/// The first [`DocumentError`] that applies.
pub fn verify_denial(jws: &str, keyring: &Keyring) -> Result<VerifiedDenial, DocumentError> {
    let mut claims: DenialClaims = verify(jws, DocumentType::Denial, keyring)?;
    claims.message = foreign_text::message(&claims.message);
    if let DenialReason::Other(reason) = &mut claims.reason {
        *reason = foreign_text::identifier(reason).into();
    }
    Ok(VerifiedDenial {
        claims,
        jws: jws.to_owned(),
    })
}

/// The id of the key that a document names, without verification.
#[must_use]
pub fn key_id(jws: &str) -> Option<String> {
    let header: Header = read_part(jws.split('.').next()?).ok()?;
    header.kid
}

/// The members of every payload.
pub(crate) trait Claims: DeserializeOwned {
    /// When it was signed.
    fn iat(&self) -> DateTime<Utc>;
}

impl Claims for LicenseClaims {
    fn iat(&self) -> DateTime<Utc> {
        self.iat
    }
}

impl Claims for DenialClaims {
    fn iat(&self) -> DateTime<Utc> {
        self.iat
    }
}

impl DocumentError {
    /// The same with `license_key` masked in any spelling.
    pub(crate) fn without_key(self, license_key: &str) -> Self {
        let id = |text: String| foreign_text::identifier_about(&text, license_key);
        let message = |text: String| foreign_text::message_about(&text, license_key);
        match self {
            Self::Header(why) => Self::Header(message(why)),
            Self::Algorithm(alg) => Self::Algorithm(id(alg)),
            Self::Type { expected, found } => Self::Type {
                expected,
                found: id(found),
            },
            Self::UnknownKeyId(kid) => Self::UnknownKeyId(id(kid)),
            Self::RevokedKeyId(kid) => Self::RevokedKeyId(id(kid)),
            Self::KeyNotInUse { kid, iat } => Self::KeyNotInUse { kid: id(kid), iat },
            Self::Payload(why) => Self::Payload(message(why)),
            other => other,
        }
    }
}

pub(crate) fn verify<C: Claims>(
    jws: &str,
    expected: DocumentType,
    keyring: &Keyring,
) -> Result<C, DocumentError> {
    if jws.len() > MAX_BYTES {
        return Err(DocumentError::TooLong { bytes: jws.len() });
    }
    let (signing_input, signature) = jws.rsplit_once('.').ok_or(DocumentError::NotCompact)?;
    let (header, payload) = signing_input
        .split_once('.')
        .filter(|(_, payload)| !payload.contains('.'))
        .ok_or(DocumentError::NotCompact)?;

    let header: Header = read_part(header).map_err(DocumentError::Header)?;
    if header.alg != "EdDSA" && header.alg != "Ed25519" {
        return Err(DocumentError::Algorithm(foreign_text::identifier(
            &header.alg,
        )));
    }
    if header.crit.is_some() {
        return Err(DocumentError::CriticalExtension);
    }
    let found = header.typ.unwrap_or_default();
    if found != expected.as_str() {
        return Err(DocumentError::Type {
            expected: expected.as_str(),
            found: foreign_text::identifier(&found),
        });
    }
    let kid = header.kid.ok_or(DocumentError::KeyIdMissing)?;
    let Some(key) = keyring.get(&kid) else {
        let shown = foreign_text::identifier(&kid);
        return Err(match keyring.is_revoked(&kid) {
            true => DocumentError::RevokedKeyId(shown),
            false => DocumentError::UnknownKeyId(shown),
        });
    };
    let signature = URL_SAFE_NO_PAD
        .decode(signature)
        .ok()
        .and_then(|bytes| Signature::from_slice(&bytes).ok())
        .ok_or(DocumentError::SignatureMalformed)?;
    key.verifying_key()
        .verify_strict(signing_input.as_bytes(), &signature)
        .map_err(|_| DocumentError::SignatureMismatch)?;
    let claims: C = read_part(payload).map_err(DocumentError::Payload)?;
    let iat = claims.iat();
    if !key.covers(iat) {
        let kid = foreign_text::identifier(&kid);
        return Err(DocumentError::KeyNotInUse { kid, iat });
    }
    Ok(claims)
}

pub(crate) fn read_part<T: DeserializeOwned>(part: &str) -> Result<T, String> {
    let bytes = URL_SAFE_NO_PAD.decode(part).map_err(|e| e.to_string())?;
    let text = std::str::from_utf8(&bytes).map_err(|e| e.to_string())?;
    // The library includes the unexpected value in its message.
    unambiguous_json::from_str(text).map_err(|e| foreign_text::message(&e.to_string()))
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "signature required by serde"
)]
fn is_false(value: &bool) -> bool {
    !value
}
