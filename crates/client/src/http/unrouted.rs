//! Requests that match no route.

use axum::http::{StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};

use crate::http::error::ApiError;

/// 404, or 307 to the same path without its trailing slash, as version 1.0.0
/// answers.
pub(super) async fn not_found(uri: Uri) -> Response {
    match without_slash(&uri) {
        Some(location) => (
            StatusCode::TEMPORARY_REDIRECT,
            [(header::LOCATION, location)],
        )
            .into_response(),
        None => ApiError::NotFound.into_response(),
    }
}

/// 405; the router adds `Allow`.
pub(super) async fn method_not_allowed() -> ApiError {
    ApiError::MethodNotAllowed
}

/// Makes `Allow` name the methods that version 1.0.0 named: the router adds
/// HEAD wherever there is GET.
pub(super) async fn tidy_allow(mut response: Response) -> Response {
    if response.status() == StatusCode::METHOD_NOT_ALLOWED {
        let allowed = response.headers().get(header::ALLOW);
        let allowed = allowed.and_then(|value| value.to_str().ok());
        let methods: Vec<&str> = allowed
            .unwrap_or("GET")
            .split(',')
            .filter(|method| *method != "HEAD")
            .collect();
        if let Ok(value) = methods.join(", ").parse() {
            response.headers_mut().insert(header::ALLOW, value);
        }
    }
    response
}

/// Maximum length of a redirect's address, in bytes.
const MAX_LOCATION_BYTES: usize = 4 * 1024;

/// The redirect is relative, because only a proxy knows the scheme and port that the caller used.
fn without_slash(uri: &Uri) -> Option<String> {
    let path = uri.path().strip_suffix('/')?;
    if !KNOWN.contains(&path) {
        return None;
    }
    let query = uri.query().map(|q| format!("?{q}")).unwrap_or_default();
    let location = format!("{path}{query}");
    Some(location).filter(|location| location.len() <= MAX_LOCATION_BYTES)
}

/// Paths that version 1.0.0 redirected.
const KNOWN: [&str; 7] = [
    "/health",
    "/openapi.json",
    "/api/license/activate",
    "/api/license/status",
    "/api/license/validate",
    "/api/license/feature/check",
    "/api/license/heartbeat",
];
