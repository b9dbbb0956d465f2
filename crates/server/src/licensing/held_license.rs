//! A license that is locked while one call from a site is answered.
//!
//! [`HeldLicense`] has the steps from which the four use cases are made. Its transaction locks the
//! license's row: the seat limit and the sequence numbers are correct regardless of concurrent
//! calls. Nothing is stored before [`HeldLicense::commit`].

mod proof;
mod redeeming;
mod seat;

use chrono::{DateTime, SubsecRound as _, Utc};
use license_core::amendment::Amendment;
use license_core::binding::{BoundKey, Refusal as ProofRefusal, Served};
use license_core::document::MAX_LICENSE_BYTES;
use license_core::offline::is_outdated;
use license_core::proof::document_hash;
use license_core::protocol::Call;
use license_core::restored::next_number;
use license_core::suspicion::Report;
use license_service::database::Transaction;
use serde_json::{Map, Value, json};

use crate::app::App;
use crate::audit::{Action, Actor, Change};
use crate::commit_proofs::Moved;
use crate::keyed_call::check_new;
use crate::licensing::claim::moves_left;
use crate::licensing::current;
use crate::licensing::document::{
    Addressee, Denied, Envelope, LeaseLength, license_object, signed_denial, signed_license,
    with_entitlements,
};
use crate::licensing::document_size::bytes;
use crate::licensing::judge::refusal;
use crate::licensing::refusal::Refused;
use crate::licensing::restored;
use crate::licensing::review::record_suspicions;
use crate::licensing::site_answer::{AnswerError, SiteAnswer};
use crate::licensing::site_question::CallDetails;
use crate::store::StoreError;
use crate::store::licenses::License;
use crate::store::seats::{self, Seat};

/// A license that is locked for one call, and what is known of the machine that calls.
pub(super) struct HeldLicense<'a> {
    app: &'a App,
    pub(super) transaction: Transaction,
    /// Shows later that the transaction is not lost.
    proof: Moved,
    /// The license's row as it was locked.
    row: License,
    /// The license as it is now.
    license: License,
    /// Its amendments; empty if it is plain.
    amendments: Vec<Amendment>,
    /// The machine's seat, held or freed; its trail already contains the call. A use case takes it
    /// out to change it.
    seat: Option<Seat>,
    /// Whether the seat was claimed in this call.
    seat_is_new: bool,
    /// The installation key that is bound to the seat with the answer; the refusal, if the call is
    /// answered with one.
    served: Result<Served, ProofRefusal>,
    to: Addressee,
    call: Call,
    details: CallDetails,
    /// The sequence number that the site knows and the database does not account for.
    lost: Option<u64>,
    /// Whether the machine's last lease had not ended when it called.
    had_running_lease: bool,
    /// When that lease ends or ended.
    lease_end: Option<DateTime<Utc>>,
    /// The end that a new lease must not exceed: the machine's seat is excess.
    not_beyond: Option<DateTime<Utc>>,
    pub(super) now: DateTime<Utc>,
}

