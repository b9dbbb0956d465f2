//! Licenses and their seats.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::{Extension, Json};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::MAX_PAGE_SIZE;
use crate::app::App;
use crate::audit::Actor;
use crate::http::error::{ApiError, ErrorBody};
use crate::http::given::{Body, Params, until};
use crate::licensing;
use crate::licensing::catalogue::Tier;
use crate::licensing::claim::moves_left;
use crate::licensing::history::usage_by_day;
use crate::licensing::issue::IssueRequest;
use crate::licensing::judge::{ShownLicense, ShownStatus};
use crate::licensing::look_up::look_up;
use crate::store::licenses::{License, Search, Sort, Status};
use crate::store::seats::{Seat, SeatsQuery};
use crate::store::suspicions::Suspected;
use crate::store::usage_days::{UsageCursor, UsageDay};
use crate::store::{licenses, seats, suspicions};

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(in crate::http) struct Wanted {
    /// Part of the customer's name, of the key or of an installation's name; or
    /// a whole hardware id.
    #[serde(default)]
    search: String,
    status: Option<ShownStatus>,
    tier: Option<String>,
    /// Only those that end at this instant, or on this day, at the latest.
    #[serde(default, deserialize_with = "until")]
    ends_by: Option<DateTime<Utc>>,
    /// Only those that end later.
    #[serde(default, deserialize_with = "until")]
    ends_after: Option<DateTime<Utc>>,
    #[serde(default)]
    sort: Sort,
    /// The other way round.
    #[serde(default)]
    reversed: bool,
    #[serde(default)]
    offset: u64,
    /// At most 500; default 50.
    limit: Option<u64>,
}

/// Some of the licenses that match.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::http) struct Page {
    /// How many match.
    total: u64,
    licenses: Vec<Listed>,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Listed {
    #[serde(flatten)]
    license: ShownLicense,
    /// How many machines hold it now.
    seats_held: u64,
}

/// List licenses.
#[utoipa::path(get, path = "/licenses", tag = "licenses", params(Wanted),
    responses((status = 200, body = Page), (status = 400, body = ErrorBody), (status = 401, body = ErrorBody)))]
pub(in crate::http) async fn list(
    State(app): State<Arc<App>>,
    Params(wanted): Params<Wanted>,
) -> Result<Json<Page>, ApiError> {
    let db = app.store.reader();
    let now = app.clock.now();
    let mut search = Search {
        text: wanted.search,
        status: None,
        ended: None,
        tier: wanted.tier,
        ends_by: wanted.ends_by,
        ends_after: wanted.ends_after,
        sort: wanted.sort,
        reversed: wanted.reversed,
    };
    if let Some(status) = wanted.status {
        search = search.called(status.decided(), status.has_ended(), now);
    }
    let most = wanted.limit.unwrap_or(50).min(MAX_PAGE_SIZE);
    let found = licenses::list(db, &search, wanted.offset, most).await?;
    let ids = found.iter().map(|license| license.id.clone()).collect();
    let held = seats::count_held_of(db, ids).await?;
    let listed = found.into_iter().map(|license| Listed {
        seats_held: held.get(&license.id).copied().unwrap_or_default(),
        license: ShownLicense::of(license, now),
    });
    Ok(Json(Page {
        licenses: listed.collect(),
        total: licenses::count(db, &search).await?,
    }))
}

/// What to issue: a tier, and what differs from it.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(in crate::http) struct ToIssue {
    tier: Tier,
    #[serde(default)]
    customer: String,
    seats: Option<u32>,
    /// How often in a period a seat may move to another machine while the old
    /// machine's lease runs; default 3, at most 1000.
    moves: Option<u32>,
    /// Days of that period; default 365, at most 3650.
    moves_period_days: Option<u32>,
    /// -1 is unlimited.
    max_cameras: Option<i64>,
    /// -1 is unlimited.
    max_users: Option<i64>,
    /// -1 is unlimited.
    max_storage_gb: Option<i64>,
    /// Features in addition to the tier's.
    #[serde(default)]
    with: Vec<String>,
    /// Features of the tier to leave out.
    #[serde(default)]
    without: Vec<String>,
    /// An instant, or a day, which is meant with its end; `null` is never.
    #[serde(default, deserialize_with = "until")]
    expires_at: Option<DateTime<Utc>>,
    /// A key that was sold already, or that makes a repeated call recognisable;
    /// otherwise one is made.
    license_key: Option<String>,
}

