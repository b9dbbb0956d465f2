//! The audit log: who changed what.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::paging::{PageSize, page_start};
use crate::app::App;
use crate::http::answered_errors::{AdminErrors, LicenseErrors, QueryErrors};
use crate::http::error::ApiError;
use crate::http::given::Params;
use crate::http::staff_stream::StaffStream;
use crate::licensing::exports::AuditLines;
use crate::licensing::exports::audit_log::{CONTENT_TYPE, FILE_NAME};
use crate::licensing::look_up::look_up;
use crate::store::audit_log::{AuditCursor, Entry, Filter, newest_page};

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
    let db = app.store.reader();
    let page = newest_page(db, &filter, params.limit.get().into()).await?;
    Ok(Json(AuditPage {
        next_cursor: page.next_cursor(|last| AuditCursor {
            before: last.number,
        }),
        entries: page.rows,
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
pub(in crate::http) async fn export(stream: StaffStream) -> Result<Response, ApiError> {
    jsonl(stream).await
}

/// The whole log, read while it is being sent.
///
/// # Errors
/// If the database fails before anything is sent.
pub(crate) async fn jsonl(stream: StaffStream) -> Result<Response, ApiError> {
    let lines = AuditLines::default();
    stream.file(lines, CONTENT_TYPE, FILE_NAME).await
}
