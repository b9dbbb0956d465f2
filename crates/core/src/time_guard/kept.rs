//! What one process keeps of the effective time for the next.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use super::bounds::{add, milliseconds};
use super::readings::Readings;

/// What is kept for the next start.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Believed {
    /// The effective time …
    pub at: DateTime<Utc>,
    /// … when the machine had been running for so long, in milliseconds …
    pub since_boot_ms: u64,
    /// … since this start.
    pub boot_id: Option<String>,
    /// What claims have added since the last proof, in milliseconds.
    pub lead_ms: i64,
    /// A claim that is not believed yet.
    pub doubt: Option<Doubt>,
    /// How far the wall clock is off, as a signed answer has shown during this
    /// start of the machine, in milliseconds.
    #[serde(default)]
    pub refuted_ms: Option<i64>,
    /// When the newest signed document was made that was known then.
    #[serde(default)]
    pub signed_at: Option<DateTime<Utc>>,
    /// How much of the effective time only this machine's wall clock claims,
    /// in milliseconds.
    #[serde(default)]
    pub assumed_ms: i64,
    /// How much of the effective time only a mark in a shared place claims, in
    /// milliseconds.
    #[serde(default, rename = "toldMs")]
    pub shared_claim_ms: i64,
    /// For how long the process may have been running after this was written,
    /// in milliseconds: 0 when it stopped in order.
    #[serde(default)]
    pub unseen_ms: u64,
    /// How much of the effective time was counted for earlier processes that did not stop
    /// in order and may not have run for so long, in milliseconds.
    #[serde(default)]
    pub charged_ms: i64,
    /// No time was kept before, and the License Server was not heard yet: the next
    /// start goes by the wall clock.
    #[serde(default)]
    pub awaits_validation: bool,
}

/// A claim that is not believed yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Doubt {
    /// How far ahead it was when it was first made, in milliseconds.
    pub ahead_ms: i64,
    /// For how much running time it has stood, in milliseconds.
    pub stood_ms: i64,
}

/// Most time between two times that are kept for the next start.
const MAX_GAP: Duration = Duration::from_secs(5 * 60);
/// Least time between two times that are kept for the next start.
const MIN_GAP: Duration = Duration::from_secs(10);
/// What is kept is at most such a part of the running time old: a process that
/// is killed again and again counts at most so much too much.
const GAP_OF_RUNNING: u32 = 50;

impl Believed {
    /// The effective time that follows from what was kept, with the running time since then: all
    /// of it within one start of the machine, else what has passed since the machine was started.
    /// A process that did not stop cleanly has been running for some additional, unrecorded time.
    pub(super) fn carried_to(&self, readings: &Readings) -> DateTime<Utc> {
        let before = Duration::from_millis(self.since_boot_ms);
        let unseen = Duration::from_millis(self.unseen_ms).min(MAX_GAP);
        let is_another_start = match (&self.boot_id, &readings.boot_id) {
            (Some(before), Some(now)) => before != now,
            // The start is unknown, so the boot clock decides.
            _ => false,
        };
        let ran = match readings.since_boot.checked_sub(before) {
            Some(ran) if !is_another_start => ran.max(unseen),
            _ => readings.since_boot.saturating_add(unseen),
        };
        add(self.at, ran)
    }

    /// How much of [`Self::carried_to`] may not have passed.
    pub(super) fn charged_until(&self, readings: &Readings) -> TimeDelta {
        let orderly = Self {
            unseen_ms: 0,
            ..self.clone()
        };
        let more = self.carried_to(readings) - orderly.carried_to(readings);
        milliseconds(self.charged_ms.max(0)) + more
    }

    pub(super) fn is_of_this_start(&self, readings: &Readings) -> bool {
        self.boot_id.is_some() && self.boot_id == readings.boot_id
    }
}

/// How long after the time was kept for the next start it is to be kept again,
/// by a process that has been running for `running`: a fiftieth of that, between
/// 10 s and 5 min. That is what counts for a process that did not stop in order.
#[must_use]
pub fn keep_again_after(running: Duration) -> Duration {
    (running / GAP_OF_RUNNING).clamp(MIN_GAP, MAX_GAP)
}
