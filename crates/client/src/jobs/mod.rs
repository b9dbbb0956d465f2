//! The background loops. Each waits, and then runs one step that can be tested separately.

mod announce;
mod attend_scheduler;
mod call_home;
mod follow_database;
mod follow_release;
mod listen;
mod prune_log;
mod reload_routes;
mod watch_clocks;

use std::convert::Infallible;
use std::sync::Arc;

use license_service::jobs::Jobs;
use license_service::{supervisor, telemetry};

use crate::app::App;

/// Starts all loops, under supervision.
pub fn start(app: &Arc<App>, jobs: &Arc<Jobs>) {
    start_one(app, jobs, "announce", announce::run);
    start_one(app, jobs, "call home", call_home::run);
    start_one(app, jobs, "follow database", follow_database::run);
    start_one(app, jobs, "follow release", follow_release::run);
    start_one(app, jobs, "listen", listen::run);
    start_one(app, jobs, "attend scheduler", attend_scheduler::run);
    start_one(app, jobs, "watch clocks", watch_clocks::run);
    start_one(app, jobs, "reload routes", reload_routes::run);
    start_one(app, jobs, "prune log", prune_log::run);
    jobs.run("report log", telemetry::report_regularly);
    supervisor::start_watchdog(jobs);
}

fn start_one<J>(app: &Arc<App>, jobs: &Arc<Jobs>, name: &'static str, job: fn(Arc<App>) -> J)
where
    J: Future<Output = Infallible> + Send + 'static,
{
    let app = app.clone();
    jobs.run(name, move || job(app.clone()));
}
