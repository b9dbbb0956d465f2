//! Effective time: a clock that a licensee cannot turn back, and that a broken hardware clock
//! cannot corrupt.
//!
//! Time passes while the machine runs, regardless of its wall clock. Everything else is a claim
//! that it is later: by the wall clock, or by the boot clock after a suspend. Claims that add up
//! to at most [`BELIEVED_LEAD`] since the last proof are accepted. A greater one is in doubt
//! until a signed answer settles it or it has persisted for [`DOUBT_DURATION`]. A claim that it is
//! earlier is never accepted. A signed answer to our own question is proof, and sets the time in
//! either direction. An imported answer takes back only what was claimed: regardless of the
//! site's files, time in which the machine was running is kept.
//!
//! So time spent running always counts, and a machine that was switched off
//! for ten days, or whose clock battery is dead, has the grace it had.
//!
//! This requires the time that an earlier run stored ([`Believed`]). Without it the wall clock
//! counts, but only after the License Server was asked: a wall clock that is more than
//! [`BELIEVED_LEAD`] ahead of what is known waits for one validation. High-water marks ([`Mark`])
//! in other places can only raise the time.

mod answers;
mod bounds;
mod claims;
mod event;
mod kept;
mod mark;
mod readings;

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use crate::plausible_time::PlausibleTime;

use self::bounds::{LATEST, add, delta, milliseconds};

pub use bounds::{ANSWER_TOLERANCE, BELIEVED_LEAD, DOUBT_DURATION, MAX_UNREPORTED_LAG, MAX_WAIT};
pub use event::ClockEvent;
pub use kept::{Believed, Doubt, keep_again_after};
pub use mark::Mark;
pub use readings::Readings;

/// The effective time of one process.
#[derive(Clone, Debug, PartialEq)]
pub struct TimeGuard {
    /// The effective time …
    at: DateTime<Utc>,
    /// … when the clocks showed this.
    anchor: Readings,
    lead: TimeDelta,
    doubt: Option<Doubt>,
    /// How far the wall clock was off when a signed response set the time. While the difference
    /// stays the same, the wall clock claims nothing new.
    refuted: Option<TimeDelta>,
    /// Being behind is reported only once.
    is_behind: bool,
    /// When the newest known signed document was created.
    signed_at: Option<DateTime<Utc>>,
    /// The newest signed time, plus the time for which processes have certainly been running since.
    /// No wall clock, boot clock or mark moves it. `None` before the first signed document.
    certain: Option<DateTime<Utc>>,
    /// The part of `at` that only this machine's wall clock claims, beyond the lead that is
    /// accepted of any clock. This part is not shared with other processes.
    assumed: TimeDelta,
    /// The part of `at` that only a mark in a shared place claims.
    shared_claim: TimeDelta,
    /// The part of `at` that was counted for processes that did not stop cleanly and may not have
    /// been running for that long.
    charged: TimeDelta,
    /// No time was stored, and the License Server has not been asked yet: the wall clock is neither
    /// used nor in doubt.
    awaits_validation: bool,
}

