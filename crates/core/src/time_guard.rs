//! Effective time: a clock that a licensee cannot turn back, and that a broken
//! one cannot poison.
//!
//! Time passes while the machine runs, regardless of its wall clock. Everything else is a claim
//! that it is later: by the wall clock, or by the boot clock after a suspend. Claims that add up
//! to at most [`BELIEVED_LEAD`] since the last proof are accepted. A greater one is in doubt
//! until a signed answer settles it or it has persisted for [`DOUBT_STANDS`]. A claim that it is
//! earlier is never accepted. A signed answer to our own question is proof, and sets the time in
//! either direction. An imported answer takes back only what was claimed: regardless of the
//! site's files, time in which the machine was running is kept.
//!
//! So time spent running always counts, and a machine that was switched off
//! for ten days, or whose clock battery is dead, has the grace it had.
//!
//! That holds as long as the time that an earlier run kept ([`Believed`]) is
//! there. Without it the wall clock counts, but not before the License Server
//! was asked: a wall clock more than [`BELIEVED_LEAD`] ahead of what is known
//! waits for one validation. High-water marks ([`Mark`]) in other places can
//! only raise the time.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

/// By how much claims may move the time forward between two proofs.
pub const BELIEVED_LEAD: TimeDelta = TimeDelta::hours(24);
/// After how much running time a claim that stands is believed.
pub const DOUBT_STANDS: TimeDelta = TimeDelta::hours(72);
/// A wall clock that is behind by no more than this is not worth a word.
pub const SILENT: TimeDelta = TimeDelta::minutes(5);
/// A signed answer that differs by no more than this agrees: it was on its
/// way, and its time is in whole seconds.
pub const AGREES: TimeDelta = TimeDelta::seconds(60);
/// Most time between two times that are kept for the next start.
const MAX_GAP: Duration = Duration::from_secs(5 * 60);
/// Least time between two times that are kept for the next start.
const MIN_GAP: Duration = Duration::from_secs(10);
/// What is kept is at most such a part of the running time old: a process that
/// is killed again and again counts at most so much too much.
const GAP_OF_RUNNING: u32 = 50;
/// No clock of ours shows more: what comes after has to be counted, too.
const LATEST: DateTime<Utc> = DateTime::from_timestamp(16_725_225_600, 0).unwrap();
/// Instants in documents are whole seconds.
const ROUNDED: TimeDelta = TimeDelta::seconds(1);
/// How much running time an answer of the License Server has before the wall clock
/// counts without it.
pub const MAX_WAIT: Duration = Duration::from_secs(60);
/// Clocks of one machine are read one after the other.
const JITTER: TimeDelta = TimeDelta::seconds(5);

/// The clocks of a machine, read at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Readings {
    /// The wall clock: anybody may set it.
    pub wall: DateTime<Utc>,
    /// How long this process has been running. It does not count suspends.
    pub running: Duration,
    /// How long ago the machine was started (`CLOCK_BOOTTIME`), with suspends.
    pub since_boot: Duration,
    /// Which start of the machine that was; `None` if unknown.
    pub boot_id: Option<String>,
}

/// What is kept for the next start.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Believed {
    /// The effective time …
    pub at: DateTime<Utc>,
    /// … when the machine had been running for so long, in milliseconds …
    pub since_boot_ms: u64,
    /// … since this start.
    pub boot_id: Option<String>,
    /// What claims have added since the last proof, in milliseconds.
    pub lead_ms: i64,
    /// A claim that is not believed yet.
    pub doubt: Option<Doubt>,
    /// How far the wall clock is off, as a signed answer has shown during this
    /// start of the machine, in milliseconds.
    #[serde(default)]
    pub refuted_ms: Option<i64>,
    /// When the newest signed document was made that was known then.
    #[serde(default)]
    pub signed_at: Option<DateTime<Utc>>,
    /// How much of the effective time only this machine's wall clock claims,
    /// in milliseconds.
    #[serde(default)]
    pub assumed_ms: i64,
    /// How much of the effective time only a mark in a shared place claims, in
    /// milliseconds.
    #[serde(default)]
    pub told_ms: i64,
    /// For how long the process may have been running after this was written,
    /// in milliseconds: 0 when it stopped in order.
    #[serde(default)]
    pub unseen_ms: u64,
    /// How much of the effective time was counted for earlier processes that did not stop
    /// in order and may not have run for so long, in milliseconds.
    #[serde(default)]
    pub charged_ms: i64,
    /// No time was kept before, and the License Server was not heard yet: the next
    /// start goes by the wall clock.
    #[serde(default)]
    pub awaits_validation: bool,
}

