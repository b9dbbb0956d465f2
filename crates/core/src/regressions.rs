//! How often calls of a site said less than was said before.

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

/// So many times within [`crate::suspicion::REGRESSION_WINDOW`] calls said less than was said before:
/// that is two machines. A backup that is restored does so once.
pub const MAX_REGRESSIONS: u32 = 3;

/// Calls that said less than was said before. One machine never goes back, unless it
/// is restored from a backup: when an answer is lost, it says the same number again.
/// A call without a number says less than any other: 0.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Regressions {
    /// How many there were. Those that say one number in a row are one; when a call said
    /// the greatest number in between, they are several.
    pub count: u32,
    /// What the newest of them said; `None` once a call has said the greatest number since.
    pub newest: Option<u64>,
    /// When the first of them was made.
    pub since: Option<DateTime<Utc>>,
}

impl Regressions {
    /// Adds a call that said `seq`, and not the greatest number.
    pub(crate) fn with(&self, seq: u64, at: DateTime<Utc>, window: TimeDelta) -> Self {
        match self.since.filter(|since| at - since <= window) {
            Some(_) if self.newest == Some(seq) => self.clone(),
            Some(since) => Self {
                count: self.count.saturating_add(1),
                newest: Some(seq),
                since: Some(since),
            },
            None => Self {
                count: 1,
                newest: Some(seq),
                since: Some(at),
            },
        }
    }

    /// Whether one more than `before` makes them too many.
    pub(crate) fn are_too_many(&self, before: &Self) -> bool {
        self.count >= MAX_REGRESSIONS && self.count != before.count
    }
}