/// Issue a license.
#[utoipa::path(post, path = "/licenses", tag = "licenses", request_body = ToIssue,
    responses((status = 201, body = ShownLicense), (status = 400, body = ErrorBody), (status = 401, body = ErrorBody),
        (status = 409, body = ErrorBody, description = "A license with this key already exists")))]
pub(in crate::http) async fn issue(
    State(app): State<Arc<App>>,
    Extension(actor): Extension<Actor>,
    Body(wanted): Body<ToIssue>,
) -> Result<(StatusCode, Json<ShownLicense>), ApiError> {
    let request = IssueRequest {
        tier: wanted.tier,
        customer: wanted.customer,
        seats: wanted.seats,
        moves: wanted.moves,
        moves_period_days: wanted.moves_period_days,
        max_cameras: wanted.max_cameras,
        max_users: wanted.max_users,
        max_storage_gb: wanted.max_storage_gb,
        with: wanted.with,
        without: wanted.without,
        expires_at: wanted.expires_at,
        key: wanted.license_key,
    };
    let change = app.change(actor);
    let license = licensing::issue::issue(&app.store, request, &change).await?;
    let license = ShownLicense::of(license, change.at);
    Ok((StatusCode::CREATED, Json(license)))
}

/// A license, its seats, and suspicions to review.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::http) struct Whole {
    license: ShownLicense,
    /// Moves left in the period that ends now.
    moves_left: u32,
    /// How many machines hold it now.
    seats_held: u64,
    /// The first seats, held and freed, 50 at most; `…/seats` has all of them.
    #[serde(flatten)]
    seats: SeatsPage,
    /// Those seen last, 100 at most.
    suspicions: Vec<Suspected>,
}

/// Some of the seats of a license, in the order in which they were taken first.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::http) struct SeatsPage {
    seats: Vec<Seat>,
    /// How many there are.
    #[serde(rename = "seatsTotal")]
    total: u64,
    /// The `cursor` of the next page; `null` on the last one.
    next_cursor: Option<i64>,
}

/// Show a license, by its id or its key.
#[utoipa::path(get, path = "/licenses/{license}", tag = "licenses", params(("license" = String, Path)),
    responses((status = 200, body = Whole), (status = 401, body = ErrorBody), (status = 404, body = ErrorBody)))]
pub(in crate::http) async fn show(
    State(app): State<Arc<App>>,
    Path(license): Path<String>,
) -> Result<Json<Whole>, ApiError> {
    let license = look_up(&app.store, &license).await?;
    let db = app.store.reader();
    Ok(Json(Whole {
        moves_left: moves_left(db, &license, app.clock.now()).await?,
        seats_held: seats::count(db, &license.id, &SeatsQuery::held()).await?,
        seats: seats_page(&app, &license, &SeatsQuery::default(), None).await?,
        suspicions: suspicions::list(db, Some(&license.id), suspicions::MAX_PER_LICENSE).await?,
        license: ShownLicense::of(license, app.clock.now()),
    }))
}

async fn seats_page(
    app: &App,
    license: &License,
    query: &SeatsQuery,
    limit: Option<u64>,
) -> Result<SeatsPage, ApiError> {
    let db = app.store.reader();
    let limit = limit.unwrap_or(50).clamp(1, MAX_PAGE_SIZE);
    // One extra row shows whether there is another page.
    let mut found = seats::list(db, &license.id, query, limit + 1).await?;
    let more = cut(&mut found, limit);
    Ok(SeatsPage {
        total: seats::count(db, &license.id, query).await?,
        next_cursor: found.last().filter(|_| more).and_then(Seat::cursor),
        seats: found,
    })
}

/// Cuts a list at `limit`; answers whether there was more.
fn cut<T>(found: &mut Vec<T>, limit: u64) -> bool {
    let fits = usize::try_from(limit).unwrap_or(usize::MAX);
    let more = found.len() > fits;
    found.truncate(fits);
    more
}

