//! Determines which stored rows are accepted: what this process knows, and what its installation
//! remembers, is replaced only by what a document proves.

use std::time::Duration;

use chrono::{DateTime, Utc};
use license_core::evidence::Evidence;
use license_core::schedule::calls::Calls;
use license_core::taking_over::{NotTakenOver, TakenOver, is_discredited, take_over, take_up};

use super::evidence_rows::{EvidenceRows, is_signed};
use super::stored_rows::{Stored, read};
use super::{Knowledge, lock};
use crate::identity::Identity;

/// How long the same reason is not logged again. Others can change rows several times a second.
const LOG_INTERVAL: Duration = Duration::from_secs(60);

/// The result of reading and verifying rows.
#[derive(Debug)]
pub(super) struct Verified {
    /// The evidence that counts.
    pub evidence: Evidence,
    /// The content of the rows.
    pub stored: Evidence,
    /// The license was activated by version 1.0.0, and this is the first time that it is seen: it
    /// must be recorded and validated immediately.
    pub is_adopted: bool,
    /// The rows were changed by hand. They are ignored and must be rewritten.
    pub is_tampered: bool,
    /// Why different evidence is used.
    pub not_taken_over: Option<NotTakenOver>,
}

impl Verified {
    /// `taken` is missing if no keys are trusted: then the rows are used.
    fn of(stored: Stored, taken: Option<TakenOver>) -> Self {
        let (evidence, not_taken_over) = match taken {
            Some(taken) => (taken.evidence, taken.error),
            None => (stored.evidence.clone(), None),
        };
        Self {
            evidence,
            stored: stored.evidence,
            is_adopted: stored.is_adopted && not_taken_over.is_none(),
            is_tampered: stored.is_tampered || not_taken_over == Some(NotTakenOver::Unsigned),
            not_taken_over,
        }
    }

    /// Whether the rows of `after` may be written. A genuine document stays in its row although
    /// this process does not trust it: we do not change what others find there.
    pub(super) fn may_be_replaced_by(&self, after: &Evidence) -> bool {
        !is_signed(&self.stored) || !is_discredited(after)
    }

    /// Whether the rows must be rewritten.
    pub(super) fn must_be_rewritten(&self) -> bool {
        let is_older = self.not_taken_over == Some(NotTakenOver::Older);
        // A genuine document stays in its row, whether valid or not.
        self.is_adopted || self.is_tampered || (is_older && is_signed(&self.evidence))
    }
}

impl Knowledge {
    /// What applies to `identity` with these rows, given what is `known`.
    pub(super) fn verify(
        &self,
        rows: EvidenceRows,
        identity: &Identity,
        known: &Evidence,
        now: DateTime<Utc>,
    ) -> Verified {
        let keys = &self.parts.keys;
        let remembered = self.remembered();
        let stored = read(rows, keys, identity, &remembered, now);
        let take_over = || take_over(known, stored.without_reason_from_memo(), &remembered, now);
        let taken = keys.are_required().then(take_over);
        Verified::of(stored, taken)
    }

    /// The same for rows in the local copy, where only this service can write: without a known
    /// state, and with everything that belongs to a signed license.
    pub(super) fn verify_local_copy(
        &self,
        rows: EvidenceRows,
        identity: &Identity,
        now: DateTime<Utc>,
    ) -> Verified {
        let keys = &self.parts.keys;
        let remembered = self.remembered();
        let stored = read(rows, keys, identity, &remembered, now);
        let take_up = || take_up(stored.evidence.clone(), &remembered, now);
        let taken = keys.are_required().then(take_up);
        Verified::of(stored, taken)
    }

    /// Counts changes made to the rows by hand, and requests a validation if `known` was replaced
    /// by an unsigned license.
    pub(super) fn report_changed_rows(&self, verified: &Verified, known: &Evidence) {
        let is_unsigned = !is_signed(&verified.evidence);
        let is_other = verified.evidence.lease != known.lease;
        let is_lost = verified.not_taken_over.is_some() && is_unsigned;
        let is_another = verified.is_adopted && self.remembered().adopted_at().is_some();
        if is_another {
            tracing::error!(
                security = true,
                "another unsigned license appeared; it is valid only for the rest of the first \
                 license's grace period"
            );
        }
        if verified.is_tampered || is_another || (is_lost && is_other) {
            self.parts.metrics.security_event();
        }
        self.log_not_taken_over(verified);
        let is_new = verified.is_adopted || is_lost || verified.is_tampered;
        if is_new && is_other && is_unsigned {
            self.note_call(Calls::validation_wanted);
        }
    }

    /// Logs why stored evidence is not used, at most once in [`LOG_INTERVAL`] for each reason.
    pub(super) fn log_not_taken_over(&self, verified: &Verified) {
        let Some(why) = verified.not_taken_over else {
            return;
        };
        let now = self.clock.running();
        let is_recent = |at: &Duration| now.saturating_sub(*at) < LOG_INTERVAL;
        let mut logged = lock(&self.not_taken_over_logged);
        if logged.get(&why).is_some_and(is_recent) {
            return;
        }
        logged.insert(why, now);
        match why {
            NotTakenOver::Unsigned => tracing::error!(
                security = true,
                "ignoring an unsigned license that replaced the signed one"
            ),
            NotTakenOver::GivenUp => tracing::error!(
                security = true,
                "ignoring a deactivated license that was put back into the database"
            ),
            NotTakenOver::Older => {
                tracing::warn!("ignoring a stored license that is older than the known one");
            }
        }
    }
}