impl<'a> HeldLicense<'a> {
    /// Locks a license and reads the seat of the machine that calls. Adds the call to the seat's
    /// trail. A call that repeats another one changes nothing.
    ///
    /// # Errors
    /// [`AnswerError::Outdated`], [`AnswerError::Unproven`] or [`AnswerError::UnprovenFile`], or if the database returns an error.
    pub(super) async fn hold(
        app: &'a App,
        known: License,
        call: Call,
        to: Addressee,
        details: &CallDetails,
        now: DateTime<Utc>,
    ) -> Result<Self, AnswerError> {
        let (transaction, row) = app.store.hold(known).await?;
        check_new(&transaction).await?;
        let current = current::with_amendments(&transaction, row.clone(), now).await;
        let (license, amendments) = current?;
        let proof = restored::prove(&transaction, &app.numbering, now).await?;
        let seat = seats::find(&transaction, &license.id, &to.hardware_id).await?;
        let issued = seat.as_ref().map_or(0, |seat| seat.last_seq);
        let mut held = Self {
            app,
            had_running_lease: seat.as_ref().is_some_and(|seat| seat.state().may_run(now)),
            lease_end: seat.as_ref().and_then(|seat| seat.signed_until),
            to: completed(to, seat.as_ref()),
            transaction,
            proof,
            row,
            license,
            amendments,
            seat,
            seat_is_new: false,
            served: Ok(Served::Unbound { event: None }),
            call,
            details: details.clone(),
            lost: None,
            not_beyond: None,
            now,
        };
        held.refuse_outdated()?;
        let (db, known) = (&held.transaction, details.newest_seq);
        held.lost = restored::lost_number(db, &app.numbering, known, issued, now).await?;
        held.served = held.judge_proof().await?;
        let event = match &held.served {
            Ok(served) => served.event(),
            Err(refusal) if refusal.is_no_contact() => {
                let refusal = *refusal;
                return Err(held.leave_unanswered(refusal).await);
            }
            Err(refusal) => refusal.event(),
        };
        if let Some(event) = event {
            held.note_event(event).await?;
        }
        held.follow_call().await?;
        Ok(held)
    }

    /// Refuses a deactivation by a file that was written before the latest activation.
    fn refuse_outdated(&self) -> Result<(), AnswerError> {
        if let (Call::Deactivate, Some(by_file), Some(seat)) =
            (self.call, &self.details.offline, &self.seat)
            && is_outdated(by_file.written_at, seat.last_activated_at)
        {
            let activated_at = seat.last_activated_at.trunc_subsecs(0);
            return Err(AnswerError::Outdated(activated_at));
        }
        Ok(())
    }

    /// Adds the call to the trail of the machine's seat, and records suspicions.
    async fn follow_call(&mut self) -> Result<(), StoreError> {
        let Some(mut seat) = self.seat.take() else {
            return Ok(());
        };
        let (trail, found) = seat.trail().followed(&self.report());
        seat.set_trail(trail);
        record_suspicions(&self.transaction, &seat, found, self.now).await?;
        self.seat = Some(seat);
        Ok(())
    }

