//! Seats of a license.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::{Extension, Json};
use chrono::{DateTime, Utc};
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};

use super::paging::{PageSize, page_start};
use crate::app::App;
use crate::audit::Actor;
use crate::http::answered_errors::{AdminErrors, BodyErrors, LicenseErrors, QueryErrors};
use crate::http::error::{ApiError, ErrorBody};
use crate::http::given::{Body, Params};
use crate::licensing;
use crate::licensing::current::current;
use crate::licensing::look_up::look_up;
use crate::licensing::seats::{SeatsPage, seats_page};
use crate::store::seats::{Seat, SeatsQuery};

/// The state of a seat.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum SeatsState {
    /// A machine is using it.
    Held,
    /// It was freed.
    Freed,
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(in crate::http) struct SeatsParams {
    #[param(inline)]
    state: Option<SeatsState>,
    /// The `nextCursor` of the previous page.
    cursor: Option<String>,
    /// Maximum number of rows on the page.
    #[serde(default)]
    #[param(inline)]
    limit: PageSize,
}

/// List the seats of a license.
#[utoipa::path(
    get, path = "/licenses/{license}/seats", operation_id = "list_seats", tag = "licenses",
    params(("license" = String, Path), SeatsParams),
    responses(
        (status = 200, description = "A page of seats", body = SeatsPage),
        AdminErrors, LicenseErrors, QueryErrors,
    )
)]
pub(in crate::http) async fn list(
    State(app): State<Arc<App>>,
    Path(license): Path<String>,
    Params(params): Params<SeatsParams>,
) -> Result<Json<SeatsPage>, ApiError> {
    let license = look_up(&app.store, &license).await?;
    let query = SeatsQuery {
        held: params.state.map(|state| state == SeatsState::Held),
        start: page_start(params.cursor.as_deref(), |_| true)?,
        ..SeatsQuery::default()
    };
    let (db, size) = (app.store.reader(), params.limit.get().into());
    let now = app.clock.now();
    let license = current(db, license, now).await?;
    Ok(Json(seats_page(db, &license, &query, size, now).await?))
}

/// A machine.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(in crate::http) struct FreeSeatBody {
    /// The first 8 characters or more are enough.
    hardware_id: String,
}

/// Free a machine's seat, so that another machine can take it.
#[utoipa::path(
    post, path = "/licenses/{license}/free-seat", operation_id = "free_seat", tag = "licenses",
    request_body = FreeSeatBody, params(("license" = String, Path)),
    responses(
        (status = 200, description = "The freed seat", body = Seat),
        AdminErrors, BodyErrors, LicenseErrors,
        (status = 409, body = ErrorBody, description = "The machine has no seat"),
    )
)]
pub(in crate::http) async fn free(
    State(app): State<Arc<App>>,
    Extension(actor): Extension<Actor>,
    Path(license): Path<String>,
    Body(machine): Body<FreeSeatBody>,
) -> Result<Json<Seat>, ApiError> {
    let change = app.change(actor);
    let freeing = licensing::seats::free(&app.store, &license, &machine.hardware_id, &change);
    Ok(Json(freeing.await?))
}

/// A machine whose freed seat is released.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(in crate::http) struct ReleaseSeatBody {
    /// The first 8 characters or more are enough.
    hardware_id: String,
    /// The `signedUntil` of the seat: until then, both the old and the new machine may run. If it
    /// is missing, the response (409) states the required value.
    confirmed_until: Option<DateTime<Utc>>,
}

/// Release a freed seat before its lease has ended, so that another machine can take the seat
/// without using a move.
#[utoipa::path(
    post, path = "/licenses/{license}/release-seat", operation_id = "release_seat",
    tag = "licenses",
    request_body = ReleaseSeatBody, params(("license" = String, Path)),
    responses(
        (status = 200, description = "The released seat", body = Seat),
        AdminErrors, BodyErrors, LicenseErrors,
        (status = 409, body = ErrorBody,
            description = "The seat has not been freed or no longer counts, or `confirmedUntil` is \
                           too early"),
    )
)]
pub(in crate::http) async fn release(
    State(app): State<Arc<App>>,
    Extension(actor): Extension<Actor>,
    Path(license): Path<String>,
    Body(ReleaseSeatBody {
        hardware_id,
        confirmed_until,
    }): Body<ReleaseSeatBody>,
) -> Result<Json<Seat>, ApiError> {
    let change = app.change(actor);
    let releasing =
        licensing::seats::release(&app.store, &license, &hardware_id, confirmed_until, &change);
    Ok(Json(releasing.await?))
}
