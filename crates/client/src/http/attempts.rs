//! The log of activations and validations.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use license_service::cursor::{from_text, to_text};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::app::App;
use crate::http::access::Caller;
use crate::http::body::unacceptable_query;
use crate::http::error::{ApiError, BodyErrors, ErrorResponse};
use crate::http::instant::naive;
use crate::store::local_license_validation_attempts::LoggedAttempt;

/// Default number of lines in a response.
const DEFAULT_PAGE: usize = 50;
/// Maximum number of lines in one response.
const MAX_PAGE: usize = 500;

/// Maximum length of the text in one response, in bytes. A page that reaches it ends early.
const MAX_PAGE_BYTES: usize = 256 * 1024;

/// The part of the log to return.
#[derive(Deserialize)]
pub(super) struct AttemptsQuery {
    limit: Option<usize>,
    cursor: Option<String>,
}

/// A line of the log.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Attempt {
    id: i32,
    /// Masked for callers that may not make changes.
    license_key: Option<String>,
    /// `success`, `failed` (an activation), `offline` or `denied` (a
    /// validation).
    result: String,
    error_message: Option<String>,
    hardware_id: Option<String>,
    /// UTC.
    attempted_at: Option<String>,
}

/// A page of the log.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct AttemptListResponse {
    /// The lines, newest first.
    attempts: Vec<Attempt>,
    /// The `cursor` of the next page; `null` on the last one.
    next_cursor: Option<String>,
}

/// List Attempts
///
/// The log of activations and validations, newest first.
#[utoipa::path(
    get,
    path = "/api/license/attempts",
    params(
        ("limit" = Option<u64>, Query, minimum = 1, maximum = 500, description = "Maximum number of entries, 1 to 500; default 50; a page with long messages has fewer entries"),
        ("cursor" = Option<String>, Query, description = "The `nextCursor` of the previous page"),
    ),
    responses(
        (status = 200, description = "One page of the log", body = AttemptListResponse),
        (status = 503, description = "The database is unavailable", body = ErrorResponse),
        BodyErrors,
    )
)]
pub(super) async fn list(
    State(app): State<Arc<App>>,
    caller: Caller,
    query: Result<Query<AttemptsQuery>, QueryRejection>,
) -> Result<Json<AttemptListResponse>, ApiError> {
    let Query(query) = query.map_err(|error| unacceptable_query(&error.body_text()))?;
    let most = query.limit.unwrap_or(DEFAULT_PAGE);
    if !(1..=MAX_PAGE).contains(&most) {
        let why = format!("limit: expected 1 to {MAX_PAGE}");
        return Err(unacceptable_query(&why));
    }
    let cursor = query.cursor.as_deref().map(from_text::<i32>).transpose();
    let cursor = cursor.map_err(|error| unacceptable_query(&format!("cursor: {error}")))?;
    let log = app
        .attempts
        .newest()
        .await
        .ok_or(ApiError::AttemptsUnavailable)?;
    let mut lines = log
        .iter()
        .filter(|line| cursor.is_none_or(|last| line.id < last))
        .peekable();
    let mut attempts = Vec::new();
    let mut bytes = 0;
    while attempts.len() < most
        && bytes < MAX_PAGE_BYTES
        && let Some(line) = lines.next()
    {
        bytes += line.text_bytes();
        attempts.push(shown_to(caller, line));
    }
    let last = lines.peek().and(attempts.last());
    let next_cursor = last.map(|line| to_text(&line.id));
    Ok(Json(AttemptListResponse {
        attempts,
        next_cursor,
    }))
}

fn shown_to(caller: Caller, line: &LoggedAttempt) -> Attempt {
    let license_key = line.license_key.as_ref().map(|key| caller.sees(key));
    Attempt {
        id: line.id,
        license_key,
        result: line.result.clone(),
        error_message: line.error_message.clone(),
        hardware_id: line.hardware_id.clone(),
        attempted_at: line.attempted_at.map(naive),
    }
}
