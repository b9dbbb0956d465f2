//! Signing keys.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::{Extension, Json};
use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::app::App;
use crate::audit::Actor;
use crate::http::error::{ApiError, ErrorBody};
use crate::http::given::Body;
use crate::licensing::keys::{DEFAULT_OVERLAP_DAYS, MAX_OVERLAP_DAYS, revoke_in, rotate_in};
use crate::signing::KeyInfo;

/// The signing keys, without private parts.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::http) struct Keys {
    /// Version of the published set.
    key_set: u64,
    keys: Vec<KeyInfo>,
}

/// List the signing keys.
#[utoipa::path(get, path = "/keys", tag = "keys",
    responses((status = 200, body = Keys), (status = 401, body = ErrorBody)))]
pub(in crate::http) async fn list(State(app): State<Arc<App>>) -> Json<Keys> {
    let keys = app.keys();
    Json(Keys {
        key_set: keys.version(),
        keys: keys.list(app.clock.now()),
    })
}

/// When the next key signs.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(in crate::http) struct Overlap {
    /// Days until the new key signs, 0 to 365; 0 when the old one is not safe
    /// any more. 7 if nothing is said.
    #[serde(default = "usual_overlap")]
    overlap_days: u16,
}

fn usual_overlap() -> u16 {
    DEFAULT_OVERLAP_DAYS
}

/// A created key.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::http) struct Made {
    kid: String,
    signs_from: DateTime<Utc>,
}

/// Make the next signing key, and publish it.
#[utoipa::path(post, path = "/keys/rotate", tag = "keys", request_body = Overlap,
    responses((status = 200, body = Made), (status = 400, body = ErrorBody), (status = 401, body = ErrorBody),
        (status = 409, body = ErrorBody)))]
pub(in crate::http) async fn rotate(
    State(app): State<Arc<App>>,
    Extension(actor): Extension<Actor>,
    Body(wanted): Body<Overlap>,
) -> Result<Json<Made>, ApiError> {
    if wanted.overlap_days > MAX_OVERLAP_DAYS {
        let message = format!("overlapDays is at most {MAX_OVERLAP_DAYS}");
        return Err(ApiError::BadRequest(message));
    }
    let overlap = TimeDelta::days(wanted.overlap_days.into());
    let (kid, signs_from) = rotate_in(&app, overlap, actor).await?;
    Ok(Json(Made { kid, signs_from }))
}

/// Revoke a signing key: nothing that it has signed counts any more.
#[utoipa::path(post, path = "/keys/{kid}/revoke", tag = "keys", params(("kid" = String, Path)),
    responses((status = 200, body = Keys), (status = 401, body = ErrorBody),
        (status = 404, body = ErrorBody), (status = 409, body = ErrorBody)))]
pub(in crate::http) async fn revoke(
    State(app): State<Arc<App>>,
    Extension(actor): Extension<Actor>,
    Path(kid): Path<String>,
) -> Result<Json<Keys>, ApiError> {
    revoke_in(&app, kid, actor).await?;
    Ok(list(State(app)).await)
}