/// A high-water mark of the effective time, for places that other processes or
/// people can write to. It can raise the time and never lower it, so it needs
/// no signature: changing it gains no more than removing it. What it adds is
/// never more than a claim where [`Mark::told`] says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Mark {
    /// The effective time.
    pub at: DateTime<Utc>,
    /// When the newest signed document was made that was known then. A newer
    /// document replaces the mark: it may have set the time back.
    pub signed_at: Option<DateTime<Utc>>,
    /// What claims had added since the last proof, in milliseconds.
    pub lead_ms: i64,
    /// How much of `at` only this machine's wall clock claims, in milliseconds.
    #[serde(default)]
    pub assumed_ms: i64,
    /// How much of `at` only a mark in a shared place claims, in milliseconds.
    #[serde(default)]
    pub told_ms: i64,
}

/// A claim that is not believed yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Doubt {
    /// How far ahead it was when it was first made, in milliseconds.
    pub ahead_ms: i64,
    /// For how much running time it has stood, in milliseconds.
    pub stood_ms: i64,
}

/// Something about the clocks that the log and the vendor's support want to
/// know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClockEvent {
    /// The wall clock is behind the effective time. It is ignored.
    Behind {
        /// By how much.
        by: TimeDelta,
    },
    /// The wall clock is too far ahead to be believed now.
    Doubted {
        /// By how much.
        ahead: TimeDelta,
    },
    /// A wall clock that was in doubt has stood long enough.
    Believed {
        /// By how much the time has moved.
        ahead: TimeDelta,
    },
    /// The boot clock has leapt further than is believed.
    BootClockLeapt {
        /// By how much.
        by: TimeDelta,
    },
    /// A signed answer has set the time.
    Set {
        /// By how much; negative is back.
        by: TimeDelta,
    },
    /// No time was kept, and the wall clock is far ahead of what is known. It
    /// counts after one validation that proves nothing else.
    AwaitsValidation {
        /// By how much.
        ahead: TimeDelta,
    },
    /// No time was kept, and a validation has proved nothing: the wall clock
    /// counts.
    Assumed {
        /// By how much the time has moved.
        ahead: TimeDelta,
    },
}

/// The effective time of one process.
#[derive(Clone, Debug, PartialEq)]
pub struct TimeGuard {
    /// The effective time …
    at: DateTime<Utc>,
    /// … when the clocks showed this.
    anchor: Readings,
    lead: TimeDelta,
    doubt: Option<Doubt>,
    /// How far the wall clock was off when a signed answer set the time. While
    /// it is off by the same, it claims nothing new.
    refuted: Option<TimeDelta>,
    /// Being behind is reported only one time.
    is_behind: bool,
    /// When the newest signed document was made that is known.
    signed_at: Option<DateTime<Utc>>,
    /// How much of `at` only the wall clock of this machine claims, beyond what
    /// is believed of any: that much is not shared with other processes.
    assumed: TimeDelta,
    /// How much of `at` only a mark in a shared place claims.
    told: TimeDelta,
    /// How much of `at` was counted for processes that did not stop in order and may not
    /// have run for so long.
    charged: TimeDelta,
    /// No time was kept, and the License Server was not asked yet: the wall
    /// clock neither counts nor is in doubt.
    awaits_validation: bool,
}

