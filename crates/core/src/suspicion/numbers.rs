//! What the sequence number of a call says about the machine that made it.

use chrono::{DateTime, TimeDelta, Utc};

use super::Trail;
use super::report::Report;
use crate::file_trail::HeardCall;

/// This many consecutive calls that do not know the last response, each missing a different one,
/// indicate two machines that share one identity.
pub const CALLS_BEHIND: u32 = 3;

/// The period in which regressions are counted together, or three maximum leases if that is longer:
/// each machine has to call once per lease.
pub const REGRESSION_WINDOW: TimeDelta = TimeDelta::days(30);

/// Minimum interval before a number whose lease has ended is counted again.
pub const REPETITION_INTERVAL: TimeDelta = TimeDelta::days(1);

impl Trail {
    /// The number that counts as reported by the site. An activation may contain the number of
    /// another license.
    pub(super) fn relevant_number(&self, report: &Report<'_>) -> Option<u64> {
        let number = report.newest_seq;
        match report.is_activation {
            true => number.filter(|seq| !self.was_never_issued(*seq, report)),
            false => number,
        }
    }

    /// Whether no server of this license has issued the number, as far as is known.
    pub(super) fn was_never_issued(&self, seq: u64, report: &Report<'_>) -> bool {
        seq > self.issued && !report.knows_lost_number
    }

    /// Adds the number that a call reports to the trail; `before` is the trail's previous state.
    /// Returns whether this indicates several machines.
    pub(super) fn follow_number(
        &mut self,
        before: &Self,
        newest_seq: Option<u64>,
        report: &Report<'_>,
    ) -> bool {
        let mut is_shared = match newest_seq {
            Some(seq) => self.compare_number(before, seq, report),
            None => self.note_missing_number(before, report),
        };
        is_shared |= self.behind >= CALLS_BEHIND && self.behind != before.behind;
        if let Some(seq) = newest_seq.filter(|seq| *seq <= before.issued) {
            is_shared |= self.acknowledge_number(before, seq, report);
        }
        is_shared
    }

    /// A call without a number. A new installation has none, and a request file may have none.
    fn note_missing_number(&mut self, before: &Self, report: &Report<'_>) -> bool {
        let is_by_file = report.written_at.is_some();
        let may_have_none = is_by_file || (report.is_activation && before.is_replaced_by(report));
        if !before.says_seq || may_have_none {
            return false;
        }
        self.count_behind(None, report.at);
        // A machine that lost its data activates without a number, which counts as a change of the
        // installation.
        !report.is_activation && self.count_regression(0, report)
    }

    /// Compares a number with what the site must know.
    fn compare_number(&mut self, before: &Self, seq: u64, report: &Report<'_>) -> bool {
        let written_at = report.written_at();
        let by_file = written_at.is_some();
        if seq > before.issued {
            return report.knows_lost_number && self.note_lost_number(before, seq, report);
        }
        if before.is_up_to_date(seq, by_file) {
            self.says_seq |= !by_file;
            // A request for a lease is answered with a new number; other calls are not.
            let keeps_number = !by_file && !report.asks_for_lease;
            if !keeps_number || before.behind_at != Some(seq) {
                self.clear_behind();
            }
            if keeps_number && before.is_past_its_lease(seq, report) {
                self.count_outlived_lease(seq, report);
            }
        } else if by_file {
            let is_behind = |at| before.files.is_behind(seq, at);
            // Requests that overtake each other report smaller numbers again.
            if before.behind_at < Some(seq) && written_at.is_some_and(is_behind) {
                self.count_behind(Some(seq), report.at);
            }
        } else if before.behind_at != Some(seq) {
            self.count_behind(Some(seq), report.at);
        } else if before.is_past_its_lease(seq, report) {
            self.count_outlived_lease(seq, report);
        } else {
            self.behind_since = before.behind_since.or(Some(report.at));
        }
        false
    }

