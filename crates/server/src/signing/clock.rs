//! The clock that documents are signed by.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chrono::{DateTime, TimeDelta, Utc};
use license_core::signing_clock::{ClockDoubt, ClockWatch, Reading, SigningTime};
use license_service::clock::Clock;

use crate::store::signing_clock::{self, Recorded};
use crate::store::{Store, StoreError};

/// What this process knows about its clock, in memory: asking costs no query.
pub struct SigningClock {
    clock: Arc<dyn Clock>,
    known: Mutex<Known>,
}

struct Known {
    watch: ClockWatch,
    /// The newest acceptance that was taken up.
    accepted_at: Option<DateTime<Utc>>,
    /// Whether this process has signed something.
    has_signed: bool,
}

impl SigningClock {
    /// A clock at the start of a process: with what is recorded, and compared with
    /// the database's clock.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn open(store: &Store, clock: Arc<dyn Clock>) -> Result<Self, StoreError> {
        let recorded = signing_clock::find(store.reader()).await?;
        let reading = read(&*clock);
        let watch = ClockWatch::started(reading, recorded.map(|it| it.at));
        let opened = Self {
            known: Mutex::new(Known {
                watch,
                accepted_at: recorded.and_then(|it| it.accepted_at),
                has_signed: false,
            }),
            clock,
        };
        opened.compare(store).await?;
        Ok(opened)
    }

    /// Whether to sign at `now`, which was read from this clock within the request.
    ///
    /// # Errors
    /// [`ClockDoubt`], while the clock may be wrong.
    pub fn permit(&self, now: DateTime<Utc>) -> Result<SigningTime, ClockDoubt> {
        let reading = read(&*self.clock);
        self.lock().watch.permit(reading, now)
    }

    /// Notes that something was signed.
    pub fn note_signed(&self) {
        self.lock().has_signed = true;
    }

    /// Compares this clock with the database's; answers how far this one is ahead,
    /// and `None` where the database has none of its own.
    ///
    /// # Errors
    /// When the database refuses; the comparison before goes on counting.
    pub async fn compare(&self, store: &Store) -> Result<Option<TimeDelta>, StoreError> {
        let Some(shown) = signing_clock::database_time(store.reader()).await? else {
            return Ok(None);
        };
        let ahead = self.clock.ahead_of(shown);
        let reading = read(&*self.clock);
        self.lock().watch.compare(reading, ahead);
        Ok(Some(ahead))
    }

    /// Takes up that a person has accepted this clock since the last look; answers
    /// whether that is so. Another server's clock, which shows another time, may
    /// have been meant.
    pub fn take_up(&self, recorded: &Recorded) -> bool {
        let reading = read(&*self.clock);
        let mut known = self.lock();
        let is_new = recorded.accepted_at != known.accepted_at;
        let accepted = recorded.accepted_at.filter(|_| is_new);
        let is_meant = accepted.is_some_and(|at| known.watch.accept(reading, at));
        if is_meant {
            known.accepted_at = accepted;
        }
        is_meant
    }

    /// Records that this clock is trusted now, if it is. Nothing is recorded before
    /// anything was signed: a server that has only been tried out may rest.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn record(&self, store: &Store) -> Result<(), StoreError> {
        let now = self.clock.now();
        let has_signed = self.lock().has_signed;
        match self.permit(now) {
            Ok(at) => signing_clock::record(store.reader(), at, has_signed).await,
            Err(_) => Ok(()),
        }
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