impl TimeGuard {
    /// Begins with what is known: what was kept by an earlier process, a
    /// high-water mark, and `signed`, the newest time that a signed document
    /// has. The effective time is never before `floor`, the program's own date.
    ///
    /// Without a kept time it begins with the wall clock. If that is more than
    /// [`BELIEVED_LEAD`] ahead of a mark or document, one validation comes
    /// first; see [`TimeGuard::unanswered`]. That is granted one time: where the
    /// process before this one has waited already, the wall clock counts.
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
        // A mark is held against what is kept or signed; alone, it is all there is.
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
            assumed: claimed(kept.map(|kept| kept.assumed_ms)),
            told: claimed(kept.map(|kept| kept.told_ms)),
            charged: kept.map_or(TimeDelta::zero(), |kept| kept.charged_until(&readings)),
            awaits_validation: has_waited || (kept.is_none() && known.is_some()),
            anchor: readings.clone(),
        };
        begun.raise(mark);
        begun.know(signed);
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

    /// Something more was found that an earlier process had kept: a high-water
    /// mark, and the newest time that a signed document beside it has. Either
    /// can only raise the time.
    #[must_use]
    pub fn recalled(
        &self,
        mark: Option<&Mark>,
        signed: Option<DateTime<Utc>>,
        readings: Readings,
    ) -> (Self, Vec<ClockEvent>) {
        let (mut next, mut events) = self.observed(readings.clone());
        next.raise(mark.filter(|mark| mark.is_newest(signed)));
        next.know(signed);
        let (next, more) = next.observed(readings);
        events.extend(more);
        (next, events)
    }

    /// The effective time when this process has been running for `running`.
    /// Between two observations it passes with the running process alone.
    #[must_use]
    pub fn now(&self, running: Duration) -> DateTime<Utc> {
        add(self.at, running.saturating_sub(self.anchor.running))
    }

    /// Looks at all clocks. To be done every few seconds.
    #[must_use]
    pub fn observed(&self, readings: Readings) -> (Self, Vec<ClockEvent>) {
        let mut events = Vec::new();
        let mut next = self.clone();
        let elapsed = readings.running.saturating_sub(self.anchor.running);
        next.at = self.now(readings.running);
        next.suspended(&readings, elapsed, &mut events);
        next.looked_at_the_wall(readings.wall, delta(elapsed), &mut events);
        next.anchor = readings;
        (next, events)
    }

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
        let agrees = (signed - AGREES..=latest + AGREES).contains(&before);
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
            refuted: Some(off).filter(|off| off.abs() > AGREES),
            is_behind: off < -SILENT,
            signed_at: Some(signed),
            assumed: TimeDelta::zero(),
            told: TimeDelta::zero(),
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
        next.know(Some(signed));
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
        let shown = Some(shown).filter(|shown| before - *shown > AGREES);
        let at = shown.unwrap_or(before).max(signed);
        if shown.is_some() {
            let certain = next.earliest().max(signed);
            next.lead = TimeDelta::zero();
            next.told = TimeDelta::zero();
            next.assumed = at - certain;
            next.doubt = None;
            next.refuted = None;
        }
        next.at = at;
        next.anchor = readings;
        next.know(Some(signed));
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
        let claimed = self.lead + self.assumed + self.told;
        let at = self.at.checked_sub_signed(claimed).unwrap_or(signed);
        at.max(signed).min(self.at)
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

    /// What to keep for the next start when this process stops.
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
            assumed_ms: self.assumed.num_milliseconds(),
            told_ms: self.told.num_milliseconds(),
            unseen_ms: 0,
            charged_ms: self.charged.num_milliseconds(),
            awaits_validation: self.awaits_validation,
        }
    }

    /// The high-water mark for another place on this machine.
    #[must_use]
    pub fn mark(&self) -> Mark {
        Mark {
            at: self.at,
            signed_at: self.signed_at,
            lead_ms: self.lead.num_milliseconds(),
            assumed_ms: self.assumed.num_milliseconds(),
            told_ms: self.told.num_milliseconds(),
        }
    }

    /// The high-water mark for a place that processes on several machines
    /// share: without what only the wall clock of this one claims, so that a
    /// bad clock moves the others by at most [`BELIEVED_LEAD`].
    #[must_use]
    pub fn shared_mark(&self) -> Mark {
        let mark = self.mark();
        Mark {
            at: mark.shared_at(),
            assumed_ms: 0,
            told_ms: 0,
            ..mark
        }
    }

    /// Whether one validation has to be tried before the wall clock counts.
    #[must_use]
    pub fn awaits_validation(&self) -> bool {
        self.awaits_validation
    }

    /// Whether only this machine's wall clock says what time it is.
    #[must_use]
    pub fn is_assumed(&self) -> bool {
        self.assumed > TimeDelta::zero()
    }

    /// Whether something other than running time has moved the time since `kept`, so that it must
    /// be stored immediately.
    #[must_use]
    pub fn has_moved_since(&self, kept: &Believed) -> bool {
        let now = self.believed();
        let moved =
            |before: i64, after: i64| (milliseconds(after) - milliseconds(before)).abs() > AGREES;
        now.signed_at != kept.signed_at
            || now.awaits_validation != kept.awaits_validation
            || moved(kept.lead_ms, now.lead_ms)
            || moved(kept.assumed_ms, now.assumed_ms)
            || moved(kept.told_ms, now.told_ms)
    }

    /// How far the wall clock was ahead when last checked; negative means behind.
    #[must_use]
    pub fn wall_ahead(&self) -> TimeDelta {
        self.anchor.wall - self.at
    }

    /// Whether the wall clock is too far ahead to be believed.
    #[must_use]
    pub fn doubts(&self) -> bool {
        self.doubt.is_some()
    }

    /// It is no earlier than `signed`, and that is more than a claim.
    fn know(&mut self, signed: Option<DateTime<Utc>>) {
        let Some(signed) = signed else {
            return;
        };
        self.at = self.at.max(signed);
        if self.signed_at.is_none() {
            // Until now only the wall clock has said what time it is.
            self.assumed = TimeDelta::MAX;
            self.told = TimeDelta::zero();
            self.lead = TimeDelta::zero();
        }
        for claimed in [&mut self.lead, &mut self.assumed, &mut self.told] {
            *claimed = (*claimed).min(self.at - signed);
        }
        self.signed_at = self.signed_at.max(Some(signed));
    }

    /// A mark raises the time. What it says of claims counts for what it adds,
    /// and for nothing that is known without it.
    fn raise(&mut self, mark: Option<&Mark>) {
        let Some(mark) = mark.filter(|mark| mark.at >= self.at) else {
            return;
        };
        let at = mark.at.min(LATEST);
        let mut added = at - self.at;
        let mut raised = |value: TimeDelta, said: i64, most: TimeDelta| {
            let grown = (milliseconds(said).min(most) - value).clamp(TimeDelta::zero(), added);
            added -= grown;
            value + grown
        };
        self.assumed = raised(self.assumed, mark.assumed_ms, TimeDelta::MAX);
        self.lead = raised(self.lead, mark.lead_ms, BELIEVED_LEAD);
        self.told = raised(self.told, mark.told_ms, TimeDelta::MAX);
        self.at = at;
    }

    /// The boot clock continues while the machine sleeps, but this process does not.
    fn suspended(&mut self, readings: &Readings, elapsed: Duration, events: &mut Vec<ClockEvent>) {
        let since_boot = readings.since_boot.saturating_sub(self.anchor.since_boot);
        let by = delta(since_boot.saturating_sub(elapsed));
        if by <= JITTER {
            return;
        }
        if by <= BELIEVED_LEAD - self.lead {
            self.at = self.at.checked_add_signed(by).unwrap_or(self.at);
            self.lead += by;
        } else {
            events.push(ClockEvent::BootClockLeapt { by });
        }
    }

    fn looked_at_the_wall(
        &mut self,
        wall: DateTime<Utc>,
        elapsed: TimeDelta,
        events: &mut Vec<ClockEvent>,
    ) {
        let wall = wall.min(LATEST);
        let ahead = wall - self.at;
        if let Some(off) = self.refuted {
            if (ahead - off).abs() <= JITTER {
                return;
            }
            // It was set, which is a separate claim.
            self.refuted = None;
        }
        if self.awaits_validation {
            if ahead > BELIEVED_LEAD - self.lead {
                return;
            }
            self.awaits_validation = false;
        }
        if ahead <= TimeDelta::zero() {
            self.doubt = None;
            let is_behind = ahead < -SILENT;
            if is_behind && !self.is_behind {
                events.push(ClockEvent::Behind { by: -ahead });
            }
            self.is_behind = is_behind;
            return;
        }
        self.is_behind = false;
        if ahead <= BELIEVED_LEAD - self.lead {
            self.at = wall;
            self.lead += ahead;
            self.doubt = None;
            return;
        }
        let standing = self.doubt.filter(|doubt| {
            let grown = ahead - milliseconds(doubt.ahead_ms);
            grown.abs() <= BELIEVED_LEAD
        });
        let Some(doubt) = standing else {
            events.push(ClockEvent::Doubted { ahead });
            self.doubt = Some(Doubt {
                ahead_ms: ahead.num_milliseconds(),
                stood_ms: 0,
            });
            return;
        };
        let stood = milliseconds(doubt.stood_ms)
            .checked_add(&elapsed)
            .unwrap_or(DOUBT_STANDS);
        if stood < DOUBT_STANDS {
            self.doubt = Some(Doubt {
                stood_ms: stood.num_milliseconds(),
                ..doubt
            });
            return;
        }
        events.push(ClockEvent::Believed { ahead });
        self.at = wall;
        self.assumed += ahead;
        self.lead = TimeDelta::zero();
        self.doubt = None;
    }
}

