//! What a process stores about the effective time for the next start.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use super::bounds::{add, milliseconds};
use super::readings::Readings;

/// What is stored for the next start.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Believed {
    /// The effective time …
    pub at: DateTime<Utc>,
    /// … when the machine had been running for this long, in milliseconds …
    pub since_boot_ms: u64,
    /// … since the start with this boot id.
    pub boot_id: Option<String>,
    /// The time that claims have added since the last proof, in milliseconds.
    pub lead_ms: i64,
    /// A claim that has not been accepted yet.
    pub doubt: Option<Doubt>,
    /// How far the wall clock is off, as a signed answer has shown during this
    /// start of the machine, in milliseconds.
    #[serde(default)]
    pub refuted_ms: Option<i64>,
    /// When the newest signed document was created that was known at that time.
    #[serde(default)]
    pub signed_at: Option<DateTime<Utc>>,
    /// The newest signed time, plus the time for which processes have certainly been running since;
    /// `None` before the first signed document. What has passed since it was stored does not count:
    /// the file may come from another machine, and the boot clock from another namespace.
    #[serde(default)]
    pub certain_at: Option<DateTime<Utc>>,
    /// The part of the effective time that only this machine's wall clock claims, in milliseconds.
    #[serde(default)]
    pub assumed_ms: i64,
    /// The part of the effective time that only a mark in a shared place claims, in milliseconds.
    #[serde(default, rename = "toldMs")]
    pub shared_claim_ms: i64,
    /// For how long the process may have been running after this was written, in milliseconds: 0
    /// after a clean stop.
    #[serde(default)]
    pub unseen_ms: u64,
    /// The part of the effective time that was counted for earlier processes that did not stop
    /// cleanly and may not have been running for that long, in milliseconds.
    #[serde(default)]
    pub charged_ms: i64,
    /// No time was stored before, and the License Server has not responded yet: the next start uses
    /// the wall clock.
    #[serde(default)]
    pub awaits_validation: bool,
}

/// A claim that has not been accepted yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Doubt {
    /// How far ahead it was when first made, in milliseconds.
    pub ahead_ms: i64,
    /// The running time for which it has persisted, in milliseconds.
    pub stood_ms: i64,
}

/// Maximum time between two times that are stored for the next start.
const MAX_GAP: Duration = Duration::from_secs(5 * 60);
/// Minimum time between two times that are stored for the next start.
const MIN_GAP: Duration = Duration::from_secs(10);
/// The stored time is at most this fraction of the running time old, so a process that is killed
/// repeatedly counts at most this fraction too much.
const GAP_OF_RUNNING: u32 = 50;

impl Believed {
    /// The effective time calculated from the stored time and the running time since then: all of
    /// it within one start of the machine, otherwise the time since the machine was started. A
    /// process that did not stop cleanly has been running for some additional, unrecorded time.
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

    /// The part of [`Self::carried_to`] that may not have passed.
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

/// How long after storing the time for the next start a process that has been running for `running`
/// stores it again: a fiftieth of the running time, between 10 s and 5 min. This much is counted
/// for a process that did not stop cleanly.
#[must_use]
pub fn keep_again_after(running: Duration) -> Duration {
    (running / GAP_OF_RUNNING).clamp(MIN_GAP, MAX_GAP)
}
