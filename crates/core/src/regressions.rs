//! Counts how often calls from a site reported a lower number than before.

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

/// This many calls within [`crate::suspicion::REGRESSION_WINDOW`] that report a lower number than
/// before indicate two machines. A backup that is restored does so once.
pub const MAX_REGRESSIONS: usize = 3;

/// Calls that reported a lower number than before. A single machine never goes back, unless it is
/// restored from a backup: if a response is lost, it reports the same number again. A call without
/// a number counts as 0, the lowest number.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Regressions {
    /// When the last [`MAX_REGRESSIONS`] of these calls were made, newest last. Consecutive calls
    /// with the same number count as one, unless a call reported the greatest number in between.
    pub times: Vec<DateTime<Utc>>,
    /// The number in the newest of these calls; `None` once a call has reported the greatest number
    /// since.
    pub newest: Option<u64>,
}

impl Regressions {
    /// Adds a call that reported `seq`, which is not the greatest number. Returns whether that is
    /// one call too many within the window that ends with this call.
    pub(crate) fn add(&mut self, seq: u64, at: DateTime<Utc>, window: TimeDelta) -> bool {
        let is_recent = |time: &DateTime<Utc>| at - time <= window;
        if self.newest == Some(seq) && self.times.last().is_some_and(is_recent) {
            return false;
        }
        self.newest = Some(seq);
        self.times.push(at);
        let forgotten = self.times.len().saturating_sub(MAX_REGRESSIONS);
        self.times.drain(..forgotten);
        self.times.len() == MAX_REGRESSIONS && self.times.iter().all(is_recent)
    }
}
