//! What is decided about a call.

use chrono::{DateTime, Utc};

use super::BoundKey;

/// A call that is answered, and the key that is bound to the seat afterwards.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Served {
    /// No key is bound.
    Unbound {
        /// The call has an invalid proof.
        event: Option<SecurityEvent>,
    },
    /// The key of the call is bound now.
    Bind(BoundKey),
    /// The bound key proves the call.
    Proven(BoundKey),
    /// The call does not prove the bound key, but may come from a machine whose license was signed
    /// without it.
    Tolerated {
        /// The bound key.
        bound: BoundKey,
        /// Why it is not proven.
        event: SecurityEvent,
    },
    /// The bound key is removed, and becomes the former key.
    Unbind {
        /// Why it is not proven.
        event: SecurityEvent,
        /// Whether this spends a move of the license's transfer budget.
        spends_move: bool,
    },
}

impl Served {
    /// The key to store for the seat, and to name in the license. `exp` is the end of the license
    /// that is signed in response; `None` if none is.
    #[must_use]
    pub fn bound_key(self, exp: Option<DateTime<Utc>>) -> Option<BoundKey> {
        match self {
            Self::Unbound { .. } | Self::Unbind { .. } => None,
            Self::Bind(bound) | Self::Proven(bound) => Some(bound),
            Self::Tolerated { bound, .. } => Some(match exp {
                Some(exp) => bound.with_unproven(exp),
                None => bound,
            }),
        }
    }

    /// What the vendor's staff should learn.
    #[must_use]
    pub fn event(&self) -> Option<SecurityEvent> {
        match self {
            Self::Unbound { event } => *event,
            Self::Bind(_) | Self::Proven(_) => None,
            Self::Tolerated { event, .. } | Self::Unbind { event, .. } => Some(*event),
        }
    }

    /// Whether it spends a move of the license's transfer budget.
    #[must_use]
    pub fn spends_move(&self) -> bool {
        matches!(
            self,
            Self::Unbind {
                spends_move: true,
                ..
            }
        )
    }
}

/// Why a call is not answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It is answered as no contact, and nothing about the seat changes.
    #[error("{0}")]
    NoContact(SecurityEvent),
    /// Its proof may be a replay. It is answered as no contact with this number
    /// ([`crate::protocol::SEQ_HEADER`]), which the site repeats in the `challenge` of another
    /// proof. This is no security event.
    #[error("the proof names an old sequence number; repeat the call with {newest}")]
    Stale {
        /// The newest number of the seat.
        newest: u64,
    },
    /// An activation without the key, and no move is left to remove the key with.
    #[error(
        "this machine's seat is bound to the key of another installation, and no moves are left \
         to replace it; restore the installation key of the License Client from a backup, or ask \
         your vendor for another move"
    )]
    NoMovesLeft(SecurityEvent),
    /// An activation without a proof, and the license requires one.
    #[error(
        "this license can only be activated by a License Client that proves its identity; update \
         the License Client, or ask your vendor to allow activations without proof"
    )]
    ProofRequired(SecurityEvent),
}

impl Refusal {
    /// Whether it is answered as no contact, rather than as a denial with a message.
    #[must_use]
    pub fn is_no_contact(self) -> bool {
        match self {
            Self::NoContact(_) | Self::Stale { .. } => true,
            Self::NoMovesLeft(_) | Self::ProofRequired(_) => false,
        }
    }

    /// What the vendor's staff should learn.
    #[must_use]
    pub fn event(self) -> Option<SecurityEvent> {
        match self {
            Self::NoContact(event) | Self::NoMovesLeft(event) | Self::ProofRequired(event) => {
                Some(event)
            }
            Self::Stale { .. } => None,
        }
    }
}

/// What the vendor's staff should learn about a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SecurityEvent {
    /// It has no proof, but the seat has a key or the license requires a proof.
    #[error("the call has no proof of the installation key")]
    ProofMissing,
    /// Its proof is not valid: see [`crate::proof::ProofError`].
    #[error("the call has an invalid proof of the installation key")]
    ProofInvalid,
    /// Another key than the bound one proves it.
    #[error("the call is proven by another installation key than the seat's")]
    OtherKey,
    /// Its proof was used before.
    #[error("the call repeats a proof that was used before")]
    ProofReplayed,
}

impl SecurityEvent {
    /// A short code for programs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ProofMissing => "proof_missing",
            Self::ProofInvalid => "proof_invalid",
            Self::OtherKey => "other_installation_key",
            Self::ProofReplayed => "proof_replayed",
        }
    }
}