/// Whether a seat is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum SeatsState {
    /// A machine holds it.
    Held,
    /// It was given back or freed.
    Freed,
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(in crate::http) struct SeatsParams {
    #[param(inline)]
    state: Option<SeatsState>,
    /// The `nextCursor` of the page before.
    cursor: Option<i64>,
    /// At most 500; default 50.
    limit: Option<u64>,
}

/// List the seats of a license.
#[utoipa::path(get, path = "/licenses/{license}/seats", tag = "licenses",
    params(("license" = String, Path), SeatsParams),
    responses((status = 200, body = SeatsPage), (status = 400, body = ErrorBody), (status = 401, body = ErrorBody),
        (status = 404, body = ErrorBody)))]
pub(in crate::http) async fn seats(
    State(app): State<Arc<App>>,
    Path(license): Path<String>,
    Params(params): Params<SeatsParams>,
) -> Result<Json<SeatsPage>, ApiError> {
    let license = look_up(&app.store, &license).await?;
    let query = SeatsQuery {
        held: params.state.map(|state| state == SeatsState::Held),
        after: params.cursor,
        ..SeatsQuery::default()
    };
    Ok(Json(
        seats_page(&app, &license, &query, params.limit).await?,
    ))
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(in crate::http) struct Days {
    /// 1 to 400; default 90.
    days: Option<u32>,
}

impl Days {
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
    responses((status = 200, body = UsagePage), (status = 400, body = ErrorBody), (status = 401, body = ErrorBody),
        (status = 404, body = ErrorBody)))]
pub(in crate::http) async fn usage(
    State(app): State<Arc<App>>,
    Path(license): Path<String>,
    Params(params): Params<UsageParams>,
) -> Result<Json<UsagePage>, ApiError> {
    let days = Days { days: params.days }.or(90);
    let wrong =
        || ApiError::BadRequest("invalid cursor; expected the nextCursor of another page".into());
    let after = params
        .cursor
        .map(|text| UsageCursor::parse(&text).ok_or_else(wrong))
        .transpose()?;
    let license = look_up(&app.store, &license).await?;
    let limit = params.limit.unwrap_or(50).clamp(1, MAX_PAGE_SIZE);
    // One extra row shows whether there is another page.
    let found = usage_by_day(&app, &license.id, days, after.as_ref(), limit + 1);
    let mut usage = found.await?;
    let more = cut(&mut usage, limit);
    Ok(Json(UsagePage {
        next_cursor: usage
            .last()
            .filter(|_| more)
            .map(|last| last.cursor().to_string()),
        usage,
    }))
}

/// The new end of a license.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(in crate::http) struct End {
    /// An instant, or a day, which is meant with its end; `null` is never.
    #[serde(deserialize_with = "until")]
    #[schema(required)]
    expires_at: Option<DateTime<Utc>>,
}

/// Set the end of a license.
#[utoipa::path(post, path = "/licenses/{license}/renew", tag = "licenses", request_body = End,
    params(("license" = String, Path)),
    responses((status = 200, body = ShownLicense), (status = 400, body = ErrorBody), (status = 401, body = ErrorBody),
        (status = 404, body = ErrorBody), (status = 409, body = ErrorBody)))]
pub(in crate::http) async fn renew(
    State(app): State<Arc<App>>,
    Extension(actor): Extension<Actor>,
    Path(license): Path<String>,
    Body(end): Body<End>,
) -> Result<Json<ShownLicense>, ApiError> {
    let change = app.change(actor);
    let renewing = licensing::renew::renew(&app.store, &license, end.expires_at, &change);
    Ok(Json(ShownLicense::of(renewing.await?, change.at)))
}

/// The message for the site's operator.
#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct Words {
    /// At most 1,000 characters.
    message: Option<String>,
}

/// Take a license back for the time being.
#[utoipa::path(post, path = "/licenses/{license}/suspend", tag = "licenses", request_body = Words,
    params(("license" = String, Path)),
    responses((status = 200, body = ShownLicense), (status = 400, body = ErrorBody), (status = 401, body = ErrorBody),
        (status = 404, body = ErrorBody), (status = 409, body = ErrorBody)))]
