//! Health, liveness and readiness probes.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use license_service::jobs::Jobs;
use serde::Serialize;
use utoipa::ToSchema;

use crate::app::App;
use crate::http::access::Caller;

/// The identity of the service.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct HealthCheckResponse {
    /// Always `healthy`.
    status: &'static str,
    /// Always `license-client`.
    service: &'static str,
    /// `APP_VERSION`.
    version: String,
    /// Null until the database is reached for the first time.
    installation_id: Option<String>,
    /// Null until the database is reached for the first time.
    hardware_id: Option<String>,
    /// Version of this program.
    release: &'static str,
}

/// Health Check
///
/// Identifies the service. It does not depend on the database or the License Server; see
/// `/readyz` for that.
#[utoipa::path(
    get,
    path = "/health",
    operation_id = "health_check_health_get",
    responses((status = 200, description = "The service is running", body = HealthCheckResponse))
)]
pub(super) async fn health(State(app): State<Arc<App>>) -> Json<HealthCheckResponse> {
    let identity = app.identity();
    Json(HealthCheckResponse {
        status: "healthy",
        service: "license-client",
        version: app.app_version.clone(),
        installation_id: identity.as_ref().map(|it| it.installation_id.clone()),
        hardware_id: identity.as_ref().map(|it| it.hardware_id.clone()),
        release: env!("CARGO_PKG_VERSION"),
    })
}

/// Alive
///
/// 200 while the process responds. Otherwise an orchestrator restarts it.
#[utoipa::path(get, path = "/livez", responses((status = 200, description = "Alive")))]
pub(super) async fn livez() -> &'static str {
    "ok"
}

/// The dependencies of readiness.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct ReadinessResponse {
    /// Whether the service is ready.
    ready: bool,
    /// `ok`, or the problem: `unavailable` for callers that may not make changes. Decisions are
    /// answered from memory either way.
    database: String,
    /// Whether changes are waiting to be written to the database.
    unwritten: bool,
    /// `ok`, or the background jobs that have failed and have not run for a minute since then.
    jobs: String,
    /// `ok`, or why scheduled calls are not made as planned.
    schedule: &'static str,
}

/// Ready
///
/// 200 if changes can be stored, 503 if only reads are answered or a background job fails.
#[utoipa::path(
    get,
    path = "/readyz",
    responses(
        (status = 200, description = "Ready", body = ReadinessResponse),
        (status = 503, description = "The database does not accept changes, or a background job is \
            failing", body = ReadinessResponse),
    )
)]
pub(super) async fn readyz(
    State(app): State<Arc<App>>,
    State(jobs): State<Arc<Jobs>>,
    caller: Caller,
) -> (StatusCode, Json<ReadinessResponse>) {
    let unwritten = app.knowledge.has_unwritten();
    let trouble = app.knowledge.database_trouble().await;
    let failing = jobs.failing();
    let ready =
        trouble.is_none() && app.knowledge.is_database_open() && !unwritten && failing.is_empty();
    let status = if ready {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    let database = match trouble {
        None => "ok".to_owned(),
        // The error may name hosts and users.
        Some(trouble) if caller.trusted => trouble.to_string(),
        Some(_) => "unavailable".to_owned(),
    };
    (
        status,
        Json(ReadinessResponse {
            ready,
            database,
            unwritten,
            jobs: match failing.is_empty() {
                true => "ok".to_owned(),
                false => format!("failing: {}", failing.join(", ")),
            },
            schedule: match app.scheduler.is_stopped() {
                true => {
                    "stopped: no process is making the scheduled calls; this process validates \
                    instead"
                }
                false => "ok",
            },
        }),
    )
}
