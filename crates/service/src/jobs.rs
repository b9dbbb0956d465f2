//! The background jobs of a service, under supervision: a job that panics is
//! logged, counted, shown by `/readyz`, and started again.
//!
//! A job is a loop that never ends, as its type shows.

use std::any::Any;
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::FutureExt as _;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::clock::Clock;

/// Delay before a job is restarted after its first failure; it doubles with each further failure …
const MIN_BACKOFF: Duration = Duration::from_secs(1);
/// … up to this maximum.
const MAX_BACKOFF: Duration = Duration::from_secs(60);
/// A job that has run for this long after a failure counts as healthy again.
const RECOVERY_TIME: Duration = Duration::from_secs(60);

/// The jobs of one service.
pub struct Jobs {
    clock: Arc<dyn Clock>,
    shutdown: CancellationToken,
    tracker: TaskTracker,
    states: Mutex<BTreeMap<&'static str, State>>,
}

/// The state of one job.
#[derive(Clone, Copy, Debug, Default)]
struct State {
    /// Running since the start.
    failures: u64,
    health: Health,
}

#[derive(Clone, Copy, Debug, Default)]
enum Health {
    /// It has not failed recently.
    #[default]
    Well,
    /// It is waiting to be restarted.
    Down,
    /// When it was restarted, in running time.
    Recovering(Duration),
}

impl Jobs {
    /// No jobs yet. They end when `shutdown` is cancelled.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>, shutdown: CancellationToken) -> Self {
        Self {
            clock,
            shutdown,
            tracker: TaskTracker::new(),
            states: Mutex::default(),
        }
    }

    /// Starts the job that `make` creates, and creates it again whenever it fails.
    pub fn run<F, J>(self: &Arc<Self>, name: &'static str, make: F)
    where
        F: Fn() -> J + Send + Sync + 'static,
        J: Future<Output = Infallible> + Send,
    {
        self.lock().insert(name, State::default());
        let jobs = self.clone();
        let shutdown = self.shutdown.clone();
        self.tracker.spawn(async move {
            shutdown
                .run_until_cancelled_owned(jobs.supervise(name, make))
                .await;
            tracing::debug!(job = name, "stopped");
        });
    }

    /// Waits until all jobs have ended, after `shutdown` was cancelled.
    pub async fn ended(&self) {
        self.tracker.close();
        self.tracker.wait().await;
    }

    /// The jobs that are not running, or have been running for less than a minute since they
    /// failed.
    #[must_use]
    pub fn failing(&self) -> Vec<&'static str> {
        let now = self.clock.running();
        let is_failing = |state: &State| match state.health {
            Health::Well => false,
            Health::Down => true,
            Health::Recovering(since) => now.saturating_sub(since) < RECOVERY_TIME,
        };
        let states = self.lock();
        let failing = states.iter().filter(|(_, state)| is_failing(state));
        failing.map(|(name, _)| *name).collect()
    }

    /// Whether every job is running, or waiting to be restarted.
    pub(crate) fn are_alive(&self) -> bool {
        self.tracker.len() >= self.lock().len()
    }

    /// The help text of the metric that counts [`Self::failures`].
    pub const FAILURES_HELP: &str = "Background job failures, each followed by a restart";

    /// How often each job has failed since the start.
    #[must_use]
    pub fn failures(&self) -> Vec<(&'static str, u64)> {
        let states = self.lock();
        let failures = states.iter().map(|(name, state)| (*name, state.failures));
        failures.collect()
    }

    async fn supervise<J>(&self, name: &'static str, make: impl Fn() -> J) -> Infallible
    where
        J: Future<Output = Infallible>,
    {
        let mut backoff = MIN_BACKOFF;
        loop {
            let began = self.clock.running();
            let job = AssertUnwindSafe(async { make().await });
            let panic = match job.catch_unwind().await {
                Ok(never) => match never {},
                Err(panic) => panic,
            };
            if self.clock.running().saturating_sub(began) >= RECOVERY_TIME {
                backoff = MIN_BACKOFF;
            }
            self.note(name, |state| {
                state.failures += 1;
                state.health = Health::Down;
            });
            tracing::error!(
                job = name,
                what = words(&*panic),
                seconds = backoff.as_secs(),
                "a background job failed; restarting it after a delay"
            );
            self.clock.sleep(backoff).await;
            backoff = MAX_BACKOFF.min(backoff * 2);
            let now = self.clock.running();
            self.note(name, |state| state.health = Health::Recovering(now));
        }
    }

    fn note(&self, name: &'static str, note: impl FnOnce(&mut State)) {
        note(self.lock().entry(name).or_default());
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<&'static str, State>> {
        self.states.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The message of a panic, if it has one.
pub(crate) fn words(panic: &(dyn Any + Send)) -> Option<&str> {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str))
}

/// The same, for an error that requires a message.
pub(crate) fn text(panic: &(dyn Any + Send)) -> &str {
    words(panic).unwrap_or("a panic without a message")
}

#[cfg(test)]
mod tests {
    use std::future::pending;
    use std::sync::atomic::{AtomicU32, Ordering};

    use chrono::{DateTime, TimeDelta};

    use super::*;
    use crate::clock::ManualClock;

    async fn until(holds: impl Fn() -> bool) {
        for _ in 0..1000 {
            if holds() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("never came about");
    }

    #[tokio::test]
    async fn a_job_that_panics_is_counted_shown_and_started_again() {
        let clock = Arc::new(ManualClock::at(DateTime::UNIX_EPOCH));
        let shutdown = CancellationToken::new();
        let jobs = Arc::new(Jobs::new(clock.clone(), shutdown.clone()));
        let starts = Arc::new(AtomicU32::new(0));
        let counted = starts.clone();
        // It panics when created, then while running, and finally works.
        jobs.run("call home", move || {
            let start = counted.fetch_add(1, Ordering::Relaxed);
            assert_ne!(start, 0, "made wrongly");
            async move {
                assert_ne!(start, 1, "worked wrongly");
                pending().await
            }
        });
        jobs.run("listen", pending);
        until(|| starts.load(Ordering::Relaxed) == 3).await;
        until(|| jobs.failures() == [("call home", 2), ("listen", 0)]).await;
        assert_eq!(jobs.failing(), ["call home"]);
        until(|| matches!(jobs.lock()["call home"].health, Health::Recovering(_))).await;
        clock.advance(TimeDelta::seconds(59));
        assert_eq!(jobs.failing(), ["call home"]);
        clock.advance(TimeDelta::seconds(1));
        assert!(jobs.failing().is_empty());
        assert!(jobs.are_alive());
        shutdown.cancel();
        let ended = tokio::time::timeout(Duration::from_secs(10), jobs.ended());
        ended.await.unwrap();
        assert!(!jobs.are_alive());
    }
}
