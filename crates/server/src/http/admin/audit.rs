//! The audit log: who changed what.

use std::sync::Arc;

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse as _, Response};
use futures_util::stream;
use license_service::database::CallerPlace;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::paging::{PageSize, page_start};
use crate::app::App;
use crate::http::answered_errors::{AdminErrors, LicenseErrors, QueryErrors};
use crate::http::error::ApiError;
use crate::http::given::Params;
use crate::licensing::look_up::look_up;
use crate::store::StoreError;
use crate::store::audit_log::{AuditCursor, Entry, Filter, newest, oldest};
use license_service::cursor::next_cursor;

/// Number of entries of an export that are read at a time.
const AT_A_TIME: u64 = 1000;

/// Which entries.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(in crate::http) struct AuditParams {
    /// Only entries about this license: its id or its key.
    license: Option<String>,
    /// The `nextCursor` of the previous page.
    cursor: Option<String>,
    /// Maximum number of rows on the page.
    #[serde(default)]
    #[param(inline)]
    limit: PageSize,
}

/// One page of the entries.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::http) struct AuditPage {
    entries: Vec<Entry>,
    /// The `cursor` of the next page; `null` on the last one.
    next_cursor: Option<String>,
}

/// List changes, newest first.
#[utoipa::path(
    get, path = "/audit", operation_id = "list_audit_entries", tag = "audit",
    params(AuditParams),
    responses(
        (status = 200, description = "A page of entries", body = AuditPage),
        AdminErrors, LicenseErrors, QueryErrors,
    )
)]
pub(in crate::http) async fn list(
    State(app): State<Arc<App>>,
    Params(params): Params<AuditParams>,
) -> Result<Json<AuditPage>, ApiError> {
    let start = page_start::<AuditCursor>(params.cursor.as_deref(), |_| true)?;
    let license_id = match &params.license {
        Some(license) => Some(look_up(&app.store, license).await?.id),
        None => None,
    };
    let filter = Filter {
        license_id,
        before: start.after().map(|cursor| cursor.before),
        after: None,
    };
    let size = u64::from(params.limit.get());
    let mut entries = newest(app.store.reader(), &filter, size + 1).await?;
    let cursor = |entry: &Entry| AuditCursor {
        before: entry.number,
    };
    Ok(Json(AuditPage {
        next_cursor: next_cursor(&mut entries, size, cursor),
        entries,
    }))
}

/// Export the whole audit log as JSON Lines, oldest first.
#[utoipa::path(
    get, path = "/audit/export", operation_id = "export_audit_log", tag = "audit",
    responses(
        (status = 200, content_type = "application/jsonl", body = String,
            description = "One entry per line"),
        AdminErrors,
    )
)]
pub(in crate::http) async fn export(State(app): State<Arc<App>>) -> Response {
    jsonl(app)
}

/// The whole log, read while it is being sent. If the database fails in between, the connection is
/// aborted, so a partial log is not mistaken for the whole.
pub(crate) fn jsonl(app: Arc<App>) -> Response {
    let place = CallerPlace::current();
    let lines = stream::try_unfold((app, Filter::default()), move |(app, mut filter)| {
        let place = place.clone();
        async move {
            let reading = oldest(app.store.reader(), &filter, AT_A_TIME);
            let entries = place.scope(reading).await?;
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
        }
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