impl TimeGuard {
    /// Starts with what is known: the time stored by an earlier process, a high-water mark, and
    /// `signed`, the newest time in a signed document. The effective time is never before `floor`,
    /// the program's own date.
    ///
    /// Without a stored time it starts with the wall clock. If that is more than [`BELIEVED_LEAD`]
    /// ahead of a mark or document, one validation comes first; see [`TimeGuard::unanswered`]. This
    /// happens only once: if the previous process has already waited, the wall clock is used.
    #[must_use]
    pub fn start(
        kept: Option<&Believed>,
        mark: Option<&Mark>,
        signed: Option<DateTime<Utc>>,
        floor: DateTime<Utc>,
        readings: Readings,
    ) -> (Self, Vec<ClockEvent>) {
        let mark = mark.filter(|mark| mark.is_newest(signed));
        let carried = kept.map(|kept| kept.carried_to(&readings));
        // A mark is compared with what is stored or signed; without either, it is the only source.
        let certain = carried.max(signed);
        let alone = mark.filter(|_| certain.is_none());
        let known = certain.or(alone.map(Mark::shared_at));
        let lead = kept
            .map(|kept| kept.lead_ms)
            .or(alone.map(|mark| mark.lead_ms));
        let has_waited = kept.is_some_and(|kept| kept.awaits_validation);
        let same_start = kept.filter(|kept| kept.is_of_this_start(&readings));
        let claimed = |number: Option<i64>| milliseconds(number.unwrap_or_default().max(0));
        let mut begun = Self {
            at: known.unwrap_or(readings.wall).max(floor).min(LATEST),
            lead: claimed(lead).min(BELIEVED_LEAD),
            doubt: kept.and_then(|kept| kept.doubt),
            refuted: same_start.and_then(|kept| kept.refuted_ms.map(milliseconds)),
            is_behind: false,
            signed_at: match kept {
                Some(kept) => kept.signed_at,
                None => signed,
            },
            certain: kept.and_then(|kept| kept.certain_at),
            assumed: claimed(kept.map(|kept| kept.assumed_ms)),
            shared_claim: claimed(kept.map(|kept| kept.shared_claim_ms)),
            charged: kept.map_or(TimeDelta::zero(), |kept| kept.charged_until(&readings)),
            awaits_validation: has_waited || (kept.is_none() && known.is_some()),
            anchor: readings.clone(),
        };
        begun.raise_to_mark(mark);
        begun.raise_to_signed(signed);
        if has_waited {
            return begun.unanswered(readings);
        }
        let (begun, mut events) = begun.observed(readings);
        if begun.awaits_validation {
            let ahead = begun.wall_ahead();
            events.push(ClockEvent::AwaitsValidation { ahead });
        }
        (begun, events)
    }

    /// Adds something else that an earlier process had stored: a high-water mark, and the newest
    /// time in a signed document beside it. Either can only raise the time.
    #[must_use]
    pub fn recalled(
        &self,
        mark: Option<&Mark>,
        signed: Option<DateTime<Utc>>,
        readings: Readings,
    ) -> (Self, Vec<ClockEvent>) {
        let (mut next, mut events) = self.observed(readings.clone());
        next.raise_to_mark(mark.filter(|mark| mark.is_newest(signed)));
        next.raise_to_signed(signed);
        let (next, more) = next.observed(readings);
        events.extend(more);
        (next, events)
    }

    /// The effective time when this process has been running for `running`. Between two
    /// observations, only the running time of the process advances it.
    #[must_use]
    pub fn now(&self, running: Duration) -> DateTime<Utc> {
        add(self.at, running.saturating_sub(self.anchor.running))
    }

    /// The effective time when this process has been running for `running`, for what a license
    /// grants: it ends by the effective time, and starts by the certain time plus at most
    /// [`BELIEVED_LEAD`], regardless of what else clocks and marks claim.
    #[must_use]
    pub fn plausible(&self, running: Duration) -> PlausibleTime {
        let latest = self.now(running);
        let lag = self
            .certain
            .map(|certain| self.at - certain - BELIEVED_LEAD);
        // In whole minutes, so that it does not change with every reading of the clocks.
        let next_minute = TimeDelta::minutes(1) - TimeDelta::nanoseconds(1);
        let minutes = lag.map_or(0, |lag| (lag + next_minute).num_minutes());
        let earliest = latest.checked_sub_signed(TimeDelta::minutes(minutes.max(0)));
        PlausibleTime::between(earliest.unwrap_or(DateTime::<Utc>::MIN_UTC), latest)
    }

    /// [`Self::certain`] when this process has been running for `running`.
    fn certain_at(&self, running: Duration) -> Option<DateTime<Utc>> {
        let elapsed = running.saturating_sub(self.anchor.running);
        self.certain.map(|certain| add(certain, elapsed))
    }

