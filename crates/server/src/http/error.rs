//! The only place where an error becomes a status code.
//!
//! Errors have no `success` field: a site takes `success: false` for the
//! License Server's "no", and none of these is one.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::json;

use crate::licensing::answer::AnswerError;
use crate::licensing::offline::OfflineError;

/// Why a request is not answered.
#[derive(Debug)]
pub(super) enum ApiError {
    /// The body or a header is not what it has to be.
    BadRequest(String),
    /// The body cannot be read: too long, or broken off.
    Body(StatusCode, String),
    /// The vendor has switched this off.
    NotOffered(String),
    /// There is no such path.
    NotFound,
    /// The path has other methods.
    MethodNotAllowed,
    /// A fault of ours; the log has it.
    Internal,
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let (status, code, message) = match self {
            Self::BadRequest(message) => (StatusCode::BAD_REQUEST, "bad_request", message),
            Self::Body(status, message) => (status, "bad_request", message),
            Self::NotOffered(message) => (StatusCode::FORBIDDEN, "not_offered", message),
            Self::NotFound => (
                StatusCode::NOT_FOUND,
                "not_found",
                "There is no such path".to_owned(),
            ),
            Self::MethodNotAllowed => (
                StatusCode::METHOD_NOT_ALLOWED,
                "method_not_allowed",
                "The path has other methods".to_owned(),
            ),
            Self::Internal => (
                StatusCode::INTERNAL_SERVER_ERROR,
                "internal",
                "The License Server has a fault; it is in its log".to_owned(),
            ),
        };
        let body = json!({"error": {"code": code, "message": message}});
        (status, Json(body)).into_response()
    }
}

impl From<OfflineError> for ApiError {
    fn from(error: OfflineError) -> Self {
        match error {
            OfflineError::Answer(error) => error.into(),
            OfflineError::NotOffered => Self::NotOffered(error.to_string()),
            OfflineError::File(_) | OfflineError::Field(_) | OfflineError::Outdated(_) => {
                Self::BadRequest(error.to_string())
            }
        }
    }
}

impl From<AnswerError> for ApiError {
    fn from(error: AnswerError) -> Self {
        tracing::error!(%error, "a request could not be answered");
        Self::Internal
    }
}
