//! Usage reports.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use chrono::TimeDelta;
use license_core::usage::{Counts, Gauge, MAX_EXPIRY, MAX_SOURCE_CHARS, Usage};
use license_service::unattended::finish_even_if_disconnected;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use crate::app::App;
use crate::http::body::field::{Amounts, Number, Text, body, object, with_one_of};
use crate::http::body::{JsonObject, unacceptable};
use crate::http::error::{ApiError, BodyErrors, ChangeErrors, ErrorResponse};
use crate::http::instant::naive;
use crate::licensing;

/// Default time for which a report is valid.
const DEFAULT_EXPIRY_SECONDS: u64 = 300;
/// The allowed time for which a report is valid, in seconds.
const MAX_EXPIRY_SECONDS: u64 = MAX_EXPIRY.num_seconds().unsigned_abs();

const SOURCE: Text = Text::new(
    "source",
    "Name of the service; the next report with the same name replaces this report",
)
.example("recorder-1")
.not_blank()
.max_chars(MAX_SOURCE_CHARS);
const CAMERAS: Number = Number::new("cameras", "Cameras in use by this service");
const USERS: Number = Number::new("users", "Users of this service");
const STORAGE_GB: Number = Number::new("storageGb", "Storage in use by this service");
const COUNTS: Amounts = Amounts {
    name: "counts",
    description: "Usage of anything else that a license limits, by key",
    example: ("anpr_lanes", 8),
};
const EXPIRES_IN_SECONDS: Number = Number::new("expiresInSeconds", "How long the report is valid")
    .between(1, MAX_EXPIRY_SECONDS)
    .default(DEFAULT_EXPIRY_SECONDS);

body!(
    UsageReportRequest,
    with_one_of(
        object(
            "Usage of one service of the VMS; the usage of the site is the sum over all services",
            &[
                &SOURCE,
                &CAMERAS,
                &USERS,
                &STORAGE_GB,
                &COUNTS,
                &EXPIRES_IN_SECONDS
            ]
        ),
        [
            CAMERAS.present(),
            USERS.present(),
            STORAGE_GB.present(),
            COUNTS.present()
        ]
    )
);

/// The current usage of the site.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct UsageResponse {
    /// Null if unknown.
    cameras: Option<u64>,
    users: Option<u64>,
    storage_gb: Option<u64>,
    /// Everything else that services count, by its key; an absent key is unknown.
    #[schema(value_type = std::collections::BTreeMap<String, u64>)]
    counts: Counts,
    /// When the report expires; UTC.
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
        (status = 409, description = "Too many sources, or too many keys in all reports together", body = ErrorResponse),
        ChangeErrors,
        BodyErrors,
    )
)]
pub(super) async fn report(
    State(app): State<Arc<App>>,
    mut body: JsonObject,
) -> Result<Json<UsageResponse>, ApiError> {
    let usage = Usage {
        cameras: body.read(&CAMERAS)?,
        users: body.read(&USERS)?,
        storage_gb: body.read(&STORAGE_GB)?,
        counts: body.read(&COUNTS)?,
    };
    let expiry = body.read(&EXPIRES_IN_SECONDS)?.unwrap_or_default();
    let source = body.read(&SOURCE)?;
    if usage == Usage::default() {
        let why = "expected cameras, users, storageGb or counts";
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
        counts: in_use.counts,
        expires_at: naive(until),
    }))
}
