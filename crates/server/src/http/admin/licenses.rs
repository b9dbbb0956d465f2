//! Licenses and their seats.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::{Extension, Json};
use chrono::{DateTime, Utc};
use license_core::amendment::{TermChanges, UpdateRule};
use license_core::entitlement::Quantity;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::paging::{PageSize, page_start};
use super::plans::known_plan;
use crate::app::App;
use crate::audit::Actor;
use crate::http::answered_errors::{
    AdminErrors, BodyErrors, CustomerErrors, LicenseErrors, QueryErrors, RevokedErrors,
};
use crate::http::error::{ApiError, ErrorBody};
use crate::http::given::{
    Body, Params, UntilText, UpdateRuleText, plan_choice, plan_expiry_schema, since, start_schema,
    stated, stated_until, until, updates_schema,
};
use crate::licensing;
use crate::licensing::catalogue::Tier;
use crate::licensing::claim::moves_left;
use crate::licensing::current::{all_current, current};
use crate::licensing::customers::look_up as look_up_customer;
use crate::licensing::issue::IssueRequest;
use crate::licensing::judge::{ShownLicense, ShownStatus};
use crate::licensing::look_up::look_up;
use crate::licensing::proof_rule;
use crate::licensing::seats::{ListedSeat, SeatsPage, seats_page};
use crate::store::licenses::{Search, Sort, Status, counts_schema};
use crate::store::page::SortOrder;
use crate::store::seats::SeatsQuery;
use crate::store::suspicions::Suspected;
use crate::store::{licenses, seats, suspicions};

/// Which licenses, and in what order.
#[derive(Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(in crate::http) struct LicensesParams {
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
    /// Default is `createdAt`.
    #[serde(default)]
    #[param(inline)]
    sort: Sort,
    /// Default is `desc` for `createdAt` and `updatedAt`, and `asc` for `customer` and
    /// `expiresAt`. Licenses without an end are last in either order.
    #[param(inline)]
    order: Option<SortOrder>,
    /// The `nextCursor` of the previous page, requested with the same `sort` and `order`.
    cursor: Option<String>,
    /// Maximum number of rows on the page.
    #[serde(default)]
    #[param(inline)]
    limit: PageSize,
}

/// One page of the matching licenses.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::http) struct LicensesPage {
    licenses: Vec<ListedLicense>,
    /// The number of matching licenses.
    total: u64,
    /// The `cursor` of the next page; `null` on the last one.
    next_cursor: Option<String>,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct ListedLicense {
    #[serde(flatten)]
    license: ShownLicense,
    /// The number of machines that currently have a seat.
    seats_held: u64,
}

/// List licenses.
#[utoipa::path(
    get, path = "/licenses", operation_id = "list_licenses", tag = "licenses",
    params(LicensesParams),
    responses(
        (status = 200, description = "A page of licenses", body = LicensesPage),
        AdminErrors, CustomerErrors, QueryErrors,
    )
)]
pub(in crate::http) async fn list(
    State(app): State<Arc<App>>,
    Params(params): Params<LicensesParams>,
) -> Result<Json<LicensesPage>, ApiError> {
    let db = app.store.reader();
    let now = app.clock.now();
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
        sort: params.sort,
        order: params.order,
    };
    let size = u64::from(params.limit.get());
    let start = page_start(params.cursor.as_deref(), |cursor| search.has(cursor))?;
    let reading = async {
        let total = licenses::count(db, &search).await?;
        let page = licenses::list(db, &search, &start, size).await?;
        let next_cursor = page.next_cursor(|license| search.cursor(license));
        let ids = page.rows.iter().map(|license| license.id.clone());
        let held = seats::count_held_of(db, ids.collect()).await?;
        let found = all_current(db, page.rows, now).await?;
        let listed = found.into_iter().map(|license| ListedLicense {
            seats_held: held.get(&license.id).copied().unwrap_or_default(),
            license: ShownLicense::of(license, now),
        });
        Ok::<_, ApiError>(LicensesPage {
            licenses: listed.collect(),
            total,
            next_cursor,
        })
    };
    app.store.in_share(reading).await.map(Json)
}

