//! The proof of the installation key that a call was sent with. The rules are
//! [`license_core::proof`]'s.

use license_core::binding::SentProof;
use license_core::offline::RequestFile;
use license_core::proof::{Endpoint, ProofError, ReceivedCall, VerifiedProof, verify};

/// The proof of a call, after it was checked.
#[derive(Clone, Debug, Default)]
pub enum CheckedProof {
    /// The call has none.
    #[default]
    Absent,
    /// The call has one that is not valid for it, or several.
    Invalid,
    /// It is valid for the call.
    Valid(Box<VerifiedProof>),
}

/// The proof of a call over HTTP, as it was received.
#[derive(Clone, Debug)]
pub enum ReceivedProof {
    /// The call has none.
    Absent,
    /// It has several, or one that is not text.
    Unreadable,
    /// The header.
    One(String),
}

impl ReceivedProof {
    /// Checks whether it is valid for a `POST` of this body to `path`, a path of
    /// [`license_core::protocol`]. Sites call the server by one of `hosts`; by any name if there are
    /// none.
    #[must_use]
    pub fn check(&self, path: &str, body: &[u8], nonce: &str, hosts: &[String]) -> CheckedProof {
        let proof = match self {
            Self::Absent => return CheckedProof::Absent,
            Self::Unreadable => {
                tracing::warn!("a site's call has several proofs, or one that is not text");
                return CheckedProof::Invalid;
            }
            Self::One(proof) => proof,
        };
        let endpoint = Endpoint::Http {
            method: "POST",
            path,
            hosts,
        };
        let call = ReceivedCall {
            endpoint,
            body,
            nonce,
        };
        CheckedProof::of(verify(proof, &call))
    }
}

impl CheckedProof {
    /// Checks the proof of a request file.
    #[must_use]
    pub fn of_file(file: &RequestFile) -> Self {
        file.proof().map_or(Self::Absent, Self::of)
    }

    fn of(verified: Result<VerifiedProof, ProofError>) -> Self {
        match verified {
            Ok(proof) => Self::Valid(Box::new(proof)),
            Err(error) => {
                tracing::warn!(%error, "a site's call has an invalid proof");
                Self::Invalid
            }
        }
    }

    /// The proof, as far as the rules need it.
    #[must_use]
    pub fn sent(&self) -> SentProof<'_> {
        match self {
            Self::Absent => SentProof::Absent,
            Self::Invalid => SentProof::Invalid,
            Self::Valid(proof) => SentProof::Valid(proof),
        }
    }
}