impl Believed {
    /// The effective time that follows from what was kept, with the running time since then: all
    /// of it within one start of the machine, else what has passed since the machine was started.
    /// A process that did not stop cleanly has been running for some additional, unrecorded time.
    fn carried_to(&self, readings: &Readings) -> DateTime<Utc> {
        let before = Duration::from_millis(self.since_boot_ms);
        let unseen = Duration::from_millis(self.unseen_ms).min(MAX_GAP);
        let is_another_start = match (&self.boot_id, &readings.boot_id) {
            (Some(before), Some(now)) => before != now,
            // The start is unknown, so the boot clock decides.
            _ => false,
        };
        let ran = match readings.since_boot.checked_sub(before) {
            Some(ran) if !is_another_start => ran.max(unseen),
            _ => readings.since_boot.saturating_add(unseen),
        };
        add(self.at, ran)
    }

    /// How much of [`Self::carried_to`] may not have passed.
    fn charged_until(&self, readings: &Readings) -> TimeDelta {
        let orderly = Self {
            unseen_ms: 0,
            ..self.clone()
        };
        let more = self.carried_to(readings) - orderly.carried_to(readings);
        milliseconds(self.charged_ms.max(0)) + more
    }

    fn is_of_this_start(&self, readings: &Readings) -> bool {
        self.boot_id.is_some() && self.boot_id == readings.boot_id
    }
}

