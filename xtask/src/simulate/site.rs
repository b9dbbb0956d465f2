//! One site: a License Client and what it knows, in virtual time.
//!
//! The schedule, the evidence and the standing are those of `license-core`. Here is only what
//! `crates/client/src/jobs/call_home.rs`, `licensing/heartbeat.rs`, `licensing/validate.rs` and
//! `licensing/exchange.rs` do around them: make the calls that are due, and record the results.

use std::borrow::Cow;

use chrono::{DateTime, TimeDelta, Utc};
use license_core::evidence::Evidence;
use license_core::protocol::Call;
use license_core::response::{Contact, NoContact, TransportFailure};
use license_core::schedule::calls::{Calls, Due, Intervals};
use license_core::schedule::jitter::Jitter;
use license_core::schedule::unsigned_validity;
use license_core::standing::{Policy, Standing, standing};

use super::confirmation::{Confirmation, GRACE};
use super::license_server::{CallFailure, START};
use super::random::Random;

/// Defaults of `VALIDATION_INTERVAL_HOURS` and `HEARTBEAT_INTERVAL_HOURS`.
const INTERVALS: Intervals = Intervals {
    validation: TimeDelta::hours(24),
    heartbeat: TimeDelta::hours(4),
};
const POLICY: Policy = Policy {
    grace: GRACE,
    allow_unlicensed_core: true,
};

/// A site.
pub(super) struct Site<'a> {
    confirmation: &'a Confirmation,
    random: Random,
    calls: Calls,
    /// Counts time from when the document was signed, see [`Site::evidence_time`].
    evidence: Cow<'a, Evidence>,
    confirmed_at: DateTime<Utc>,
    pub(super) record: Record,
}

/// What happened to a site.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Record {
    /// The number of calls that were told to wait.
    pub(super) told_to_wait: u64,
    /// When a validation was confirmed after others had failed; the newest such time.
    pub(super) recovered_at: Option<DateTime<Utc>>,
    /// How much was left of a grace period when it ended, or at the end of the simulation; the
    /// least. `None` if the site was always active.
    pub(super) grace_left: Option<TimeDelta>,
    /// Whether the newest validation was not confirmed at the end of the simulation.
    pub(super) is_unconfirmed: bool,
}

impl Record {
    pub(super) fn has_lapsed(&self) -> bool {
        self.grace_left
            .is_some_and(|left| left <= TimeDelta::zero())
    }
}

impl<'a> Site<'a> {
    /// A site of a fleet that has been running for long: its newest calls were at random times
    /// before [`START`].
    pub(super) fn new(confirmation: &'a Confirmation, mut random: Random) -> Self {
        let (validation_jitter, validation_age) =
            age(confirmation, &mut random, |due| due.validation);
        let (heartbeat_jitter, heartbeat_age) = age(confirmation, &mut random, |due| due.heartbeat);
        let confirmed_at = START - validation_age;
        let mut calls = Calls::new(confirmed_at, validation_jitter, heartbeat_jitter);
        let heartbeat_at = START - heartbeat_age;
        calls.heartbeat_sent(true, &Standing::Active, heartbeat_at, heartbeat_jitter);
        Self {
            confirmation,
            random,
            calls,
            evidence: Cow::Borrowed(&confirmation.evidence),
            confirmed_at,
            record: Record::default(),
        }
    }

    /// When this site makes its next call.
    pub(super) fn next_call(&self, now: DateTime<Utc>) -> DateTime<Utc> {
        let due = self.due(now).earliest();
        due.map_or(DateTime::<Utc>::MAX_UTC, |due| due.max(now))
    }

    /// Makes the calls that are due. `respond` makes a call to the License Server.
    pub(super) fn call_what_is_due(
        &mut self,
        now: DateTime<Utc>,
        mut respond: impl FnMut(Call) -> Result<(), CallFailure>,
    ) {
        let has_come = |at: Option<DateTime<Utc>>| at.is_some_and(|at| at <= now);
        if has_come(self.due(now).heartbeat) {
            self.heartbeat(respond(Call::Heartbeat), now);
        }
        if has_come(self.due(now).validation) {
            self.validate(respond(Call::Validate), now);
        }
    }

    /// Ends the simulation, and with it a grace period that has not ended.
    pub(super) fn finish(mut self, now: DateTime<Utc>) -> Record {
        self.note_grace(now);
        self.record.is_unconfirmed = !self.calls.is_confirmed();
        self.record
    }

