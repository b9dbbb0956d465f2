//! What a process remembers about its calls to the License Server, and when the next are due.
//!
//! Each event has one transition. Times come from the clock that decisions use, which may be set; a
//! recorded time in the future never delays a call.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use crate::evidence::{Evidence, Failure};
use crate::standing::Standing;

use super::jitter::Jitter;
use super::retry::{MAX_RETRY_DELAY, retry_after_delay};
use super::{next_heartbeat, next_validation, takeover_at};

/// The calls so far.
#[derive(Clone, Copy, Debug)]
pub struct Calls {
    /// The newest attempted validation or activation.
    validated_at: DateTime<Utc>,
    /// The number of consecutive validations that were not confirmed.
    failures: u32,
    /// A validation is due now, because of an event that only a validation can explain.
    is_validation_wanted: bool,
    /// The number of validations that this process has started.
    validations: u64,
    /// The newest attempted heartbeat.
    heartbeat_at: DateTime<Utc>,
    /// The License Server has asked not to be called again before this instant.
    not_before: Option<DateTime<Utc>>,
    /// Drawn again for each validation.
    validation_jitter: Jitter,
    /// Drawn again for each heartbeat.
    heartbeat_jitter: Jitter,
}

/// The regular intervals of calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Intervals {
    /// The interval of validations, unless the lease is shorter.
    pub validation: TimeDelta,
    /// The interval of heartbeats.
    pub heartbeat: TimeDelta,
}

/// When to call the License Server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Due {
    /// When to validate; `None` if no validation is planned.
    pub validation: Option<DateTime<Utc>>,
    /// The planned time, even if a validation is needed sooner.
    pub planned_validation: Option<DateTime<Utc>>,
    /// From this time on, any process makes the overdue validation.
    pub overdue_validation: Option<DateTime<Utc>>,
    /// When to send a heartbeat; `None` if none is planned.
    pub heartbeat: Option<DateTime<Utc>>,
}

impl Due {
    /// The earlier of the two.
    #[must_use]
    pub fn earliest(self) -> Option<DateTime<Utc>> {
        self.validation.into_iter().chain(self.heartbeat).min()
    }
}

impl Calls {
    /// The state of a process that starts, and knows of no call.
    #[must_use]
    pub fn new(now: DateTime<Utc>, validation_jitter: Jitter, heartbeat_jitter: Jitter) -> Self {
        Self {
            validated_at: now,
            failures: 0,
            is_validation_wanted: false,
            validations: 0,
            heartbeat_at: now,
            not_before: None,
            validation_jitter,
            heartbeat_jitter,
        }
    }

    /// Restores what earlier processes have stored. A site that is not active is validated
    /// immediately: after the restart of an unhealthy service, the operator needs the result.
    pub fn resumed(
        &mut self,
        evidence: &Evidence,
        standing: &Standing,
        heartbeat_at: Option<DateTime<Utc>>,
        now: DateTime<Utc>,
    ) {
        let failed_at = evidence.last_failure.as_ref().map(Failure::at);
        let validated_at = evidence.confirmed_at.max(failed_at);
        let heartbeat_at = heartbeat_at.max(evidence.activated_at);
        self.validated_at = validated_at.unwrap_or(now).min(now);
        self.heartbeat_at = heartbeat_at.unwrap_or(now).min(now);
        self.failures = u32::from(failed_at.is_some());
        self.is_validation_wanted =
            matches!(standing, Standing::Grace { .. } | Standing::Lapsed(_));
    }

    /// A validation starts.
    pub fn validation_begun(&mut self) {
        self.validations += 1;
    }

    /// A validation has ended, with or without a response.
    pub fn validated(&mut self, is_confirmed: bool, now: DateTime<Utc>, jitter: Jitter) {
        self.validated_at = now;
        self.failures = match is_confirmed {
            true => 0,
            false => self.failures.saturating_add(1),
        };
        self.is_validation_wanted = false;
        self.validation_jitter = jitter;
    }

    /// A license was activated, which confirms it and reports the machine.
    pub fn activated(&mut self, now: DateTime<Utc>, jitter: Jitter) {
        self.validated(true, now, jitter);
        self.heartbeat_at = now;
    }

