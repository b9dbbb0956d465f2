//! Trial codes.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::{Extension, Json};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::paging::{PageSize, page_start};
use crate::app::App;
use crate::audit::Actor;
use crate::http::answered_errors::{AdminErrors, BodyErrors, QueryErrors, TrialCodeErrors};
use crate::http::error::ApiError;
use crate::http::given::{Body, Params, expiry_schema, plan_choice, until};
use crate::licensing::trial_codes::{
    ShownNewTrialCode, ShownTrialCode, TrialCodeRequest, add_trial_code, look_up_trial_code,
    withdraw_trial_code,
};
use crate::store::page::Storable;
use crate::store::trial_codes::{StoredTrialCode, TrialCodesCursor, count, newest};

/// Which page of the trial codes.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(in crate::http) struct TrialCodesParams {
    /// The `nextCursor` of the previous page.
    cursor: Option<String>,
    /// Maximum number of rows on the page.
    #[serde(default)]
    #[param(inline)]
    limit: PageSize,
}

/// One page of the trial codes.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::http) struct TrialCodesPage {
    trial_codes: Vec<ShownTrialCode>,
    /// The number of trial codes.
    total: u64,
    /// The `cursor` of the next page; `null` on the last one.
    next_cursor: Option<String>,
}

/// List the trial codes, newest first, including those that were withdrawn.
#[utoipa::path(
    get, path = "/trial-codes", operation_id = "list_trial_codes", tag = "trials",
    params(TrialCodesParams),
    responses(
        (status = 200, description = "A page of trial codes", body = TrialCodesPage),
        AdminErrors, QueryErrors,
    )
)]
pub(in crate::http) async fn list(
    State(app): State<Arc<App>>,
    Params(params): Params<TrialCodesParams>,
) -> Result<Json<TrialCodesPage>, ApiError> {
    let start = page_start::<TrialCodesCursor>(params.cursor.as_deref(), |_| true)?;
    let size = u64::from(params.limit.get());
    let (db, now) = (app.store.reader(), app.clock.now());
    let total = count(db).await?;
    let found = newest(db, start.after(), size).await?;
    let cursor = |last: &StoredTrialCode| TrialCodesCursor {
        created_at: Storable::of_row(last.created_at),
        id: last.id.clone(),
    };
    let next_cursor = found.next_cursor(cursor);
    let codes = found.rows.into_iter();
    let codes = codes.map(|it| ShownTrialCode::of(it, now));
    Ok(Json(TrialCodesPage {
        trial_codes: codes.collect(),
        total,
        next_cursor,
    }))
}

/// The trial code to create.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(in crate::http) struct TrialCodeBody {
    /// The plan of its trials, such as `trial@2`; without a version, the newest one. It must be a plan
    /// for trials that has a duration.
    plan: String,
    /// Maximum number of trials.
    max: u32,
    /// Maximum number of trials on one day (UTC), at most `max`, which it is by default.
    max_a_day: Option<u32>,
    #[serde(default, deserialize_with = "until")]
    #[schema(schema_with = expiry_schema)]
    ends_at: Option<DateTime<Utc>>,
    /// A free-text note.
    note: Option<String>,
}

/// Create a trial code. Only this response contains the code.
#[utoipa::path(
    post, path = "/trial-codes", operation_id = "add_trial_code", tag = "trials",
    request_body = TrialCodeBody,
    responses(
        (status = 201, description = "The new trial code", body = ShownNewTrialCode),
        AdminErrors, BodyErrors,
    )
)]
pub(in crate::http) async fn add(
    State(app): State<Arc<App>>,
    Extension(actor): Extension<Actor>,
    Body(body): Body<TrialCodeBody>,
) -> Result<(StatusCode, Json<ShownNewTrialCode>), ApiError> {
    let change = app.change(actor);
    let request = TrialCodeRequest {
        plan: plan_choice(&body.plan)?,
        max: body.max,
        max_a_day: body.max_a_day,
        ends_at: body.ends_at,
        note: body.note,
    };
    let (code, stored) = add_trial_code(&app.store, &request, &change).await?;
    let shown = ShownNewTrialCode::of(&code, stored, change.at);
    Ok((StatusCode::CREATED, Json(shown)))
}

/// Show a trial code, by its id or the code.
#[utoipa::path(
    get, path = "/trial-codes/{trialCode}", operation_id = "show_trial_code", tag = "trials",
    params(("trialCode" = String, Path)),
    responses(
        (status = 200, description = "The trial code", body = ShownTrialCode),
        AdminErrors, TrialCodeErrors,
    )
)]
pub(in crate::http) async fn show(
    State(app): State<Arc<App>>,
    Path(code): Path<String>,
) -> Result<Json<ShownTrialCode>, ApiError> {
    let found = look_up_trial_code(app.store.reader(), &code).await?;
    Ok(Json(ShownTrialCode::of(found, app.clock.now())))
}

/// Withdraw a trial code: it can no longer start trials. Trials that it has started continue.
#[utoipa::path(
    delete, path = "/trial-codes/{trialCode}", operation_id = "withdraw_trial_code",
    tag = "trials", params(("trialCode" = String, Path)),
    responses(
        (status = 200, description = "The trial code", body = ShownTrialCode),
        AdminErrors, TrialCodeErrors,
    )
)]
pub(in crate::http) async fn withdraw(
    State(app): State<Arc<App>>,
    Extension(actor): Extension<Actor>,
    Path(code): Path<String>,
) -> Result<Json<ShownTrialCode>, ApiError> {
    let change = app.change(actor);
    let withdrawn = withdraw_trial_code(&app.store, &code, &change).await?;
    Ok(Json(ShownTrialCode::of(withdrawn, change.at)))
}
