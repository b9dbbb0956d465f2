//! Signed documents: JWS compact serialization with Ed25519
//! (RFC 7515, RFC 8037, RFC 9864), in both directions.
//!
//! Only [`verify_license`], [`verify_denial`] and [`verify_release`] return a [`VerifiedLicense`],
//! [`VerifiedDenial`] or [`VerifiedRelease`]: the type is the proof. Values are taken from the verified
//! payload, never from the JSON around the document. `docs/license-format.md` describes
//! the format.

mod claims;
mod error;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek::Signature;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::keyring::Keyring;
use crate::license::{Expiry, License};
use crate::release::{PRODUCT, Release, parse_version};
use crate::{foreign_text, unambiguous_json};

pub(crate) use claims::Claims;
pub use claims::{DenialClaims, DenialReason, KeyConfirmation, LicenseClaims, ReleaseClaims};
pub use error::DocumentError;

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
    /// The keys that are trusted from now on: see [`crate::rotation`].
    KeySet,
    /// A release of the product: see [`crate::release`].
    Release,
}

impl DocumentType {
    /// The value of `typ`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::License => "foxsight-license+jwt",
            Self::Denial => "foxsight-denial+jwt",
            Self::KeySet => "foxsight-keyset+jwt",
            Self::Release => "foxsight-release+jwt",
        }
    }
}

/// A license whose signature and form have been checked, and that was signed as a lease: it answers
/// an activation or a validation, or the server that signed it does not name the call.
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

    /// The license key in the payload.
    #[must_use]
    pub fn license_key(&self) -> &str {
        self.license.license_key().unwrap_or_default()
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

/// A release whose document's signature and form have been checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedRelease(Release);

impl VerifiedRelease {
    /// The release.
    #[must_use]
    pub fn release(&self) -> &Release {
        &self.0
    }
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
    let (header, claims) = (serde_json::to_vec(&header)?, serde_json::to_vec(claims)?);
    Ok(framed(&header, &claims, sign))
}

/// A JWS with this header and payload; `sign` is as in [`encode`].
pub(crate) fn framed(
    header: &[u8],
    payload: &[u8],
    sign: impl FnOnce(&[u8]) -> [u8; 64],
) -> String {
    let mut jws = URL_SAFE_NO_PAD.encode(header);
    jws.push('.');
    jws.push_str(&URL_SAFE_NO_PAD.encode(payload));
    let signature = sign(jws.as_bytes());
    jws.push('.');
    jws.push_str(&URL_SAFE_NO_PAD.encode(signature));
    jws
}

/// The parts of a JWS in compact serialization.
pub(crate) struct Compact<'a> {
    /// What is signed (RFC 7515, section 5.1).
    pub(crate) signing_input: &'a str,
    pub(crate) header: &'a str,
    pub(crate) payload: &'a str,
    signature: &'a str,
}

impl<'a> Compact<'a> {
    /// `None` if there are more or fewer than three parts.
    pub(crate) fn of(jws: &'a str) -> Option<Self> {
        let (signing_input, signature) = jws.rsplit_once('.')?;
        let (header, payload) = signing_input.split_once('.')?;
        let has_three = !payload.contains('.');
        has_three.then_some(Self {
            signing_input,
            header,
            payload,
            signature,
        })
    }

    /// `None` if it is not 64 bytes in base64url.
    pub(crate) fn signature(&self) -> Option<Signature> {
        let bytes = URL_SAFE_NO_PAD.decode(self.signature).ok()?;
        Signature::from_slice(&bytes).ok()
    }
}

/// Verifies a signed license: first the signature, then the form, and that it may be a lease.
/// [`crate::response`] checks whether it answers our call, [`crate::standing`] whether it is still
/// valid.
///
/// # Errors
/// The first [`DocumentError`] that applies.
pub fn verify_license(jws: &str, keyring: &Keyring) -> Result<VerifiedLicense, DocumentError> {
    let claims: LicenseClaims = verify(jws, DocumentType::License, keyring)?;
    // Earlier servers signed full licenses for heartbeats, whose numbers they did not follow.
    if let Some(call) = claims.question.filter(|call| !call.answer_is_kept()) {
        return Err(DocumentError::NotALease {
            answered: call.as_str(),
        });
    }
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

/// Verifies the document of a release in the same way, and that it is of this product.
///
/// # Errors
/// The first [`DocumentError`] that applies.
pub fn verify_release(jws: &str, keyring: &Keyring) -> Result<VerifiedRelease, DocumentError> {
    let claims: ReleaseClaims = verify(jws, DocumentType::Release, keyring)?;
    if claims.product != PRODUCT {
        let product = foreign_text::identifier(&claims.product);
        return Err(DocumentError::OtherProduct(product));
    }
    if claims.released > claims.iat {
        return Err(DocumentError::TimesOutOfOrder);
    }
    let version = parse_version(&claims.version);
    Ok(VerifiedRelease(Release {
        version: version.map_err(|error| DocumentError::Payload(error.to_string()))?,
        released: claims.released,
        exempt: claims.exempt,
    }))
}

/// The id of the key that a document names, without verification.
#[must_use]
pub fn key_id(jws: &str) -> Option<String> {
    let header: Header = read_part(jws.split('.').next()?).ok()?;
    header.kid
}

pub(crate) fn verify<C: Claims>(
    jws: &str,
    expected: DocumentType,
    keyring: &Keyring,
) -> Result<C, DocumentError> {
    if jws.len() > MAX_BYTES {
        return Err(DocumentError::TooLong { bytes: jws.len() });
    }
    let parts = Compact::of(jws).ok_or(DocumentError::NotCompact)?;
    let header: Header = read_part(parts.header).map_err(DocumentError::Header)?;
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
    let signature = parts.signature().ok_or(DocumentError::SignatureMalformed)?;
    key.verifying_key()
        .verify_strict(parts.signing_input.as_bytes(), &signature)
        .map_err(|_| DocumentError::SignatureMismatch)?;
    let claims: C = read_part(parts.payload).map_err(DocumentError::Payload)?;
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
