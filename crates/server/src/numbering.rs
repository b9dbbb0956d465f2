//! What this process knows about the sequence numbers that the database accounts for.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use license_core::restored::{Continuity, Coverage, MAX_UNRECORDED, number_at};

use crate::commit_proofs::CommitProofs;
use crate::commit_proofs::others::OtherProofs;

/// Minimum interval between two alerts to staff.
pub const ALERT_INTERVAL: Duration = Duration::from_secs(60 * 60);

/// How many numbers of denials are remembered. With more of them, the machines that were denied
/// with the oldest ones get no answer instead of a denial, if numbers around them are lost.
const MAX_DENIALS: usize = 4096;

/// The state in memory.
#[derive(Debug, Default)]
pub struct Numbering {
    known: Mutex<Known>,
    /// That the database still has what this process has committed.
    pub proofs: CommitProofs,
    /// What this process has seen of what others have committed.
    pub other_proofs: OtherProofs,
    /// Held by the one who records how far the database is covered.
    pub recording: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct Known {
    /// Numbers after this one may be lost, and the range is not stored yet.
    unstored_after: Option<u64>,
    /// The same, because the database lacks what this or another process has committed.
    lost_after: Option<u64>,
    /// Numbers of the latest denials, which the database may not have.
    denials: VecDeque<u64>,
    /// The time until which another server may show that it is running, and that nothing is lost.
    waits_until: Option<DateTime<Utc>>,
    /// What was recorded when this process started.
    started_at: Option<Coverage>,
    /// The latest record that this process read or wrote.
    seen: Option<Coverage>,
    /// When staff were last alerted, in running time of the process.
    alerted_at: Option<Duration>,
}

impl Numbering {
    /// The state at the start of a process, from the recorded coverage. If another server is
    /// running, its record counts.
    #[must_use]
    pub fn started(recorded: Option<Coverage>, now: DateTime<Utc>) -> Self {
        let is_broken = recorded.is_none_or(|it| it.continuity(now) == Continuity::Broken);
        let known = Known {
            unstored_after: is_broken.then(|| number_of(recorded.as_ref())),
            started_at: recorded,
            seen: recorded,
            ..Known::default()
        };
        Self {
            known: Mutex::new(known),
            ..Self::default()
        }
    }

    /// The state at the start of a server: another server that seems to be running may have failed.
    /// Numbers count as lost until it shows that it is running.
    pub fn wait_for_another(&self, now: DateTime<Utc>) {
        let mut known = self.lock();
        let seen = known.seen;
        if seen.is_some_and(|it| !it.is_closed) {
            known.unstored_after = Some(number_of(seen.as_ref()));
            let may_run = seen.is_some_and(|it| it.continuity(now) == Continuity::OpenNow);
            known.waits_until = may_run.then(|| now + MAX_UNRECORDED);
        }
    }

    /// Whether another server still has time to show that it is running.
    #[must_use]
    pub fn waits(&self, recorded: Option<&Coverage>, now: DateTime<Utc>) -> bool {
        let may_be_lost = self.unstored_after(recorded).is_some();
        let known = self.lock();
        let is_in_time = known.waits_until.is_some_and(|until| now < until);
        may_be_lost && known.lost_after.is_none() && is_in_time
    }

    /// The database lacks what this or another process has committed. `proven` is the sequence
    /// number of the newest record of this process that the database has; `None` where it has none.
    pub fn note_lost(&self, proven: Option<u64>) {
        let mut known = self.lock();
        let after = proven.unwrap_or_else(|| number_of(known.started_at.as_ref()));
        known.lost_after = Some(known.lost_after.map_or(after, |lost| lost.min(after)));
    }

    /// Whether the database lacks what a process has committed, and no range is stored yet.
    #[must_use]
    pub fn has_lost(&self) -> bool {
        self.lock().lost_after.is_some()
    }

    /// Remembers the number of a denial.
    pub fn note_denial(&self, number: u64) {
        let mut known = self.lock();
        if known.denials.len() >= MAX_DENIALS {
            known.denials.pop_front();
        }
        known.denials.push_back(number);
    }

    /// Whether this process has issued this number with a denial.
    #[must_use]
    pub fn has_denied(&self, number: u64) -> bool {
        self.lock().denials.contains(&number)
    }

    /// The number after which numbers may be lost without a stored range, according to the current
    /// record. A record older than the one seen before means that a backup was restored while this
    /// process was running.
    #[must_use]
    pub fn unstored_after(&self, recorded: Option<&Coverage>) -> Option<u64> {
        let known = self.lock();
        let version = |it: Option<&Coverage>| it.map_or(0, |it| it.version);
        let (seen, now) = (version(known.seen.as_ref()), version(recorded));
        let restored = (now < seen).then(|| number_of(recorded));
        let has_shown_itself = known.waits_until.is_some() && now > seen;
        let start = known.unstored_after.filter(|_| !has_shown_itself);
        // Another server may have recorded more since, and has not seen what this one lost.
        let lost = known.lost_after.map(|it| it.min(number_of(recorded)));
        [start, restored, lost].into_iter().flatten().min()
    }

