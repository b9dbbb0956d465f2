//! Metrics for Prometheus.

use std::sync::Arc;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use license_service::exposition;
use license_service::jobs::Jobs;
use license_service::telemetry;

use crate::app::App;
use crate::http::access::{Access, ClientAddress};
use crate::http::error::ApiError;
use crate::licensing::fleet::Survey;

/// In the format that the scraper reads.
pub(super) async fn metrics(
    State(app): State<Arc<App>>,
    State(jobs): State<Arc<Jobs>>,
    State(survey): State<Arc<Survey>>,
    State(access): State<Arc<Access>>,
    address: ClientAddress,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    // The numbers of licenses and installations are only for the vendor.
    let caller = access.known_caller(&app.store, &headers, address.0).await;
    let fleet = survey.last().filter(|_| caller.is_some());
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
