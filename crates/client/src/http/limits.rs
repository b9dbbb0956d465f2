//! Checks whether more of a resource may be added.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use license_core::limits;
use license_core::usage::Resource;
use serde::Serialize;
use utoipa::ToSchema;

use crate::app::App;
use crate::http::access::Caller;
use crate::http::body::JsonObject;
use crate::http::body::field::{Choice, Number, body, object};
use crate::http::error::{ApiError, BodyErrors};
use crate::licensing::usage::{FRESH, SHARED, measure};

const RESOURCE: Choice<Resource> =
    Choice::new("resource", "The resource", &Resource::ALL, Resource::as_str);
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
    resource: &'static str,
    requested: u64,
    /// Whether this much more may be added.
    allowed: bool,
    /// `within_limit`, `limit_reached`, `over_limit`, `unlimited` or `no_license`.
    reason: &'static str,
    /// A message for people.
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
    let max_age = if caller.trusted { FRESH } else { SHARED };
    let in_use = measure(&app, max_age).await.of(resource);
    let snapshot = app.snapshot();
    let limit = snapshot.limit(resource, app.clock.now());
    let decision = limits::check(limit, requested, in_use, &app.policy);
    let resource = resource.as_str();
    let message = match (decision.limit, in_use) {
        (None, _) if !decision.allowed => "No license is activated".to_owned(),
        (None, _) => format!("No limit applies to {resource}"),
        (Some(limit), Some(in_use)) if in_use > limit => {
            let over = in_use - limit;
            format!("{in_use} of {limit} {resource} are in use ({over} over)")
        }
        (Some(limit), Some(in_use)) => format!("{in_use} of {limit} {resource} are in use"),
        (Some(limit), None) => {
            format!("The limit is {limit} {resource}; the number in use is unknown")
        }
    };
    Ok(Json(LimitCheckResponse {
        resource,
        requested,
        allowed: decision.allowed,
        reason: decision.reason.code(),
        message,
        limit: decision.limit,
        in_use,
        remaining: decision.remaining,
    }))
}
