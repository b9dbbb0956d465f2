//! Errors for invalid filters in the URL and invalid fields of forms.

use axum::extract::Query;
use axum::extract::rejection::QueryRejection;
use serde::Deserialize;

use crate::http::error::ApiError;

/// A filter has an unknown value.
pub(super) fn unknown(filter: &str, value: &str, expected: &str) -> ApiError {
    ApiError::BadRequest(format!("unknown {filter} '{value}': expected {expected}"))
}

/// The filters in the URL are malformed.
pub(super) fn unreadable(error: &QueryRejection) -> ApiError {
    ApiError::BadRequest(format!(
        "invalid filters in the address: {}",
        error.body_text()
    ))
}

/// The page number in the URL; 1 by default.
///
/// # Errors
/// If it is not a number.
pub(super) fn page_number(text: &str) -> Result<u64, ApiError> {
    match text {
        "" => Ok(1),
        text => text.parse().map_err(|_| unknown("page", text, "a number")),
    }
}

/// The filters of a page that has only page numbers.
#[derive(Deserialize)]
pub(super) struct PageQuery {
    #[serde(default)]
    page: String,
}

/// The page number in the URL of such a page.
///
/// # Errors
/// If it is not a number, or the URL has something else.
pub(super) fn wanted_page(
    wanted: Result<Query<PageQuery>, QueryRejection>,
) -> Result<u64, ApiError> {
    let Query(wanted) = wanted.map_err(|error| unreadable(&error))?;
    page_number(&wanted.page)
}

/// A text with which PostgreSQL can compare.
///
/// # Errors
/// If it contains a NUL character.
pub(super) fn without_nul<'a>(name: &str, text: &'a str) -> Result<&'a str, ApiError> {
    match text.contains('\0') {
        true => Err(ApiError::BadRequest(format!(
            "{name} contains a NUL character"
        ))),
        false => Ok(text),
    }
}

/// A check box of a form.
///
/// # Errors
/// If the value is neither "checked" nor empty.
pub(super) fn check_box(name: &str, text: &str) -> Result<bool, ApiError> {
    match text {
        "" => Ok(false),
        "1" => Ok(true),
        text => Err(unknown(name, text, "1")),
    }
}
