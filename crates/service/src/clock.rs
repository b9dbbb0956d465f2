//! The time. This is the only file that may read it.

use std::future::Future;
use std::pin::Pin;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use chrono::{DateTime, SubsecRound as _, TimeDelta, Utc};
use tokio::sync::watch;

/// Where "now" comes from.
pub trait Clock: Send + Sync {
    /// The current instant, in whole microseconds: what a database column holds.
    fn now(&self) -> DateTime<Utc>;

    /// How long the process has been running, for measuring waits: it does not
    /// jump when the wall clock is set.
    fn uptime(&self) -> Duration {
        BEGINNING.elapsed()
    }

    /// Waits until the clock shows `instant`.
    fn sleep_until(&self, instant: DateTime<Utc>) -> Pin<Box<dyn Future<Output = ()> + Send + '_>>;
}

#[expect(clippy::disallowed_methods, reason = "this is where time comes in")]
static BEGINNING: LazyLock<Instant> = LazyLock::new(Instant::now);

/// The machine's wall clock.
#[derive(Debug, Default)]
pub struct SystemClock;

/// Longest sleep before the wall clock is looked at again: it may have been
/// stepped, and the machine suspended.
const LONGEST_SLEEP: Duration = Duration::from_secs(30);

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is where time comes in")]
    fn now(&self) -> DateTime<Utc> {
        Utc::now().trunc_subsecs(6)
    }

    fn sleep_until(&self, instant: DateTime<Utc>) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(async move {
            while let Ok(wait) = (instant - self.now()).to_std()
                && !wait.is_zero()
            {
                tokio::time::sleep(wait.min(LONGEST_SLEEP)).await;
            }
        })
    }
}

/// A clock that stands still until it is moved, for tests.
#[derive(Debug)]
pub struct ManualClock(watch::Sender<DateTime<Utc>>);

impl ManualClock {
    /// A clock that shows `now`.
    #[must_use]
    pub fn at(now: DateTime<Utc>) -> Self {
        Self(watch::Sender::new(now))
    }

    /// Moves the clock forward, and wakes those who sleep.
    pub fn advance(&self, by: TimeDelta) {
        self.0.send_modify(|now| *now += by);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> DateTime<Utc> {
        *self.0.borrow()
    }

    fn sleep_until(&self, instant: DateTime<Utc>) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        let mut shown = self.0.subscribe();
        Box::pin(async move {
            // The sender lives in `self`, so waiting cannot fail.
            let _ = shown.wait_for(|now| *now >= instant).await;
        })
    }
}
