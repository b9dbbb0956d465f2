//! Determine which calls are due next.

use chrono::{DateTime, Utc};
use license_core::schedule::calls::Due;

use crate::app::App;

/// Determines when the next calls are due, at `now`.
#[must_use]
pub fn due(app: &App, now: DateTime<Utc>) -> Due {
    let snapshot = app.snapshot();
    let standing = snapshot.standing(now);
    app.knowledge
        .calls()
        .due(&snapshot.evidence, &standing, app.intervals, now)
}
