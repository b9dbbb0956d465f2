//! Whether a call may be answered, by the installation key that is bound to its seat.
//!
//! A key is bound when a new seat is taken, and to a seat that exists when the site also has the
//! seat's newest signed license. From then on, only that key speaks for the seat. An activation
//! without it removes it and spends a move: the way back for a site that has lost its key, and for
//! version 1.0.0.
//!
//! Three rules keep honest sites from being locked out:
//!
//! - **A lease is not cut off by a key that came later.** Anyone who knows a license key and a
//!   hardware id can get the newest signed license of a seat *without* a key, and bind a key with
//!   it. So, unless the license requires a proof, requests for a lease are served without the key for as long as a license that was signed
//!   for a caller without it may still be valid ([`BoundKey::unproven_until`]). Each such answer
//!   extends that time, and is a security event. This also covers a rollback to version 1.0.0 soon
//!   after an upgrade. A call that frees the seat or reports its usage needs the key.
//! - **An old number is a question, not a refusal.** A proof must name a sequence number that is at
//!   least the greatest one that the key has proven, and each nonce counts once per number. A site
//!   that was restored from a backup, or whose answers were lost, receives the newest number
//!   ([`Refusal::Stale`]), and asks again with it in `challenge`. A replayed proof cannot.
//! - **A database that was restored from a backup may know another key.** For the length of a lease
//!   after the loss, requests for a lease are served without the key ([`outdated_until`]). A number
//!   that the database has lost counts as never issued, so the site receives the newest one.
//!
//! | seat | call | proof | result |
//! | --- | --- | --- | --- |
//! | any | any | absent or invalid, and the license requires one | refused, event: an activation with a message, other calls as no contact |
//! | new | any that takes it | valid | the key is bound |
//! | new | any that takes it | absent, invalid | served without a key; event if invalid |
//! | no key | any but deactivate | valid, newest license presented | the key is bound |
//! | no key | any | valid, another license or none | served without a key |
//! | no key | any | absent, invalid | served without a key; event if invalid |
//! | key | any over HTTP | its key, new nonce, number not too old | served |
//! | key | any over HTTP | its key, a nonce that was used | no contact, event |
//! | key | any over HTTP | its key, number too old or never issued | no contact, the site receives the number |
//! | key | deactivate over HTTP | its key, number older than the last activation | no contact, the site receives the number |
//! | key | any by file | its key | served: files arrive late, and are signed again when the answer is lost |
//! | former key | deactivate | any but the former key's | no contact, event |
//! | former key | any | the former key | that key is bound again |
//! | key | activate, trial | absent, invalid, another key; a former key counts | the key is removed, event |
//! | key | activate, trial | absent, invalid, another key; a move is left | the key is removed, a move is spent, event |
//! | key | activate, trial | the same; no move is left, unproven license not ended | served without the key, event |
//! | key | activate, trial | the same; no move is left, all unproven licenses ended | refused with a message, event |
//! | key | validate | absent, invalid, another key; unproven license not ended | served without the key, event |
//! | key | any other | absent, invalid, another key | no contact, event |
//!
//! A removed key remains the seat's former key until all licenses that were signed before have ended:
//! see [`FormerKey`].
//!
//! What this means for honest sites: replicas share one key, and each may be one number behind. A
//! reinstalled site with another key activates, which removes the old key, and binds its own with
//! the call after that. A wrong clock at the site has no effect. A cloned disk has the same key and
//! cannot be told apart here: [`crate::suspicion`] notices it. A deactivation by file is judged by
//! the time at which it was written ([`crate::offline::is_outdated`]), not by its number: the answer
//! to an activation that was signed twice may not have reached the site. A preview takes no seat and
//! changes nothing, so it is not judged.

mod bound_key;
mod former_key;
mod outcome;

use chrono::{DateTime, TimeDelta, Utc};

use crate::call::Call;
use crate::proof::VerifiedProof;
use crate::restored::LostNumbers;

