//! What is due next.

use chrono::{DateTime, Utc};
use license_core::schedule::{MAX_RETRY_DELAY, next_heartbeat, next_validation, stands_in_at};

use crate::app::App;

/// When to call the License Server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Due {
    /// For a validation; `None` when none is planned.
    pub validation: Option<DateTime<Utc>>,
    /// The same as planned, also where one is wanted sooner.
    pub planned_validation: Option<DateTime<Utc>>,
    /// From then on any process makes the overdue validation.
    pub overdue_validation: Option<DateTime<Utc>>,
    /// For a heartbeat; `None` when none is planned.
    pub heartbeat: Option<DateTime<Utc>>,
}

impl Due {
    /// The earlier of the two.
    #[must_use]
    pub fn earliest(self) -> Option<DateTime<Utc>> {
        self.validation.into_iter().chain(self.heartbeat).min()
    }
}

/// Determines when the next calls are due, at `now`.
#[must_use]
pub fn due(app: &App, now: DateTime<Utc>) -> Due {
    let snapshot = app.snapshot();
    let calls = app.calls();
    let standing = snapshot.standing(now);
    let regular = next_validation(
        &snapshot.evidence,
        &standing,
        calls.failures,
        calls.validated_at,
        app.validation_interval,
        calls.validation_jitter,
    );
    // Also what a failed heartbeat wants waits; what a person asks for does not.
    // A bound that lies further ahead is of a clock that was ahead then.
    let bound = calls.not_before.filter(|it| *it <= now + MAX_RETRY_DELAY);
    let no_earlier = |at: DateTime<Utc>| bound.map_or(at, |bound| at.max(bound));
    let validation = match &snapshot.evidence.lease {
        Some(_) if calls.validation_wanted => Some(now),
        _ => regular,
    };
    let heartbeat = next_heartbeat(
        &snapshot.evidence,
        &standing,
        calls.heartbeat_at,
        app.heartbeat_interval,
        calls.heartbeat_jitter,
    );
    Due {
        validation: validation.map(no_earlier),
        planned_validation: regular.map(no_earlier),
        overdue_validation: regular
            .map(no_earlier)
            .map(|planned| stands_in_at(planned, calls.validation_jitter)),
        heartbeat: heartbeat.map(no_earlier),
    }
}