    /// This process has recorded the coverage of the database, and stored the numbers that may be
    /// lost.
    /// `stored` is the number after which it stored that numbers may be lost.
    pub fn note_recorded(&self, recorded: Coverage, stored: Option<u64>) {
        let mut known = self.lock();
        known.unstored_after = None;
        // A loss may have been noticed in the meantime.
        known.lost_after = known
            .lost_after
            .filter(|lost| stored.is_none_or(|it| *lost < it));
        known.waits_until = None;
        known.seen = Some(recorded);
    }

    /// Whether to alert staff now; if so, this counts as an alert of this process.
    pub fn take_alert(&self, now: Duration) -> bool {
        let mut known = self.lock();
        let is_due = known
            .alerted_at
            .is_none_or(|at| now.saturating_sub(at) >= ALERT_INTERVAL);
        if is_due {
            known.alerted_at = Some(now);
        }
        is_due
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn number_of(recorded: Option<&Coverage>) -> u64 {
    recorded.map_or(0, |it| number_at(it.until))
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + TimeDelta::seconds(seconds)
    }

    fn recorded(version: u64, seconds: i64) -> Coverage {
        Coverage {
            version,
            until: at(seconds),
            is_closed: false,
        }
    }

    #[test]
    fn a_record_that_goes_back_is_a_restored_backup() {
        let numbering = Numbering::started(Some(recorded(5, 10)), at(100));
        assert_eq!(
            numbering.unstored_after(Some(&recorded(5, 10))),
            Some(10_000)
        );
        // Another server that has only checked its own start.
        assert_eq!(
            numbering.unstored_after(Some(&recorded(6, 99))),
            Some(10_000)
        );
        numbering.note_recorded(recorded(6, 100), Some(10_000));
        for (found, expected) in [
            (Some(recorded(6, 100)), None),
            (Some(recorded(7, 100)), None),
            // Only the clock was set back.
            (Some(recorded(7, 50)), None),
            (Some(recorded(5, 10)), Some(10_000)),
            (None, Some(0)),
        ] {
            assert_eq!(
                numbering.unstored_after(found.as_ref()),
                expected,
                "{found:?}"
            );
        }
    }

    #[test]
    fn a_server_that_seems_to_run_has_half_a_minute_to_show_it() {
        let open = recorded(5, 100);
        // A command trusts the record.
        let numbering = Numbering::started(Some(open), at(110));
        assert_eq!(numbering.unstored_after(Some(&open)), None);
        numbering.wait_for_another(at(110));
        assert_eq!(numbering.unstored_after(Some(&open)), Some(100_000));
        assert!(numbering.waits(Some(&open), at(139)));
        assert!(!numbering.waits(Some(&open), at(140)));
        let moved = recorded(6, 115);
        assert_eq!(numbering.unstored_after(Some(&moved)), None);
        assert!(!numbering.waits(Some(&moved), at(115)));
    }

    #[test]
    fn a_lost_commit_counts_from_the_newest_record_that_is_left() {
        let numbering = Numbering::started(Some(recorded(5, 90)), at(100));
        numbering.note_recorded(recorded(6, 100), None);
        assert_eq!(numbering.unstored_after(Some(&recorded(6, 100))), None);
        numbering.note_lost(Some(100_000));
        // Another server has recorded more in the meantime.
        let other = recorded(7, 110);
        assert_eq!(numbering.unstored_after(Some(&other)), Some(100_000));
        assert!(!numbering.waits(Some(&other), at(110)));
        // A loss that is noticed after the range was stored is kept.
        numbering.note_recorded(recorded(8, 112), Some(100_001));
        let next = recorded(8, 112);
        assert_eq!(numbering.unstored_after(Some(&next)), Some(100_000));
        numbering.note_recorded(recorded(9, 115), Some(100_000));
        assert_eq!(numbering.unstored_after(Some(&recorded(9, 115))), None);
        // No record of this process is left.
        numbering.note_lost(None);
        assert_eq!(
            numbering.unstored_after(Some(&recorded(9, 115))),
            Some(90_000)
        );
    }

    #[test]
    fn numbers_of_the_latest_denials_are_remembered() {
        let numbering = Numbering::default();
        for number in 0..=MAX_DENIALS as u64 {
            numbering.note_denial(number);
        }
        assert!(!numbering.has_denied(0));
        assert!(numbering.has_denied(1) && numbering.has_denied(MAX_DENIALS as u64));
    }

    #[test]
    fn staff_are_alerted_once_an_hour() {
        let numbering = Numbering::default();
        let hour = ALERT_INTERVAL;
        let alerts = [hour, hour, hour * 2 - Duration::from_secs(1), hour * 2];
        let alerts = alerts.map(|now| numbering.take_alert(now));
        assert_eq!(alerts, [true, false, false, true]);
    }
}
