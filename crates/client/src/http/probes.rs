//! Is the service there, alive, ready?

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

use crate::app::App;

/// What the service is.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct HealthCheckResponse {
    /// Always `healthy`.
    status: &'static str,
    /// Always `license-client`.
    service: &'static str,
    /// `APP_VERSION`.
    version: String,
    installation_id: Option<String>,
    hardware_id: Option<String>,
    /// Version of this program.
    release: &'static str,
}

/// Health Check
///
/// Says who is answering. It does not depend on the database or the License
/// Server; see `/readyz` for that.
#[utoipa::path(
    get,
    path = "/health",
    operation_id = "health_check_health_get",
    responses((status = 200, description = "Here", body = HealthCheckResponse))
)]
pub(super) async fn health(State(app): State<Arc<App>>) -> Json<HealthCheckResponse> {
    Json(HealthCheckResponse {
        status: "healthy",
        service: "license-client",
        version: app.identity.app_version.clone(),
        installation_id: Some(app.identity.installation_id.clone()),
        hardware_id: Some(app.identity.hardware_id.clone()),
        release: env!("CARGO_PKG_VERSION"),
    })
}

/// Alive
///
/// 200 while the process answers at all. An orchestrator restarts it otherwise.
#[utoipa::path(get, path = "/livez", responses((status = 200, description = "Alive")))]
pub(super) async fn livez() -> &'static str {
    "ok"
}

/// What readiness depends on.
#[derive(Serialize, ToSchema)]
pub(super) struct ReadinessResponse {
    /// Whether everything below is well.
    ready: bool,
    /// `ok`, or what is wrong. Decisions are answered from memory either way.
    database: String,
}

/// Ready
///
/// 200 when changes can be stored as well, 503 when only reads are answered.
#[utoipa::path(
    get,
    path = "/readyz",
    responses(
        (status = 200, description = "Ready", body = ReadinessResponse),
        (status = 503, description = "The database does not answer", body = ReadinessResponse),
    )
)]
pub(super) async fn readyz(State(app): State<Arc<App>>) -> (StatusCode, Json<ReadinessResponse>) {
    let (status, ready, database) = match app.store.ping().await {
        Ok(()) => (StatusCode::OK, true, "ok".to_owned()),
        Err(error) => (StatusCode::SERVICE_UNAVAILABLE, false, error.to_string()),
    };
    (status, Json(ReadinessResponse { ready, database }))
}
