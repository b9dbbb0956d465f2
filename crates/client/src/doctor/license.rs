//! Are all fields of the license readable?

use serde_json::Value;

use super::{Examiner, Finding};
use crate::config::Settings;
use crate::running_service::ServiceArgs;

const WHAT: &str = "license";

/// `None` if no service answers, which another check reports, or it has no license.
pub(super) async fn check(settings: &Settings, examiner: Examiner<'_>) -> Option<Finding> {
    let unreadable: Vec<String> = match examiner {
        Examiner::Service(app) => {
            let snapshot = app.snapshot();
            let fields = snapshot.license()?.unreadable();
            fields.into_iter().map(str::to_owned).collect()
        }
        Examiner::Command => {
            let service = ServiceArgs::at(settings.host, settings.port);
            let status = service.get("/api/license/status").await.ok()?.body;
            status["hasLicense"].as_bool().filter(|it| *it)?;
            let fields = status["unreadableFields"].as_array()?.iter();
            fields
                .filter_map(Value::as_str)
                .map(str::to_owned)
                .collect()
        }
    };
    if unreadable.is_empty() {
        return Some(Finding::ok(WHAT, "all fields are readable"));
    }
    Some(Finding::warning(
        WHAT,
        format!(
            "unreadable fields, treated as absent: {}",
            unreadable.join(", ")
        ),
        "contact your vendor: a license with an unreadable expiresAt never expires, and an \
         unreadable limit is not enforced",
    ))
}
