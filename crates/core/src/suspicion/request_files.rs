//! What request files say about the machines that wrote them, and what their answers say.

use chrono::{DateTime, Utc};

use super::report::Report;
use super::{Suspicion, Trail};
use crate::file_trail::{AnsweredRequest, UNAWARE_REQUESTS_WINDOW, believed};
use crate::offline::MAX_REQUEST_SKEW;
use crate::open_leases::{BLIND_REQUESTS_WINDOW, SignedLease};

impl Trail {
    /// Adds a request file to the trail; `before` is the trail's previous state. Returns whether
    /// this indicates several machines.
    pub(super) fn follow_request_file(&mut self, before: &Self, report: &Report<'_>) -> bool {
        let mut is_shared = false;
        if before.is_unaware(report) {
            self.files.unaware_at = Some(report.at);
            let requests = &mut self.files.unaware_requests;
            is_shared |= requests.add(before.acknowledged, report.at, UNAWARE_REQUESTS_WINDOW);
        }
        if before.is_blind(report) {
            let requests = &mut self.files.blind_requests;
            requests.newest = None;
            is_shared |= requests.add(0, report.at, BLIND_REQUESTS_WINDOW);
        }
        (self.files).note_call(before.answered, self.acknowledged, report.at);
        is_shared
    }

    /// Records the response to a request file: its number, and the end of its lease. The request
    /// must have been added to the trail before. Returns a suspicion for staff to review if more
    /// leases are open than one machine has, regardless of what the requests reported.
    #[must_use]
    pub fn note_file(
        &mut self,
        report: &Report<'_>,
        seq: u64,
        exp: DateTime<Utc>,
    ) -> Option<Suspicion> {
        let written_at = report.written_at()?;
        // A renewal without a number may come from an older version of the program.
        let may_tell = report.newest_seq.is_some() || report.is_activation;
        let has_to_know = may_tell && report.has_running_lease && !report.knows_lost_number;
        let said = self.credible_number(report);
        self.files.add(AnsweredRequest {
            seq,
            exp,
            said,
            written_at,
            at: report.at,
            has_to_know,
        });
        let lease = SignedLease {
            nonce: report.nonce,
            said,
            seq,
            exp,
            at: report.at,
        };
        (self.files.open.add(&lease)).then_some(Suspicion::SharedIdentity)
    }

    /// Whether a request file asks for a lease without a number that can have been in a document of
    /// the site, while another lease by file is open. A machine that has such a lease reports its
    /// number; a reinstalled machine cannot.
    fn is_blind(&self, report: &Report<'_>) -> bool {
        report.written_at.is_some()
            && report.asks_for_lease
            && !report.knows_lost_number
            && self.credible_number(report).is_none()
            && self.files.open.are_of_others(report.nonce, report.at)
    }

    /// Whether a request file does not know what the seat has shown. A renewal request may not know
    /// it, if it was written before and carried slowly. The same applies to requests that were
    /// written before the last one of this kind arrived. A request that was written later, as far
    /// as its time can be trusted, and reports a number that was already old at that time, comes
    /// from another machine or was written after a backup was restored.
    fn is_unaware(&self, report: &Report<'_>) -> bool {
        let Some(written_at) = report.written_at() else {
            return false;
        };
        let said = self.credible_number(report).unwrap_or_default();
        let written_at = believed(written_at, report.at);
        let is_later = |last: DateTime<Utc>| written_at > last + MAX_REQUEST_SKEW;
        let was_old = (self.files.unaware_requests.newest).is_none_or(|shown| said < shown)
            || self.files.had_shown_newer(said, written_at);
        let is_stale = match report.newest_seq {
            Some(_) => was_old,
            None => self.says_seq,
        };
        report.has_running_lease
            && !report.knows_lost_number
            && (report.is_activation || is_stale)
            && said < self.acknowledged
            && self.files.unaware_at.is_none_or(is_later)
    }
}