    /// If a restored database has lost the number, the number proves nothing about the seat. But
    /// after the response to it, no further lost number should be reported. Another one counts,
    /// even if the machine itself is up to date in between.
    fn note_lost_number(&mut self, before: &Self, seq: u64, report: &Report<'_>) -> bool {
        let is_another = before.lost_claim.is_some_and(|it| it != seq);
        self.lost_claim = Some(seq);
        if !is_another {
            return false;
        }
        self.count_behind(Some(seq), report.at);
        self.count_regression(seq, report)
    }

    /// Notes that the site knows a number that was issued.
    fn acknowledge_number(&mut self, before: &Self, seq: u64, report: &Report<'_>) -> bool {
        let mut is_shared = false;
        let written_at = report.written_at();
        let by_file = written_at.is_some();
        if !by_file {
            if before.was_hidden() && !before.is_up_to_date(seq, by_file) {
                is_shared |= self.count_regression(0, report);
            }
            if seq < before.acknowledged {
                is_shared |= self.count_regression(seq, report);
            } else {
                self.regressions.newest = None;
            }
        }
        if seq > before.acknowledged && (!by_file || before.is_credible(seq)) {
            self.acknowledged = seq;
        }
        let call = HeardCall {
            answered: before.answered,
            written_at,
            at: report.at,
        };
        is_shared | self.files.hear(seq, call)
    }

    /// The number that a call reports, if it can have been in a document that the site keeps.
    pub(super) fn credible_number(&self, report: &Report<'_>) -> Option<u64> {
        (report.newest_seq).filter(|seq| *seq <= self.issued && self.is_credible(*seq))
    }

    /// Whether the site knows the newest number that it must know. Numbers between that one and the
    /// last one issued were in responses that sites do not keep. A request file must also know the
    /// newest file.
    fn is_up_to_date(&self, seq: u64, by_file: bool) -> bool {
        let is_of_file = self.answered == 0 || self.files.contains(seq);
        let is_known = seq == self.answered || (seq > self.answered && is_of_file);
        is_known && (!by_file || self.files.is_newest(seq))
    }

    /// Whether an issued number can have been in a document that the site keeps, as far as is
    /// remembered. Nothing is remembered about files that were signed before the trail existed.
    fn is_credible(&self, seq: u64) -> bool {
        (seq <= self.acknowledged && !self.files.is_invented(seq))
            || seq == self.answered
            || self.lost_claim == Some(seq)
            || self.files.contains(seq)
            || (self.answered == 0 && self.files.is_empty())
    }

    /// Whether a call reports a number although the lease that came with it must have ended, with
    /// its grace.
    fn is_past_its_lease(&self, seq: u64, report: &Report<'_>) -> bool {
        let of_seat = report.lease_end.filter(|_| self.is_up_to_date(seq, false));
        let since = self.behind_since.filter(|_| self.behind_at == Some(seq));
        let of_repeated = since.and_then(|it| it.checked_add_signed(report.longest_lease));
        let end = of_seat.max(of_repeated);
        end.is_some_and(|end| Some(report.at) > Some(end).max(self.files.end_of(seq)))
    }

    /// Counts a number whose lease has ended. It counts again a day later: a site that was switched
    /// off needs time to receive an answer.
    fn count_outlived_lease(&mut self, seq: u64, report: &Report<'_>) {
        self.count_behind(Some(seq), report.at);
        self.behind_since = Some(report.at - report.longest_lease + REPETITION_INTERVAL);
    }

    fn count_behind(&mut self, seq: Option<u64>, at: DateTime<Utc>) {
        self.behind = self.behind.saturating_add(1);
        self.behind_at = seq;
        self.behind_since = seq.map(|_| at);
    }

    /// Returns whether it is one too many.
    fn count_regression(&mut self, seq: u64, report: &Report<'_>) -> bool {
        let window = report.window(REGRESSION_WINDOW);
        self.regressions.add(seq, report.at, window)
    }

    /// Whether the last call reported no number, although the site has reported one before.
    fn was_hidden(&self) -> bool {
        self.behind > 0 && self.behind_at.is_none()
    }

    fn clear_behind(&mut self) {
        self.behind = 0;
        self.behind_at = None;
        self.behind_since = None;
    }
}
