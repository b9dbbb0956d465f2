//! Why a document is not accepted.

use chrono::{DateTime, Utc};

use super::MAX_BYTES;
use crate::foreign_text;
use crate::keyring::KeyringError;

/// Why a document is not accepted. The texts in it are presentable: see
/// [`crate::foreign_text`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DocumentError {
    /// Longer than [`MAX_BYTES`].
    #[error("the document is {bytes} bytes long; the maximum is {MAX_BYTES}")]
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
    #[error("the document does not name a key")]
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
    /// A license that answers a call other than an activation or a validation.
    #[error("the document is the response to a call that grants no lease ({answered})")]
    NotALease {
        /// The call that the document names.
        answered: &'static str,
    },
    /// The release of another product.
    #[error("the document is for another product, '{0}'")]
    OtherProduct(String),
    /// `iat`, `validUntil` and `exp` are not in this order, or `released` is after `iat`.
    #[error("the document's times contradict each other")]
    TimesOutOfOrder,
    /// The license inside has no `licenseKey`.
    #[error("the document's license has no key")]
    LicenseKeyMissing,
    /// The license inside has an `expiresAt` that is not a time.
    #[error("the document's license has an invalid expiresAt")]
    ExpiryUnreadable,
    /// A key set does not follow the known one.
    #[error("the key set has version {found}, expected one greater than {known}")]
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
            Self::OtherProduct(product) => Self::OtherProduct(id(product)),
            other => other,
        }
    }
}
