//! The License Server: an outage, and the limits on calls.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use license_core::rate::Rate;

/// When the simulation begins.
pub(super) const START: DateTime<Utc> = DateTime::from_timestamp(1_772_323_200, 0).unwrap();

/// Why a call is not answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CallFailure {
    /// No connection.
    Unreachable,
    /// 429, with the wait of `Retry-After`.
    TooManyCalls(Duration),
}

/// The times of a simulation.
#[derive(Clone, Copy, Debug)]
pub(super) struct Timeline {
    /// The License Server does not respond from this time …
    pub(super) outage_start: DateTime<Utc>,
    /// … until before this one.
    pub(super) outage_end: DateTime<Utc>,
    pub(super) end: DateTime<Utc>,
}

impl Timeline {
    /// An outage after `before`, and `after` it.
    pub(super) fn new(before: TimeDelta, outage: TimeDelta, after: TimeDelta) -> Self {
        Self {
            outage_start: START + before,
            outage_end: START + before + outage,
            end: START + before + outage + after,
        }
    }

    /// The response to a call that counts against `allowance`.
    pub(super) fn respond(
        &self,
        allowance: &mut Allowance,
        now: DateTime<Utc>,
    ) -> Result<(), CallFailure> {
        if (self.outage_start..self.outage_end).contains(&now) {
            return Err(CallFailure::Unreachable);
        }
        allowance
            .take(now)
            .map_err(|wait| CallFailure::TooManyCalls(whole_seconds(wait)))
    }
}

/// The value of `Retry-After`, as in `crates/server/src/http/error.rs`.
fn whole_seconds(wait: Duration) -> Duration {
    Duration::from_secs(wait.as_secs() + u64::from(wait.subsec_nanos() > 0))
}

/// What is left of a rate, as the License Server keeps it.
///
/// `crates/server/src/rates.rs` decides which calls share one. A call about a license from a
/// machine that holds a seat counts against the allowance of this machine alone, with
/// [`SEAT_RATE`](license_core::rate::SEAT_RATE): its address does not matter.
#[derive(Clone, Copy, Debug)]
pub(super) struct Allowance {
    /// `None`: no limit.
    rate: Option<Rate>,
    full_at: Duration,
    /// The largest number of calls that were missing from it.
    pub(super) most_used: u32,
}

impl Allowance {
    pub(super) fn full(rate: Option<Rate>) -> Self {
        Self {
            rate,
            full_at: Duration::ZERO,
            most_used: 0,
        }
    }

    fn take(&mut self, now: DateTime<Utc>) -> Result<(), Duration> {
        let Some(rate) = self.rate else {
            return Ok(());
        };
        let now = (now - START).to_std().unwrap_or_default();
        self.full_at = rate.take(self.full_at, now)?;
        let missing = self.full_at.saturating_sub(now);
        let used = missing
            .as_millis()
            .div_ceil(rate.interval.as_millis().max(1));
        self.most_used = self.most_used.max(u32::try_from(used).unwrap_or(u32::MAX));
        Ok(())
    }
}
