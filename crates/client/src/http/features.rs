//! "May this feature be used?"

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::header;
use axum::response::IntoResponse;
use chrono::{DateTime, Utc};
use license_core::feature::is_core;
use license_service::unattended::finish_even_if_disconnected;
use serde::Serialize;
use utoipa::ToSchema;

use crate::app::App;
use crate::http::body::field::{Flag, Text, body, object};
use crate::http::body::{FEATURE_KEYS, FeatureKeys, JsonObject};
use crate::http::error::{ApiError, BodyErrors, ChangeErrors, ErrorResponse};
use crate::http::instant::naive;
use crate::knowledge::snapshot::Snapshot;
use crate::licensing;

const FEATURE_KEY: Text = Text::new(
    "featureKey",
    "Any text; features that the license does not list are not available",
)
.example("module.analytics_advanced");

body!(
    FeatureCheckRequest,
    object("The feature to check", &[&FEATURE_KEY])
);

/// The result.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct FeatureCheckResponse {
    /// The requested key.
    feature_key: String,
    /// Whether the feature may be used.
    available: bool,
    /// The reason: `core`, `licensed`, `grace_period`, `no_license`, `not_in_license`,
    /// `switched_off`, or why the license has lapsed.
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
    mut body: JsonObject,
) -> Result<Json<FeatureCheckResponse>, ApiError> {
    let feature_key = body.read(&FEATURE_KEY)?;
    Ok(Json(decide(&app, feature_key, app.clock.now())))
}

body!(
    FeaturesCheckRequest,
    object("The features to check", &[&FEATURE_KEYS])
);

/// The results.
#[derive(Serialize, ToSchema)]
pub(super) struct FeaturesCheckResponse {
    /// One result for each key, in the order of the request. All results are for the same instant.
    features: Vec<FeatureCheckResponse>,
}

/// Check Features
///
/// Checks several features in one call.
#[utoipa::path(
    post,
    path = "/api/license/features/check",
    request_body = FeaturesCheckRequest,
    responses(
        (status = 200, description = "The decisions", body = FeaturesCheckResponse),
        BodyErrors,
    )
)]
pub(super) async fn check_many(
    State(app): State<Arc<App>>,
    FeatureKeys(keys): FeatureKeys,
) -> Result<Json<FeaturesCheckResponse>, ApiError> {
    let now = app.clock.now();
    let features = keys.into_iter().map(|key| decide(&app, key, now)).collect();
    Ok(Json(FeaturesCheckResponse { features }))
}

fn decide(app: &App, feature_key: String, now: DateTime<Utc>) -> FeatureCheckResponse {
    let (available, reason) = licensing::decide::decide(app, &feature_key, now, |decision| {
        (decision.available, decision.reason.code().to_owned())
    });
    FeatureCheckResponse {
        feature_key,
        available,
        reason,
    }
}

/// A feature of the product or the license.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Feature {
    feature_key: String,
    /// Whether the feature may be used.
    available: bool,
    /// The reason, as in a check.
    reason: String,
    /// Core features are always available.
    core: bool,
    /// Whether the license lists it.
    licensed: bool,
    /// Whether it is switched on for this site.
    system_enabled: bool,
}

/// An unknown feature that a gate has asked about.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct UnknownFeature {
    /// The first 100 characters of the key.
    feature_key: String,
    /// How many times gates have asked about it since the service started.
    checks: u64,
    /// When a gate last asked about it.
    last_checked_at: String,
}

/// The features.
#[derive(Serialize, ToSchema)]
pub(super) struct FeatureListResponse {
    /// Sorted by key.
    features: Vec<Feature>,
    /// Features that gates have asked about and that are in neither the product nor the license,
    /// most frequent first.
    unknown: Vec<UnknownFeature>,
}

/// List Features
///
/// Every feature of the product and of the license, with its reason.
#[utoipa::path(
    get,
    path = "/api/license/features",
    responses((status = 200, description = "The features", body = FeatureListResponse))
)]
pub(super) async fn list(State(app): State<Arc<App>>) -> impl IntoResponse {
    let now = app.clock.now();
    let entitled = app.entitled.at(&app.snapshot(), now);
    let features = entitled.list.get_or_init(|| {
        let features = entitled.announced.announcement.features.keys();
        let features = features.map(|key| describe(&entitled.snapshot, key, now));
        json_bytes(&features.collect::<Vec<_>>())
    });
    let unknown = licensing::decide::unknown_features(&app).into_iter();
    let unknown = unknown.map(|it| UnknownFeature {
        feature_key: it.key,
        checks: it.checks,
        last_checked_at: naive(it.last_checked_at),
    });
    let unknown = json_bytes(&unknown.collect::<Vec<_>>());
    // As `FeatureListResponse`, without rendering the long part again.
    let body = [
        b"{\"features\":",
        &features[..],
        b",\"unknown\":",
        &unknown,
        b"}",
    ]
    .concat();
    ([(header::CONTENT_TYPE, "application/json")], body)
}

/// One of our values as JSON; serialization always succeeds.
pub(super) fn json_bytes(value: &impl Serialize) -> Bytes {
    serde_json::to_vec(value).unwrap_or_default().into()
}

fn describe(snapshot: &Snapshot, key: &str, now: DateTime<Utc>) -> Feature {
    let entitlements = snapshot.entitlements();
    let core = is_core(key);
    snapshot.decide(key, now, |decision| Feature {
        feature_key: key.to_owned(),
        available: decision.available,
        reason: decision.reason.code().to_owned(),
        core,
        licensed: entitlements.lists(key),
        system_enabled: core || !entitlements.is_switched_off(key),
    })
}

const SYSTEM_ENABLED: Flag =
    Flag::required("systemEnabled", "Whether the feature is on for this site");

body!(
    FeatureSwitchRequest,
    object(
        "Whether to switch the feature on or off",
        &[&SYSTEM_ENABLED]
    )
);

/// Switch Feature
///
/// Switches a feature off or on for this site, regardless of the license. The setting also
/// applies to the next license. Core features cannot be switched off.
#[utoipa::path(
    put,
    path = "/api/license/features/{key}",
    params(("key" = String, Path, description = "A feature key")),
    request_body = FeatureSwitchRequest,
    responses(
        (status = 200, description = "Switched", body = Feature),
        (status = 404, description = "Unknown feature", body = ErrorResponse),
        (status = 409, description = "A core feature", body = ErrorResponse),
        (status = 503, description = "The change could not be stored", body = ErrorResponse),
        ChangeErrors,
        BodyErrors,
    )
)]
pub(super) async fn switch(
    State(app): State<Arc<App>>,
    key: Result<Path<String>, PathRejection>,
    mut body: JsonObject,
) -> Result<Json<Feature>, ApiError> {
    // A key that is not a string is unknown.
    let Path(key) = key.map_err(|_| ApiError::NotFound)?;
    let on = body.read(&SYSTEM_ENABLED)?;
    let switching = app.clone();
    let feature = key.clone();
    finish_even_if_disconnected(async move {
        licensing::switch::switch(&switching, &feature, on).await
    })
    .await??;
    Ok(Json(describe(&app.snapshot(), &key, app.clock.now())))
}