pub use bound_key::{BoundKey, MAX_NONCES};
pub use former_key::FormerKey;
pub use outcome::{Refusal, SecurityEvent, Served};

/// The proof of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SentProof<'a> {
    /// The call has none.
    Absent,
    /// The call has one that is not valid for it, or several.
    Invalid,
    /// It is valid for the call.
    Valid(&'a VerifiedProof),
}

impl SentProof<'_> {
    /// Whether it proves this key.
    #[must_use]
    pub fn is_of(&self, bound: &BoundKey) -> bool {
        matches!(self, Self::Valid(proof) if proof.thumbprint() == bound.jkt())
    }

    /// Whether it presents the signed license with this [hash](crate::proof::document_hash).
    #[must_use]
    pub fn presents(&self, document_hash: Option<&str>) -> bool {
        match self {
            Self::Valid(proof) => document_hash.is_some() && proof.document_hash() == document_hash,
            Self::Absent | Self::Invalid => false,
        }
    }
}

/// A call, as far as the rule needs it.
#[derive(Clone, Copy, Debug)]
pub struct JudgedCall<'a> {
    /// The call; for a request file that of its purpose.
    pub call: Call,
    /// Whether it was made by a request file.
    pub is_by_file: bool,
    /// Its proof.
    pub proof: SentProof<'a>,
    /// Whether the proof presents the newest license that was signed for the seat:
    /// [`VerifiedProof::document_hash`] is the stored one.
    pub presents_newest: bool,
    /// When it is answered, by the License Server's clock.
    pub at: DateTime<Utc>,
}

/// A machine's seat, and its license.
#[derive(Clone, Copy, Debug)]
pub struct JudgedSeat<'a> {
    /// Whether the call takes the seat: the machine held none.
    pub is_new: bool,
    /// The bound key.
    pub bound: Option<&'a BoundKey>,
    /// The key that was removed from the seat last.
    pub former: Option<&'a FormerKey>,
    /// The greatest end of any license signed for the seat.
    pub signed_until: Option<DateTime<Utc>>,
    /// The newest sequence number of the seat; 0 before the first one.
    pub issued: u64,
    /// The number of the answer to the last activation, or any that is not greater; 0 if it is not
    /// known.
    pub activated: u64,
    /// Until when the bound key may be outdated: see [`outdated_until`].
    pub outdated_until: Option<DateTime<Utc>>,
    /// Whether the vendor's staff require a proof for the license.
    pub requires_proof: bool,
    /// Moves left of the license's transfer budget.
    pub moves_left: u32,
}

/// Decides whether a call may be answered, and which key is bound to the seat afterwards.
///
/// # Errors
/// One [`Refusal`] for each reason.
pub fn decide(seat: &JudgedSeat<'_>, call: &JudgedCall<'_>) -> Result<Served, Refusal> {
    if let Some(event) = missing(call.proof).filter(|_| seat.requires_proof) {
        return Err(match takes_seat(call.call) {
            true => Refusal::ProofRequired(event),
            false => Refusal::NoContact(event),
        });
    }
    let former = seat.former.filter(|it| !seat.is_new && it.counts(call.at));
    if let Some(decided) = former.and_then(|former| by_former_key(former, seat, call)) {
        return decided;
    }
    match (seat.bound.filter(|_| !seat.is_new), call.proof) {
        (None, _) => Ok(without_bound_key(seat, call)),
        (Some(bound), SentProof::Valid(proof)) if proof.thumbprint() == bound.jkt() => {
            if call.is_by_file {
                return Ok(Served::Proven(bound.clone()));
            }
            let least = match call.call {
                Call::Deactivate => seat.activated,
                _ => 0,
            };
            bound.used(proof, seat, least).map(Served::Proven)
        }
        (Some(bound), _) => without_the_key(bound, former, seat, call),
    }
}

