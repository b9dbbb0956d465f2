//! "May this feature be used?"

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use crate::app::App;
use crate::http::body::JsonObject;
use crate::http::error::{ApiError, BodyErrors};

/// What is asked.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
#[expect(dead_code, reason = "describes the body, which http/body.rs reads")]
pub(super) struct FeatureCheckRequest {
    /// Any text; what no license lists is not available.
    #[schema(example = "module.analytics_advanced")]
    feature_key: String,
}

/// The answer.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct FeatureCheckResponse {
    /// What was asked.
    feature_key: String,
    /// Whether it may be used.
    available: bool,
    /// Why, or why not: `core`, `licensed`, `grace_period`, `no_license`,
    /// `not_in_license`, `switched_off`, or why the license has lapsed.
    reason: String,
}

/// Check Feature
///
/// Answers from memory, in microseconds. Core features are always available.
#[utoipa::path(
    post,
    path = "/api/license/feature/check",
    operation_id = "check_feature_api_license_feature_check_post",
    request_body = FeatureCheckRequest,
    responses(
        (status = 200, description = "The decision", body = FeatureCheckResponse),
        BodyErrors,
    )
)]
pub(super) async fn check(
    State(app): State<Arc<App>>,
    body: JsonObject,
) -> Result<Json<FeatureCheckResponse>, ApiError> {
    let feature_key = body.text("featureKey")?;
    let snapshot = app.snapshot();
    let (available, reason) = snapshot.decide(&feature_key, app.clock.now(), |decision| {
        (decision.available, decision.reason.code().to_owned())
    });
    Ok(Json(FeatureCheckResponse {
        feature_key,
        available,
        reason,
    }))
}
