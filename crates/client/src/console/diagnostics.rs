//! Diagnostics, and the support file.
//!
//! The checks call the License Server, and write to the database in a transaction that is
//! rolled back. A trusted caller starts them with a POST, which pages of other sites cannot
//! send. Showing the last results has no cost.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Redirect, Response};

use license_console::page::show;
use license_core::protocol::HeartbeatRequest;
use license_core::response::Request as _;

use super::frame::Frame;
use crate::app::App;
use crate::doctor::diagnostics::Diagnostics;
use crate::doctor::{Finding, Health};
use crate::http::access::Caller;
use crate::http::error::ApiError;
use crate::licensing::due::due;
use crate::licensing::heartbeat::report;
use license_console::moment::Moment;

#[derive(Template)]
#[template(path = "diagnostics.html")]
struct DiagnosticsPage<'a> {
    frame: Frame,
    checked: Option<Moment>,
    findings: &'a [Finding],
    /// `None` if nothing will be sent.
    heartbeat: Option<String>,
    license_server: String,
    next: Option<Moment>,
}

pub(super) async fn page(
    State(app): State<Arc<App>>,
    caller: Caller,
    State(diagnostics): State<Arc<Diagnostics>>,
) -> Response {
    let examination = diagnostics.latest();
    let heartbeat = report(&app).map(|report| heartbeat(&report));
    let page = DiagnosticsPage {
        frame: Frame::new("diagnostics", &app, caller),
        checked: examination.as_ref().map(|it| Moment::of(it.at)),
        findings: examination.as_ref().map_or(&[], |it| &it.findings),
        heartbeat,
        license_server: diagnostics.settings().license_api_url.to_string(),
        next: due(&app, app.clock.now()).heartbeat.map(Moment::of),
    };
    show(StatusCode::OK, &page)
}

/// What a heartbeat sends: the header with the usage, and the body.
fn heartbeat(report: &HeartbeatRequest) -> String {
    let header = report.header();
    let header = header.map(|(name, value)| format!("{name}: {value}\n\n"));
    let body = format!("{:#}", serde_json::json!(report));
    header.unwrap_or_default() + &body
}

/// Runs the checks, and shows the page.
pub(super) async fn check(
    State(app): State<Arc<App>>,
    State(diagnostics): State<Arc<Diagnostics>>,
) -> Response {
    match diagnostics.examine(&app).await {
        Some(_) => Redirect::to("/console/diagnostics").into_response(),
        None => ApiError::Internal.into_response(),
    }
}

pub(super) async fn support_file(
    State(app): State<Arc<App>>,
    State(diagnostics): State<Arc<Diagnostics>>,
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
