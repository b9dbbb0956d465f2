//! Can the document of the installed release be used, and does the license cover the release?

use super::{Examiner, Finding};
use crate::config::Settings;
use crate::licensing::release::warning;
use crate::running_service::ServiceArgs;

const WHAT: &str = "release";

/// `None` if no service answers, or there is no document.
pub(super) async fn check(settings: &Settings, examiner: Examiner<'_>) -> Option<Finding> {
    let (version, message) = match examiner {
        Examiner::Service(app) => {
            let snapshot = app.snapshot();
            let release = snapshot.release();
            let version = release.verified().map(|it| it.release().version.clone());
            (version, warning(&snapshot))
        }
        Examiner::Command => {
            let service = ServiceArgs::at(settings.host, settings.port);
            let status = service.get("/api/license/status").await.ok()?.body;
            let text = |field: &str| status["release"][field].as_str().map(str::to_owned);
            (text("version"), text("message"))
        }
    };
    match (version, message) {
        (_, Some(message)) => Some(Finding::warning(
            WHAT,
            message,
            "ask your vendor for updates or for the document of this release",
        )),
        (Some(version), None) => {
            let found = format!("the license covers the installed release {version}");
            Some(Finding::ok(WHAT, found))
        }
        (None, None) => None,
    }
}
