//! The background loops. Each waits, and calls one step that can be tested
//! alone.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::app::App;
use crate::licensing::due::due;
use crate::licensing::heartbeat::heartbeat;
use crate::licensing::refresh::refresh;
use crate::licensing::validate::validate;
use crate::store::local_license_validation_attempts::prune;

/// How often the database is asked whether another process changed something.
const REFRESH_EVERY: Duration = Duration::from_secs(5);
/// How often the log of attempts is pruned.
const PRUNE_EVERY: TimeDelta = TimeDelta::hours(24);
/// How long the caller of the License Server sleeps when nothing is due.
const IDLE: TimeDelta = TimeDelta::hours(1);

/// Starts all loops; they end when `shutdown` is cancelled.
pub fn start(app: &Arc<App>, tracker: &TaskTracker, shutdown: &CancellationToken) {
    let run = |job: &'static str, future: std::pin::Pin<Box<dyn Future<Output = ()> + Send>>| {
        let shutdown = shutdown.clone();
        tracker.spawn(async move {
            shutdown.run_until_cancelled_owned(future).await;
            tracing::debug!(job, "stopped");
        });
    };
    run("call home", Box::pin(call_home(app.clone())));
    run("follow database", Box::pin(follow_database(app.clone())));
    run("prune", Box::pin(prune_daily(app.clone())));
}

/// Calls the License Server when a validation or a heartbeat is due.
async fn call_home(app: Arc<App>) {
    loop {
        call_what_is_due(&app).await;
        let now = app.clock.now();
        let next = due(&app, now).earliest().unwrap_or(now + IDLE);
        tokio::select! {
            () = app.clock.sleep_until(next) => {}
            () = app.calls_changed.notified() => {}
        }
    }
}

/// Makes the calls that are due, the heartbeat first: it may ask for a
/// validation.
async fn call_what_is_due(app: &App) {
    let now = app.clock.now();
    let has_come = |at: Option<DateTime<Utc>>| at.is_some_and(|at| at <= now);
    if has_come(due(app, now).heartbeat) {
        heartbeat(app).await;
    }
    if has_come(due(app, now).validation) {
        validate(app).await;
    }
}

async fn follow_database(app: Arc<App>) {
    let mut seen = None;
    let mut failing = false;
    loop {
        tokio::time::sleep(REFRESH_EVERY).await;
        match refresh(&app, seen.clone()).await {
            Ok(revision) => {
                seen = revision;
                if std::mem::take(&mut failing) {
                    tracing::info!("the database answers again");
                }
            }
            // Once, not every few seconds; /readyz says it all the time.
            Err(error) if !failing => {
                failing = true;
                tracing::error!(%error, "the database does not answer; requests are answered from memory");
            }
            Err(_) => {}
        }
    }
}

async fn prune_daily(app: Arc<App>) {
    loop {
        match prune(app.store.reader(), app.clock.now()).await {
            Ok(0) => {}
            Ok(rows) => tracing::info!(rows, "pruned the log of attempts"),
            Err(error) => tracing::warn!(%error, "the log of attempts was not pruned"),
        }
        app.clock.sleep_until(app.clock.now() + PRUNE_EVERY).await;
    }
}
