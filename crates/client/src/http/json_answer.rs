//! Our values as JSON.

use axum::body::Bytes;
use axum::http::StatusCode;
use license_service::direct::DirectResponse;
use serde::Serialize;

/// One of our values as JSON; serialization always succeeds.
pub(super) fn json_bytes(value: &impl Serialize) -> Bytes {
    serde_json::to_vec(value).unwrap_or_default().into()
}

/// A response with this JSON.
pub(super) fn json(body: Bytes) -> DirectResponse {
    DirectResponse::json(StatusCode::OK, body)
}
