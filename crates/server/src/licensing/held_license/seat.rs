//! The seat of the machine that calls: kept, or claimed.

use license_core::protocol::Call;
use license_core::restored::{is_excused, takes_seat};
use license_core::seat::{Extension, SILENT_FOR};
use serde_json::json;

use super::HeldLicense;
use crate::audit::Action;
use crate::licensing::claim::claim;
use crate::licensing::first_activation::first_activated;
use crate::licensing::lease_terms::LeaseTerms;
use crate::licensing::refusal::{Refused, Stopped};
use crate::licensing::restored;
use crate::licensing::site_answer::AnswerError;
use crate::store::seats::{self, Seat};

impl HeldLicense<'_> {
    /// The machine's seat: the one that it holds, or a new one where the call takes one.
    ///
    /// # Errors
    /// [`Stopped::Refused`] if the machine gets no seat, and [`Stopped::Failed`] when too many
    /// machines have activated or the database returns an error.
    pub(in crate::licensing) async fn take_seat(&mut self) -> Result<Seat, Stopped> {
        let seat = self.find_seat().await?;
        Ok(self.use_seat(seat).await?)
    }

    /// The first step of [`Self::take_seat`]: the seat, before the call changes anything else.
    ///
    /// # Errors
    /// As [`Self::take_seat`].
    pub(in crate::licensing) async fn find_seat(&mut self) -> Result<Seat, Stopped> {
        match self.seat.take_if(|seat| seat.is_held()) {
            Some(seat) => self.keep_seat(seat).await,
            None => self.claim_seat().await,
        }
    }

    /// The second step of [`Self::take_seat`]: the machine uses the seat.
    ///
    /// # Errors
    /// If the clock may be wrong, or the database returns an error.
    pub(in crate::licensing) async fn use_seat(
        &mut self,
        mut seat: Seat,
    ) -> Result<Seat, AnswerError> {
        if self.call.answer_is_kept() {
            self.start_duration().await?;
        }
        seat.last_seen_at = self.now;
        let (from, to) = (&seat.installation_id, &self.to.installation_id);
        if !self.seat_is_new && !from.is_empty() && from != to {
            let details = json!({"from": from, "to": to});
            self.log(Action::InstallationChanged, details).await?;
        }
        seat.installation_id.clone_from(to);
        Ok(seat)
    }

    /// Sets the end of a license that waits for its first activation.
    async fn start_duration(&mut self) -> Result<(), AnswerError> {
        let (app, db) = (self.app, &self.transaction);
        let amended = first_activated(app, db, &self.license, self.now).await?;
        if let Some(amended) = amended {
            (self.license, self.amendments) = amended;
        }
        Ok(())
    }

    /// The seat that the machine holds, unless the license has fewer seats than are taken and the
    /// machine's lease has ended.
    async fn keep_seat(&mut self, mut seat: Seat) -> Result<Seat, Stopped> {
        let license = &self.license;
        // Seats are lowered only by amendments.
        if self.call == Call::Deactivate || license.amendment <= 1 {
            return Ok(seat);
        }
        let (db, now) = (&self.transaction, self.now);
        let first_excess = seats::first_excess(db, &license.id, license.seats, now).await?;
        let is_excess = seat.is_excess(first_excess, now);
        if is_excess
            && is_excused(
                self.lost.is_some(),
                seat.excused_amendment,
                license.amendment,
            )
        {
            seat.excused_amendment = Some(license.amendment);
            return Ok(seat);
        }
        match seat.state().extension(is_excess, now) {
            Extension::Full => {}
            Extension::Until(end) => self.not_beyond = Some(end),
            Extension::Ended => {
                let refused = Refused::too_few_seats(license, self.call);
                seat.freed_at = Some(now);
                let details = json!({
                    "installation": seat.installation_name, "seats": license.seats,
                });
                self.log(Action::SeatFreed, details).await?;
                self.seat = Some(seat);
                return Err(refused.into());
            }
        }
        Ok(seat)
    }

    /// Claims a seat for a machine that holds none.
    async fn claim_seat(&mut self) -> Result<Seat, Stopped> {
        let (app, license) = (self.app, &self.license);
        let was_freed = self.seat.is_some();
        let overlap = self.seat.as_ref().and_then(|seat| seat.overlap);
        if !takes_seat(self.call, was_freed, self.lost.is_some()) {
            return Err(Refused::no_seat(was_freed, overlap).into());
        }
        // An activation was counted when the call was admitted.
        if self.call != Call::Activate {
            let running = app.clock.running();
            let counted = app.rates.newcomer(&license.id, license.seats, running);
            counted.map_err(AnswerError::TooManyCalls)?;
        }
        let longest_move = LeaseTerms::of(license, &app.terms).longest();
        let (db, machine) = (&self.transaction, &self.to.hardware_id);
        // An operator activates. After an outage or the loss of data, no machine counts as silent.
        let lost_until = restored::outdated_until(db, &app.numbering, SILENT_FOR, self.now);
        let takes_silent =
            self.call == Call::Activate && lost_until.await?.is_none_or(|until| until < self.now);
        let change = self.change();
        let claimed = claim(db, license, machine, longest_move, takes_silent, &change);
        claimed
            .await?
            .map_err(|no_place| Refused::seat_limit(license, no_place))?;
        self.seat_is_new = true;
        let mut seat = self.seat.take().unwrap_or_else(|| {
            let mut seat = Seat::new(&self.license.id, &self.to.hardware_id, self.now);
            seat.note_lost_claim(self.lost);
            seat
        });
        seat.activated_at = self.now;
        seat.freed_at = None;
        seat.overlap = None;
        seat.signed = None;
        seat.bound_key = None;
        seat.former_key = None;
        seat.document_hash = None;
        Ok(seat)
    }
}
