//! Logs database failures: the first one, then how many there were, then the end of the outage.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sea_orm::DbErr;
use tokio::time::Instant;

use super::failure::Failure;

/// How often a continuing outage is logged.
const REPORT_INTERVAL: Duration = Duration::from_secs(5 * 60);

/// Failures without a success in between.
pub(super) struct Outage {
    /// What fails: `read` or `write`.
    access: &'static str,
    state: Mutex<Option<State>>,
}

struct State {
    since: Instant,
    reported_at: Instant,
    failures: u64,
    last: (Instant, DbErr),
}

impl Outage {
    pub(super) fn new(access: &'static str) -> Self {
        Self {
            access,
            state: Mutex::default(),
        }
    }

    /// Records that the database has failed.
    pub(super) fn failed(&self, error: &DbErr, now: Instant) {
        let access = self.access;
        let mut state = self.lock();
        let Some(outage) = &mut *state else {
            *state = Some(State {
                since: now,
                reported_at: now,
                failures: 1,
                last: (now, error.clone()),
            });
            drop(state);
            let error = super::words(error);
            tracing::error!(
                access,
                error,
                "database unavailable; further failures are counted"
            );
            return;
        };
        outage.failures += 1;
        outage.last = (now, error.clone());
        if now - outage.reported_at < REPORT_INTERVAL {
            return;
        }
        outage.reported_at = now;
        let (failures, seconds) = (outage.failures, (now - outage.since).as_secs());
        drop(state);
        let error = super::words(error);
        tracing::error!(
            access,
            failures,
            seconds,
            error,
            "database still unavailable"
        );
    }

    /// Whether the last request has failed.
    pub(super) fn is_going_on(&self) -> bool {
        self.lock().is_some()
    }

    /// Whether larger changes would also be stored, after a small change was just stored: the disk
    /// may be too full for them. If no such failure occurred for long enough, they would.
    ///
    /// # Errors
    /// The last failure.
    pub(super) fn check_recent(&self, limit: Duration, now: Instant) -> Result<(), DbErr> {
        if let Some(outage) = &*self.lock() {
            let (at, error) = &outage.last;
            if Failure::of(error).is_remembered() && now - *at < limit {
                return Err(error.clone());
            }
        }
        self.is_over(now);
        Ok(())
    }

    /// Records that the database has completed a request.
    pub(super) fn is_over(&self, now: Instant) {
        let Some(outage) = self.lock().take() else {
            return;
        };
        let (failures, seconds) = (outage.failures, (now - outage.since).as_secs());
        tracing::info!(
            access = self.access,
            failures,
            seconds,
            "database available again"
        );
    }

    fn lock(&self) -> MutexGuard<'_, Option<State>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tracing_subscriber::fmt::MakeWriter;

    use super::*;
    use crate::clock::ticks;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl std::io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    impl MakeWriter<'_> for Lines {
        type Writer = Self;

        fn make_writer(&self) -> Self {
            self.clone()
        }
    }

    #[test]
    fn the_first_failure_is_written_then_their_number() {
        let lines = Lines::default();
        let log = tracing_subscriber::fmt()
            .with_writer(lines.clone())
            .with_ansi(false)
            .without_time()
            .finish();
        let take = || {
            let bytes = std::mem::take(&mut *lines.0.lock().unwrap());
            String::from_utf8(bytes).unwrap()
        };
        let _log = tracing::subscriber::set_default(log);
        let outage = Outage::new("write");
        let mut now = ticks();
        let error = super::super::failure::read_only();
        for _ in 0..4031 {
            outage.failed(&error, now);
        }
        let written = take();
        assert_eq!(written.lines().count(), 1, "{written}");
        assert!(written.contains("database unavailable"), "{written}");
        assert!(written.contains("is read-only"), "{written}");
        now += REPORT_INTERVAL;
        outage.failed(&error, now);
        let written = take();
        assert!(written.contains("failures=4032 seconds=300"), "{written}");
        outage.is_over(now);
        outage.is_over(now);
        let written = take();
        assert_eq!(written.lines().count(), 1, "{written}");
        assert!(written.contains("available again"), "{written}");
    }

    #[test]
    fn a_full_disk_is_remembered_until_a_change_of_that_size_was_stored() {
        let outage = Outage::new("write");
        let mut now = ticks();
        let limit = Duration::from_secs(10);
        let full = DbErr::Conn(sea_orm::RuntimeErr::Internal("full".to_owned()));
        outage.failed(&full, now);
        assert!(outage.check_recent(limit, now).is_err());
        now += limit;
        assert!(outage.check_recent(limit, now).is_ok());
        // A failure of the connection alone, which another connection has disproved.
        outage.failed(&super::super::failure::timed_out(limit), now);
        assert!(outage.check_recent(limit, now).is_ok());
    }
}
