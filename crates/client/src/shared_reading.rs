//! Values that anyone may request, and that are expensive to read.

use std::fmt;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::FutureExt as _;
use license_service::clock::Clock;
use tokio::sync::watch;

/// A value that one task reads for all callers. Regardless of how many ask, and of whether they
/// wait for the result, no reading starts before the last one is older than the caller accepts.
pub struct SharedReading<T> {
    clock: Arc<dyn Clock>,
    state: Arc<Mutex<State<T>>>,
}

struct State<T> {
    latest: Option<Reading<T>>,
    running: Option<watch::Receiver<Option<Reading<T>>>>,
    /// Incremented when the result of a running reading is no longer valid.
    generation: u64,
}

#[derive(Clone)]
struct Reading<T> {
    finished_at: Duration,
    /// `None` after a panic.
    value: Option<T>,
}

impl<T: Clone + Send + Sync + 'static> SharedReading<T> {
    /// Nothing has been read yet.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            clock,
            state: Arc::new(Mutex::new(State {
                latest: None,
                running: None,
                generation: 0,
            })),
        }
    }

    /// The value, read at most `max_age` ago. `read` runs to completion even if the caller
    /// disconnects. `None` if it panicked.
    pub async fn get<F>(&self, max_age: Duration, read: impl FnOnce() -> F) -> Option<T>
    where
        F: Future<Output = T> + Send + 'static,
    {
        let mut running = {
            let mut state = lock(&self.state);
            if let Some(latest) = &state.latest
                && self.clock.uptime().saturating_sub(latest.finished_at) < max_age
            {
                return latest.value.clone();
            }
            match &state.running {
                Some(running) => running.clone(),
                None => self.start(&mut state, read()),
            }
        };
        let reading = running.wait_for(Option::is_some).await;
        // Only a runtime that is shutting down drops the task before it has finished.
        reading.ok()?.clone()?.value
    }

    /// The newest value of any age, without reading anything.
    #[must_use]
    pub fn latest(&self) -> Option<T> {
        lock(&self.state).latest.clone()?.value
    }

    /// Makes the next caller read again, because the value has changed.
    pub fn invalidate(&self) {
        let mut state = lock(&self.state);
        state.generation += 1;
        state.latest = None;
        state.running = None;
    }

    fn start(
        &self,
        state: &mut State<T>,
        read: impl Future<Output = T> + Send + 'static,
    ) -> watch::Receiver<Option<Reading<T>>> {
        let (sender, receiver) = watch::channel(None);
        state.running = Some(receiver.clone());
        let (clock, shared, generation) =
            (self.clock.clone(), self.state.clone(), state.generation);
        tokio::spawn(async move {
            let value = AssertUnwindSafe(read).catch_unwind().await.ok();
            let finished_at = clock.uptime();
            let reading = Reading { finished_at, value };
            {
                let mut state = lock(&shared);
                if state.generation == generation {
                    state.latest = Some(reading.clone());
                    state.running = None;
                }
            }
            sender.send_replace(Some(reading));
        });
        receiver
    }
}

impl<T> fmt::Debug for SharedReading<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedReading").finish_non_exhaustive()
    }
}

/// The state is replaced as a whole: a panic cannot leave it half-written.
fn lock<T>(state: &Mutex<State<T>>) -> MutexGuard<'_, State<T>> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use futures_util::future::join_all;
    use license_service::clock::SystemClock;
    use tokio::sync::Notify;

    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    fn reading() -> (SharedReading<u32>, Arc<AtomicU32>) {
        (SharedReading::new(Arc::new(SystemClock)), Arc::default())
    }

    fn count(reads: &Arc<AtomicU32>) -> impl Future<Output = u32> + Send + 'static {
        let reads = reads.clone();
        async move {
            tokio::task::yield_now().await;
            reads.fetch_add(1, Ordering::SeqCst) + 1
        }
    }

    #[tokio::test]
    async fn many_callers_cost_one_reading() {
        let (shared, reads) = reading();
        let answers = (0..1000).map(|_| shared.get(MINUTE, || count(&reads)));
        assert!(join_all(answers).await.iter().all(|it| *it == Some(1)));
        assert_eq!(shared.get(MINUTE, || count(&reads)).await, Some(1));
        assert_eq!(shared.latest(), Some(1));
        // Callers that accept no cached value get a new reading.
        assert_eq!(shared.get(Duration::ZERO, || count(&reads)).await, Some(2));
    }

    #[tokio::test]
    async fn a_caller_that_gives_up_neither_stops_the_reading_nor_starts_another() {
        let (shared, reads) = reading();
        let go = Arc::new(Notify::new());
        let read = || {
            let (reads, go) = (reads.clone(), go.clone());
            async move {
                reads.fetch_add(1, Ordering::SeqCst);
                go.notified().await;
                7
            }
        };
        for _ in 0..100 {
            let gave_up = shared.get(MINUTE, read).now_or_never();
            assert_eq!(gave_up, None);
            tokio::task::yield_now().await;
        }
        assert_eq!(reads.load(Ordering::SeqCst), 1);
        go.notify_one();
        assert_eq!(shared.get(MINUTE, read).await, Some(7));
        assert_eq!(reads.load(Ordering::SeqCst), 1);
    }

    #[tokio::test]
    async fn what_was_read_before_a_change_does_not_count_after_it() {
        let (shared, reads) = reading();
        let go = Arc::new(Notify::new());
        let (waiting, old) = (go.clone(), 100);
        let slow = shared.get(MINUTE, || async move {
            waiting.notified().await;
            old
        });
        let mut slow = Box::pin(slow);
        assert!((&mut slow).now_or_never().is_none());
        shared.invalidate();
        assert_eq!(shared.get(MINUTE, || count(&reads)).await, Some(1));
        go.notify_one();
        assert_eq!(slow.await, Some(old), "it was asked before the change");
        assert_eq!(shared.get(MINUTE, || count(&reads)).await, Some(1));
    }

    #[tokio::test]
    async fn a_panic_is_no_value_and_is_not_repeated_for_every_caller() {
        let (shared, reads) = reading();
        let broken = shared.get(MINUTE, || async { panic!("broken") });
        assert_eq!(broken.await, None);
        assert_eq!(shared.get(MINUTE, || count(&reads)).await, None);
        assert_eq!(shared.get(Duration::ZERO, || count(&reads)).await, Some(1));
    }
}