    /// What the call says about its sender.
    fn report(&self) -> Report<'_> {
        Report {
            newest_seq: self.details.newest_seq,
            written_at: self.details.offline.as_ref().map(|it| it.written_at),
            nonce: self.to.nonce.as_deref().unwrap_or_default(),
            asks_for_lease: self.call.answer_is_kept(),
            has_running_lease: self.call.answer_is_kept() && self.had_running_lease,
            lease_end: self.lease_end,
            is_activation: self.call == Call::Activate,
            installation_id: &self.to.installation_id,
            drifted: self.details.drifted,
            knows_lost_number: self.lost.is_some(),
            longest_lease: self.longest_lease(),
            at: self.now,
        }
    }

    /// Whether the call may be answered with anything but a refusal.
    ///
    /// # Errors
    /// The refusal, if it is an activation without the installation key that it must prove.
    pub(super) fn check_proof(&self) -> Result<(), Refused> {
        match &self.served {
            Ok(_) => Ok(()),
            Err(refusal) => Err(Refused::unproven(*refusal)),
        }
    }

    /// Whether the license may be used now.
    ///
    /// # Errors
    /// The refusal, if it is expired, suspended or revoked.
    pub(super) fn check_status(&self) -> Result<(), Refused> {
        let License {
            status, expires_at, ..
        } = self.license;
        refusal(status, expires_at, self.now).map_or(Ok(()), |refusal| {
            Err(Refused::license_status(refusal, &self.license, self.now))
        })
    }

    /// Signs a lease for the machine, and stores its seat.
    ///
    /// # Errors
    /// When nothing can be signed, or the database refuses.
    pub(super) async fn sign_lease(&self, mut seat: Seat) -> Result<SiteAnswer, AnswerError> {
        if let Ok(Served::Unbind { event, spends_move }) = self.served {
            self.note_unbound(&mut seat, event, spends_move).await?;
        }
        self.confirm(&mut seat).await?;
        let license = self.license_object().await?;
        let length = LeaseLength {
            offline: self
                .details
                .offline
                .as_ref()
                .map(|it| it.lease.of(&self.license)),
            holds_until: match self.details.knows_entitlements {
                true => None,
                false => self.license.holds_until(),
            },
            not_beyond: self.not_beyond,
        };
        let envelope = self.envelope(seat.last_seq);
        let bound = self.bound_key(None);
        let key = bound.as_ref().map(BoundKey::jkt);
        let signing = signed_license(self.app, &self.license, license, envelope, length, key);
        let (license, signed) = signing?;
        let jws = license.get("signature").and_then(Value::as_str);
        seat.note_signed(signed, jws.map(document_hash));
        seat.bound_key = self.bound_key(Some(signed.exp));
        self.note_file(&mut seat, signed.exp).await?;
        self.save(&seat).await?;
        Ok(SiteAnswer::License(license))
    }

    /// Confirms the license without a lease, and stores the machine's seat. Nothing is signed: sites
    /// keep no such answer, so a copy that kept one would have a lease that no number reveals.
    ///
    /// # Errors
    /// When nothing could be signed, or the database refuses.
    pub(super) async fn confirm_unsigned(&self, mut seat: Seat) -> Result<SiteAnswer, AnswerError> {
        // The sequence number and the day of the usage come from the same clock.
        self.app.can_sign()?;
        self.confirm(&mut seat).await?;
        self.save(&seat).await?;
        Ok(SiteAnswer::License(self.license_object().await?))
    }

    /// The license as sites get it, without a signature.
    async fn license_object(&self) -> Result<Map<String, Value>, StoreError> {
        let left = moves_left(&self.transaction, &self.license, self.now).await?;
        let mut object = license_object(&self.license);
        if !self.license.is_plain || self.details.knows_entitlements {
            let mut listing = object.clone();
            let listed = self.license.entitlements(&self.amendments, self.now);
            with_entitlements(&mut listing, &listed);
            // The list of a plain license says nothing that the other fields do not say.
            if !self.license.is_plain || bytes(&listing) <= MAX_LICENSE_BYTES {
                object = listing;
            }
        }
        for (name, number) in [
            ("movesLeft", left),
            ("moves", self.license.moves),
            ("movesPeriodDays", self.license.moves_period_days),
        ] {
            object.insert(name.to_owned(), number.into());
        }
        Ok(object)
    }

    /// Signs the receipt for what was done, and stores the seat.
    ///
    /// # Errors
    /// If nothing can be signed, or the database returns an error.
    pub(super) async fn sign_receipt(
        &self,
        mut seat: Seat,
        receipt: &Denied,
    ) -> Result<String, AnswerError> {
        self.confirm(&mut seat).await?;
        self.save(&seat).await?;
        let envelope = self.envelope(seat.last_seq);
        Ok(signed_denial(
            self.app,
            Some(&self.license),
            envelope,
            receipt,
        )?)
    }

    /// Signs a refusal, and stores the machine's seat if it has one.
    ///
    /// # Errors
    /// [`AnswerError::OlderThanSite`], when nothing can be signed, or if the database returns an
    /// error.
    pub(super) async fn sign_refusal(
        &mut self,
        refused: Refused,
    ) -> Result<SiteAnswer, AnswerError> {
        let seq = match self.seat.take() {
            Some(mut seat) => {
                if seat.is_held() && self.served.is_ok() {
                    seat.last_seen_at = self.now;
                    // Its nonce is used: the call cannot be repeated.
                    if let Ok(Served::Proven(bound)) = &self.served {
                        seat.bound_key = Some(bound.clone());
                    }
                }
                self.number(&mut seat);
                if self.call.answer_is_kept() {
                    self.note_file(&mut seat, self.now).await?;
                }
                self.save(&seat).await?;
                seat.last_seq
            }
            None => next_number(0, self.lost, self.now),
        };
        let mut envelope = self.envelope(seq);
        if refused.is_about_add_on() && self.call == Call::Validate {
            // It says nothing about the license.
            envelope.question = Call::Redeem;
        }
        refused.sign(self.app, Some(&self.license), envelope, self.lost.is_some())
    }

    /// Stores everything.
    ///
    /// # Errors
    /// If the database returns an error; nothing has changed then.
    pub(super) async fn commit(self) -> Result<(), StoreError> {
        Ok(self.proof.commit(self.transaction).await?)
    }

    /// Adds an entry about the machine to the audit log.
    ///
    /// # Errors
    /// If the database returns an error.
    pub(super) async fn log(&self, action: Action, details: Value) -> Result<(), StoreError> {
        self.log_as(&self.change(), action, details).await
    }

    async fn log_as(
        &self,
        change: &Change,
        action: Action,
        details: Value,
    ) -> Result<(), StoreError> {
        let (db, machine) = (&self.transaction, &self.to.hardware_id);
        change
            .note_seat(db, action, &self.license, machine, details)
            .await
    }

    /// A change that the site makes.
    fn change(&self) -> Change {
        Change {
            by: Actor::Site,
            at: self.now,
        }
    }

    /// Stores the machine's seat, with the entry in the audit log if it was claimed in this call: a
    /// call that is refused afterwards keeps the seat. Nothing else stores it.
    async fn save(&self, seat: &Seat) -> Result<(), StoreError> {
        if self.seat_is_new {
            let details = json!({"installation": seat.installation_name});
            self.log(Action::SeatTaken, details).await?;
        }
        seats::save(&self.transaction, seat).await
    }

    /// Records a confirmation in the audit log and in the seat.
    async fn confirm(&self, seat: &mut Seat) -> Result<(), StoreError> {
        if let Some(file) = &self.details.offline {
            let change = Change {
                by: file.by.clone(),
                at: self.now,
            };
            let details = json!({"question": self.call.as_str()});
            self.log_as(&change, Action::OfflineSigned, details).await?;
        }
        seat.bound_key = self.bound_key(None);
        self.number(seat);
        if self.call == Call::Activate {
            seat.activated_seq = seat.last_seq;
        }
        Ok(())
    }

    /// The key that is bound to the seat with the answer, which signs a license until `exp`, or none.
    fn bound_key(&self, exp: Option<DateTime<Utc>>) -> Option<BoundKey> {
        let served = self.served.clone().ok();
        served.and_then(|served| served.bound_key(exp))
    }

    /// Gives the answer its sequence number.
    fn number(&self, seat: &mut Seat) {
        seat.last_seq = next_number(seat.last_seq, self.lost, self.now);
        // It is not known whether the response to a request file reaches the site.
        if self.details.offline.is_none() && self.call.answer_is_kept() {
            seat.note_answer(&self.report());
        }
    }

    /// Records the answer to a request file, whose lease ends at `exp`, and suspicions.
    async fn note_file(&self, seat: &mut Seat, exp: DateTime<Utc>) -> Result<(), StoreError> {
        let found = seat.note_file(&self.report(), exp);
        record_suspicions(&self.transaction, seat, found, self.now).await
    }

    fn envelope(&self, seq: u64) -> Envelope<'_> {
        Envelope {
            to: &self.to,
            question: self.call,
            seq,
            at: self.now,
        }
    }
}

/// A site that does not name its installation counts as the one that took the seat.
fn completed(to: Addressee, seat: Option<&Seat>) -> Addressee {
    match seat {
        Some(seat) if to.installation_id.is_empty() => Addressee {
            installation_id: seat.installation_id.clone(),
            ..to
        },
        _ => to,
    }
}
