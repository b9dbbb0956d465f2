//! What answers from the License Server and other signed documents say about the time.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use super::TimeGuard;
use super::bounds::{ANSWER_TOLERANCE, LATEST, MAX_UNREPORTED_LAG, add};
use super::event::ClockEvent;
use super::readings::Readings;

/// Instants in documents are whole seconds.
const ROUNDED: TimeDelta = TimeDelta::seconds(1);

impl TimeGuard {
    /// A signed response to our own request was created at `signed`, after we had waited for
    /// `waited`. Delaying a response does not delay the time.
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
            // Time that a restart has counted although the process may not have been running.
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
            certain: Some(signed),
            assumed: TimeDelta::zero(),
            shared_claim: TimeDelta::zero(),
            charged: TimeDelta::zero(),
            awaits_validation: false,
            anchor: readings,
        };
        (next, (!agrees).then_some(ClockEvent::Set { by }))
    }

    /// A validation was attempted and proved nothing. If no time was stored, the wall clock is used
    /// from now on, if it is ahead.
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

    /// A signed document that was created at `signed`, some time ago, was imported: it is no
    /// earlier than that.
    #[must_use]
    pub fn at_least(&self, signed: DateTime<Utc>, readings: Readings) -> Self {
        let mut next = Self {
            at: self.now(readings.running),
            certain: self.certain_at(readings.running),
            anchor: readings,
            ..self.clone()
        };
        next.raise_to_signed(Some(signed));
        next
    }

    /// A license file that was signed at `signed` was imported. It takes back what was only
    /// claimed, as far as the wall clock agrees now: a time that was far ahead is corrected once
    /// the wall clock is set.
    ///
    /// The time stated in the request is ignored, because the licensee chooses it. Time in which
    /// the machine was running is never taken back, and neither are signed times.
    #[must_use]
    pub fn answered(
        &self,
        signed: DateTime<Utc>,
        readings: Readings,
    ) -> (Self, Option<ClockEvent>) {
        let mut next = Self {
            at: self.now(readings.running),
            certain: self.certain_at(readings.running),
            ..self.clone()
        };
        let before = next.at;
        // If two clocks differ by less than a minute, neither is considered wrong.
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

    /// The time that a request file states when it is written: the wall clock's time, if that is
    /// behind. So a site whose time was far ahead can write a request as soon as its clock is set,
    /// although only the license file corrects its time. A wall clock that is before a signed time
    /// is certainly wrong.
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
            // Until now, the time was based only on the wall clock.
            self.assumed = TimeDelta::MAX;
            self.shared_claim = TimeDelta::zero();
            self.lead = TimeDelta::zero();
        }
        for claimed in [&mut self.lead, &mut self.assumed, &mut self.shared_claim] {
            *claimed = (*claimed).min(self.at - signed);
        }
        self.signed_at = self.signed_at.max(Some(signed));
        self.certain = self.certain.max(Some(signed));
    }
}
