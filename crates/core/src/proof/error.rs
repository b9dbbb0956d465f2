//! Why a proof is not accepted.

use super::MAX_PROOF_BYTES;

/// Why a proof is not accepted. The texts in it are presentable: see [`crate::foreign_text`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProofError {
    /// Longer than [`MAX_PROOF_BYTES`].
    #[error("the proof is {bytes} bytes long; the maximum is {MAX_PROOF_BYTES}")]
    TooLong {
        /// The size.
        bytes: usize,
    },
    /// Not three parts separated by dots.
    #[error("the proof is not a JWS in compact serialization")]
    NotCompact,
    /// The header is not base64url of a JSON object, or has a duplicate member.
    #[error("invalid proof header: {0}")]
    Header(String),
    /// The header or its key has a member that proofs do not have, such as `crit` or a private key.
    #[error("the proof's header has the unexpected member '{0}'")]
    UnexpectedMember(String),
    /// `typ` is not `dpop+jwt`.
    #[error("the proof's type is not 'dpop+jwt'")]
    Type,
    /// `alg` is not `EdDSA`.
    #[error("the proof's algorithm is not 'EdDSA'")]
    Algorithm,
    /// `jwk` is not an Ed25519 public key, or a weak one that anyone can sign for.
    #[error("the proof's key is not a valid Ed25519 public key")]
    Key,
    /// The signature is not 64 bytes in base64url.
    #[error("the proof's signature is malformed")]
    SignatureMalformed,
    /// The signature does not match the text and the key.
    #[error("the proof's signature is invalid")]
    SignatureMismatch,
    /// The payload is signed, but lacks a claim, or a claim has another type.
    #[error("invalid proof claims: {0}")]
    Claims(String),
    /// `htm` is another method.
    #[error("the proof is for another HTTP method")]
    OtherMethod,
    /// `htu` names another call, or is not a URL.
    #[error("the proof is for another call")]
    OtherPath,
    /// `htu` names a host that is not configured.
    #[error("the proof is for the host '{0}', which is not a configured name of this server")]
    OtherHost(String),
    /// The call has no nonce, or one that is too long.
    #[error("the call has no usable nonce")]
    NoNonce,
    /// `nonce` or `jti` is not the call's nonce.
    #[error("the proof is for another call with another nonce")]
    OtherNonce,
    /// `bd` is not the hash of the body.
    #[error("the proof is for another request body")]
    OtherBody,
    /// The proof of a request file is not its last member.
    #[error("the proof is not the last member of the request file")]
    Misplaced,
}

impl ProofError {
    /// A short code for programs.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::TooLong { .. }
            | Self::NotCompact
            | Self::Header(_)
            | Self::UnexpectedMember(_)
            | Self::Type
            | Self::Algorithm
            | Self::Key
            | Self::SignatureMalformed
            | Self::Claims(_)
            | Self::Misplaced => "malformed",
            Self::SignatureMismatch => "wrong_signature",
            Self::OtherMethod | Self::OtherPath => "other_call",
            Self::OtherHost(_) => "other_host",
            Self::NoNonce | Self::OtherNonce => "other_nonce",
            Self::OtherBody => "other_body",
        }
    }
}
