//! Installations of all customers.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use chrono::{DateTime, Utc};
use license_core::usage::Usage;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::MAX_PAGE_SIZE;
use super::licenses::Days;
use crate::app::App;
use crate::http::error::{ApiError, ErrorBody};
use crate::http::given::Params;
use crate::licensing;
use crate::licensing::fleet::{Filter, Fleet, Member, Seen, Survey};
use crate::licensing::history::{CallsOfDay, calls_by_day};

/// Show all installations together.
#[utoipa::path(get, path = "/fleet", tag = "fleet",
    responses((status = 200, body = Fleet), (status = 401, body = ErrorBody)))]
pub(in crate::http) async fn fleet(
    State(app): State<Arc<App>>,
    State(survey): State<Arc<Survey>>,
) -> Result<Json<Arc<Fleet>>, ApiError> {
    Ok(Json(survey.fleet(&app).await?))
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(in crate::http) struct Wanted {
    standing: Option<Seen>,
    version: Option<String>,
    /// Only those that use more than their license allows.
    #[serde(default)]
    over_limit: bool,
    /// Only those that were suspected of something in the last 30 days.
    #[serde(default)]
    suspected: bool,
    /// Those that called last come first.
    #[serde(default)]
    newest_first: bool,
    #[serde(default)]
    offset: u64,
    /// At most 500; default 50.
    limit: Option<u64>,
}

/// Some of the installations that match.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::http) struct Page {
    /// How many match.
    total: u64,
    installations: Vec<Listed>,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Listed {
    license_id: String,
    customer: String,
    hardware_id: String,
    installation_id: String,
    installation_name: String,
    installation_version: String,
    last_seen_at: DateTime<Utc>,
    standing: Seen,
    over_limit: bool,
    suspected: bool,
    #[schema(value_type = Object)]
    usage: Usage,
}

impl From<Member> for Listed {
    fn from(member: Member) -> Self {
        let it = member.installation;
        Self {
            license_id: it.license_id,
            customer: it.customer,
            hardware_id: it.hardware_id,
            installation_id: it.installation_id,
            installation_name: it.installation_name,
            installation_version: it.installation_version,
            last_seen_at: it.last_seen_at,
            standing: member.seen,
            over_limit: member.over_limit,
            suspected: member.suspected,
            usage: it.usage,
        }
    }
}

/// List installations.
#[utoipa::path(get, path = "/installations", tag = "fleet", params(Wanted),
    responses((status = 200, body = Page), (status = 400, body = ErrorBody), (status = 401, body = ErrorBody)))]
pub(in crate::http) async fn installations(
    State(app): State<Arc<App>>,
    Params(wanted): Params<Wanted>,
) -> Result<Json<Page>, ApiError> {
    let filter = Filter {
        standing: wanted.standing,
        version: wanted.version,
        over_limit: wanted.over_limit,
        suspected: wanted.suspected,
        newest_first: wanted.newest_first,
    };
    let most = wanted.limit.unwrap_or(50).min(MAX_PAGE_SIZE);
    let found = licensing::fleet::installations(&app, &filter, wanted.offset, most);
    let (page, total) = found.await?;
    Ok(Json(Page {
        total,
        installations: page.into_iter().map(Listed::from).collect(),
    }))
}

/// Count the heartbeats of all sites, day by day.
#[utoipa::path(get, path = "/heartbeats", tag = "fleet", params(Days),
    responses((status = 200, body = Vec<CallsOfDay>), (status = 401, body = ErrorBody)))]
pub(in crate::http) async fn calls(
    State(app): State<Arc<App>>,
    Params(days): Params<Days>,
) -> Result<Json<Vec<CallsOfDay>>, ApiError> {
    let now = app.clock.now();
    let counted = calls_by_day(&app, "heartbeat", days.or(30), now).await?;
    Ok(Json(counted))
}
