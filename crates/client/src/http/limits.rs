//! Limits, and whether more may be added.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use license_core::feature::FeatureKey;
use license_core::limits::{self, LimitDecision, LimitReason};
use license_core::usage::Usage;
use serde::Serialize;
use utoipa::ToSchema;

use crate::app::App;
use crate::http::access::Caller;
use crate::http::body::JsonObject;
use crate::http::body::field::{Number, Text, body, object};
use crate::http::error::{ApiError, BodyErrors};
use crate::knowledge::snapshot::Snapshot;
use crate::licensing::usage::{FRESH, SHARED, measure};

const RESOURCE: Text = Text::new(
    "resource",
    "`cameras`, `users`, `storage_gb`, or the key of anything else that a license limits",
)
.example("cameras")
.not_blank()
.max_chars(FeatureKey::MAX_CHARS);
const REQUESTED: Number = Number::new("requested", "The additional amount").default(1);

body!(
    LimitCheckRequest,
    object(
        "The resource, and how much more of it is needed",
        &[&RESOURCE, &REQUESTED]
    )
);

/// The result.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct LimitCheckResponse {
    resource: String,
    requested: u64,
    /// Whether this much more may be added.
    allowed: bool,
    /// `within_limit`, `limit_reached`, `over_limit`, `unlimited`, `no_license` or
    /// `not_in_license`.
    reason: &'static str,
    /// A human-readable message.
    message: String,
    /// The license's limit; null if unlimited.
    limit: Option<u64>,
    /// Current usage; null if unknown.
    in_use: Option<u64>,
    /// How much may still be added; null if unlimited.
    remaining: Option<u64>,
}

/// Check Limit
///
/// Checks whether more of a resource may be added. Exceeding a limit never switches off anything
/// that is already running.
#[utoipa::path(
    post,
    path = "/api/license/limits/check",
    request_body = LimitCheckRequest,
    responses(
        (status = 200, description = "The decision", body = LimitCheckResponse),
        BodyErrors,
    )
)]
pub(super) async fn check(
    State(app): State<Arc<App>>,
    caller: Caller,
    mut body: JsonObject,
) -> Result<Json<LimitCheckResponse>, ApiError> {
    let requested = body.read(&REQUESTED)?.unwrap_or_default();
    let resource = body.read(&RESOURCE)?;
    let usage = measured(&app, caller).await;
    let snapshot = app.snapshot();
    Ok(Json(checked(&app, &snapshot, &usage, &resource, requested)))
}

/// All limits.
#[derive(Serialize, ToSchema)]
pub(super) struct LimitListResponse {
    /// Cameras, users and storage, then everything else that the license limits or services report,
    /// sorted by key. Each is a check of whether 0 more may be added.
    limits: Vec<LimitCheckResponse>,
}

/// List Limits
///
/// The limit and the usage of everything that is counted.
#[utoipa::path(
    get,
    path = "/api/license/limits",
    operation_id = "list_limits",
    responses((status = 200, description = "The limits", body = LimitListResponse))
)]
pub(super) async fn list(State(app): State<Arc<App>>, caller: Caller) -> Json<LimitListResponse> {
    let usage = measured(&app, caller).await;
    let snapshot = app.snapshot();
    let limits = snapshot.counted(&usage).into_iter();
    let limits = limits.map(|key| checked(&app, &snapshot, &usage, key, 0));
    Json(LimitListResponse {
        limits: limits.collect(),
    })
}

async fn measured(app: &App, caller: Caller) -> Usage {
    let max_age = if caller.trusted { FRESH } else { SHARED };
    measure(app, max_age).await
}

fn checked(
    app: &App,
    snapshot: &Snapshot,
    usage: &Usage,
    resource: &str,
    requested: u64,
) -> LimitCheckResponse {
    let limit = snapshot.limit(resource, app.plausible_time());
    let decision = limits::check(limit, requested, usage.of(resource), &app.policy);
    LimitCheckResponse {
        resource: resource.to_owned(),
        requested,
        allowed: decision.allowed,
        reason: decision.reason.code(),
        message: message(resource, &decision),
        limit: decision.limit,
        in_use: decision.in_use,
        remaining: decision.remaining,
    }
}

fn message(resource: &str, decision: &LimitDecision) -> String {
    match (decision.reason, decision.limit, decision.in_use) {
        (LimitReason::NoLicense, limit, _) if !decision.allowed || limit.is_some() => {
            "No license is activated".to_owned()
        }
        (LimitReason::NotInLicense, ..) => format!("The license does not include {resource}"),
        (_, None, _) => format!("No limit applies to {resource}"),
        (_, Some(limit), Some(in_use)) => limits::usage_words(resource, in_use, limit),
        (_, Some(limit), None) => {
            format!("The limit for {resource} is {limit}; the current usage is unknown")
        }
    }
}
