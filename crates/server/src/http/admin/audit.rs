//! The audit log: who changed what.

use std::sync::Arc;

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse as _, Response};
use futures_util::stream;
use serde::Deserialize;
use utoipa::IntoParams;

use super::MAX_PAGE_SIZE;
use crate::app::App;
use crate::http::error::{ApiError, ErrorBody};
use crate::http::given::Params;
use crate::licensing::look_up::look_up;
use crate::store::StoreError;
use crate::store::audit_log::{Entry, Filter, newest, oldest};

/// So many entries of an export are read at a time.
const AT_A_TIME: u64 = 1000;

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(in crate::http) struct Wanted {
    /// Only what was done with this license: its id or its key.
    license: Option<String>,
    /// Only entries older than this one.
    before: Option<i64>,
    /// At most 500; default 50.
    limit: Option<u64>,
}

/// List changes, newest first.
#[utoipa::path(get, path = "/audit", tag = "audit", params(Wanted),
    responses((status = 200, body = Vec<Entry>), (status = 401, body = ErrorBody), (status = 404, body = ErrorBody)))]
pub(in crate::http) async fn list(
    State(app): State<Arc<App>>,
    Params(wanted): Params<Wanted>,
) -> Result<Json<Vec<Entry>>, ApiError> {
    let license_id = match &wanted.license {
        Some(license) => Some(look_up(&app.store, license).await?.id),
        None => None,
    };
    let filter = Filter {
        license_id,
        before: wanted.before,
        after: None,
    };
    let most = wanted.limit.unwrap_or(50).min(MAX_PAGE_SIZE);
    Ok(Json(newest(app.store.reader(), &filter, most).await?))
}

/// Export the whole audit log as JSON Lines, the oldest first.
#[utoipa::path(get, path = "/audit/export", tag = "audit",
    responses((status = 200, content_type = "application/jsonl", body = String), (status = 401, body = ErrorBody)))]
pub(in crate::http) async fn export(State(app): State<Arc<App>>) -> Response {
    jsonl(app)
}

/// The whole log, read while it is sent. If the database fails in between, the connection is
/// aborted, so a partial log is not mistaken for the whole.
pub(crate) fn jsonl(app: Arc<App>) -> Response {
    let lines = stream::try_unfold((app, Filter::default()), async |(app, mut filter)| {
        let entries = oldest(app.store.reader(), &filter, AT_A_TIME).await?;
        let Some(last) = entries.last() else {
            return Ok::<_, StoreError>(None);
        };
        filter.after = Some(last.number);
        let mut lines = Vec::new();
        for entry in &entries {
            if serde_json::to_writer(&mut lines, entry).is_ok() {
                lines.push(b'\n');
            }
        }
        Ok(Some((Bytes::from(lines), (app, filter))))
    });
    let kind = HeaderValue::from_static("application/jsonl");
    let name = HeaderValue::from_static("attachment; filename=\"license-server-audit.jsonl\"");
    (
        [
            (header::CONTENT_TYPE, kind),
            (header::CONTENT_DISPOSITION, name),
        ],
        Body::from_stream(lines),
    )
        .into_response()
}
