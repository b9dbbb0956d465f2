//! Proofs that a call was made by the holder of an [`InstallationKey`].
//!
//! A proof has the form of a `DPoP` proof (RFC 9449, section 4.2): a JWS with the public key in its
//! header, and these claims:
//!
//! | claim | content |
//! | --- | --- |
//! | `htm` | the HTTP method; `FILE` for a request file |
//! | `htu` | the URL without user name, query and fragment; for a request file its purpose |
//! | `bd` | SHA-256 of the raw body in base64url |
//! | `nonce`, `jti` | the nonce of the call (`X-License-Nonce`), twice: `DPoP` requires a `jti` |
//! | `seq` | the newest sequence number that the site knows; absent if it knows none |
//! | `ath` | SHA-256 of the newest signed license that the site has, in base64url; absent if it has none |
//! | `challenge` | the number that the License Server named in response to a proof that was too old |
//! | `iat` | the time of the site's clock; it is never judged, because clocks are wrong |
//!
//! [`verify`] checks that a proof belongs to one call. [`crate::binding`] decides what follows from
//! it, and that it is used once.
//!
//! The scheme, the port and the beginning of the path in `htu` are not compared, because proxies
//! change them. The path must end with that of the call (`/licenses/validate`), which is different
//! for each call: `https://proxy/license/api/licenses/validate/` and
//! `http://10.0.0.7:8080/licenses/validate` are the same. Characters are compared exactly: no
//! escape is decoded. The host is compared only if host names are configured, without regard to
//! case: then a proof made for another server is worthless here. Every name that sites use must be
//! configured, including those of proxies at customers.

mod address;
mod error;
mod header;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};

use crate::document::{Compact, framed, read_part};
use crate::foreign_text;
use crate::installation_key::InstallationKey;
use crate::offline::Purpose;
use crate::thumbprint::Thumbprint;

pub use error::ProofError;

/// Maximum size of a proof in bytes. Ours have fewer than 900, plus the length of the URL.
pub const MAX_PROOF_BYTES: usize = 4096;
/// Maximum length of a nonce in characters; ours have 43.
pub const MAX_NONCE_CHARS: usize = 255;
/// `htm` of request files.
const FILE_METHOD: &str = "FILE";

/// What a site states in a proof.
#[derive(Clone, Copy, Debug)]
pub struct Statement<'a> {
    /// Where the call is made.
    pub at_address: CallAddress<'a>,
    /// The raw body; for a request file see [`crate::offline::RequestFile`].
    pub body: &'a [u8],
    /// The nonce of the call.
    pub nonce: &'a str,
    /// The newest sequence number that the site knows for the license.
    pub seq: Option<u64>,
    /// The newest signed license that the site has, as it was signed.
    pub document: Option<&'a str>,
    /// The number that the License Server has named: see [`crate::binding::Refusal::Stale`].
    pub challenge: Option<u64>,
    /// The time of the site's clock.
    pub at: DateTime<Utc>,
}

/// Where a site makes a call.
#[derive(Clone, Copy, Debug)]
pub enum CallAddress<'a> {
    /// A request over HTTP.
    Http {
        /// The method.
        method: &'a str,
        /// The URL. A user name and password, the query and the fragment do not become part of the
        /// proof.
        url: &'a str,
    },
    /// A request file.
    File(Purpose),
}

/// The call that a proof was sent with.
#[derive(Clone, Copy, Debug)]
pub struct ReceivedCall<'a> {
    /// How it was received.
    pub endpoint: Endpoint<'a>,
    /// The raw body.
    pub body: &'a [u8],
    /// The nonce of the call.
    pub nonce: &'a str,
}

/// How a call was received.
#[derive(Clone, Copy, Debug)]
pub enum Endpoint<'a> {
    /// Over HTTP.
    Http {
        /// The method.
        method: &'a str,
        /// The path of the call in [`crate::protocol`], such as [`crate::protocol::VALIDATE`].
        path: &'a str,
        /// The host names of the License Server; none if any name is accepted.
        hosts: &'a [String],
    },
    /// By a request file.
    File(Purpose),
}

/// A proof whose signature has been checked, and that belongs to the call it was sent with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedProof {
    thumbprint: Thumbprint,
    nonce: String,
    seq: Option<u64>,
    document_hash: Option<String>,
    challenge: Option<u64>,
}

impl VerifiedProof {
    /// The key that signed it.
    #[must_use]
    pub fn thumbprint(&self) -> Thumbprint {
        self.thumbprint
    }

