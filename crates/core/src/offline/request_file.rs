//! A request file as it was written, with what proves its sender.
//!
//! The proof ([`crate::proof`]) is the last member of the file's JSON object. Its `bd` is the hash
//! of the text before it was added: everything before `,"proof":"`, and the closing brace. So the
//! License Server need not know the other members, which are signed with it, and one that does
//! not know about proofs reads the file like any other.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use serde_json::{Map, Value};

use super::armour::{FileError, REQUEST, armour, unarmour};
use super::request::{MAX_REQUEST_CHARS, OfflineRequest};
use crate::installation_key::InstallationKey;
use crate::proof::{
    CallAddress, Endpoint, ProofError, ReceivedCall, Statement, VerifiedProof, create, verify,
};
use crate::protocol::PROOF_FIELD;
use crate::{foreign_text, unambiguous_json};

/// A request file that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestFile {
    /// What the site asks for.
    pub request: OfflineRequest,
    /// The content of the armor.
    json: String,
    has_proof: bool,
}

impl OfflineRequest {
    /// Reads a file, regardless of its proof: see [`RequestFile`].
    ///
    /// # Errors
    /// One [`FileError`] for each reason.
    pub fn from_file(text: &str) -> Result<Self, FileError> {
        RequestFile::read(text).map(|file| file.request)
    }

    /// The request as a file that the installation's key proves. `document` is the newest signed
    /// license that the site has.
    #[must_use]
    pub fn to_proven_file(&self, key: &InstallationKey, document: Option<&str>) -> String {
        let json = self.to_json();
        let proof = create(
            key,
            &Statement {
                at_address: CallAddress::File(self.purpose),
                body: json.as_bytes(),
                nonce: &self.nonce,
                seq: self.newest_seq,
                document,
                challenge: None,
                at: self.created_at,
            },
        );
        let open = json.strip_suffix('}').unwrap_or(&json);
        armour(
            REQUEST,
            &STANDARD.encode(format!("{open}{}{proof}\"}}", before_proof())),
        )
    }
}

impl RequestFile {
    /// Reads a file. Its proof is not verified.
    ///
    /// # Errors
    /// One [`FileError`] for each reason.
    pub fn read(text: &str) -> Result<Self, FileError> {
        let inside = unarmour(REQUEST, text, MAX_REQUEST_CHARS)?;
        let json = STANDARD_NO_PAD
            .decode(inside)
            .map_err(|error| FileError::Damaged(error.to_string()))?;
        let json =
            String::from_utf8(json).map_err(|error| FileError::Damaged(error.to_string()))?;
        let damaged =
            |error: serde_json::Error| FileError::Damaged(foreign_text::json_fault(&error));
        let request = unambiguous_json::from_str(&json).map_err(damaged)?;
        let members: Map<String, Value> = serde_json::from_str(&json).map_err(damaged)?;
        Ok(Self {
            request,
            json,
            has_proof: members.contains_key(PROOF_FIELD),
        })
    }

    /// Verifies the proof; `None` if the file has none.
    #[must_use]
    pub fn proof(&self) -> Option<Result<VerifiedProof, ProofError>> {
        self.has_proof.then(|| self.verified())
    }

    fn verified(&self) -> Result<VerifiedProof, ProofError> {
        // In a text value, the quotes would be escaped.
        let parts = self.json.rsplit_once(&before_proof());
        let (open, proof) = parts.ok_or(ProofError::Misplaced)?;
        let proof = proof.strip_suffix("\"}").ok_or(ProofError::Misplaced)?;
        let unproven = format!("{open}}}");
        let call = ReceivedCall {
            endpoint: Endpoint::File(self.request.purpose),
            body: unproven.as_bytes(),
            nonce: &self.request.nonce,
        };
        let proof = verify(proof, &call)?;
        match proof.seq() == self.request.newest_seq {
            true => Ok(proof),
            false => Err(ProofError::OtherBody),
        }
    }
}

fn before_proof() -> String {
    format!(",\"{PROOF_FIELD}\":\"")
}