    /// Another process has validated the license at `at`, and failed or not.
    pub fn validated_elsewhere(&mut self, at: DateTime<Utc>, has_failed: bool, now: DateTime<Utc>) {
        self.validated_at = self.validated_at.max(at.min(now));
        self.failures = match has_failed {
            true => self.failures.max(1),
            false => 0,
        };
    }

    /// A heartbeat has ended. It is not evidence about the license, but if it contradicts the
    /// license, that is a reason to validate.
    pub fn heartbeat_sent(
        &mut self,
        is_answered: bool,
        standing: &Standing,
        now: DateTime<Utc>,
        jitter: Jitter,
    ) {
        self.heartbeat_at = now;
        self.heartbeat_jitter = jitter;
        self.is_validation_wanted |= !is_answered || matches!(standing, Standing::Grace { .. });
    }

    /// Another process has sent a heartbeat.
    pub fn heartbeat_sent_elsewhere(&mut self, at: Option<DateTime<Utc>>, now: DateTime<Utc>) {
        self.heartbeat_at = self.heartbeat_at.max(at.unwrap_or(now).min(now));
    }

    /// An event has occurred that only a validation can explain.
    pub fn validation_wanted(&mut self) {
        self.is_validation_wanted = true;
    }

    /// There is no license to validate.
    pub fn nothing_to_validate(&mut self) {
        self.is_validation_wanted = false;
    }

    /// The License Server has responded. If it asks to wait, scheduled calls wait.
    pub fn asked_to_wait(
        &mut self,
        retry_after: Option<Duration>,
        now: DateTime<Utc>,
        jitter: Jitter,
    ) {
        self.not_before = retry_after.map(|asked| now + retry_after_delay(asked, jitter));
    }

    /// The clock was set: a recorded time in the future counts as now.
    pub fn clock_set(&mut self, now: DateTime<Utc>) {
        self.validated_at = self.validated_at.min(now);
        self.heartbeat_at = self.heartbeat_at.min(now);
    }

    /// Whether a validation is due now, regardless of the schedule.
    #[must_use]
    pub fn is_validation_wanted(&self) -> bool {
        self.is_validation_wanted
    }

    /// Whether the newest validation was confirmed.
    #[must_use]
    pub fn is_confirmed(&self) -> bool {
        self.failures == 0
    }

    /// The number of validations that this process has started, for callers that waited while
    /// another one validated.
    #[must_use]
    pub fn validations(&self) -> u64 {
        self.validations
    }

    /// The newest attempted validation or activation.
    #[must_use]
    pub fn validated_at(&self) -> DateTime<Utc> {
        self.validated_at
    }

    /// The newest attempted heartbeat.
    #[must_use]
    pub fn heartbeat_at(&self) -> DateTime<Utc> {
        self.heartbeat_at
    }

    /// When the next calls are due.
    #[must_use]
    pub fn due(
        &self,
        evidence: &Evidence,
        standing: &Standing,
        intervals: Intervals,
        now: DateTime<Utc>,
    ) -> Due {
        let planned = next_validation(
            evidence,
            standing,
            self.failures,
            self.validated_at,
            intervals.validation,
            self.validation_jitter,
        );
        let heartbeat = next_heartbeat(
            evidence,
            standing,
            self.heartbeat_at,
            intervals.heartbeat,
            self.heartbeat_jitter,
        );
        // A validation requested by a failed heartbeat also waits; one requested by a person does
        // not. A bound that is further in the future comes from a clock that was ahead at the time.
        let bound = self.not_before.filter(|it| *it <= now + MAX_RETRY_DELAY);
        let no_earlier = |at: DateTime<Utc>| bound.map_or(at, |bound| at.max(bound));
        let validation = match &evidence.lease {
            Some(_) if self.is_validation_wanted => Some(now),
            _ => planned,
        };
        let planned = planned.map(no_earlier);
        Due {
            validation: validation.map(no_earlier),
            planned_validation: planned,
            overdue_validation: planned.map(|at| takeover_at(at, self.validation_jitter)),
            heartbeat: heartbeat.map(no_earlier),
        }
    }
}