    /// Reads all clocks. Must be called every few seconds.
    #[must_use]
    pub fn observed(&self, readings: Readings) -> (Self, Vec<ClockEvent>) {
        let mut events = Vec::new();
        let mut next = self.clone();
        let elapsed = readings.running.saturating_sub(self.anchor.running);
        next.at = self.now(readings.running);
        next.certain = self.certain_at(readings.running);
        next.apply_boot_clock(&readings, elapsed, &mut events);
        next.apply_wall_clock(readings.wall, delta(elapsed), &mut events);
        next.anchor = readings;
        (next, events)
    }

    /// What to store for the next start while this process continues, for [`keep_again_after`].
    #[must_use]
    pub fn believed(&self) -> Believed {
        let unseen = keep_again_after(self.anchor.running);
        Believed {
            unseen_ms: u64::try_from(unseen.as_millis()).unwrap_or(u64::MAX),
            ..self.stopped()
        }
    }

    /// What to store for the next start when this process stops.
    #[must_use]
    pub fn stopped(&self) -> Believed {
        Believed {
            at: self.at,
            since_boot_ms: u64::try_from(self.anchor.since_boot.as_millis()).unwrap_or(u64::MAX),
            boot_id: self.anchor.boot_id.clone(),
            lead_ms: self.lead.num_milliseconds(),
            doubt: self.doubt,
            refuted_ms: self.refuted.map(|off| off.num_milliseconds()),
            signed_at: self.signed_at,
            certain_at: self.certain,
            assumed_ms: self.assumed.num_milliseconds(),
            shared_claim_ms: self.shared_claim.num_milliseconds(),
            unseen_ms: 0,
            charged_ms: self.charged.num_milliseconds(),
            awaits_validation: self.awaits_validation,
        }
    }

    /// Whether something other than running time has moved the time since `kept`, so that it must
    /// be stored immediately.
    #[must_use]
    pub fn has_moved_since(&self, kept: &Believed) -> bool {
        let now = self.believed();
        let moved = |before: i64, after: i64| {
            (milliseconds(after) - milliseconds(before)).abs() > ANSWER_TOLERANCE
        };
        now.signed_at != kept.signed_at
            || now.awaits_validation != kept.awaits_validation
            || moved(kept.lead_ms, now.lead_ms)
            || moved(kept.assumed_ms, now.assumed_ms)
            || moved(kept.shared_claim_ms, now.shared_claim_ms)
    }

    /// The high-water mark for another place on this machine.
    #[must_use]
    pub fn mark(&self) -> Mark {
        Mark {
            at: self.at,
            signed_at: self.signed_at,
            lead_ms: self.lead.num_milliseconds(),
            assumed_ms: self.assumed.num_milliseconds(),
            shared_claim_ms: self.shared_claim.num_milliseconds(),
        }
    }

    /// The high-water mark for a place that is shared by several machines: without what only this
    /// machine's wall clock claims, so that a bad clock advances the others by at most
    /// [`BELIEVED_LEAD`].
    #[must_use]
    pub fn shared_mark(&self) -> Mark {
        let mark = self.mark();
        Mark {
            at: mark.shared_at(),
            assumed_ms: 0,
            shared_claim_ms: 0,
            ..mark
        }
    }

    /// Whether one validation has to be tried before the wall clock counts.
    #[must_use]
    pub fn awaits_validation(&self) -> bool {
        self.awaits_validation
    }

    /// Whether the time is based only on this machine's wall clock.
    #[must_use]
    pub fn is_assumed(&self) -> bool {
        self.assumed > TimeDelta::zero()
    }

    /// How far the wall clock was ahead when last checked; negative means behind.
    #[must_use]
    pub fn wall_ahead(&self) -> TimeDelta {
        self.anchor.wall - self.at
    }

    /// Whether the wall clock is too far ahead to be accepted.
    #[must_use]
    pub fn doubts(&self) -> bool {
        self.doubt.is_some()
    }
}
