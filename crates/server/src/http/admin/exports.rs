//! Exports as CSV: whole lists, for spreadsheets.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use chrono::{DateTime, TimeDelta, Utc};
use serde::Deserialize;
use utoipa::IntoParams;

use super::plans::known_plan;
use crate::app::App;
use crate::http::answered_errors::{AdminErrors, CustomerErrors, LicenseErrors, QueryErrors};
use crate::http::error::ApiError;
use crate::http::given::{Params, UntilText, UpTo, until};
use crate::http::staff_stream::StaffStream;
use crate::licensing::customers::look_up as look_up_customer;
use crate::licensing::exports::{
    AmendmentsExport, CsvPieces, Export, InstallationsExport, LicensesExport, UsageExport,
};
use crate::licensing::fleet::Filter;
use crate::licensing::history::KEPT_DAYS;
use crate::licensing::judge::ShownStatus;
use crate::licensing::look_up::look_up;
use crate::licensing::seen_standing::Seen;
use crate::spreadsheet;
use crate::store::licenses::Search;

/// Which licenses.
#[derive(Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(in crate::http) struct LicensesExportParams {
    /// Part of the customer's name, the key or an installation's name; or a complete hardware id.
    #[serde(default)]
    search: String,
    #[param(inline)]
    status: Option<ShownStatus>,
    /// `true` selects only licenses with a trial plan, `false` only licenses with other plans.
    trial: Option<bool>,
    tier: Option<String>,
    /// Only licenses of this plan, such as `professional`, or of a version of it, such as
    /// `professional@3`.
    plan: Option<String>,
    /// Only licenses of this customer: its id, its name or its reference.
    customer: Option<String>,
    /// Only licenses that end by this instant or day.
    #[serde(default, deserialize_with = "until")]
    #[param(inline, value_type = UntilText)]
    expires_until: Option<DateTime<Utc>>,
    /// Only licenses that end after this instant or day.
    #[serde(default, deserialize_with = "until")]
    #[param(inline, value_type = UntilText)]
    expires_after: Option<DateTime<Utc>>,
}

/// Export licenses as CSV, oldest first.
#[utoipa::path(
    get, path = "/licenses/export", operation_id = "export_licenses", tag = "licenses",
    params(LicensesExportParams),
    responses(
        (status = 200, content_type = "text/csv", body = String,
            description = "A header row, then one row for each license"),
        AdminErrors, CustomerErrors, QueryErrors,
    )
)]
pub(in crate::http) async fn licenses(
    State(app): State<Arc<App>>,
    stream: StaffStream,
    Params(params): Params<LicensesExportParams>,
) -> Result<Response, ApiError> {
    let (db, now) = (app.store.reader(), app.clock.now());
    let customer_id = match &params.customer {
        Some(customer) => Some(look_up_customer(db, customer).await?.id),
        None => None,
    };
    let search = Search {
        text: params.search,
        state: params.status.map(|status| (status.state(), now)),
        trial: params.trial,
        tier: params.tier,
        plan: known_plan(db, params.plan.as_deref()).await?,
        customer_id,
        expires_until: params.expires_until,
        expires_after: params.expires_after,
        ..Search::default()
    };
    csv(stream, CsvPieces::of(LicensesExport::new(search, now))).await
}

/// Which installations.
#[derive(Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(in crate::http) struct InstallationsExportParams {
    standing: Option<Seen>,
    installation_version: Option<String>,
    /// `true` selects only installations that use more than their license allows, `false` only
    /// installations that do not.
    over_limit: Option<bool>,
    /// `true` selects only installations with suspicions in the last 30 days, `false` only
    /// installations without suspicions.
    suspected: Option<bool>,
}

/// Export installations as CSV, in the order in which their seats were first taken.
#[utoipa::path(
    get, path = "/installations/export", operation_id = "export_installations", tag = "fleet",
    params(InstallationsExportParams),
    responses(
        (status = 200, content_type = "text/csv", body = String,
            description = "A header row, then one row for each installation"),
        AdminErrors, QueryErrors,
    )
)]
pub(in crate::http) async fn installations(
    State(app): State<Arc<App>>,
    stream: StaffStream,
    Params(params): Params<InstallationsExportParams>,
) -> Result<Response, ApiError> {
    let filter = Filter {
        standing: params.standing,
        version: params.installation_version,
        over_limit: params.over_limit,
        suspected: params.suspected,
    };
    let now = app.clock.now();
    csv(stream, CsvPieces::of(InstallationsExport::new(filter, now))).await
}

/// 90 days by default.
type UsageDays = UpTo<KEPT_DAYS, 90>;

/// Which usage: of the last 90 days by default.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(in crate::http) struct UsageExportParams {
    /// Only the usage of this license: its id or its key.
    license: Option<String>,
    /// The number of days, including today.
    #[serde(default)]
    #[param(inline)]
    days: UsageDays,
}

/// Export the daily usage of each machine as CSV, sorted by license, machine and day.
#[utoipa::path(
    get, path = "/usage/export", operation_id = "export_usage", tag = "fleet",
    params(UsageExportParams),
    responses(
        (status = 200, content_type = "text/csv", body = String,
            description = "A header row, then one row for each machine and day"),
        AdminErrors, LicenseErrors, QueryErrors,
    )
)]
pub(in crate::http) async fn usage(
    State(app): State<Arc<App>>,
    stream: StaffStream,
    Params(params): Params<UsageExportParams>,
) -> Result<Response, ApiError> {
    let license_id = id_of(&app, params.license.as_deref()).await?;
    let since = app.clock.now().date_naive() - TimeDelta::days(i64::from(params.days.get()) - 1);
    csv(stream, CsvPieces::of(UsageExport::new(license_id, since))).await
}

/// Which amendments.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(in crate::http) struct AmendmentsExportParams {
    /// Only the amendments of this license: its id or its key.
    license: Option<String>,
}

/// Export amendments as CSV, oldest first.
#[utoipa::path(
    get, path = "/amendments/export", operation_id = "export_amendments", tag = "licenses",
    params(AmendmentsExportParams),
    responses(
        (status = 200, content_type = "text/csv", body = String,
            description = "A header row, then one row for each amendment"),
        AdminErrors, LicenseErrors, QueryErrors,
    )
)]
pub(in crate::http) async fn amendments(
    State(app): State<Arc<App>>,
    stream: StaffStream,
    Params(params): Params<AmendmentsExportParams>,
) -> Result<Response, ApiError> {
    let license_id = id_of(&app, params.license.as_deref()).await?;
    csv(stream, CsvPieces::of(AmendmentsExport::new(license_id))).await
}

async fn id_of(app: &App, license: Option<&str>) -> Result<Option<String>, ApiError> {
    match license {
        Some(license) => Ok(Some(look_up(&app.store, license).await?.id)),
        None => Ok(None),
    }
}

/// An export, read while it is being sent.
///
/// # Errors
/// If the database fails before anything is sent.
pub(crate) async fn csv<E: Export + 'static>(
    stream: StaffStream,
    pieces: CsvPieces<E>,
) -> Result<Response, ApiError> {
    let name = format!("{}.csv", E::NAME);
    stream.file(pieces, spreadsheet::CONTENT_TYPE, &name).await
}
