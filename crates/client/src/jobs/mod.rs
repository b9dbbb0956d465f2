//! The background loops. Each waits, and calls one step that can be tested
//! alone.

mod announce;
mod attend_scheduler;
mod call_home;
pub(crate) mod follow_database;
mod listen;
mod prune_log;
mod reload_routes;
mod watch_clocks;

use std::pin::Pin;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::app::App;

/// Starts all loops; they end when `shutdown` is cancelled.
pub fn start(app: &Arc<App>, tracker: &TaskTracker, shutdown: &CancellationToken) {
    let run = |job: &'static str, future: Pin<Box<dyn Future<Output = ()> + Send>>| {
        let shutdown = shutdown.clone();
        tracker.spawn(async move {
            shutdown.run_until_cancelled_owned(future).await;
            tracing::debug!(job, "stopped");
        });
    };
    run("announce", Box::pin(announce::run(app.clone())));
    run("call home", Box::pin(call_home::run(app.clone())));
    run(
        "follow database",
        Box::pin(follow_database::run(app.clone())),
    );
    run("listen", Box::pin(listen::run(app.clone())));
    run(
        "attend scheduler",
        Box::pin(attend_scheduler::run(app.clone())),
    );
    run("watch clocks", Box::pin(watch_clocks::run(app.clone())));
    run("reload routes", Box::pin(reload_routes::run(app.clone())));
    run("prune log", Box::pin(prune_log::run(app.clone())));
}
