//! Read the log of attempts.

use std::sync::Arc;
use std::time::Duration;

use crate::app::App;
use crate::store::local_license_validation_attempts::{LoggedAttempt, newest};

/// How long the log of another process may be missing a line.
const MAX_AGE: Duration = Duration::from_secs(10);

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
