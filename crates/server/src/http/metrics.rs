//! What Prometheus scrapes.

use std::sync::Arc;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use license_service::exposition;
use license_service::jobs::Jobs;
use license_service::telemetry;

use crate::app::App;
use crate::http::error::ApiError;

/// In the format that the scraper reads.
pub(super) async fn metrics(
    State(app): State<Arc<App>>,
    State(jobs): State<Arc<Jobs>>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let text = app
        .metrics
        .text(&jobs.failures(), telemetry::dropped_lines());
    let text = text.map_err(|error| {
        tracing::error!(%error, "failed to write metrics");
        ApiError::Internal
    })?;
    Ok(exposition::respond(&headers, text))
}
