//! Calls the License Server when a validation or a heartbeat is due, which
//! [`license_core::schedule`] decides.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use crate::app::App;
use crate::licensing::due::due;
use crate::licensing::heartbeat::heartbeat;
use crate::licensing::validate::validate;

/// Maximum sleep when nothing is due.
const IDLE: TimeDelta = TimeDelta::hours(1);
/// How often a process that does not make the scheduled calls checks whether it should.
const POLL_INTERVAL: Duration = Duration::from_secs(1);

pub(super) async fn run(app: Arc<App>) -> Infallible {
    loop {
        let ours = app.scheduler.may_call(app.clock.uptime());
        call_what_is_due(&app, ours).await;
        let wait = async {
            if ours {
                let now = app.clock.now();
                let next = due(&app, now).earliest().unwrap_or(now + IDLE);
                app.clock.sleep_until(next).await;
            } else {
                tokio::time::sleep(POLL_INTERVAL).await;
            }
        };
        tokio::select! {
            () = wait => {}
            () = app.knowledge.calls_changed() => {}
        }
    }
}

/// Makes the calls that are due, the heartbeat first, because it may require a validation. A
/// validation that was requested in this process, or that is overdue, is made by every process: the
/// lease of the responsible process is in the database, where others can write. Scheduled calls are
/// made only by the responsible process.
async fn call_what_is_due(app: &App, ours: bool) {
    let now = app.clock.now();
    let has_come = |at: Option<DateTime<Utc>>| at.is_some_and(|at| at <= now);
    if ours && has_come(due(app, now).heartbeat) {
        heartbeat(app).await;
    }
    if ours {
        app.scheduler.note_running();
    }
    let stands_in = !ours && has_come(due(app, now).overdue_validation);
    let is_for_us = ours || stands_in || app.knowledge.calls().is_validation_wanted();
    if is_for_us && has_come(due(app, now).validation) {
        let before = app.snapshot().evidence.newest_signed_at();
        validate(app).await;
        // Without a response, the responsible process may have tried as well.
        let is_answered = app.knowledge.calls().is_confirmed()
            || app.snapshot().evidence.newest_signed_at() > before;
        if stands_in && is_answered {
            app.scheduler.note_stopped(&app.metrics);
        }
    }
}
