//! High-water marks of the effective time, in places that others can write to.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::bounds::milliseconds;

/// A high-water mark of the effective time, for places that other processes or
/// people can write to. It can raise the time and never lower it, so it needs
/// no signature: changing it gains no more than removing it. What it adds is
/// never more than a claim where [`Mark::as_claim`] says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Mark {
    /// The effective time.
    pub at: DateTime<Utc>,
    /// When the newest signed document was created that was known at that time. A newer document
    /// replaces the mark, because it may have set the time back.
    pub signed_at: Option<DateTime<Utc>>,
    /// The time that claims had added since the last proof, in milliseconds.
    pub lead_ms: i64,
    /// The part of `at` that only this machine's wall clock claims, in milliseconds.
    #[serde(default)]
    pub assumed_ms: i64,
    /// The part of `at` that only a mark in a shared place claims, in milliseconds.
    #[serde(default, rename = "toldMs")]
    pub shared_claim_ms: i64,
}

impl Mark {
    /// A mark for a time that is not signed: any signed document replaces it.
    #[must_use]
    pub fn unsigned(at: DateTime<Utc>) -> Self {
        Self {
            at,
            signed_at: None,
            lead_ms: 0,
            assumed_ms: 0,
            shared_claim_ms: 0,
        }
    }

    /// The mark, if it comes from a place where others can write: what it adds is always a claim.
    #[must_use]
    pub fn as_claim(self) -> Self {
        Self {
            shared_claim_ms: i64::MAX,
            ..self
        }
    }

    /// Which of two marks to keep in a place that several processes write to: the one that knows
    /// the newer document, otherwise the later one.
    #[must_use]
    pub fn merged(self, other: Self) -> Self {
        let order = |mark: &Self| (mark.signed_at, mark.at);
        if order(&self) < order(&other) {
            other
        } else {
            self
        }
    }

    /// The time without what only one machine's wall clock claims.
    pub(super) fn shared_at(&self) -> DateTime<Utc> {
        let at = self.at.checked_sub_signed(milliseconds(self.assumed_ms));
        at.filter(|at| *at <= self.at).unwrap_or(self.at)
    }

    /// Whether the document created at `signed` is not newer than those known to the mark.
    pub(super) fn is_newest(&self, signed: Option<DateTime<Utc>>) -> bool {
        self.signed_at >= signed
    }
}
