//! The wall clock of a site that trusts no keys.
//!
//! A machine that wakes from a long sleep, or whose clock is set, is days later at one
//! stroke, and nobody could validate in between. So the time before the jump goes on
//! until one validation has been tried after it: a jump alone never lapses a site. The
//! same holds for the time that a site was switched off.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use crate::evidence::Evidence;
use crate::standing::{LapseReason, Policy, Standing, standing};

/// By how much the wall clock may be set ahead without being doubted: it is corrected all
/// the time.
pub const TOLERANCE: TimeDelta = TimeDelta::seconds(5);

/// What the machine shows at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WallReading {
    /// How long the process has been running, without suspends.
    pub running: Duration,
    /// The wall clock.
    pub wall: DateTime<Utc>,
}

/// The wall clock, and when it was believed last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WallClock {
    believed: WallReading,
}

impl WallClock {
    /// Believes what the clock shows.
    #[must_use]
    pub fn start(reading: WallReading) -> Self {
        Self { believed: reading }
    }

    /// The time that counts: what the wall clock shows, unless it has jumped ahead since
    /// it was believed last. Then it is that time and how long the process has run since.
    #[must_use]
    pub fn now(&self, reading: WallReading) -> DateTime<Utc> {
        match self.ahead(reading) {
            Some(ahead) => reading.wall - ahead,
            None => reading.wall,
        }
    }

    /// By how much the wall clock has jumped ahead; `None` where it has not.
    #[must_use]
    pub fn ahead(&self, reading: WallReading) -> Option<TimeDelta> {
        let ran = reading.running.saturating_sub(self.believed.running);
        let ran = TimeDelta::from_std(ran).unwrap_or(TimeDelta::MAX);
        let expected = self.believed.wall.checked_add_signed(ran)?;
        Some(reading.wall - expected).filter(|ahead| *ahead > TOLERANCE)
    }

    /// The clock after a look at it, to be taken every second or so: it is believed
    /// unless it has jumped ahead.
    #[must_use]
    pub fn observed(self, reading: WallReading) -> Self {
        match self.ahead(reading) {
            Some(_) => self,
            None => Self::start(reading),
        }
    }

    /// The clock after a validation was tried that began at `begun`: what it showed then
    /// counts, and a later jump still does not.
    #[must_use]
    pub fn tried(self, begun: WallReading) -> Self {
        Self::start(begun)
    }

    /// The clock at the start of a process that finds this evidence: if time alone has
    /// lapsed the site since a validation was tried last, or since an earlier process ran
    /// until `ran_until`, that is when time goes on. A site that had lapsed by then has
    /// lapsed, however often it is restarted.
    #[must_use]
    pub fn recalled(
        self,
        evidence: &Evidence,
        ran_until: Option<DateTime<Utc>>,
        policy: &Policy,
        reading: WallReading,
    ) -> Self {
        let now = reading.wall;
        let failed_at = evidence.last_failure.as_ref().map(|failure| failure.at);
        let confirmed_at = evidence.confirmed_at.max(evidence.activated_at);
        let tried_at = match (evidence.grace_started_at, failed_at) {
            // Version 1.0.0 does not say when it tried last.
            (Some(_), None) => None,
            _ => confirmed_at.max(failed_at),
        };
        let tried_at = tried_at.max(ran_until);
        let has_ended = |at| {
            let standing = standing(evidence, at, policy);
            use LapseReason::{GracePeriodExpired, LicenseExpired};
            matches!(
                standing,
                Standing::Lapsed(GracePeriodExpired | LicenseExpired)
            )
        };
        match tried_at {
            Some(tried_at) if tried_at < now && has_ended(now) && !has_ended(tried_at) => {
                let wall = tried_at;
                Self::start(WallReading { wall, ..reading })
            }
            _ => Self::start(reading),
        }
    }
}