/// The license to issue: a plan, and the differences from it.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(in crate::http) struct IssueBody {
    /// The plan, with or without a version: `professional`, `professional@3`. Without a version, it
    /// is the newest one.
    plan: Option<String>,
    /// The plan with this name, if `plan` is missing.
    #[schema(inline)]
    tier: Option<Tier>,
    /// The customer: its id, its name or its reference. A new name adds a customer.
    #[serde(default)]
    customer: String,
    seats: Option<u32>,
    /// How many times per period a seat may move to another machine before the old machine's lease
    /// has ended.
    moves: Option<u32>,
    /// Length of the period for moves, in days.
    moves_period_days: Option<u32>,
    /// How long a lease is valid; `null` is the setting of the License Server.
    #[serde(default, deserialize_with = "stated")]
    #[schema(value_type = Option<u32>)]
    lease_hours: Option<Option<u32>>,
    /// Length of the grace period after the lease; `null` is the setting of the License Server.
    #[serde(default, deserialize_with = "stated")]
    #[schema(value_type = Option<u32>)]
    grace_hours: Option<Option<u32>>,
    /// Length of the lease of a site without internet; `null` is the setting of the License Server.
    #[serde(default, deserialize_with = "stated")]
    #[schema(value_type = Option<u32>)]
    offline_days: Option<Option<u32>>,
    #[serde(default, deserialize_with = "stated_until")]
    #[schema(schema_with = updates_schema)]
    updates_until: Option<Option<DateTime<Utc>>>,
    /// What happens with later releases.
    #[schema(value_type = Option<UpdateRuleText>, inline)]
    updates: Option<UpdateRule>,
    /// Maximum number of cameras; -1 is unlimited.
    max_cameras: Option<i64>,
    /// Maximum number of users; -1 is unlimited.
    max_users: Option<i64>,
    /// Maximum storage in GB; -1 is unlimited.
    max_storage_gb: Option<i64>,
    /// How much of anything that is counted, in place of the plan's, by its key in the catalogue:
    /// a number, or `unlimited`.
    #[serde(default)]
    #[schema(schema_with = counts_schema)]
    quantities: BTreeMap<String, Quantity>,
    /// Features in addition to the plan's.
    #[serde(default)]
    with: Vec<String>,
    /// Features of the plan to exclude.
    #[serde(default)]
    without: Vec<String>,
    /// When anything of the license is first in force.
    #[serde(default, deserialize_with = "since")]
    #[schema(schema_with = start_schema)]
    starts_at: Option<DateTime<Utc>>,
    #[serde(default, deserialize_with = "until")]
    #[schema(schema_with = plan_expiry_schema)]
    expires_at: Option<DateTime<Utc>>,
    /// Whether the license never ends, even if its plan has a duration; not together with
    /// `expiresAt`.
    #[serde(default)]
    never_expires: bool,
    /// The license key: one that has already been sold, or one chosen by the caller, so that
    /// repeating the call does not issue a second license. By default, a key is generated.
    license_key: Option<String>,
}

/// Issue a license.
#[utoipa::path(
    post, path = "/licenses", operation_id = "issue_license", tag = "licenses",
    request_body = IssueBody,
    responses(
        (status = 201, description = "The new license", body = ShownLicense),
        AdminErrors, BodyErrors,
        (status = 409, body = ErrorBody, description = "A license with this key already exists"),
    )
)]
pub(in crate::http) async fn issue(
    State(app): State<Arc<App>>,
    Extension(actor): Extension<Actor>,
    Body(body): Body<IssueBody>,
) -> Result<(StatusCode, Json<ShownLicense>), ApiError> {
    let request = body.request()?;
    let change = app.permitted_change(actor)?;
    let license = licensing::issue::issue(&app.store, request, &change).await?;
    let license = ShownLicense::of(license, change.at);
    Ok((StatusCode::CREATED, Json(license)))
}

impl IssueBody {
    fn request(self) -> Result<IssueRequest, ApiError> {
        let plan = match (self.plan, self.tier) {
            (Some(plan), None) => plan_choice(&plan)?,
            (None, Some(tier)) => tier.into(),
            (Some(_), Some(_)) | (None, None) => {
                let message = "invalid plan: expected either plan or tier".to_owned();
                return Err(ApiError::BadRequest(message));
            }
        };
        if self.never_expires && self.expires_at.is_some() {
            let message = "invalid neverExpires: expiresAt is set as well".to_owned();
            return Err(ApiError::BadRequest(message));
        }
        Ok(IssueRequest {
            customer: self.customer,
            terms: TermChanges {
                seats: self.seats,
                moves: self.moves,
                moves_period_days: self.moves_period_days,
                lease_hours: self.lease_hours,
                grace_hours: self.grace_hours,
                offline_days: self.offline_days,
                updates_until: self.updates_until,
                updates: self.updates,
            },
            max_cameras: self.max_cameras,
            max_users: self.max_users,
            max_storage_gb: self.max_storage_gb,
            quantities: self.quantities,
            with: self.with,
            without: self.without,
            starts_at: self.starts_at,
            expires_at: self.expires_at,
            never_expires: self.never_expires,
            key: self.license_key,
            ..IssueRequest::of(plan)
        })
    }
}

/// A license, its seats, and suspicions to review.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::http) struct LicenseDetails {
    license: ShownLicense,
    /// Moves left in the period that ends now.
    moves_left: u32,
    /// The number of machines that currently have a seat.
    seats_held: u64,
    /// The first seats, held and freed, at most 50; `…/seats` lists all.
    seats: Vec<ListedSeat>,
    /// The number of seats.
    seats_total: u64,
    /// The `cursor` of the next page of `…/seats`; `null` if these are all.
    next_cursor: Option<String>,
    /// The latest suspicions, at most 100.
    suspicions: Vec<Suspected>,
}

