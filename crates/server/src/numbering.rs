//! What this process knows about the sequence numbers that the database accounts for.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use license_core::restored::number_at;

use crate::store::signing_clock::Recorded;

/// How often staff are alerted at most.
pub const ALERT_INTERVAL: Duration = Duration::from_secs(60 * 60);

/// What is known, in memory.
#[derive(Debug, Default)]
pub struct Numbering(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    /// Numbers after this one may be lost, and the range is not stored yet.
    unstored_after: Option<u64>,
    /// What this process saw recorded about the clock last.
    seen: Option<Recorded>,
    /// When staff were alerted, in time of the running process.
    alerted_at: Option<Duration>,
}

impl Numbering {
    /// At the start of a process: `newest` is the newest number that the database
    /// accounts for. Whether later ones were issued is not known.
    #[must_use]
    pub fn started(newest: u64) -> Self {
        Self(Mutex::new(Known {
            unstored_after: Some(newest),
            ..Known::default()
        }))
    }

    /// The number after which numbers may be lost without a stored range, by what the
    /// database has recorded now. A record that is older than the one that was seen
    /// before means that a backup was restored under this process; an accepted clock
    /// may set it back, too.
    #[must_use]
    pub fn unstored_after(&self, recorded: Option<&Recorded>) -> Option<u64> {
        let known = self.lock();
        let seen = known.seen.as_ref();
        let is_older = seen.is_some_and(|seen| {
            recorded.is_none_or(|it| it.at < seen.at && it.accepted_at <= seen.accepted_at)
        });
        let restored = is_older.then(|| recorded.map_or(0, |it| number_at(it.at)));
        match (known.unstored_after, restored) {
            (Some(start), Some(restored)) => Some(start.min(restored)),
            (start, restored) => start.or(restored),
        }
    }

    /// The range is stored: what is recorded from now on continues.
    pub fn note_stored(&self) {
        let mut known = self.lock();
        known.unstored_after = None;
        known.seen = None;
    }

    /// Stores the recorded state of the clock.
    pub fn note_recorded(&self, recorded: Option<Recorded>) {
        self.lock().seen = recorded;
    }

    /// Whether staff are to be alerted now; they are then, as far as this process knows.
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
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, TimeDelta};

    use super::*;

    fn at(minutes: i64, accepted: Option<i64>) -> Recorded {
        let at = |minutes| DateTime::UNIX_EPOCH + TimeDelta::minutes(minutes);
        Recorded {
            at: at(minutes),
            accepted_at: accepted.map(at),
        }
    }

    #[test]
    fn a_record_that_goes_back_is_a_restored_backup_unless_a_person_set_the_clock() {
        let numbering = Numbering::started(7);
        assert_eq!(numbering.unstored_after(None), Some(7));
        numbering.note_stored();
        assert_eq!(numbering.unstored_after(None), None);
        numbering.note_recorded(Some(at(10, None)));
        for (recorded, expected) in [
            (Some(at(10, None)), None),
            (Some(at(11, None)), None),
            (Some(at(9, None)), Some(9 * 60_000)),
            (Some(at(9, Some(9))), None),
            (None, Some(0)),
        ] {
            assert_eq!(
                numbering.unstored_after(recorded.as_ref()),
                expected,
                "{recorded:?}"
            );
        }
        numbering.note_recorded(Some(at(10, Some(9))));
        assert_eq!(
            numbering.unstored_after(Some(&at(9, Some(9)))),
            Some(9 * 60_000)
        );
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