pub(in crate::http) async fn suspend(
    State(app): State<Arc<App>>,
    Extension(actor): Extension<Actor>,
    Path(license): Path<String>,
    Body(words): Body<Words>,
) -> Result<Json<ShownLicense>, ApiError> {
    set(&app, actor, &license, Status::Suspended, words).await
}

/// Give a suspended license back.
#[utoipa::path(post, path = "/licenses/{license}/reinstate", tag = "licenses",
    params(("license" = String, Path)),
    responses((status = 200, body = ShownLicense), (status = 401, body = ErrorBody),
        (status = 404, body = ErrorBody), (status = 409, body = ErrorBody)))]
pub(in crate::http) async fn reinstate(
    State(app): State<Arc<App>>,
    Extension(actor): Extension<Actor>,
    Path(license): Path<String>,
) -> Result<Json<ShownLicense>, ApiError> {
    set(&app, actor, &license, Status::Active, Words::default()).await
}

/// Revoke a license permanently.
#[utoipa::path(post, path = "/licenses/{license}/revoke", tag = "licenses", request_body = Words,
    params(("license" = String, Path)),
    responses((status = 200, body = ShownLicense), (status = 400, body = ErrorBody), (status = 401, body = ErrorBody),
        (status = 404, body = ErrorBody)))]
pub(in crate::http) async fn revoke(
    State(app): State<Arc<App>>,
    Extension(actor): Extension<Actor>,
    Path(license): Path<String>,
    Body(words): Body<Words>,
) -> Result<Json<ShownLicense>, ApiError> {
    set(&app, actor, &license, Status::Revoked, words).await
}

async fn set(
    app: &App,
    actor: Actor,
    license: &str,
    status: Status,
    words: Words,
) -> Result<Json<ShownLicense>, ApiError> {
    let change = app.change(actor);
    let message = words.message.as_deref();
    let setting = licensing::status::set_status(&app.store, license, status, message, &change);
    Ok(Json(ShownLicense::of(setting.await?, change.at)))
}

/// A machine.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(in crate::http) struct Machine {
    hardware_id: String,
}

/// Take a machine's seat, so that another machine may have it.
#[utoipa::path(post, path = "/licenses/{license}/free-seat", tag = "licenses", request_body = Machine,
    params(("license" = String, Path)),
    responses((status = 200, body = Seat), (status = 401, body = ErrorBody), (status = 404, body = ErrorBody),
        (status = 409, body = ErrorBody, description = "The machine holds no seat")))]
pub(in crate::http) async fn free_seat(
    State(app): State<Arc<App>>,
    Extension(actor): Extension<Actor>,
    Path(license): Path<String>,
    Body(machine): Body<Machine>,
) -> Result<Json<Seat>, ApiError> {
    let change = app.change(actor);
    let freeing = licensing::seats::free(&app.store, &license, &machine.hardware_id, &change);
    Ok(Json(freeing.await?))
}

/// A machine whose freed seat is released.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(in crate::http) struct SeatRelease {
    hardware_id: String,
    /// The `signedUntil` of the seat: until then the machine may run beside the one
    /// that takes its place. Without it, the answer (409) names it.
    confirmed_until: Option<DateTime<Utc>>,
}

/// Release a freed seat before its lease has ended, so that another machine may take
/// its place without a move.
#[utoipa::path(post, path = "/licenses/{license}/release-seat", tag = "licenses", request_body = SeatRelease,
    params(("license" = String, Path)),
    responses((status = 200, body = Seat), (status = 400, body = ErrorBody), (status = 401, body = ErrorBody),
        (status = 404, body = ErrorBody),
        (status = 409, body = ErrorBody, description = "The seat is held, no longer counts, or \
            its machine may run longer than confirmed")))]
pub(in crate::http) async fn release_seat(
    State(app): State<Arc<App>>,
    Extension(actor): Extension<Actor>,
    Path(license): Path<String>,
    Body(SeatRelease {
        hardware_id,
        confirmed_until,
    }): Body<SeatRelease>,
) -> Result<Json<Seat>, ApiError> {
    let change = app.change(actor);
    let releasing =
        licensing::seats::release(&app.store, &license, &hardware_id, confirmed_until, &change);
    Ok(Json(releasing.await?))
}
