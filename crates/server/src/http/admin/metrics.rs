//! What Prometheus scrapes, with the token.

use std::fmt::Write as _;
use std::sync::Arc;

use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;
use license_service::jobs::Jobs;
use license_service::telemetry;

use crate::http::error::ErrorBody;

/// Metrics of the process, in the `OpenMetrics` text format.
#[utoipa::path(get, path = "/metrics", tag = "metrics",
    responses(
        (status = 200, description = "Metrics", content_type = "application/openmetrics-text"),
        (status = 401, body = ErrorBody)))]
pub(in crate::http) async fn metrics(State(jobs): State<Arc<Jobs>>) -> impl IntoResponse {
    let content_type = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, content_type)], text(&jobs))
}

fn text(jobs: &Jobs) -> String {
    const LINES: &str = "foxsight_license_server_log_lines_dropped";
    const FAILURES: &str = "foxsight_license_server_job_failures";
    let dropped = telemetry::dropped_lines();
    let mut text = format!(
        "# HELP {LINES} Log lines that could not be written: standard error was closed, full or not read.\n\
         # TYPE {LINES} counter\n\
         {LINES}_total {dropped}\n\
         # HELP {FAILURES} Failures of background jobs, each of which was restarted.\n\
         # TYPE {FAILURES} counter\n"
    );
    for (job, failures) in jobs.failures() {
        // Writing to a text does not fail.
        let _ = writeln!(text, "{FAILURES}_total{{task=\"{job}\"}} {failures}");
    }
    text.push_str("# EOF\n");
    text
}
