//! Counts calls from sites in memory, and stores the counts every few seconds: if every call
//! updated a shared row, calls would wait for each other.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use chrono::{DateTime, DurationRound as _, TimeDelta, Utc};

use crate::store::calls::{self, Calls};
use crate::store::{Store, StoreError};

/// Counts that are not stored yet. They are lost if the process is killed.
#[derive(Debug, Default)]
pub struct Traffic(Mutex<HashMap<Key, u64>>);

type Key = (DateTime<Utc>, &'static str, &'static str);

impl Traffic {
    /// Counts a call.
    pub fn note(&self, kind: &'static str, answer: &'static str, now: DateTime<Utc>) {
        let hour = now.duration_trunc(TimeDelta::hours(1)).unwrap_or(now);
        *self.lock().entry((hour, kind, answer)).or_default() += 1;
    }

    /// Stores the counts. Counts that cannot be stored are kept.
    ///
    /// # Errors
    /// If the database returns an error.
    pub async fn write_down(&self, store: &Store) -> Result<(), StoreError> {
        let taken = std::mem::take(&mut *self.lock());
        if taken.is_empty() {
            return Ok(());
        }
        let written = write(store, &taken).await;
        if written.is_err() {
            let mut kept = self.lock();
            for (key, times) in taken {
                *kept.entry(key).or_default() += times;
            }
        }
        written
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, u64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn write(store: &Store, counts: &HashMap<Key, u64>) -> Result<(), StoreError> {
    // In a fixed order, so that two processes never wait for each other.
    let mut counts: Vec<_> = counts.iter().collect();
    counts.sort();
    let transaction = store.begin().await?;
    for ((hour, kind, answer), times) in counts {
        let counted = Calls {
            hour: *hour,
            kind: (*kind).to_owned(),
            answer: (*answer).to_owned(),
            times: *times,
        };
        calls::add(&transaction, &counted).await?;
    }
    transaction.commit().await?;
    Ok(())
}
