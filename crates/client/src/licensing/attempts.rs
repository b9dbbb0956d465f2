//! Read the log of attempts.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};

use crate::app::App;
use crate::store::local_license_validation_attempts::{
    AttemptsOfDay, LoggedAttempt, count_by_day, newest, newest_failures,
};

/// How long the log of another process may be missing a line.
const MAX_AGE: Duration = Duration::from_secs(10);
/// Failures in a summary.
const MAX_FAILURES: u64 = 5;

/// The log, newest line first. Anyone may ask, so all callers share one query
/// in ten seconds; the lines of this process are in it immediately. `None` when
/// the database refuses, which is logged.
pub async fn attempts(app: &App) -> Option<Arc<[LoggedAttempt]>> {
    let read = || {
        let store = app.store.clone();
        async move {
            let db = store.db();
            let lines = store.within(newest(&db)).await;
            lines
                .inspect_err(|error| tracing::warn!(%error, "failed to read the log of attempts"))
                .map(Arc::from)
                .ok()
        }
    };
    app.attempts.get(MAX_AGE, read).await.flatten()
}

/// The log in a few figures.
#[derive(Clone, Debug)]
pub struct AttemptsSummary {
    /// Counts of the days that have lines.
    pub days: Vec<AttemptsOfDay>,
    /// The newest lines that are no success, newest first.
    pub failures: Vec<LoggedAttempt>,
}

/// What came of the calls since the beginning of a day. The database counts; all callers
/// share one reading in ten seconds, as with [`attempts`].
pub async fn summary(app: &App, from: DateTime<Utc>) -> Option<Arc<AttemptsSummary>> {
    let read = || {
        let store = app.store.clone();
        async move {
            let db = store.db();
            let reading = async {
                Ok(AttemptsSummary {
                    days: count_by_day(&db, from).await?,
                    failures: newest_failures(&db, from, MAX_FAILURES).await?,
                })
            };
            store
                .within(reading)
                .await
                .inspect_err(|error| tracing::warn!(%error, "failed to count the log of attempts"))
                .map(Arc::new)
                .ok()
        }
    };
    app.attempts_summary.get(MAX_AGE, read).await.flatten()
}
