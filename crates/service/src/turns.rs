//! Queues: a few callers have a turn at a time, and a limited number wait for a limited time.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, Hash, RandomState};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

/// The limits of one queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueBounds {
    /// Maximum number of callers that have a turn at a time.
    pub at_a_time: usize,
    /// Maximum number of waiting callers.
    pub max_waiting: usize,
    /// How long each of them waits at most.
    pub timeout: Duration,
}

/// Queues with the same bounds, one for each key. A queue uses memory only while it has callers.
/// Clones share the queues.
#[derive(Clone, Debug)]
pub struct Turns(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    bounds: QueueBounds,
    /// Keys are kept as a hash with a random seed: small, and no caller can make two
    /// collide.
    hasher: RandomState,
    queues: Mutex<HashMap<u64, Queue>>,
}

#[derive(Debug)]
struct Queue {
    turns: Arc<Semaphore>,
    callers: usize,
}

/// A turn, until it is dropped.
#[derive(Debug)]
pub struct Turn {
    // Released first, so that the queue is removed only when it is unused.
    _permit: OwnedSemaphorePermit,
    _place: Place,
}

/// A caller's place in a queue, with a turn or without.
#[derive(Debug)]
struct Place {
    inner: Arc<Inner>,
    key: u64,
}

/// The queue was full, or did not move in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too many callers are waiting")]
pub struct QueueFull;

impl Turns {
    /// Creates queues with these limits.
    #[must_use]
    pub fn new(bounds: QueueBounds) -> Self {
        Self(Arc::new(Inner {
            bounds,
            hasher: RandomState::new(),
            queues: Mutex::default(),
        }))
    }

    /// Waits for a turn in the queue of `key`, first come, first served.
    ///
    /// # Errors
    /// Immediately if the queue is full, otherwise after [`QueueBounds::timeout`].
    pub async fn take(&self, key: &(impl Hash + ?Sized)) -> Result<Turn, QueueFull> {
        let key = self.0.hasher.hash_one(key);
        let (place, turns) = self.enter(key)?;
        match timeout(self.0.bounds.timeout, turns.acquire_owned()).await {
            Ok(Ok(permit)) => Ok(Turn {
                _permit: permit,
                _place: place,
            }),
            // The semaphore is never closed.
            Ok(Err(_)) | Err(_) => Err(QueueFull),
        }
    }

    fn enter(&self, key: u64) -> Result<(Place, Arc<Semaphore>), QueueFull> {
        let bounds = self.0.bounds;
        let mut queues = self.0.lock();
        let queue = queues.entry(key).or_insert_with(|| Queue {
            turns: Arc::new(Semaphore::new(bounds.at_a_time)),
            callers: 0,
        });
        if queue.callers >= bounds.at_a_time + bounds.max_waiting {
            return Err(QueueFull);
        }
        queue.callers += 1;
        let place = Place {
            inner: self.0.clone(),
            key,
        };
        Ok((place, queue.turns.clone()))
    }
}

impl Inner {
    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<u64, Queue>> {
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut queues = self.inner.lock();
        if let Some(queue) = queues.get_mut(&self.key) {
            queue.callers -= 1;
            if queue.callers == 0 {
                queues.remove(&self.key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::task::Poll;

    use futures_util::poll;

    use super::*;

    fn turns(at_a_time: usize, max_waiting: usize, timeout: Duration) -> Turns {
        Turns::new(QueueBounds {
            at_a_time,
            max_waiting,
            timeout,
        })
    }

    const HOUR: Duration = Duration::from_secs(3600);

    #[tokio::test]
    async fn a_full_queue_refuses_immediately_and_holds_up_no_other() {
        let turns = turns(2, 3, HOUR);
        let first = turns.take("a").await.unwrap();
        let _second = turns.take("a").await.unwrap();
        let mut waiting: Vec<_> = (0..3).map(|_| Box::pin(turns.take("a"))).collect();
        for caller in &mut waiting {
            assert!(poll!(caller).is_pending());
        }
        assert_eq!(turns.take("a").await.unwrap_err(), QueueFull);
        assert!(turns.take("b").await.is_ok());
        // In the order in which they came; a caller that leaves makes room.
        drop(first);
        assert!(poll!(&mut waiting[1]).is_pending());
        let Poll::Ready(Ok(_third)) = poll!(&mut waiting[0]) else {
            panic!("the first that waited has no turn");
        };
        drop(waiting.pop());
        let mut late = Box::pin(turns.take("a"));
        assert!(poll!(&mut late).is_pending());
    }

    #[tokio::test]
    async fn waiting_ends_and_empty_queues_take_no_memory() {
        let turns = turns(1, 10, Duration::ZERO);
        let first = turns.take("a").await.unwrap();
        for _ in 0..100 {
            assert_eq!(turns.take("a").await.unwrap_err(), QueueFull);
        }
        assert_eq!(turns.0.lock().len(), 1);
        drop(first);
        assert_eq!(turns.0.lock().len(), 0);
        assert!(turns.take("a").await.is_ok());
    }
}
