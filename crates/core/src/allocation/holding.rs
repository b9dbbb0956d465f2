//! What one seat holds of one count.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::{CLOCK_MARGIN, Staircase, Totals, second};

/// What one seat holds of one count: what is stored for each seat and count.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Holding {
    /// What those of its documents that count carry.
    #[serde(skip_serializing_if = "Staircase::is_empty")]
    signed: Staircase,
    /// What the newest of them carries.
    #[serde(skip_serializing_if = "Staircase::is_empty")]
    newest: Staircase,
    /// What documents that no longer count carry.
    #[serde(skip_serializing_if = "Staircase::is_empty")]
    passed_on: Staircase,
}

impl Holding {
    /// What all documents that count carry, as the greatest amount at each instant.
    #[must_use]
    pub fn signed(&self) -> &Staircase {
        &self.signed
    }

    /// What the newest of these documents carries.
    #[must_use]
    pub fn newest(&self) -> &Staircase {
        &self.newest
    }

    /// What documents carry that may still be used, but whose amounts were passed on to other seats.
    #[must_use]
    pub fn passed_on(&self) -> &Staircase {
        &self.passed_on
    }

    /// With one more document, which is signed at `now` and carries `document`. Steps that have
    /// ended are dropped. If there are too many steps, some are merged, so that more counts than was
    /// signed, preferably where the license's total does not fall: there, it takes nothing from what
    /// other seats hold.
    #[must_use]
    pub fn with(&self, document: &Staircase, totals: &Totals, now: DateTime<Utc>) -> Self {
        let is_free = |from, until| totals.never_falls(from, until);
        let kept = self.without_ended(now);
        Self {
            signed: kept.signed.joined(document).rounded_up(is_free),
            newest: document.clone().rounded_up(is_free),
            passed_on: kept.passed_on,
        }
    }

    /// Without the steps that ended more than [`CLOCK_MARGIN`] before `now`.
    #[must_use]
    pub fn without_ended(&self, now: DateTime<Utc>) -> Self {
        let from = second(now) - CLOCK_MARGIN.num_seconds();
        Self {
            signed: self.signed.rest_from(from),
            newest: self.newest.rest_from(from),
            passed_on: self.passed_on.rest_from(from),
        }
    }

    /// After the place of the seat was passed on to another machine, or released: nothing of it
    /// counts. What a machine gets when it takes a seat again is counted separately.
    #[must_use]
    pub fn with_place_passed_on(&self) -> Self {
        Self {
            passed_on: self.all_passed_on(),
            ..Self::default()
        }
    }

    /// After the [`Excess`](super::Excess) was released: only the newest document counts.
    #[must_use]
    pub fn with_excess_released(&self) -> Self {
        Self {
            signed: self.newest.clone(),
            newest: self.newest.clone(),
            passed_on: self.all_passed_on(),
        }
    }

    /// Whether nothing is left to store.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.signed.is_empty() && self.passed_on.is_empty()
    }

    fn all_passed_on(&self) -> Staircase {
        let all = self.passed_on.joined(&self.signed);
        all.rounded_up(|_, _| true)
    }
}
