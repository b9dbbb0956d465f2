//! Whether the call proves the installation key of the machine's seat. The rules are
//! [`license_core::binding`]'s.

use chrono::TimeDelta;
use license_core::binding::{
    BoundKey, FormerKey, JudgedCall, JudgedSeat, Refusal, SecurityEvent, Served, decide,
};
use license_core::foreign_text;
use license_core::protocol::Call;
use license_core::suspicion::Suspicion;
use serde_json::json;

use super::HeldLicense;
use crate::audit::Action;
use crate::licensing::claim::moves_left;
use crate::licensing::lease_terms::LeaseTerms;
use crate::licensing::restored;
use crate::licensing::site_answer::AnswerError;
use crate::store::seat_moves::{self, SeatMove};
use crate::store::seats::Seat;
use crate::store::{StoreError, suspicions};

impl HeldLicense<'_> {
    /// Decides which key is bound to the seat with the answer.
    ///
    /// # Errors
    /// The refusal, if the call does not prove the key that it must prove.
    pub(super) async fn judge_proof(&self) -> Result<Result<Served, Refusal>, StoreError> {
        let held = self.seat.as_ref().filter(|seat| seat.is_held());
        let bound = held.and_then(|seat| seat.bound_key.as_ref());
        let proof = self.details.proof.sent();
        let is_proven = bound.is_some_and(|bound| proof.is_of(bound));
        // Only a call that does not prove the bound key needs what takes queries.
        let (moves_left, outdated_until) = match bound {
            Some(_) if !is_proven => {
                let (db, longest) = (&self.transaction, self.longest_lease());
                let left = moves_left(db, &self.license, self.now).await?;
                let until = restored::outdated_until(db, &self.app.numbering, longest, self.now);
                (left, until.await?)
            }
            _ => (0, None),
        };
        let seat = JudgedSeat {
            is_new: held.is_none(),
            bound,
            former: held.and_then(|seat| seat.former_key.as_ref()),
            signed_until: held.and_then(|seat| seat.signed_until),
            issued: self.seat.as_ref().map_or(0, |seat| seat.last_seq),
            activated: held.map_or(0, |seat| seat.activated_seq),
            outdated_until,
            requires_proof: self.license.requires_proof,
            moves_left,
        };
        let call = JudgedCall {
            call: self.judged_call(),
            is_by_file: self.details.offline.is_some(),
            proof,
            presents_newest: held.is_some_and(|seat| proof.presents(seat.document_hash.as_deref())),
            at: self.now,
        };
        Ok(decide(&seat, &call))
    }

    /// The call, as far as its proof is concerned: a file that redeems an add-on key is no renewal.
    fn judged_call(&self) -> Call {
        match (self.call, &self.to.code) {
            (Call::Validate, Some(_)) => Call::Redeem,
            (call, _) => call,
        }
    }

    /// The longest time for which a lease of the license is valid.
    pub(super) fn longest_lease(&self) -> TimeDelta {
        LeaseTerms::of(&self.license, &self.app.terms).longest()
    }

    /// Records what staff should learn about the call.
    pub(super) async fn note_event(&self, event: SecurityEvent) -> Result<(), StoreError> {
        let (db, machine) = (&self.transaction, &self.to.hardware_id);
        let suspicion = Suspicion::UnprovenCall;
        let id = &self.license.id;
        if suspicions::note(db, id, machine, suspicion, self.now).await? {
            tracing::warn!(
                security = true,
                hardware_id = &*foreign_text::identifier(machine),
                call = self.call.as_str(),
                event = event.as_str(),
                "{event}"
            );
        }
        Ok(())
    }

    /// Records that the call is not answered, and nothing else about it.
    pub(super) async fn leave_unanswered(self, refusal: Refusal) -> AnswerError {
        let newest = match refusal {
            Refusal::Stale { newest } => Some(newest),
            _ => None,
        };
        let unproven = match self.details.offline {
            Some(_) => AnswerError::UnprovenFile,
            None => AnswerError::Unproven(newest),
        };
        let noted = match refusal.event() {
            Some(event) => self.note_event(event).await,
            None => Ok(()),
        };
        let stored = match noted {
            Ok(()) => self.commit().await,
            Err(error) => Err(error),
        };
        match stored {
            Ok(()) => unproven,
            Err(error) => error.into(),
        }
    }

    /// Removes the key of the machine's seat, which may spend a move.
    pub(super) async fn note_unbound(
        &self,
        seat: &mut Seat,
        event: SecurityEvent,
        spends_move: bool,
    ) -> Result<(), StoreError> {
        if spends_move {
            self.spend_move(seat).await?;
        }
        let details = json!({
            "installation": seat.installation_name,
            "key": seat.bound_key.as_ref().map(BoundKey::jkt),
            "reason": event.as_str(),
            "movesLeft": moves_left(&self.transaction, &self.license, self.now).await?,
        });
        if let Some(bound) = &seat.bound_key {
            let (earlier, until) = (seat.former_key.as_ref(), seat.signed_until);
            seat.former_key = Some(FormerKey::removed(bound, earlier, until, self.now));
        }
        self.log(Action::KeyUnbound, details).await
    }

    /// Spends a move that leaves the seat where it is.
    async fn spend_move(&self, seat: &Seat) -> Result<(), StoreError> {
        let machine = &self.to.hardware_id;
        let spent = SeatMove {
            license_id: self.license.id.clone(),
            at: self.now,
            from_hardware_id: machine.clone(),
            to_hardware_id: machine.clone(),
            overlap_until: seat.signed_until.unwrap_or(self.now),
        };
        seat_moves::insert(&self.transaction, &spent).await
    }
}
