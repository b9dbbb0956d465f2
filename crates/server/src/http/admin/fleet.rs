//! Installations of all customers.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::paging::{PageSize, page_start};
use crate::app::App;
use crate::http::answered_errors::{AdminErrors, QueryErrors};
use crate::http::error::ApiError;
use crate::http::given::{Params, UpTo};
use crate::licensing::fleet::{Filter, ShownInstallation, Survey};
use crate::licensing::fleet_summary::Fleet;
use crate::licensing::history::{CallsOfDay, KEPT_DAYS, calls_by_day};
use crate::licensing::seen_standing::Seen;
use crate::store::installations::{InstallationsCursor, Window};
use crate::store::page::SortOrder;

/// Show a summary of all installations.
#[utoipa::path(
    get, path = "/fleet", operation_id = "show_fleet", tag = "fleet",
    responses(
        (status = 200, description = "Counts of all installations", body = Fleet),
        AdminErrors,
    )
)]
pub(in crate::http) async fn fleet(
    State(app): State<Arc<App>>,
    State(survey): State<Arc<Survey>>,
) -> Result<Json<Arc<Fleet>>, ApiError> {
    Ok(Json(survey.fleet(&app).await?))
}

/// The field by which installations are sorted, named as in responses.
#[derive(Clone, Copy, Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
enum InstallationsSort {
    /// When they last called.
    #[default]
    LastSeenAt,
}

/// Which installations, and in what order.
#[derive(Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(in crate::http) struct InstallationsParams {
    standing: Option<Seen>,
    installation_version: Option<String>,
    /// `true` lists only installations that use more than their license allows, `false` only
    /// installations that do not.
    over_limit: Option<bool>,
    /// `true` lists only installations with suspicions in the last 30 days, `false` only
    /// installations without suspicions.
    suspected: Option<bool>,
    /// Default is `lastSeenAt`.
    #[param(inline)]
    #[serde(default, rename = "sort")]
    _sort: InstallationsSort,
    /// Default is `asc`: the installations that have been silent longest come first.
    #[param(inline)]
    order: Option<SortOrder>,
    /// The `nextCursor` of the previous page, requested with the same `order`.
    cursor: Option<String>,
    /// Maximum number of rows on the page.
    #[serde(default)]
    #[param(inline)]
    limit: PageSize,
}

/// One page of the matching installations.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::http) struct InstallationsPage {
    installations: Vec<ShownInstallation>,
    /// The number of matching installations.
    total: u64,
    /// The `cursor` of the next page; `null` on the last one.
    next_cursor: Option<String>,
}

/// List installations.
#[utoipa::path(
    get, path = "/installations", operation_id = "list_installations", tag = "fleet",
    params(InstallationsParams),
    responses(
        (status = 200, description = "A page of installations", body = InstallationsPage),
        AdminErrors, QueryErrors,
    )
)]
pub(in crate::http) async fn installations(
    State(app): State<Arc<App>>,
    State(survey): State<Arc<Survey>>,
    Params(params): Params<InstallationsParams>,
) -> Result<Json<InstallationsPage>, ApiError> {
    let filter = Filter {
        standing: params.standing,
        version: params.installation_version,
        over_limit: params.over_limit,
        suspected: params.suspected,
    };
    let order = params.order.unwrap_or(SortOrder::Asc);
    let is_of_list = |cursor: &InstallationsCursor| cursor.is_of(order);
    let window = Window {
        start: page_start(params.cursor.as_deref(), is_of_list)?,
        limit: params.limit.get().into(),
    };
    let found = survey.installations(&app, &filter, order, window);
    let (found, total) = found.await?;
    Ok(Json(InstallationsPage {
        total,
        next_cursor: found.next_cursor(|it| it.installation.cursor(order)),
        installations: found
            .rows
            .into_iter()
            .map(ShownInstallation::from)
            .collect(),
    }))
}

/// 30 days by default.
type HeartbeatsDays = UpTo<KEPT_DAYS, 30>;

/// How far back.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(in crate::http) struct HeartbeatsParams {
    /// The number of days, including today.
    #[serde(default)]
    #[param(inline)]
    days: HeartbeatsDays,
}

/// Count the heartbeats from all sites by day.
#[utoipa::path(
    get, path = "/heartbeats", operation_id = "count_heartbeats", tag = "fleet",
    params(HeartbeatsParams),
    responses(
        (status = 200, description = "One entry per day, oldest first", body = Vec<CallsOfDay>),
        AdminErrors, QueryErrors,
    )
)]
pub(in crate::http) async fn calls(
    State(app): State<Arc<App>>,
    Params(params): Params<HeartbeatsParams>,
) -> Result<Json<Vec<CallsOfDay>>, ApiError> {
    let now = app.clock.now();
    let counted = calls_by_day(&app, "heartbeat", params.days.get(), now).await?;
    Ok(Json(counted))
}
