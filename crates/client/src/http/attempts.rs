//! The log of activations and validations.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::app::App;
use crate::http::access::Caller;
use crate::http::body::unacceptable_query;
use crate::http::error::{ApiError, BodyErrors, ErrorResponse};
use crate::http::instant::naive;
use crate::store::local_license_validation_attempts::{LoggedAttempt, page};

/// Lines in an answer that does not say how many.
const USUAL_PAGE: u64 = 50;
/// Most lines in one answer.
const LONGEST_PAGE: u64 = 500;

/// Which part of the log.
#[derive(Deserialize)]
pub(super) struct AttemptsQuery {
    limit: Option<u64>,
    before: Option<i32>,
}

/// A line of the log.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Attempt {
    id: i32,
    /// Masked for callers who may not change things.
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
pub(super) struct AttemptListResponse {
    /// The newest first.
    attempts: Vec<Attempt>,
    /// For `before`, when there are more.
    next: Option<i32>,
}

/// List Attempts
///
/// The log of activations and validations, the newest first.
#[utoipa::path(
    get,
    path = "/api/license/attempts",
    params(
        ("limit" = Option<u64>, Query, description = "Most lines; 1 to 500, usually 50"),
        ("before" = Option<i32>, Query, description = "Only lines before this one: `next` of the page before"),
    ),
    responses(
        (status = 200, description = "A page of the log", body = AttemptListResponse),
        (status = 503, description = "The database does not answer", body = ErrorResponse),
        BodyErrors,
    )
)]
pub(super) async fn list(
    State(app): State<Arc<App>>,
    caller: Caller,
    query: Result<Query<AttemptsQuery>, QueryRejection>,
) -> Result<Json<AttemptListResponse>, ApiError> {
    let Query(query) = query.map_err(|error| unacceptable_query(&error.body_text()))?;
    let most = query.limit.unwrap_or(USUAL_PAGE);
    if !(1..=LONGEST_PAGE).contains(&most) {
        let why = format!("limit: accepted are 1 to {LONGEST_PAGE}");
        return Err(unacceptable_query(&why));
    }
    let db = app.store.db();
    // One more shows whether there are more.
    let lines = app.store.within(page(&db, query.before, most + 1)).await?;
    let shown = usize::try_from(most).unwrap_or(usize::MAX);
    let next = (lines.len() > shown).then(|| lines.get(shown - 1).map(|line| line.id));
    let attempts = lines.into_iter().take(shown);
    Ok(Json(AttemptListResponse {
        attempts: attempts.map(|line| shown_to(caller, line)).collect(),
        next: next.flatten(),
    }))
}

fn shown_to(caller: Caller, line: LoggedAttempt) -> Attempt {
    let license_key = line.license_key.map(|key| caller.sees(&key));
    Attempt {
        id: line.id,
        license_key,
        result: line.result,
        error_message: line.error_message,
        hardware_id: line.hardware_id,
        attempted_at: line.attempted_at.map(naive),
    }
}
