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

impl CheckedProof {
    /// Checks the proofs of a `POST` of this body to `path`, a path of
    /// [`license_core::protocol`]: more than one are invalid. Sites call the server by one of `hosts`;
    /// by any name if there are none.
    #[must_use]
    pub fn of_call(
        proofs: &[&[u8]],
        path: &str,
        body: &[u8],
        nonce: &str,
        hosts: &[String],
    ) -> Self {
        let proof = match proofs {
            [] => return Self::Absent,
            [proof] => str::from_utf8(proof).ok(),
            _ => None,
        };
        let Some(proof) = proof else {
            tracing::warn!("a site's call has several proofs, or one that is not text");
            return Self::Invalid;
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
        Self::of(verify(proof, &call))
    }

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
