//! What Prometheus scrapes.

use std::sync::Arc;

use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;
use license_service::jobs::Jobs;
use license_service::telemetry;

use crate::app::App;
use crate::http::error::ApiError;

/// In the `OpenMetrics` text format.
pub(super) async fn metrics(
    State(app): State<Arc<App>>,
    State(jobs): State<Arc<Jobs>>,
) -> Result<impl IntoResponse, ApiError> {
    let text = app
        .metrics
        .text(&jobs.failures(), telemetry::dropped_lines());
    let text = text.map_err(|error| {
        tracing::error!(%error, "failed to write the metrics");
        ApiError::Internal
    })?;
    let content_type = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    Ok(([(header::CONTENT_TYPE, content_type)], text))
}
