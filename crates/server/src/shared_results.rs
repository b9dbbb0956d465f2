//! Results that callers who ask for the same at the same time share.

use std::collections::HashMap;
use std::fmt;
use std::hash::Hash;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex as StdMutex, PoisonError, Weak};

use tokio::sync::Mutex;

/// Results by what was asked for. A result is kept only while someone waits for it.
pub struct SharedResults<K, T>(StdMutex<HashMap<K, Weak<Slot<T>>>>);

struct Slot<T> {
    /// How often the work has begun.
    begun: AtomicU64,
    /// The number of the last work that has succeeded, and its result.
    last: Mutex<Option<(u64, Arc<T>)>>,
}

impl<K, T> Default for SharedResults<K, T> {
    fn default() -> Self {
        Self(StdMutex::default())
    }
}

impl<K, T> fmt::Debug for SharedResults<K, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedResults").finish_non_exhaustive()
    }
}

impl<K: Eq + Hash, T> SharedResults<K, T> {
    /// The result of `work`, or of the same work that another caller has begun after this call. For
    /// each key, one caller works at a time. So a result is never older than the call, and any
    /// number of callers that wait get the next one together.
    ///
    /// # Errors
    /// Those of the work, which are not shared.
    pub async fn get<E>(
        &self,
        key: K,
        work: impl Future<Output = Result<T, E>>,
    ) -> Result<Arc<T>, E> {
        let slot = self.slot(key);
        let begun_before = slot.begun.load(Ordering::SeqCst);
        let mut last = slot.last.lock().await;
        if let Some((number, result)) = &*last
            && *number > begun_before
        {
            return Ok(result.clone());
        }
        let number = slot.begun.fetch_add(1, Ordering::SeqCst) + 1;
        let result = Arc::new(work.await?);
        *last = Some((number, result.clone()));
        Ok(result)
    }

    fn slot(&self, key: K) -> Arc<Slot<T>> {
        let mut slots = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        slots.retain(|_, slot| slot.strong_count() > 0);
        if let Some(slot) = slots.get(&key).and_then(Weak::upgrade) {
            return slot;
        }
        let slot = Arc::new(Slot {
            begun: AtomicU64::new(0),
            last: Mutex::new(None),
        });
        slots.insert(key, Arc::downgrade(&slot));
        slot
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use futures_util::future::join_all;
    use tokio::sync::oneshot;

    use super::*;

    #[tokio::test]
    async fn callers_that_wait_share_a_result_that_is_not_older_than_their_calls() {
        let results = SharedResults::default();
        let worked = AtomicU64::new(0);
        let work = || async { Ok::<_, Infallible>(worked.fetch_add(1, Ordering::SeqCst)) };
        let (end, ended) = oneshot::channel::<()>();
        let first = results.get("all", async {
            ended.await.unwrap();
            work().await
        });
        let mut first = Box::pin(first);
        assert!(futures_util::poll!(&mut first).is_pending());
        // These have asked after the first one has begun to look.
        let mut others = Box::pin(join_all((0..60).map(|_| results.get("all", work()))));
        assert!(futures_util::poll!(&mut others).is_pending());
        assert_eq!(*results.get("another", work()).await.unwrap(), 0);
        end.send(()).unwrap();
        let (first, others) = tokio::join!(first, others);
        assert_eq!(*first.unwrap(), 1);
        assert!(others.into_iter().all(|it| *it.unwrap() == 2));
        // Nothing is kept for those who ask later.
        assert_eq!(*results.get("all", work()).await.unwrap(), 3);
        assert_eq!(results.0.lock().unwrap().len(), 1);
    }

    #[tokio::test]
    async fn a_caller_that_leaves_or_fails_does_not_hold_up_the_others() {
        let results = SharedResults::default();
        let mut left = Box::pin(results.get("all", std::future::pending::<Result<u8, u8>>()));
        assert!(futures_util::poll!(&mut left).is_pending());
        let mut failing = Box::pin(results.get("all", async { Err(1) }));
        let mut next = Box::pin(results.get("all", async { Ok::<_, u8>(2) }));
        assert!(futures_util::poll!(&mut failing).is_pending());
        assert!(futures_util::poll!(&mut next).is_pending());
        drop(left);
        assert_eq!(failing.await.unwrap_err(), 1);
        assert_eq!(*next.await.unwrap(), 2);
    }
}
