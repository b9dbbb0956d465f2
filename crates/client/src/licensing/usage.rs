//! Track usage.

use std::time::Duration;

use license_core::usage::{Gauge, NoRoom, Usage};

use crate::app::App;
use crate::knowledge::reports::NotKept;

/// Maximum age of a count if an exact one is needed …
pub const FRESH: Duration = Duration::from_secs(1);
/// … and if anyone may ask.
pub const SHARED: Duration = Duration::from_secs(10);

/// Why a report is not accepted.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// The reports would exceed a limit.
    #[error(transparent)]
    NoRoom(#[from] NoRoom),
    /// Neither the database nor the local copy can be written.
    #[error(
        "The report was not accepted: the database is unavailable, and the local copy in \
         STATE_DIR cannot be written. Send the report again later."
    )]
    NotKept,
}

/// Accepts a service's usage report. It takes effect immediately, is stored in the database or the
/// local copy before it is acknowledged, and is shared with the other processes as soon as the
/// database is available.
///
/// # Errors
/// One [`ReportError`] for each reason.
pub async fn report(app: &App, source: String, gauge: Gauge) -> Result<Usage, ReportError> {
    let now = gauge.reported_at;
    app.meter.report(source, gauge)?;
    let kept = app.knowledge.keep_usage(now).await;
    kept.map_err(|NotKept| ReportError::NotKept)?;
    Ok(app.meter.usage(now))
}

/// The current usage, counted less than `max_age` ago if the database is available.
pub async fn measure(app: &App, max_age: Duration) -> Usage {
    if app.knowledge.is_database_available() {
        app.meter.count(app.store.db(), max_age).await;
    }
    app.meter.usage(app.clock.now())
}
