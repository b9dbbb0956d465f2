//! What an address says that cannot be followed.

use axum::extract::rejection::QueryRejection;

use crate::http::error::ApiError;

/// A filter has a value that it does not know.
pub(super) fn unknown(filter: &str, value: &str, expected: &str) -> ApiError {
    ApiError::BadRequest(format!("unknown {filter} '{value}': expected {expected}"))
}

/// The filters of an address cannot be read.
pub(super) fn unreadable(error: &QueryRejection) -> ApiError {
    ApiError::BadRequest(format!(
        "invalid filters in the address: {}",
        error.body_text()
    ))
}

/// Which page of a list; the first one where the address does not say.
///
/// # Errors
/// When it is no number.
pub(super) fn page_number(text: &str) -> Result<u64, ApiError> {
    match text {
        "" => Ok(1),
        text => text.parse().map_err(|_| unknown("page", text, "a number")),
    }
}

/// A check box of a form.
///
/// # Errors
/// When it is neither checked nor empty.
pub(super) fn check_box(name: &str, text: &str) -> Result<bool, ApiError> {
    match text {
        "" => Ok(false),
        "1" => Ok(true),
        text => Err(unknown(name, text, "1")),
    }
}
