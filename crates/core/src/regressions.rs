//! How often calls of a site said less than was said before.

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

/// So many times within [`crate::suspicion::REGRESSION_WINDOW`] calls said less than was said before:
/// that is two machines. A backup that is restored does so once.
pub const MAX_REGRESSIONS: usize = 3;

/// Calls that said less than was said before. One machine never goes back, unless it
/// is restored from a backup: when an answer is lost, it says the same number again.
/// A call without a number says less than any other: 0.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Regressions {
    /// When the last [`MAX_REGRESSIONS`] of them were made, the newest last. Those that say one
    /// number in a row are one; when a call said the greatest number in between, they are several.
    pub times: Vec<DateTime<Utc>>,
    /// What the newest of them said; `None` once a call has said the greatest number since.
    pub newest: Option<u64>,
}

impl Regressions {
    /// Adds a call that said `seq`, and not the greatest number. Answers whether it is one too
    /// many within the window that ends with it.
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
