//! The time as a site knows it, for what starts and ends at known instants.

use chrono::{DateTime, TimeDelta, Utc};

/// The current time, which may be uncertain: it lies between two instants. What a license grants
/// is in force if it is throughout: it has started by the earlier instant, and has not ended by
/// the later one. So a clock that is set ahead starts nothing early, and one that is set back ends
/// nothing late.
///
/// Time passes as in [`PlausibleTime::latest`]. All instants at which something changes are such times: an
/// entitlement takes effect [`PlausibleTime::lag`] after its start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlausibleTime {
    latest: DateTime<Utc>,
    lag: TimeDelta,
}

impl PlausibleTime {
    /// A time that is not in doubt: starts and ends are judged by the same instant.
    #[must_use]
    pub fn exact(at: DateTime<Utc>) -> Self {
        Self {
            latest: at,
            lag: TimeDelta::zero(),
        }
    }

    /// Between two instants; exactly `latest` if that is before `earliest`.
    #[must_use]
    pub fn between(earliest: DateTime<Utc>, latest: DateTime<Utc>) -> Self {
        Self {
            latest,
            lag: (latest - earliest).max(TimeDelta::zero()),
        }
    }

    /// The earliest instant that it may be: what starts later has not started.
    #[must_use]
    pub fn earliest(self) -> DateTime<Utc> {
        let earliest = self.latest.checked_sub_signed(self.lag);
        earliest.unwrap_or(DateTime::<Utc>::MIN_UTC)
    }

    /// The latest instant that it may be: what ends earlier has ended.
    #[must_use]
    pub fn latest(self) -> DateTime<Utc> {
        self.latest
    }

    /// How far [`PlausibleTime::earliest`] is behind [`PlausibleTime::latest`].
    #[must_use]
    pub fn lag(self) -> TimeDelta {
        self.lag
    }

    /// When [`PlausibleTime::latest`] is `latest` and nothing has reduced the doubt.
    #[must_use]
    pub fn moved_to(self, latest: DateTime<Utc>) -> Self {
        Self { latest, ..self }
    }
}
