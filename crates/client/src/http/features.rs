//! "May this feature be used?"

use std::borrow::Cow;
use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use license_core::feature::is_core;
use license_core::plausible_time::PlausibleTime;
use license_service::unattended::finish_even_if_disconnected;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::app::App;
use crate::http::body::field::{Flag, Text, body, object};
use crate::http::body::{FEATURE_KEYS, FeatureKeys, JsonObject};
use crate::http::error::{ApiError, BodyErrors, ChangeErrors, ErrorResponse};
use crate::http::instant::naive;
use crate::http::json_answer::{json, json_bytes};
use crate::knowledge::snapshot::Snapshot;
use crate::licensing;

/// Room for a result beside its key, in bytes.
const RESPONSE_BYTES: usize = 80;

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
pub(super) struct FeatureCheckResponse<'a> {
    /// The requested key.
    feature_key: &'a str,
    /// Whether the feature may be used.
    available: bool,
    /// The reason: `core`, `licensed`, `grace_period`, `no_license`, `not_in_license`,
    /// `starts_later`, `ended`, `switched_off`, `update_not_covered`, or why the license has lapsed.
    reason: &'a str,
}

/// The path of [`check`].
pub(super) const CHECK: &str = "/api/license/feature/check";
/// The path of [`check_many`].
pub(super) const CHECK_MANY: &str = "/api/license/features/check";

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
) -> Result<Response, ApiError> {
    let key = body.read(&FEATURE_KEY)?;
    Ok(json(decided(&app, &key)).into_response())
}

/// A body with nothing but the field, whose text has no NUL character.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct OneKey<'a> {
    #[serde(borrow)]
    feature_key: Cow<'a, str>,
}

/// The same as [`check`]; `None` if the body is not a [`OneKey`].
pub(super) fn check_text(app: &App, body: &str) -> Option<Bytes> {
    let OneKey { feature_key } = serde_json::from_str(body).ok()?;
    (!feature_key.contains('\0')).then(|| decided(app, &feature_key))
}

/// A [`FeatureCheckResponse`].
fn decided(app: &App, key: &str) -> Bytes {
    let mut response = Vec::with_capacity(RESPONSE_BYTES + key.len());
    write_decision(app, key, app.plausible_time(), &mut response);
    response.into()
}

body!(
    FeaturesCheckRequest,
    object("The features to check", &[&FEATURE_KEYS])
);

/// The results.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes what `all_decided` writes")]
pub(super) struct FeaturesCheckResponse<'a> {
    /// One result for each key, in the order of the request. All results are for the same instant.
    features: Vec<FeatureCheckResponse<'a>>,
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
) -> Response {
    let keys = keys.iter().map(String::as_str);
    json(all_decided(&app, keys)).into_response()
}

/// A body with nothing but the list of keys.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ManyKeys<'a> {
    #[serde(borrow)]
    feature_keys: Vec<Key<'a>>,
}

#[derive(Deserialize)]
#[serde(transparent)]
struct Key<'a>(#[serde(borrow)] Cow<'a, str>);

/// The same as [`check_many`]; `None` if the body is not [`ManyKeys`].
pub(super) fn check_many_text(app: &App, body: &str) -> Option<Bytes> {
    let ManyKeys { feature_keys: keys } = serde_json::from_str(body).ok()?;
    let is_accepted = keys.len() <= FeatureKeys::MAX && !keys.iter().any(|it| it.0.contains('\0'));
    is_accepted.then(|| all_decided(app, keys.iter().map(|it| &*it.0)))
}

/// A [`FeaturesCheckResponse`].
fn all_decided<'a>(app: &App, keys: impl Iterator<Item = &'a str>) -> Bytes {
    let now = app.plausible_time();
    let mut response = b"{\"features\":[".to_vec();
    for (index, key) in keys.enumerate() {
        if index > 0 {
            response.push(b',');
        }
        write_decision(app, key, now, &mut response);
    }
    response.extend_from_slice(b"]}");
    response.into()
}

/// Writes a [`FeatureCheckResponse`].
fn write_decision(app: &App, feature_key: &str, now: PlausibleTime, response: &mut Vec<u8>) {
    licensing::decide::decide(app, feature_key, now, |decision| {
        let answer = FeatureCheckResponse {
            feature_key,
            available: decision.available,
            reason: decision.reason.code(),
        };
        // Writing into memory does not fail.
        let _ = serde_json::to_writer(response, &answer);
    });
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
    /// When it starts, if the license grants it later.
    starts_at: Option<String>,
    /// The last instant at which the license grants it, if that is before the end of the license.
    ends_at: Option<String>,
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
    let now = app.plausible_time();
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

fn describe(snapshot: &Snapshot, key: &str, now: PlausibleTime) -> Feature {
    let entitlements = snapshot.entitlements();
    let core = is_core(key);
    let bounds = entitlements.bounds(key, now);
    snapshot.decide(key, now, |decision| Feature {
        feature_key: key.to_owned(),
        available: decision.available,
        reason: decision.reason.code().to_owned(),
        core,
        licensed: entitlements.lists(key),
        system_enabled: core || !entitlements.is_switched_off(key),
        starts_at: bounds.from.map(naive),
        ends_at: bounds.until.map(naive),
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
    Ok(Json(describe(&app.snapshot(), &key, app.plausible_time())))
}
