//! What machines have used, day by day.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::paging::{page_size, page_start};
use crate::app::App;
use crate::cursor::next_cursor;
use crate::http::error::{ApiError, ErrorBody};
use crate::http::given::Params;
use crate::licensing::history::usage_by_day;
use crate::licensing::look_up::look_up;
use crate::store::usage_days::UsageDay;

/// How far back.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(in crate::http) struct DaysParams {
    /// 1 to 400; default 90.
    days: Option<u32>,
}

impl DaysParams {
    pub(in crate::http) fn or(&self, default: u32) -> u32 {
        self.days.unwrap_or(default).clamp(1, 400)
    }
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(in crate::http) struct UsageParams {
    /// 1 to 400; default 90.
    days: Option<u32>,
    /// The `nextCursor` of the page before.
    cursor: Option<String>,
    /// At most 500; default 50.
    limit: Option<u64>,
}

/// Some of what machines have used, the newest day first.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::http) struct UsagePage {
    /// One for each day on which a machine has reported.
    usage: Vec<UsageDay>,
    /// The `cursor` of the next page; `null` on the last one.
    next_cursor: Option<String>,
}

/// What each machine has used, day by day.
#[utoipa::path(get, path = "/licenses/{license}/usage", tag = "licenses",
    params(("license" = String, Path), UsageParams),
    responses((status = 200, body = UsagePage), (status = 401, body = ErrorBody), (status = 404, body = ErrorBody),
        (status = 422, body = ErrorBody)))]
pub(in crate::http) async fn list(
    State(app): State<Arc<App>>,
    Path(license): Path<String>,
    Params(params): Params<UsageParams>,
) -> Result<Json<UsagePage>, ApiError> {
    let days = DaysParams { days: params.days }.or(90);
    let start = page_start(params.cursor.as_deref(), |_| true)?;
    let license = look_up(&app.store, &license).await?;
    let size = page_size(params.limit);
    let mut usage = usage_by_day(&app, &license.id, days, start.after(), size + 1).await?;
    Ok(Json(UsagePage {
        next_cursor: next_cursor(&mut usage, size, UsageDay::cursor),
        usage,
    }))
}
