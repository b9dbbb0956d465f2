//! The clock that is used for signing.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chrono::{DateTime, TimeDelta, Utc};
use license_core::signing_clock::{ClockDoubt, ClockWatch, Reading, SigningTime};
use license_service::clock::Clock;

/// What this process knows about its clock, in memory: reading it costs no query.
pub struct SigningClock {
    clock: Arc<dyn Clock>,
    known: Mutex<Known>,
}

struct Known {
    watch: ClockWatch,
    /// The newest acceptance that was applied.
    accepted_at: Option<DateTime<Utc>>,
    /// Whether this process has signed something.
    has_signed: bool,
    /// The database has refused to compare the clock, or to record that it is trusted.
    is_refused: bool,
}

impl SigningClock {
    /// A clock at the start of a process: with the newest recorded instant, and the
    /// newest acceptance.
    #[must_use]
    pub fn started(
        clock: Arc<dyn Clock>,
        recorded_at: Option<DateTime<Utc>>,
        accepted_at: Option<DateTime<Utc>>,
    ) -> Self {
        let watch = ClockWatch::started(read(&*clock), recorded_at);
        Self {
            known: Mutex::new(Known {
                watch,
                accepted_at,
                has_signed: false,
                is_refused: false,
            }),
            clock,
        }
    }

    /// Whether to sign at `now`, which was read from this clock within the request.
    ///
    /// # Errors
    /// [`ClockDoubt`], while the clock may be wrong.
    pub fn permit(&self, now: DateTime<Utc>) -> Result<SigningTime, ClockDoubt> {
        let reading = read(&*self.clock);
        self.lock().watch.permit(reading, now)
    }

    /// Records that something was signed.
    pub fn note_signed(&self) {
        self.lock().has_signed = true;
    }

    /// Records whether the database has refused the comparison, or its record.
    pub fn note_refused(&self, is_refused: bool) {
        self.lock().is_refused = is_refused;
    }

    /// Whether this clock is compared with the database's, as far as is known.
    #[must_use]
    pub fn is_watched(&self) -> bool {
        !self.lock().is_refused
    }

    /// Compares this clock with the time that the database's clock has just shown; returns how far
    /// this one is ahead.
    pub fn compare(&self, shown: DateTime<Utc>) -> TimeDelta {
        let ahead = self.clock.ahead_of(shown);
        let reading = read(&*self.clock);
        self.lock().watch.compare(reading, ahead);
        ahead
    }

    /// Applies a person's acceptance of this clock, if it is newer than the last applied one;
    /// returns whether it was applied. The acceptance may have been meant for another server's
    /// clock, which shows a different time.
    pub fn take_up(&self, accepted_at: Option<DateTime<Utc>>) -> bool {
        let reading = read(&*self.clock);
        let mut known = self.lock();
        let is_new = accepted_at != known.accepted_at;
        let accepted = accepted_at.filter(|_| is_new);
        let is_meant = accepted.is_some_and(|at| known.watch.accept(reading, at));
        if is_meant {
            known.accepted_at = accepted;
        }
        is_meant
    }

    /// The instant at which to record that this clock is trusted, if it is, and whether the first
    /// record may be made: no record is created before anything was signed, so that a server that
    /// has never signed may be off for longer than a day.
    #[must_use]
    pub fn to_record(&self) -> Option<(SigningTime, bool)> {
        let at = self.permit(self.clock.now()).ok()?;
        Some((at, self.lock().has_signed))
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn read(clock: &dyn Clock) -> Reading {
    let since_boot = clock.machine().since_boot;
    Reading {
        wall: clock.now(),
        since_boot,
    }
}
