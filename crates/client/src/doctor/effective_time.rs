//! Can the effective time be stored for the next start?

use serde_json::Value;

use super::{Examiner, Finding, port};
use crate::config::Settings;

const WHAT: &str = "effective time";

/// Only the running service knows this; without it there is no finding.
pub(super) async fn check(settings: &Settings, examiner: Examiner<'_>) -> Option<Finding> {
    let trouble = match examiner {
        Examiner::Service(app) => app.time.trouble().map(|trouble| trouble.to_string()),
        Examiner::Command => {
            let status = port::ask(settings.host, settings.port, "/api/license/status").await?;
            match status.get("timeTrouble")? {
                Value::String(trouble) => Some(trouble.clone()),
                _ => None,
            }
        }
    };
    Some(match trouble {
        None => Finding::ok(WHAT, "the effective time is stored for the next start"),
        Some(trouble) => Finding::error(
            WHAT,
            trouble,
            "check the owner and free space of STATE_DIR, any mounts over its files or over /proc, \
             and any triggers in the database",
        ),
    })
}
