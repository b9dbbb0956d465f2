//! What Prometheus scrapes.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use license_service::exposition;
use license_service::jobs::Jobs;
use license_service::telemetry;

use crate::app::App;
use crate::http::error::ApiError;
use crate::licensing::fleet::Survey;

/// How long to wait for the view of the fleet.
const FLEET_TIMEOUT: Duration = Duration::from_secs(2);

/// In the format that the scraper reads.
pub(super) async fn metrics(
    State(app): State<Arc<App>>,
    State(jobs): State<Arc<Jobs>>,
    State(survey): State<Arc<Survey>>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    // Absent while the database does not answer.
    let fleet = tokio::time::timeout(FLEET_TIMEOUT, survey.fleet(&app)).await;
    let fleet = fleet.ok().and_then(Result::ok);
    let text = app.metrics.text(
        &jobs.failures(),
        telemetry::dropped_lines(),
        fleet.as_deref(),
    );
    let text = text.map_err(|error| {
        tracing::error!(%error, "failed to write metrics");
        ApiError::Internal
    })?;
    Ok(exposition::respond(&headers, text))
}
