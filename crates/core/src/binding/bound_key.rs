//! The key of a seat, and the proofs that it has made.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::{JudgedSeat, Refusal, SecurityEvent};
use crate::proof::VerifiedProof;
use crate::short_hash::short_hash;
use crate::thumbprint::Thumbprint;

/// Maximum number of nonces that are remembered for a seat. A site makes about seven calls for each
/// sequence number. One that makes more is asked for a newer number.
pub const MAX_NONCES: usize = 64;

/// The key that is bound to a seat, as the License Server stores it: less than 2 KB of JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BoundKey {
    jkt: Thumbprint,
    /// When the last license ends that was signed for a caller without the key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    unproven_until: Option<DateTime<Utc>>,
    /// The greatest number that the key has proven: older proofs are replays.
    #[serde(default)]
    proven_seq: u64,
    /// The short hashes of the nonces of all proofs since that number, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    nonces: Vec<String>,
}

impl BoundKey {
    /// The key that a call proves, from now on. Proofs from before a seat was taken again are too
    /// old.
    pub(super) fn bind(proof: &VerifiedProof, seat: &JudgedSeat<'_>, is_by_file: bool) -> Self {
        let (proven_seq, unproven_until) = match seat.is_new {
            true => (seat.issued, None),
            false => (
                newest_number(proof, seat.issued).unwrap_or_default(),
                seat.signed_until,
            ),
        };
        let nonce = (!is_by_file).then(|| short_hash(proof.nonce()));
        Self {
            jkt: proof.thumbprint(),
            unproven_until,
            proven_seq,
            nonces: nonce.into_iter().collect(),
        }
    }

    /// The thumbprint of the key, which leases name.
    #[must_use]
    pub fn jkt(&self) -> Thumbprint {
        self.jkt
    }

    /// The greatest number that the key has proven.
    pub(super) fn proven_seq(&self) -> u64 {
        self.proven_seq
    }

    /// When the last license ends that was signed for a caller without the key; `None` if there is
    /// none. Until then, requests for a lease are served without the key.
    #[must_use]
    pub fn unproven_until(&self) -> Option<DateTime<Utc>> {
        self.unproven_until
    }

    /// The same key after a license that is valid until `exp` was signed for a caller without it.
    pub(super) fn with_unproven(mut self, exp: DateTime<Utc>) -> Self {
        self.unproven_until = self.unproven_until.max(Some(exp));
        self
    }

    /// The key after it has proven a call whose number must be `least` or greater.
    ///
    /// # Errors
    /// [`Refusal::Stale`], or [`Refusal::NoContact`] for a nonce that was used.
    pub(super) fn used(
        &self,
        proof: &VerifiedProof,
        seat: &JudgedSeat<'_>,
        least: u64,
    ) -> Result<Self, Refusal> {
        let nonce = short_hash(proof.nonce());
        if self.nonces.contains(&nonce) {
            return Err(Refusal::NoContact(SecurityEvent::ProofReplayed));
        }
        let newest = seat.issued.max(self.proven_seq);
        let number = newest_number(proof, newest)
            .filter(|number| *number >= self.proven_seq.max(least))
            .ok_or(Refusal::Stale { newest })?;
        let mut next = self.clone();
        if number > next.proven_seq {
            next.advance(number);
        } else if next.nonces.len() >= MAX_NONCES {
            match newest > next.proven_seq {
                true => next.advance(newest),
                // No number was issued since. Every answer has one, so this does not happen.
                false => drop(next.nonces.remove(0)),
            }
        }
        next.nonces.push(nonce);
        Ok(next)
    }

    /// From now on, proofs that name an older number are too old. Their nonces need not be
    /// remembered.
    fn advance(&mut self, number: u64) {
        self.proven_seq = number;
        self.nonces.clear();
    }
}

/// The newest number that a proof names, if it was issued for the seat, whose newest one is `issued`.
/// A site that activates another license than before knows numbers of that one. The number of a
/// challenge counts only while it is the newest one: challenges are not signed, so anyone on the way
/// can have a site sign any number, to use the proof later.
fn newest_number(proof: &VerifiedProof, issued: u64) -> Option<u64> {
    let known = Some(proof.seq().unwrap_or_default()).filter(|it| *it <= issued);
    known.max(proof.challenge().filter(|it| *it == issued))
}
