//! Schedules calls to the License Server.
//!
//! Randomness is passed in as a [`Jitter`], so that a fleet does not call in step and tests
//! are deterministic.

use chrono::{DateTime, TimeDelta, Utc};

use crate::evidence::Evidence;
use crate::lease::Lease;
use crate::standing::Standing;

pub mod calls;
pub mod jitter;
pub mod retry;

use jitter::{Jitter, scale, shortened};
use retry::{LAPSED_RETRY, retry_wait};

/// Minimum time by which a validation is overdue before another process makes it.
pub const VALIDATION_TAKEOVER_DELAY: TimeDelta = TimeDelta::minutes(15);
/// Minimum interval of regular validations, so that a site does not call continuously if
/// its lease ends immediately.
pub const MIN_INTERVAL: TimeDelta = TimeDelta::seconds(1);
/// The part of a lease after which it is validated again. The rest is slack, so that a
/// healthy site never comes close to grace.
const SPAN_USED: f64 = 0.8;
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
