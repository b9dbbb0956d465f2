//! What to look at when something is wrong, and what to give to support.
//!
//! The checks call the License Server and change rows of the database, if only
//! to roll them back. A trusted caller starts them with a POST, which no page of
//! another site can send; showing what they found costs nothing.

use std::sync::Arc;
use std::time::Duration;

use askama::Template;
use axum::Extension;
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Redirect, Response};
use chrono::{DateTime, Utc};
use license_service::clock::{Clock as _, SystemClock};

use license_console::page::show;

use super::frame::Frame;
use crate::app::App;
use crate::config::Settings;
use crate::doctor::{Examiner, Finding, Health, examine, support_file};
use crate::http::access::Caller;
use crate::http::error::ApiError;
use crate::licensing::due::due;
use crate::licensing::heartbeat::report;
use crate::licensing::usage::{SHARED, measure};
use crate::shared_reading::SharedReading;
use license_console::moment::Moment;

/// How old findings may be before the checks are made again.
const MAX_AGE: Duration = Duration::from_secs(5);

/// The checks, made one at a time.
pub(super) struct Diagnostics {
    settings: Arc<Settings>,
    examination: SharedReading<Arc<Examination>>,
    support_file: SharedReading<Arc<str>>,
}

/// What the checks have found.
struct Examination {
    at: DateTime<Utc>,
    findings: Vec<Finding>,
}

#[derive(Template)]
#[template(path = "diagnostics.html")]
struct Page<'a> {
    frame: Frame,
    checked: Option<Moment>,
    findings: &'a [Finding],
    /// `None` when nothing will be sent.
    heartbeat: Option<String>,
    license_server: String,
    next: Option<Moment>,
}

impl Diagnostics {
    pub(super) fn new(settings: Settings) -> Self {
        Self {
            settings: Arc::new(settings),
            examination: SharedReading::new(Arc::new(SystemClock)),
            support_file: SharedReading::new(Arc::new(SystemClock)),
        }
    }

    /// `None` when a check failed in itself; the log has it.
    async fn examine(&self, app: &Arc<App>) -> Option<Arc<Examination>> {
        let examining = || {
            let (app, settings) = (app.clone(), self.settings.clone());
            async move {
                measure(&app, SHARED).await;
                let examiner = Examiner::Service(&app);
                let findings = examine(&settings, &SystemClock, examiner, |_| {}).await;
                let at = SystemClock.now();
                Arc::new(Examination { at, findings })
            }
        };
        self.examination.get(MAX_AGE, examining).await
    }

    async fn support_file(&self, app: &Arc<App>) -> Option<Arc<str>> {
        let examination = self.examine(app).await?;
        let writing = || {
            let settings = self.settings.clone();
            async move {
                let findings = &examination.findings;
                let file = support_file::support_file(&settings, findings, &SystemClock).await;
                Arc::from(format!("{file:#}\n"))
            }
        };
        self.support_file.get(MAX_AGE, writing).await
    }
}

pub(super) async fn page(
    State(app): State<Arc<App>>,
    caller: Caller,
    Extension(diagnostics): Extension<Arc<Diagnostics>>,
) -> Response {
    let examination = diagnostics.examination.latest();
    let heartbeat = report(&app).map(|report| format!("{:#}", serde_json::json!(report)));
    let page = Page {
        frame: Frame::new("diagnostics", &app, caller),
        checked: examination.as_ref().map(|it| Moment::of(it.at)),
        findings: examination.as_ref().map_or(&[], |it| &it.findings),
        heartbeat,
        license_server: diagnostics.settings.license_api_url.to_string(),
        next: due(&app, app.clock.now()).heartbeat.map(Moment::of),
    };
    show(StatusCode::OK, &page)
}

/// Makes the checks, and shows the page.
pub(super) async fn check(
    State(app): State<Arc<App>>,
    Extension(diagnostics): Extension<Arc<Diagnostics>>,
) -> Response {
    match diagnostics.examine(&app).await {
        Some(_) => Redirect::to("/console/diagnostics").into_response(),
        None => ApiError::Internal.into_response(),
    }
}

pub(super) async fn support_file(
    State(app): State<Arc<App>>,
    Extension(diagnostics): Extension<Arc<Diagnostics>>,
) -> Response {
    let Some(file) = diagnostics.support_file(&app).await else {
        return ApiError::Internal.into_response();
    };
    let name = "attachment; filename=\"foxsight-license-support.json\"";
    let kind = HeaderValue::from_static("application/json");
    let name = HeaderValue::from_static(name);
    (
        [
            (header::CONTENT_TYPE, kind),
            (header::CONTENT_DISPOSITION, name),
        ],
        file.to_string(),
    )
        .into_response()
}