/// Show a license, by its id or its key.
#[utoipa::path(
    get, path = "/licenses/{license}", operation_id = "show_license", tag = "licenses",
    params(("license" = String, Path)),
    responses(
        (status = 200, description = "The license", body = LicenseDetails),
        AdminErrors, LicenseErrors,
    )
)]
pub(in crate::http) async fn show(
    State(app): State<Arc<App>>,
    Path(license): Path<String>,
) -> Result<Json<LicenseDetails>, ApiError> {
    let license = look_up(&app.store, &license).await?;
    let db = app.store.reader();
    let license = current(db, license, app.clock.now()).await?;
    let SeatsPage {
        seats,
        total,
        seats_held,
        next_cursor,
        ..
    } = seats_page(
        db,
        &license,
        &SeatsQuery::default(),
        PageSize::default().get().into(),
        app.clock.now(),
    )
    .await?;
    Ok(Json(LicenseDetails {
        moves_left: moves_left(db, &license, app.clock.now()).await?,
        seats_held,
        seats,
        seats_total: total,
        next_cursor,
        suspicions: suspicions::list(db, Some(&license.id), suspicions::MAX_PER_LICENSE)
            .await?
            .rows,
        license: ShownLicense::of(license, app.clock.now()),
    }))
}

/// The message for the site's operator.
#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct StatusMessage {
    /// Without it, the sites get a default message.
    message: Option<String>,
}

/// Suspend a license temporarily.
#[utoipa::path(
    post, path = "/licenses/{license}/suspend", operation_id = "suspend_license", tag = "licenses",
    request_body = StatusMessage, params(("license" = String, Path)),
    responses(
        (status = 200, description = "The license", body = ShownLicense),
        AdminErrors, BodyErrors, LicenseErrors, RevokedErrors,
    )
)]
pub(in crate::http) async fn suspend(
    State(app): State<Arc<App>>,
    Extension(actor): Extension<Actor>,
    Path(license): Path<String>,
    Body(body): Body<StatusMessage>,
) -> Result<Json<ShownLicense>, ApiError> {
    set(&app, actor, &license, Status::Suspended, body).await
}

/// Reinstate a suspended license.
#[utoipa::path(
    post, path = "/licenses/{license}/reinstate", operation_id = "reinstate_license",
    tag = "licenses",
    params(("license" = String, Path)),
    responses(
        (status = 200, description = "The license", body = ShownLicense),
        AdminErrors, LicenseErrors, RevokedErrors,
    )
)]
pub(in crate::http) async fn reinstate(
    State(app): State<Arc<App>>,
    Extension(actor): Extension<Actor>,
    Path(license): Path<String>,
) -> Result<Json<ShownLicense>, ApiError> {
    set(
        &app,
        actor,
        &license,
        Status::Active,
        StatusMessage::default(),
    )
    .await
}

/// Whether calls about a license must prove an installation key.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct ProofRule {
    /// Whether they must. License Clients that send no proofs, such as version 1.0.0, get no answers
    /// then.
    required: bool,
}

/// Require a proof of the installation key for all calls about a license, or no longer.
#[utoipa::path(
    post, path = "/licenses/{license}/proof", operation_id = "require_proof", tag = "licenses",
    request_body = ProofRule, params(("license" = String, Path)),
    responses(
        (status = 200, description = "The license", body = ShownLicense),
        AdminErrors, BodyErrors, LicenseErrors,
    )
)]
pub(in crate::http) async fn require_proof(
    State(app): State<Arc<App>>,
    Extension(actor): Extension<Actor>,
    Path(license): Path<String>,
    Body(body): Body<ProofRule>,
) -> Result<Json<ShownLicense>, ApiError> {
    let change = app.change(actor);
    let at = change.at;
    let changing = proof_rule::require_proof(&app.store, &license, body.required, &change);
    Ok(Json(ShownLicense::of(changing.await?, at)))
}

/// Revoke a license permanently.
#[utoipa::path(
    post, path = "/licenses/{license}/revoke", operation_id = "revoke_license", tag = "licenses",
    request_body = StatusMessage, params(("license" = String, Path)),
    responses(
        (status = 200, description = "The license", body = ShownLicense),
        AdminErrors, BodyErrors, LicenseErrors,
    )
)]
pub(in crate::http) async fn revoke(
    State(app): State<Arc<App>>,
    Extension(actor): Extension<Actor>,
    Path(license): Path<String>,
    Body(body): Body<StatusMessage>,
) -> Result<Json<ShownLicense>, ApiError> {
    set(&app, actor, &license, Status::Revoked, body).await
}

async fn set(
    app: &App,
    actor: Actor,
    license: &str,
    status: Status,
    body: StatusMessage,
) -> Result<Json<ShownLicense>, ApiError> {
    let change = app.change(actor);
    let message = body.message.as_deref();
    let setting = licensing::status::set_status(&app.store, license, status, message, &change);
    Ok(Json(ShownLicense::of(setting.await?, change.at)))
}
