//! Reports of what is in use.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use chrono::TimeDelta;
use license_core::usage::{Gauge, MAX_EXPIRY, MAX_SOURCE_CHARS, Usage};
use license_service::unattended::finish_even_if_disconnected;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use crate::app::App;
use crate::http::body::{JsonObject, too_long, unacceptable};
use crate::http::error::{ApiError, BodyErrors, ChangeErrors, ErrorResponse};
use crate::http::instant::naive;
use crate::licensing;

/// How long a report counts by default.
const DEFAULT_EXPIRY_SECONDS: u64 = 300;
/// How long a report may count, in seconds.
const MAX_EXPIRY_SECONDS: u64 = MAX_EXPIRY.num_seconds().unsigned_abs();

/// What a service of the VMS uses.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
#[expect(dead_code, reason = "describes the body, which http/body.rs reads")]
pub(super) struct UsageReportRequest {
    /// Name of the service; its next report replaces this one.
    #[schema(example = "recorder-1")]
    source: String,
    /// Usage is the sum over all sources.
    cameras: Option<u64>,
    users: Option<u64>,
    storage_gb: Option<u64>,
    /// How long the report counts; default 300, at most a week.
    expires_in_seconds: Option<u64>,
}

/// What is in use now.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct UsageResponse {
    /// Null if unknown.
    cameras: Option<u64>,
    users: Option<u64>,
    storage_gb: Option<u64>,
    /// Until when the report counts; UTC.
    expires_at: String,
}

/// Report Usage
///
/// Accepts a service's usage report. The heartbeat sends the sum.
#[utoipa::path(
    put,
    path = "/api/license/usage",
    request_body = UsageReportRequest,
    responses(
        (status = 200, description = "Accepted; the current usage", body = UsageResponse),
        (status = 409, description = "Too many sources", body = ErrorResponse),
        ChangeErrors,
        BodyErrors,
    )
)]
pub(super) async fn report(
    State(app): State<Arc<App>>,
    mut body: JsonObject,
) -> Result<Json<UsageResponse>, ApiError> {
    let usage = Usage {
        cameras: body.number("cameras")?,
        users: body.number("users")?,
        storage_gb: body.number("storageGb")?,
    };
    let expiry = body
        .number("expiresInSeconds")?
        .unwrap_or(DEFAULT_EXPIRY_SECONDS);
    if !(1..=MAX_EXPIRY_SECONDS).contains(&expiry) {
        let why = format!("expected 1 to {MAX_EXPIRY_SECONDS} seconds");
        return Err(unacceptable("expiresInSeconds", &why, expiry.into()));
    }
    let source = body.text("source")?;
    if source.trim().is_empty() {
        let why = "the source needs a name";
        return Err(unacceptable("source", why, source.into()));
    }
    if source.chars().count() > MAX_SOURCE_CHARS {
        return Err(too_long("source", source, MAX_SOURCE_CHARS));
    }
    if usage == Usage::default() {
        let why = "expected cameras, users or storageGb";
        return Err(unacceptable("cameras", why, Value::Null));
    }
    let now = app.clock.now();
    let until = now + TimeDelta::seconds(i64::try_from(expiry).unwrap_or(i64::MAX));
    let gauge = Gauge {
        usage,
        reported_at: now,
        until,
    };
    let report = async move { licensing::usage::report(&app, source, gauge).await };
    let in_use = finish_even_if_disconnected(report)
        .await?
        .map_err(ApiError::Report)?;
    Ok(Json(UsageResponse {
        cameras: in_use.cameras,
        users: in_use.users,
        storage_gb: in_use.storage_gb,
        expires_at: naive(until),
    }))
}
