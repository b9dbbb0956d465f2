//! Claims that it is later than the running time says: by the wall clock, by the boot clock
//! and by marks.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use super::TimeGuard;
use super::bounds::{
    BELIEVED_LEAD, DOUBT_DURATION, LATEST, MAX_UNREPORTED_LAG, delta, milliseconds,
};
use super::event::ClockEvent;
use super::kept::Doubt;
use super::mark::Mark;
use super::readings::Readings;

/// The clocks of one machine are read one after the other, so their readings may differ by this
/// much.
const JITTER: TimeDelta = TimeDelta::seconds(5);

impl TimeGuard {
    /// A mark raises the time. What it says about claims applies only to the time that it adds.
    pub(super) fn raise_to_mark(&mut self, mark: Option<&Mark>) {
        let Some(mark) = mark.filter(|mark| mark.at >= self.at) else {
            return;
        };
        let at = mark.at.min(LATEST);
        let mut added = at - self.at;
        let mut raised = |value: TimeDelta, said: i64, max: TimeDelta| {
            let grown = (milliseconds(said).min(max) - value).clamp(TimeDelta::zero(), added);
            added -= grown;
            value + grown
        };
        self.assumed = raised(self.assumed, mark.assumed_ms, TimeDelta::MAX);
        self.lead = raised(self.lead, mark.lead_ms, BELIEVED_LEAD);
        self.shared_claim = raised(self.shared_claim, mark.shared_claim_ms, TimeDelta::MAX);
        self.at = at;
    }

    /// The boot clock continues while the machine sleeps, but this process does not.
    pub(super) fn apply_boot_clock(
        &mut self,
        readings: &Readings,
        elapsed: Duration,
        events: &mut Vec<ClockEvent>,
    ) {
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

    /// What the wall clock claims: nothing while it is behind, a lead while it is a little ahead,
    /// else a doubt.
    pub(super) fn apply_wall_clock(
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
            // The clock was set, which is a separate claim.
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
            let is_behind = ahead < -MAX_UNREPORTED_LAG;
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
        self.doubt_wall_clock(wall, elapsed, events);
    }

    /// The wall clock is too far ahead. Its claim counts when it has persisted for
    /// [`DOUBT_DURATION`].
    fn doubt_wall_clock(
        &mut self,
        wall: DateTime<Utc>,
        elapsed: TimeDelta,
        events: &mut Vec<ClockEvent>,
    ) {
        let ahead = wall - self.at;
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
            .unwrap_or(DOUBT_DURATION);
        if stood < DOUBT_DURATION {
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
