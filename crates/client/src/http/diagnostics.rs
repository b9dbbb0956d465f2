//! The service's own settings, and the results of its checks.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use crate::app::App;
use crate::doctor::Finding;
use crate::doctor::diagnostics::Diagnostics;
use crate::http::error::ApiError;

/// The settings of the running service.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct SettingsResponse {
    /// Each setting by the name of its environment variable, with its `value` (secrets are masked)
    /// and its `source`. Null if the service was not started by its command.
    settings: Value,
    /// The database in use, without its password.
    database: String,
}

/// Show Settings
///
/// The settings of the running service. Secrets are masked.
#[utoipa::path(
    get,
    path = "/api/license/settings",
    responses((status = 200, description = "The settings", body = SettingsResponse))
)]
pub(super) async fn show_settings(
    State(diagnostics): State<Arc<Diagnostics>>,
) -> Json<SettingsResponse> {
    let settings = diagnostics.settings();
    Json(SettingsResponse {
        settings: settings.shown.clone(),
        database: settings.database().to_string(),
    })
}

/// The results of the checks.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct DiagnosticsResponse {
    /// When the checks ran; results are shared for 5 seconds.
    checked_at: DateTime<Utc>,
    /// One finding per check.
    findings: Vec<Finding>,
    /// As in `GET /api/license/settings`.
    settings: Value,
}

/// Run Diagnostics
///
/// Checks everything that the service depends on, including a call to the License Server.
#[utoipa::path(
    post,
    path = "/api/license/diagnostics",
    responses((status = 200, description = "The findings", body = DiagnosticsResponse))
)]
pub(super) async fn run_diagnostics(
    State(app): State<Arc<App>>,
    State(diagnostics): State<Arc<Diagnostics>>,
) -> Result<Json<DiagnosticsResponse>, ApiError> {
    let examination = diagnostics.examine(&app).await.ok_or(ApiError::Internal)?;
    Ok(Json(DiagnosticsResponse {
        checked_at: examination.at,
        findings: examination.findings.clone(),
        settings: diagnostics.settings().shown.clone(),
    }))
}
