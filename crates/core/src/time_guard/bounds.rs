//! How much a claim or an answer may move the time, and sums that cannot overflow.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

/// Maximum time by which claims may advance the time between two proofs.
pub const BELIEVED_LEAD: TimeDelta = TimeDelta::hours(24);
/// After how much running time a claim that persists is believed.
pub const DOUBT_DURATION: TimeDelta = TimeDelta::hours(72);
/// A wall clock that is behind by no more than this is not reported.
pub const MAX_UNREPORTED_LAG: TimeDelta = TimeDelta::minutes(5);
/// A signed response that differs by at most this much agrees: it takes time in transit, and its
/// time is in whole seconds.
pub const ANSWER_TOLERANCE: TimeDelta = TimeDelta::seconds(60);
/// The running time within which the License Server must respond before the wall clock counts
/// without a response.
pub const MAX_WAIT: Duration = Duration::from_secs(60);
/// Upper limit of clock readings, which leaves room to count further.
pub(super) const LATEST: DateTime<Utc> = DateTime::from_timestamp(16_725_225_600, 0).unwrap();

/// A time that is out of bounds is not advanced.
pub(super) fn add(at: DateTime<Utc>, by: Duration) -> DateTime<Utc> {
    at.checked_add_signed(delta(by)).unwrap_or(at).min(LATEST)
}

pub(super) fn delta(duration: Duration) -> TimeDelta {
    TimeDelta::from_std(duration).unwrap_or(TimeDelta::MAX)
}

/// A number read from a file is limited, so that sums cannot overflow.
pub(super) fn milliseconds(number: i64) -> TimeDelta {
    const MAX: i64 = 1_000_000_000_000_000;
    TimeDelta::milliseconds(number.clamp(-MAX, MAX))
}
