//! What answers of the License Server and other signed documents say about the time.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use super::TimeGuard;
use super::bounds::{ANSWER_TOLERANCE, LATEST, MAX_UNREPORTED_LAG, add};
use super::event::ClockEvent;
use super::readings::Readings;

/// Instants in documents are whole seconds.
const ROUNDED: TimeDelta = TimeDelta::seconds(1);

impl TimeGuard {
    /// A signed answer to our own request was created at `signed`, after we had waited for
    /// `waited`. Delaying an answer does not delay the time.
    #[must_use]
    pub fn proven(
        &self,
        signed: DateTime<Utc>,
        waited: Duration,
        readings: Readings,
    ) -> (Self, Option<ClockEvent>) {
        let before = self.now(readings.running);
        let latest = add(signed, waited);
        let agrees = (signed - ANSWER_TOLERANCE..=latest + ANSWER_TOLERANCE).contains(&before);
        let at = match agrees {
            // What a restart has counted although the process may not have run.
            true => before.min((latest + ROUNDED).max(before - self.charged)),
            false => latest,
        };
        let by = at - before;
        let off = readings.wall - at;
        let next = Self {
            at,
            lead: TimeDelta::zero(),
            doubt: None,
            refuted: Some(off).filter(|off| off.abs() > ANSWER_TOLERANCE),
            is_behind: off < -MAX_UNREPORTED_LAG,
            signed_at: Some(signed),
            assumed: TimeDelta::zero(),
            shared_claim: TimeDelta::zero(),
            charged: TimeDelta::zero(),
            awaits_validation: false,
            anchor: readings,
        };
        (next, (!agrees).then_some(ClockEvent::Set { by }))
    }

    /// A validation was attempted and proved nothing. Without a kept time the wall
    /// clock counts from now on, as far as it is ahead.
    #[must_use]
    pub fn unanswered(&self, readings: Readings) -> (Self, Vec<ClockEvent>) {
        let (mut next, mut events) = self.observed(readings);
        if next.awaits_validation {
            let wall = next.anchor.wall.min(LATEST);
            let ahead = wall - next.at;
            next.at = wall;
            next.assumed += ahead;
            next.awaits_validation = false;
            events.push(ClockEvent::Assumed { ahead });
        }
        (next, events)
    }

    /// A signed document that was made at `signed`, some time ago, has come by
    /// hand: it is no earlier than that.
    #[must_use]
    pub fn at_least(&self, signed: DateTime<Utc>, readings: Readings) -> Self {
        let mut next = Self {
            at: self.now(readings.running),
            anchor: readings,
            ..self.clone()
        };
        next.raise_to_signed(Some(signed));
        next
    }

    /// A signed answer has come by hand, made at `signed`. It takes back what
    /// was only claimed, as far as the wall clock says the same now: a time that
    /// was far ahead comes back once the wall clock is set.
    ///
    /// The time stated in the request is ignored, because the licensee chooses it. Time in which
    /// the machine was running is never taken back, and neither is what was signed.
    #[must_use]
    pub fn answered(
        &self,
        signed: DateTime<Utc>,
        readings: Readings,
    ) -> (Self, Option<ClockEvent>) {
        let mut next = Self {
            at: self.now(readings.running),
            ..self.clone()
        };
        let before = next.at;
        // Of two that a minute lies between, neither is the wrong one.
        let shown = before.min(readings.wall.max(next.earliest()));
        let shown = Some(shown).filter(|shown| before - *shown > ANSWER_TOLERANCE);
        let at = shown.unwrap_or(before).max(signed);
        if shown.is_some() {
            let certain = next.earliest().max(signed);
            next.lead = TimeDelta::zero();
            next.shared_claim = TimeDelta::zero();
            next.assumed = at - certain;
            next.doubt = None;
            next.refuted = None;
        }
        next.at = at;
        next.anchor = readings;
        next.raise_to_signed(Some(signed));
        let by = at - before;
        let event = (!by.is_zero()).then_some(ClockEvent::Set { by });
        (next, event)
    }

    /// What a request by file says when it is written: the wall clock's time,
    /// where that is behind. So a site whose time was far ahead can ask as soon
    /// as its clock is set, although only the answer brings its time back. A wall
    /// clock that is before what was signed is certainly wrong.
    #[must_use]
    pub fn written_at(&self, readings: &Readings) -> DateTime<Utc> {
        let now = self.now(readings.running);
        let wall = Some(readings.wall).filter(|wall| self.signed_at.is_none_or(|at| *wall >= at));
        wall.map_or(now, |wall| wall.min(now))
    }

    /// The time without everything that was only claimed since the last proof.
    /// Before the first signed document there is nothing to protect.
    fn earliest(&self) -> DateTime<Utc> {
        let Some(signed) = self.signed_at else {
            return DateTime::<Utc>::MIN_UTC;
        };
        let claimed = self.lead + self.assumed + self.shared_claim;
        let at = self.at.checked_sub_signed(claimed).unwrap_or(signed);
        at.max(signed).min(self.at)
    }

    /// Raises the time to at least `signed`, which is proof and not a claim.
    pub(super) fn raise_to_signed(&mut self, signed: Option<DateTime<Utc>>) {
        let Some(signed) = signed else {
            return;
        };
        self.at = self.at.max(signed);
        if self.signed_at.is_none() {
            // Until now only the wall clock has said what time it is.
            self.assumed = TimeDelta::MAX;
            self.shared_claim = TimeDelta::zero();
            self.lead = TimeDelta::zero();
        }
        for claimed in [&mut self.lead, &mut self.assumed, &mut self.shared_claim] {
            *claimed = (*claimed).min(self.at - signed);
        }
        self.signed_at = self.signed_at.max(Some(signed));
    }
}