/// Until when bound keys may be outdated after the loss of these numbers: any license signed in the
/// meantime has ended by then. `longest_lease` is the maximum length of a lease with its grace.
#[must_use]
pub fn outdated_until(lost: &LostNumbers, longest_lease: TimeDelta) -> Option<DateTime<Utc>> {
    let noticed = i64::try_from(lost.until).ok();
    let noticed = noticed.and_then(DateTime::from_timestamp_millis);
    // No end if the time cannot be represented.
    let end = noticed.and_then(|noticed| noticed.checked_add_signed(longest_lease));
    Some(end.unwrap_or(DateTime::<Utc>::MAX_UTC))
}

/// What a key that still counts decides after it was removed: the call of its site binds it again, and
/// only that site frees the seat. `None` if it decides nothing.
fn by_former_key(
    former: &FormerKey,
    seat: &JudgedSeat<'_>,
    call: &JudgedCall<'_>,
) -> Option<Result<Served, Refusal>> {
    let frees_seat = call.call == Call::Deactivate;
    match call.proof {
        SentProof::Valid(proof) if proof.thumbprint() == former.jkt() => {
            let bound = BoundKey::bind(proof, seat, call.is_by_file);
            let is_outdated = bound.proven_seq() < seat.activated;
            Some(match frees_seat {
                true if is_outdated && !call.is_by_file => Err(Refusal::Stale {
                    newest: seat.issued,
                }),
                _ => Ok(Served::Bind(bound)),
            })
        }
        proof if frees_seat => {
            let event = missing(proof).unwrap_or(SecurityEvent::OtherKey);
            Some(Err(Refusal::NoContact(event)))
        }
        _ => None,
    }
}

/// A seat without a key.
fn without_bound_key(seat: &JudgedSeat<'_>, call: &JudgedCall<'_>) -> Served {
    let may_bind = seat.is_new || (call.presents_newest && call.call != Call::Deactivate);
    match call.proof {
        SentProof::Valid(proof) if may_bind => {
            Served::Bind(BoundKey::bind(proof, seat, call.is_by_file))
        }
        SentProof::Invalid => Served::Unbound {
            event: Some(SecurityEvent::ProofInvalid),
        },
        SentProof::Valid(_) | SentProof::Absent => Served::Unbound { event: None },
    }
}

/// A call that does not prove the bound key.
fn without_the_key(
    bound: &BoundKey,
    former: Option<&FormerKey>,
    seat: &JudgedSeat<'_>,
    call: &JudgedCall<'_>,
) -> Result<Served, Refusal> {
    let event = missing(call.proof).unwrap_or(SecurityEvent::OtherKey);
    let unproven_until = bound.unproven_until().max(seat.outdated_until);
    let is_tolerated = !seat.requires_proof
        && call.call.answer_is_kept()
        && unproven_until.is_some_and(|end| call.at <= end);
    match takes_seat(call.call) {
        // One move for the time in which the removed key counts, however often it is replaced.
        true if former.is_some() => Ok(Served::Unbind {
            event,
            spends_move: false,
        }),
        true if seat.moves_left > 0 => Ok(Served::Unbind {
            event,
            spends_move: true,
        }),
        _ if is_tolerated => Ok(Served::Tolerated {
            bound: bound.clone(),
            event,
        }),
        true => Err(Refusal::NoMovesLeft(event)),
        false => Err(Refusal::NoContact(event)),
    }
}

/// Why a call proves no key.
fn missing(proof: SentProof<'_>) -> Option<SecurityEvent> {
    match proof {
        SentProof::Absent => Some(SecurityEvent::ProofMissing),
        SentProof::Invalid => Some(SecurityEvent::ProofInvalid),
        SentProof::Valid(_) => None,
    }
}

/// Whether an operator makes the call to take a seat. Its answer is never evidence about the license
/// that the site has, so it can be refused with a message.
fn takes_seat(call: Call) -> bool {
    matches!(call, Call::Activate | Call::Trial)
}
