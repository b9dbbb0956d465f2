//! Signing keys.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::{Extension, Json};
use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::app::App;
use crate::audit::Actor;
use crate::http::answered_errors::{AdminErrors, BodyErrors};
use crate::http::error::{ApiError, ErrorBody};
use crate::http::given::Body;
use crate::licensing::key_changes::{DEFAULT_OVERLAP_DAYS, MAX_OVERLAP_DAYS, revoke_in, rotate_in};
use crate::signing::KeyInfo;

/// The signing keys, without their private parts.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::http) struct SigningKeys {
    /// Version of the published set.
    key_set: u64,
    keys: Vec<KeyInfo>,
}

/// List the signing keys.
#[utoipa::path(
    get, path = "/keys", operation_id = "list_signing_keys", tag = "keys",
    responses(
        (status = 200, description = "The keys", body = SigningKeys),
        AdminErrors,
    )
)]
pub(in crate::http) async fn list(State(app): State<Arc<App>>) -> Json<SigningKeys> {
    let keys = app.keys();
    Json(SigningKeys {
        key_set: keys.version(),
        keys: keys.list(app.clock.now()),
    })
}

/// When the next key becomes active.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(in crate::http) struct RotateBody {
    /// Days until the new key signs; 0 if the old one has been compromised.
    #[serde(default = "default_overlap")]
    overlap_days: u16,
}

fn default_overlap() -> u16 {
    DEFAULT_OVERLAP_DAYS
}

/// A created key.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::http) struct NewSigningKey {
    kid: String,
    signs_from: DateTime<Utc>,
}

/// Create the next signing key, and publish it.
#[utoipa::path(
    post, path = "/keys/rotate", operation_id = "rotate_signing_keys", tag = "keys",
    request_body = RotateBody,
    responses(
        (status = 200, description = "The new key", body = NewSigningKey),
        AdminErrors, BodyErrors,
        (status = 409, body = ErrorBody, description = "The keys cannot be changed at present"),
    )
)]
pub(in crate::http) async fn rotate(
    State(app): State<Arc<App>>,
    Extension(actor): Extension<Actor>,
    Body(body): Body<RotateBody>,
) -> Result<Json<NewSigningKey>, ApiError> {
    if body.overlap_days > MAX_OVERLAP_DAYS {
        let message = format!("overlapDays must be at most {MAX_OVERLAP_DAYS}");
        return Err(ApiError::BadRequest(message));
    }
    let overlap = TimeDelta::days(body.overlap_days.into());
    let (kid, signs_from) = rotate_in(&app, overlap, actor).await?;
    Ok(Json(NewSigningKey { kid, signs_from }))
}

/// Revoke a signing key: everything that it has signed becomes invalid.
#[utoipa::path(
    post, path = "/keys/{kid}/revoke", operation_id = "revoke_signing_key", tag = "keys",
    params(("kid" = String, Path)),
    responses(
        (status = 200, description = "The keys", body = SigningKeys),
        AdminErrors,
        (status = 404, body = ErrorBody, description = "No key has this id"),
        (status = 409, body = ErrorBody,
            description = "It is the only key, or the keys cannot be changed at present"),
    )
)]
pub(in crate::http) async fn revoke(
    State(app): State<Arc<App>>,
    Extension(actor): Extension<Actor>,
    Path(kid): Path<String>,
) -> Result<Json<SigningKeys>, ApiError> {
    revoke_in(&app, kid, actor).await?;
    Ok(list(State(app)).await)
}