impl Mark {
    /// A mark for what is not signed: any signed document replaces it.
    #[must_use]
    pub fn unsigned(at: DateTime<Utc>) -> Self {
        Self {
            at,
            signed_at: None,
            lead_ms: 0,
            assumed_ms: 0,
            told_ms: 0,
        }
    }

    /// The mark when it comes from a place that others can write to: what it adds is always a
    /// claim.
    #[must_use]
    pub fn told(self) -> Self {
        Self {
            told_ms: i64::MAX,
            ..self
        }
    }

    /// The one of two marks to keep in a place that several processes write
    /// to: the one that knows the newer document, else the later one.
    #[must_use]
    pub fn merged(self, other: Self) -> Self {
        let order = |mark: &Self| (mark.signed_at, mark.at);
        if order(&self) < order(&other) {
            other
        } else {
            self
        }
    }

    /// The time without what only one machine's wall clock claims.
    fn shared_at(&self) -> DateTime<Utc> {
        let at = self.at.checked_sub_signed(milliseconds(self.assumed_ms));
        at.filter(|at| *at <= self.at).unwrap_or(self.at)
    }

    /// Whether no document that is newer than those known to the mark was made
    /// at `signed`.
    fn is_newest(&self, signed: Option<DateTime<Utc>>) -> bool {
        self.signed_at >= signed
    }
}

/// How long after the time was kept for the next start it is to be kept again,
/// by a process that has been running for `running`: a fiftieth of that, between
/// 10 s and 5 min. That is what counts for a process that did not stop in order.
#[must_use]
pub fn keep_again_after(running: Duration) -> Duration {
    (running / GAP_OF_RUNNING).clamp(MIN_GAP, MAX_GAP)
}

/// A time that is out of bounds stands still.
fn add(at: DateTime<Utc>, by: Duration) -> DateTime<Utc> {
    at.checked_add_signed(delta(by)).unwrap_or(at).min(LATEST)
}

fn delta(duration: Duration) -> TimeDelta {
    TimeDelta::from_std(duration).unwrap_or(TimeDelta::MAX)
}

/// A number read from a file is limited, so that sums cannot overflow.
fn milliseconds(number: i64) -> TimeDelta {
    const MOST: i64 = 1_000_000_000_000_000;
    TimeDelta::milliseconds(number.clamp(-MOST, MOST))
}
