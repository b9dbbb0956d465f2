//! What to look at when something is wrong, and what to give to support.

use std::sync::Arc;

use askama::Template;
use axum::Extension;
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use license_service::clock::SystemClock;

use license_console::page::show;

use super::frame::Frame;
use crate::app::App;
use crate::config::{Settings, without_password};
use crate::doctor::{Finding, Health, examine, support_file};
use crate::http::access::Caller;
use crate::licensing::due::due;
use crate::licensing::heartbeat::report;
use license_console::moment::Moment;

#[derive(Template)]
#[template(path = "diagnostics.html")]
struct Diagnostics {
    frame: Frame,
    findings: Vec<Finding>,
    /// `None` when nothing will be sent.
    heartbeat: Option<String>,
    license_server: String,
    next: Option<Moment>,
}

pub(super) async fn page(
    State(app): State<Arc<App>>,
    caller: Caller,
    Extension(settings): Extension<Arc<Settings>>,
) -> Response {
    let heartbeat = report(&app).await.map(|mut report| {
        report.license_key = caller.sees(&report.license_key);
        format!("{:#}", serde_json::json!(report))
    });
    let page = Diagnostics {
        frame: Frame::new("diagnostics", &app, caller),
        findings: examine(&settings, &SystemClock, |_| {}).await,
        heartbeat,
        license_server: without_password(settings.license_api_url.as_str()),
        next: due(&app, app.clock.now()).heartbeat.map(Moment::of),
    };
    show(StatusCode::OK, &page)
}

pub(super) async fn support_file(Extension(settings): Extension<Arc<Settings>>) -> Response {
    let findings = examine(&settings, &SystemClock, |_| {}).await;
    let file = support_file::support_file(&settings, &findings, &SystemClock).await;
    let name = "attachment; filename=\"foxsight-license-support.json\"";
    let kind = HeaderValue::from_static("application/json");
    let name = HeaderValue::from_static(name);
    (
        [
            (header::CONTENT_TYPE, kind),
            (header::CONTENT_DISPOSITION, name),
        ],
        format!("{file:#}\n"),
    )
        .into_response()
}
