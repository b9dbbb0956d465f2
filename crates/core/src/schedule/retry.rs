//! The wait after a failed call, and after a response that asks to wait.

use std::time::Duration;

use chrono::TimeDelta;

use super::jitter::{Jitter, SHORTENED_BY, scale, shortened};

/// Initial delay after a failed validation.
pub const FIRST_RETRY: TimeDelta = TimeDelta::minutes(1);
/// Maximum delay between failed validations.
pub const MAX_RETRY_DELAY: TimeDelta = TimeDelta::hours(1);
/// Interval of validations while lapsed, so that a reinstated site recovers soon.
pub const LAPSED_RETRY: TimeDelta = TimeDelta::minutes(15);

/// One minute, doubled with each further failure up to an hour, times 0.5 to 1.
pub(super) fn retry_wait(failures: u32, jitter: Jitter) -> TimeDelta {
    let doublings = failures.saturating_sub(1).min(6);
    let wait = (FIRST_RETRY * 2_i32.pow(doublings)).min(MAX_RETRY_DELAY);
    scale(wait, 0.5 + 0.5 * jitter.0)
}

/// How long to wait after a response that asks to wait: at least as long as requested, but at most
/// [`MAX_RETRY_DELAY`]. Random jitter spreads the calls from a fleet that received the same
/// response.
#[must_use]
pub fn retry_after_delay(retry_after: Duration, jitter: Jitter) -> TimeDelta {
    match TimeDelta::from_std(retry_after) {
        Ok(asked) if asked < MAX_RETRY_DELAY => {
            scale(asked, 1.0 + SHORTENED_BY * jitter.0).min(MAX_RETRY_DELAY)
        }
        _ => shortened(MAX_RETRY_DELAY, jitter),
    }
}
