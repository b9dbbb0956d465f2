//! Does some process make the scheduled calls?

use super::{Examiner, Finding, port};
use crate::config::Settings;

const WHAT: &str = "scheduled calls";

/// Only the running service knows; without one nothing is found.
pub(super) async fn check(settings: &Settings, examiner: Examiner<'_>) -> Option<Finding> {
    let is_stopped = match examiner {
        Examiner::Service(app) => app.is_schedule_stopped(),
        Examiner::Command => {
            let readiness = port::ask(settings.host, settings.port, "/readyz").await?;
            readiness.get("schedule")?.as_str()? != "ok"
        }
    };
    if !is_stopped {
        return Some(Finding::ok(WHAT, "the process whose turn it is makes them"));
    }
    Some(Finding::error(
        WHAT,
        "no process makes them, although the License Server answers; validations are made instead when they are overdue",
        "look at the row license_client.scheduler of system_config, for triggers on that table and for \
         others who write to it; end processes on this database that hang",
    ))
}