    fn due(&self, now: DateTime<Utc>) -> Due {
        self.calls
            .due(&self.evidence, &self.standing(now), INTERVALS, now)
    }

    fn standing(&self, now: DateTime<Utc>) -> Standing {
        standing(&self.evidence, self.evidence_time(now), &POLICY)
    }

    /// The time by which the evidence counts. All confirmations contain the same document, so a
    /// confirmation sets this time to when the document was signed.
    fn evidence_time(&self, now: DateTime<Utc>) -> DateTime<Utc> {
        self.confirmation.signed_at + (now - self.confirmed_at)
    }

    fn heartbeat(&mut self, response: Result<(), CallFailure>, now: DateTime<Utc>) {
        let stands = self.standing(now);
        self.note_retry_after(response, now);
        let jitter = self.random.jitter();
        self.calls
            .heartbeat_sent(response.is_ok(), &stands, now, jitter);
    }

    fn validate(&mut self, response: Result<(), CallFailure>, now: DateTime<Utc>) {
        self.calls.validation_begun();
        self.note_retry_after(response, now);
        match response {
            Ok(()) => self.confirm(now),
            // A later failure changes nothing that affects calls or the standing.
            Err(failure) if self.evidence.grace_started_at.is_none() => {
                let (contact, at) = (failure.contact(), self.evidence_time(now));
                let validity = unsigned_validity(INTERVALS.validation);
                self.evidence = Cow::Owned(self.evidence.validated(&contact, at, validity));
            }
            Err(_) => {}
        }
        let jitter = self.random.jitter();
        self.calls.validated(response.is_ok(), now, jitter);
    }

    fn confirm(&mut self, now: DateTime<Utc>) {
        self.note_grace(now);
        if !self.calls.is_confirmed() {
            self.record.recovered_at = Some(now);
        }
        self.confirmed_at = now;
        self.evidence = Cow::Borrowed(&self.confirmation.evidence);
    }

    fn note_retry_after(&mut self, response: Result<(), CallFailure>, now: DateTime<Utc>) {
        let retry_after = match response {
            Err(CallFailure::TooManyCalls(wait)) => Some(wait),
            Ok(()) | Err(CallFailure::Unreachable) => None,
        };
        self.record.told_to_wait += u64::from(retry_after.is_some());
        let jitter = self.random.jitter();
        self.calls.asked_to_wait(retry_after, now, jitter);
    }

    /// Records how much is left of the grace period, if there is one.
    fn note_grace(&mut self, now: DateTime<Utc>) {
        let left = match self.standing(now) {
            Standing::Grace { until } => until - self.evidence_time(now),
            Standing::Lapsed(_) => TimeDelta::zero(),
            Standing::Active | Standing::Unlicensed => return,
        };
        let least = self.record.grace_left.map_or(left, |least| least.min(left));
        self.record.grace_left = Some(least);
    }
}

/// The jitter of a call, and the time since it, at a random time: longer intervals are met more
/// often.
fn age(
    confirmation: &Confirmation,
    random: &mut Random,
    next: impl Fn(Due) -> Option<DateTime<Utc>>,
) -> (Jitter, TimeDelta) {
    let interval = |jitter: Jitter| {
        let calls = Calls::new(START, jitter, jitter);
        let due = calls.due(&confirmation.evidence, &Standing::Active, INTERVALS, START);
        let interval = next(due).map_or(TimeDelta::zero(), |at| at - START);
        u64::try_from(interval.num_milliseconds()).unwrap_or_default()
    };
    let unshortened = interval(Jitter::from_bits(0));
    loop {
        let jitter = random.jitter();
        let age = random.below(unshortened);
        if age < interval(jitter) {
            let age = i64::try_from(age).unwrap_or_default();
            return (jitter, TimeDelta::milliseconds(age));
        }
    }
}

impl CallFailure {
    /// How a License Client reads it.
    fn contact(self) -> Contact {
        Contact::None(match self {
            Self::TooManyCalls(retry_after) => NoContact::Later {
                status: 429,
                retry_after,
            },
            Self::Unreachable => {
                let detail = "connection refused".to_owned();
                NoContact::Transport(TransportFailure::Unreachable { detail })
            }
        })
    }
}

#[cfg(test)]
mod tests;