    /// The nonce of the call.
    #[must_use]
    pub fn nonce(&self) -> &str {
        &self.nonce
    }

    /// The newest sequence number that the site knows.
    #[must_use]
    pub fn seq(&self) -> Option<u64> {
        self.seq
    }

    /// The [`document_hash`] of the newest signed license that the site has.
    #[must_use]
    pub fn document_hash(&self) -> Option<&str> {
        self.document_hash.as_deref()
    }

    /// The number that the License Server has named before.
    #[must_use]
    pub fn challenge(&self) -> Option<u64> {
        self.challenge
    }
}

/// The payload. Claims of later versions are ignored.
#[derive(Serialize, Deserialize)]
struct Claims {
    jti: String,
    htm: String,
    htu: String,
    iat: i64,
    bd: String,
    nonce: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    seq: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ath: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    challenge: Option<u64>,
}

/// Creates a proof. One whose URL has thousands of characters exceeds [`MAX_PROOF_BYTES`], and is
/// refused.
#[must_use]
pub fn create(key: &InstallationKey, statement: &Statement<'_>) -> String {
    let (htm, htu) = match statement.at_address {
        CallAddress::Http { method, url } => (method.to_owned(), address::without_secrets(url)),
        CallAddress::File(purpose) => (FILE_METHOD.to_owned(), purpose.as_str().to_owned()),
    };
    let claims = Claims {
        jti: statement.nonce.to_owned(),
        htm,
        htu,
        iat: statement.at.timestamp(),
        bd: digest(statement.body),
        nonce: statement.nonce.to_owned(),
        seq: statement.seq,
        ath: statement.document.map(document_hash),
        challenge: statement.challenge,
    };
    // A struct of strings and numbers always has a JSON form.
    let payload = serde_json::to_vec(&claims).unwrap_or_default();
    let header = header::of(&key.public_x());
    framed(header.as_bytes(), &payload, |input| key.sign(input))
}

/// Verifies a proof: its form, its signature by the key in its header, and that it belongs to this
/// call.
///
/// # Errors
/// The first [`ProofError`] that applies.
pub fn verify(proof: &str, call: &ReceivedCall<'_>) -> Result<VerifiedProof, ProofError> {
    if proof.len() > MAX_PROOF_BYTES {
        return Err(ProofError::TooLong { bytes: proof.len() });
    }
    let parts = Compact::of(proof).ok_or(ProofError::NotCompact)?;
    let key = header::key(parts.header)?;
    let signature = parts.signature().ok_or(ProofError::SignatureMalformed)?;
    key.verify_strict(parts.signing_input.as_bytes(), &signature)
        .map_err(|_| ProofError::SignatureMismatch)?;
    let claims = Claims::read(parts.payload)?;
    claims.check(call)?;
    Ok(VerifiedProof {
        thumbprint: Thumbprint::of(&key),
        nonce: claims.nonce,
        seq: claims.seq,
        document_hash: claims.ath,
        challenge: claims.challenge,
    })
}

/// What identifies a signed license in a proof (`ath`; RFC 9449, section 4.2): the License Server
/// stores it for the newest license of each seat.
#[must_use]
pub fn document_hash(jws: &str) -> String {
    digest(jws.as_bytes())
}

impl Claims {
    /// Only an object is accepted: the library would also read an array.
    fn read(payload: &str) -> Result<Self, ProofError> {
        let members: Map<String, Value> = read_part(payload).map_err(ProofError::Claims)?;
        serde_json::from_value(Value::Object(members))
            .map_err(|error| ProofError::Claims(foreign_text::json_fault(&error)))
    }

    fn check(&self, call: &ReceivedCall<'_>) -> Result<(), ProofError> {
        match call.endpoint {
            Endpoint::Http {
                method,
                path,
                hosts,
            } => {
                if self.htm != method {
                    return Err(ProofError::OtherMethod);
                }
                address::check(&self.htu, path, hosts)?;
            }
            Endpoint::File(purpose) => {
                if self.htm != FILE_METHOD {
                    return Err(ProofError::OtherMethod);
                }
                if self.htu != purpose.as_str() {
                    return Err(ProofError::OtherPath);
                }
            }
        }
        if call.nonce.is_empty() || call.nonce.len() > MAX_NONCE_CHARS {
            return Err(ProofError::NoNonce);
        }
        if self.nonce != call.nonce || self.jti != call.nonce {
            return Err(ProofError::OtherNonce);
        }
        if self.bd != digest(call.body) {
            return Err(ProofError::OtherBody);
        }
        Ok(())
    }
}

fn digest(body: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(Sha256::digest(body))
}
