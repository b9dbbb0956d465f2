//! Schedules calls to the License Server.
//!
//! Randomness is passed in as a [`Jitter`], so that a fleet does not call in step and tests
//! are deterministic.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use crate::evidence::Evidence;
use crate::lease::Lease;
use crate::standing::Standing;

/// Initial delay after a failed validation.
pub const FIRST_RETRY: TimeDelta = TimeDelta::minutes(1);
/// Maximum delay between failed validations.
pub const MAX_RETRY_DELAY: TimeDelta = TimeDelta::hours(1);
/// Interval of validations while lapsed, so that a reinstated site recovers soon.
pub const LAPSED_RETRY: TimeDelta = TimeDelta::minutes(15);
/// Minimum time by which a validation is overdue before another process makes it.
pub const VALIDATION_TAKEOVER_DELAY: TimeDelta = TimeDelta::minutes(15);
/// Minimum interval of regular validations, so that a site does not call continuously if
/// its lease ends immediately.
pub const MIN_INTERVAL: TimeDelta = TimeDelta::seconds(1);
/// The part of a lease after which it is validated again. The rest is slack, so that a
/// healthy site never comes close to grace.
const SPAN_USED: f64 = 0.8;
/// The part by which a regular interval may be shortened.
const SHORTENED_BY: f64 = 0.1;

/// A random number from 0 (included) to 1 (not included).
#[derive(Clone, Copy, Debug)]
pub struct Jitter(f64);

impl Jitter {
    /// Creates one from 32 random bits.
    #[must_use]
    pub fn from_bits(bits: u32) -> Self {
        Self(f64::from(bits) / (f64::from(u32::MAX) + 1.0))
    }
}

/// How long an unsigned lease is valid, so that validating after `interval` leaves the
/// same slack as with a signed one.
#[must_use]
pub fn unsigned_validity(interval: TimeDelta) -> TimeDelta {
    scale(interval, 1.0 / SPAN_USED)
}

/// When the next validation is due; `None` without a license, or with a valid air-gapped
/// lease.
///
/// `failures` is the number of consecutive unconfirmed validations, `last` the time of the
/// latest validation.
#[must_use]
pub fn next_validation(
    evidence: &Evidence,
    standing: &Standing,
    failures: u32,
    last: DateTime<Utc>,
    interval: TimeDelta,
    jitter: Jitter,
) -> Option<DateTime<Utc>> {
    let lease = lease_to_call_about(evidence, standing)?;
    let wait = match standing {
        Standing::Unlicensed => return None,
        Standing::Lapsed(_) => shortened(LAPSED_RETRY, jitter),
        Standing::Active | Standing::Grace { .. } if failures == 0 => {
            shortened(validation_interval(lease, interval), jitter)
        }
        Standing::Active | Standing::Grace { .. } => retry_wait(failures, jitter),
    };
    Some(last + wait)
}

/// When the next heartbeat is due; `None` as for validations. A failed heartbeat is not
/// retried early: it triggers a validation instead.
#[must_use]
pub fn next_heartbeat(
    evidence: &Evidence,
    standing: &Standing,
    last: DateTime<Utc>,
    interval: TimeDelta,
    jitter: Jitter,
) -> Option<DateTime<Utc>> {
    lease_to_call_about(evidence, standing)?;
    Some(last + shortened(interval, jitter))
}

/// When a process makes a validation that another one should have made at `planned`:
/// 15 to 20 minutes later, so that not all of them do.
#[must_use]
pub fn takeover_at(planned: DateTime<Utc>, jitter: Jitter) -> DateTime<Utc> {
    planned + scale(VALIDATION_TAKEOVER_DELAY, 1.0 + jitter.0 / 3.0)
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

/// The lease, unless it needs no contact, as with a license file that is still
/// valid.
fn lease_to_call_about<'a>(evidence: &'a Evidence, standing: &Standing) -> Option<&'a Lease> {
    let lease = evidence.lease.as_ref()?;
    let needs_none = lease.is_offline() && *standing == Standing::Active;
    (!needs_none).then_some(lease)
}

/// The configured interval, or less if the lease is shorter.
fn validation_interval(lease: &Lease, interval: TimeDelta) -> TimeDelta {
    match lease {
        Lease::Signed(document) => {
            let claims = document.claims();
            let span_used = scale(claims.valid_until - claims.iat, SPAN_USED);
            interval.min(span_used).max(MIN_INTERVAL)
        }
        Lease::Adopted(_) | Lease::Unsigned { .. } => interval,
    }
}

/// One minute, doubled with each further failure up to an hour, times 0.5 to 1.
fn retry_wait(failures: u32, jitter: Jitter) -> TimeDelta {
    let doublings = failures.saturating_sub(1).min(6);
    let wait = (FIRST_RETRY * 2_i32.pow(doublings)).min(MAX_RETRY_DELAY);
    scale(wait, 0.5 + 0.5 * jitter.0)
}

fn shortened(interval: TimeDelta, jitter: Jitter) -> TimeDelta {
    scale(interval, 1.0 - SHORTENED_BY * jitter.0)
}

fn scale(span: TimeDelta, factor: f64) -> TimeDelta {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_precision_loss,
        reason = "spans are hours, far below 2^52 ms, and fractions of a millisecond do not matter"
    )]
    TimeDelta::milliseconds((span.num_milliseconds() as f64 * factor) as i64)
}
