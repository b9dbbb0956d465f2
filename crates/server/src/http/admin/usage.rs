//! What machines have used, day by day.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::paging::{PageSize, page_start};
use crate::app::App;
use crate::http::answered_errors::{AdminErrors, LicenseErrors, QueryErrors};
use crate::http::error::ApiError;
use crate::http::given::{Params, UpTo};
use crate::licensing::history::{KEPT_DAYS, usage_by_day};
use crate::licensing::look_up::look_up;
use crate::store::usage_days::UsageDay;

/// 90 days by default.
type UsageDays = UpTo<KEPT_DAYS, 90>;

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(in crate::http) struct UsageParams {
    /// The number of days, including today.
    #[serde(default)]
    #[param(inline)]
    days: UsageDays,
    /// The `nextCursor` of the previous page.
    cursor: Option<String>,
    /// Maximum number of rows on the page.
    #[serde(default)]
    #[param(inline)]
    limit: PageSize,
}

/// One page of the daily usage of machines, newest day first.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::http) struct UsagePage {
    /// One entry for each machine and day with a report.
    usage: Vec<UsageDay>,
    /// The `cursor` of the next page; `null` on the last one.
    next_cursor: Option<String>,
}

/// List the daily usage of each machine.
#[utoipa::path(
    get, path = "/licenses/{license}/usage", operation_id = "list_usage", tag = "licenses",
    params(("license" = String, Path), UsageParams),
    responses(
        (status = 200, description = "A page of daily usage", body = UsagePage),
        AdminErrors, LicenseErrors, QueryErrors,
    )
)]
pub(in crate::http) async fn list(
    State(app): State<Arc<App>>,
    Path(license): Path<String>,
    Params(params): Params<UsageParams>,
) -> Result<Json<UsagePage>, ApiError> {
    let start = page_start(params.cursor.as_deref(), |_| true)?;
    let license = look_up(&app.store, &license).await?;
    let size = u64::from(params.limit.get());
    let usage = usage_by_day(&app, &license.id, params.days.get(), start.after(), size).await?;
    Ok(Json(UsagePage {
        next_cursor: usage.next_cursor(UsageDay::cursor),
        usage: usage.rows,
    }))
}
