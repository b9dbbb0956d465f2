//! Is a process making the scheduled calls?

use super::{Examiner, Finding, port};
use crate::config::Settings;

const WHAT: &str = "scheduled calls";

/// Only the running service knows this; without it there is no finding.
pub(super) async fn check(settings: &Settings, examiner: Examiner<'_>) -> Option<Finding> {
    let is_stopped = match examiner {
        Examiner::Service(app) => app.scheduler.is_stopped(),
        Examiner::Command => {
            let readiness = port::ask(settings.host, settings.port, "/readyz").await?;
            readiness.get("schedule")?.as_str()? != "ok"
        }
    };
    if !is_stopped {
        return Some(Finding::ok(WHAT, "a process is making the scheduled calls"));
    }
    Some(Finding::error(
        WHAT,
        "no process is making the scheduled calls, although the License Server is reachable; the \
         service makes overdue validations instead",
        "check whether triggers or other programs change the row license_client.scheduler of \
         system_config; stop any unresponsive process that uses this database",
    ))
}
