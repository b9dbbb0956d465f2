//! The wall clock of a site without trusted keys.
//!
//! After a long sleep, or when its clock is set, a machine jumps ahead by days, with no
//! opportunity to validate in between. The time before the jump therefore continues until
//! one validation has been attempted: a jump alone never ends a license. The same applies
//! to the time in which a site was switched off.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use crate::evidence::{Evidence, Failure};
use crate::lapse::LapseReason;
use crate::standing::{Policy, Standing, standing};

/// How far the wall clock may jump ahead without being doubted: small corrections are
/// normal.
pub const TOLERANCE: TimeDelta = TimeDelta::seconds(5);

/// The clocks of the machine at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WallReading {
    /// How long the process has been running, without suspended time.
    pub running: Duration,
    /// The wall clock.
    pub wall: DateTime<Utc>,
}

/// The wall clock, and when it was last believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WallClock {
    believed: WallReading,
}

impl WallClock {
    /// Believes the current reading.
    #[must_use]
    pub fn start(reading: WallReading) -> Self {
        Self { believed: reading }
    }

    /// The effective time: the wall clock, unless it has jumped ahead since it was last
    /// believed. In that case, the last believed time plus the running time since then.
    #[must_use]
    pub fn now(&self, reading: WallReading) -> DateTime<Utc> {
        match self.ahead(reading) {
            Some(ahead) => reading.wall - ahead,
            None => reading.wall,
        }
    }

    /// How far the wall clock has jumped ahead; `None` if it has not.
    #[must_use]
    pub fn ahead(&self, reading: WallReading) -> Option<TimeDelta> {
        let ran = reading.running.saturating_sub(self.believed.running);
        let ran = TimeDelta::from_std(ran).unwrap_or(TimeDelta::MAX);
        let expected = self.believed.wall.checked_add_signed(ran)?;
        Some(reading.wall - expected).filter(|ahead| *ahead > TOLERANCE)
    }

    /// The clock after a regular reading, about once a second: it is believed unless it has
    /// jumped ahead.
    #[must_use]
    pub fn observed(self, reading: WallReading) -> Self {
        match self.ahead(reading) {
            Some(_) => self,
            None => Self::start(reading),
        }
    }

    /// The clock after an attempted validation that began at `begun`: the reading at that time
    /// counts, but a later jump does not.
    #[must_use]
    pub fn tried(self, begun: WallReading) -> Self {
        Self::start(begun)
    }

    /// The clock at the start of a process that finds this evidence. If the site has lapsed
    /// only because time has passed since the last attempted validation, or since an earlier
    /// process ran until `ran_until`, the time continues from there. A site that had already
    /// lapsed stays lapsed, regardless of restarts.
    #[must_use]
    pub fn recalled(
        self,
        evidence: &Evidence,
        ran_until: Option<DateTime<Utc>>,
        policy: &Policy,
        reading: WallReading,
    ) -> Self {
        let now = reading.wall;
        let failed_at = evidence.last_failure.as_ref().map(Failure::at);
        let confirmed_at = evidence.confirmed_at.max(evidence.activated_at);
        let tried_at = match (evidence.grace_started_at, failed_at) {
            // Version 1.0.0 does not record its last attempt.
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
