//! The log of attempts, read for all callers.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use license_service::clock::Clock;

use crate::shared_reading::SharedReading;
use crate::store::Store;
use crate::store::local_license_validation_attempts::{
    AttemptsOfDay, LoggedAttempt, count_by_day, newest, newest_failures,
};

/// Maximum time for which a line of another process may be missing.
const MAX_AGE: Duration = Duration::from_secs(10);
/// Maximum number of failures in a summary.
const MAX_FAILURES: u64 = 5;

/// The log of attempts. Anyone may ask for it, so all callers share one query in ten
/// seconds; the lines of this process are in it immediately.
pub struct AttemptsLog {
    store: Arc<Store>,
    newest: SharedReading<Option<Arc<[LoggedAttempt]>>>,
    summary: SharedReading<Option<Arc<AttemptsSummary>>>,
}

/// A summary of the log.
#[derive(Clone, Debug)]
pub struct AttemptsSummary {
    /// The counts of the days that have lines.
    pub days: Vec<AttemptsOfDay>,
    /// The newest lines that are not successes, newest first.
    pub failures: Vec<LoggedAttempt>,
}

impl AttemptsLog {
    /// Nothing has been read yet.
    #[must_use]
    pub fn new(store: Arc<Store>, clock: Arc<dyn Clock>) -> Self {
        Self {
            store,
            newest: SharedReading::new(clock.clone()),
            summary: SharedReading::new(clock),
        }
    }

    /// The lines, newest first. `None` if the database fails, which is logged.
    pub async fn newest(&self) -> Option<Arc<[LoggedAttempt]>> {
        let read = || {
            let store = self.store.clone();
            async move {
                let db = store.db();
                let lines = store.within(newest(&db)).await;
                lines
                    .inspect_err(|error| tracing::warn!(%error, "failed to read the attempts log"))
                    .map(Arc::from)
                    .ok()
            }
        };
        self.newest.get(MAX_AGE, read).await.flatten()
    }

    /// The results of calls by day, since the beginning of the first day, counted by the database.
    /// `None` if it fails, which is logged.
    pub async fn summary(&self, from: DateTime<Utc>, days: u32) -> Option<Arc<AttemptsSummary>> {
        let read = || {
            let store = self.store.clone();
            async move {
                let db = store.db();
                let reading = async {
                    Ok(AttemptsSummary {
                        days: count_by_day(&db, from, days).await?,
                        failures: newest_failures(&db, from, MAX_FAILURES).await?,
                    })
                };
                store
                    .within(reading)
                    .await
                    .inspect_err(|error| tracing::warn!(%error, "failed to count the attempts"))
                    .map(Arc::new)
                    .ok()
            }
        };
        self.summary.get(MAX_AGE, read).await.flatten()
    }

    /// Makes the next caller read the log again, because lines were added.
    pub fn invalidate(&self) {
        self.newest.invalidate();
        self.summary.invalidate();
    }
}
