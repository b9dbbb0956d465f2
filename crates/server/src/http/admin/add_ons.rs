//! Add-on keys.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::{Extension, Json};
use chrono::{DateTime, Utc};
use license_core::add_on::AddOnGrant;
use license_core::calendar_duration::CalendarDuration;
use license_core::entitlement::Quantity;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::amendments::addition_schema;
use super::paging::{PageSize, page_start};
use crate::app::App;
use crate::audit::Actor;
use crate::http::answered_errors::{
    AddOnErrors, AdminErrors, BodyErrors, LicenseErrors, QueryErrors,
};
use crate::http::error::{ApiError, ErrorBody};
use crate::http::given::{Body, Params, expiry_schema, plan_choice, since, start_schema, until};
use crate::licensing::add_ons::{
    AddOnRequest, ShownAddOn, ShownNewAddOn, issue_add_on, look_up_add_on,
};
use crate::licensing::look_up::look_up;
use crate::licensing::redeem::{ShownRedeemedAddOn, redeem_add_on};
use crate::licensing::refund::{ShownRefundedAddOn, refund_add_on};
use crate::store::add_ons::{AddOnState, AddOnsCursor, AddOnsQuery, count, newest};

/// Which add-on keys.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(in crate::http) struct AddOnsParams {
    /// Only those redeemed for this license, given by its key or id.
    license: Option<String>,
    /// Only those in this state.
    #[param(inline)]
    state: Option<AddOnState>,
    /// The `nextCursor` of the previous page.
    cursor: Option<String>,
    /// Maximum number of rows on the page.
    #[serde(default)]
    #[param(inline)]
    limit: PageSize,
}

/// One page of the add-on keys.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::http) struct AddOnsPage {
    add_ons: Vec<ShownAddOn>,
    /// The number of matching add-on keys.
    total: u64,
    /// The `cursor` of the next page; `null` on the last one.
    next_cursor: Option<String>,
}

/// List the add-on keys, newest first.
#[utoipa::path(
    get, path = "/addons", operation_id = "list_add_ons", tag = "add-ons", params(AddOnsParams),
    responses(
        (status = 200, description = "A page of add-on keys", body = AddOnsPage),
        AdminErrors, LicenseErrors, QueryErrors,
    )
)]
pub(in crate::http) async fn list(
    State(app): State<Arc<App>>,
    Params(params): Params<AddOnsParams>,
) -> Result<Json<AddOnsPage>, ApiError> {
    let start = page_start::<AddOnsCursor>(params.cursor.as_deref(), |_| true)?;
    let size = u64::from(params.limit.get());
    let license = match &params.license {
        Some(license) => Some(look_up(&app.store, license).await?.id),
        None => None,
    };
    let query = AddOnsQuery {
        license,
        state: params.state,
        ..AddOnsQuery::default()
    };
    let db = app.store.reader();
    let total = count(db, &query).await?;
    let found = newest(db, &query, start.after(), size).await?;
    Ok(Json(AddOnsPage {
        next_cursor: found.next_cursor(|last| AddOnsCursor { below: last.id }),
        add_ons: found.rows.into_iter().map(ShownAddOn::from).collect(),
        total,
    }))
}

/// The add-on key to issue.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(in crate::http) struct AddOnBody {
    /// The plan whose entitlements it grants, such as `analytics@2`; without a version, the newest
    /// one. It must be a plan for add-on keys.
    plan: Option<String>,
    /// What it grants, instead of a plan: 1 to 100 entitlements.
    #[serde(default)]
    add: Vec<GrantBody>,
    #[serde(default, deserialize_with = "until")]
    #[schema(schema_with = expiry_schema)]
    redeem_by: Option<DateTime<Utc>>,
    /// The reference of the order, which is copied to the amendment.
    order: Option<String>,
    /// A free-text note.
    note: Option<String>,
}

/// Something that an add-on key grants.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = AddOnGrant)]
struct GrantBody {
    /// The feature, or what is counted.
    key: String,
    #[schema(schema_with = addition_schema)]
    quantity: Option<Quantity>,
    #[serde(default, deserialize_with = "since")]
    #[schema(schema_with = start_schema)]
    from: Option<DateTime<Utc>>,
    #[serde(default, deserialize_with = "until")]
    #[schema(schema_with = expiry_schema)]
    until: Option<DateTime<Utc>>,
    /// For how long after its beginning, such as `P90D`; by default after the key is redeemed.
    #[serde(rename = "for")]
    #[schema(value_type = Option<String>)]
    duration: Option<CalendarDuration>,
}

impl From<GrantBody> for AddOnGrant {
    fn from(body: GrantBody) -> Self {
        Self {
            key: body.key,
            quantity: body.quantity,
            from: body.from,
            until: body.until,
            duration: body.duration,
        }
    }
}

/// Issue an add-on key. Only this response contains the key.
#[utoipa::path(
    post, path = "/addons", operation_id = "issue_add_on", tag = "add-ons",
    request_body = AddOnBody,
    responses(
        (status = 201, description = "The new add-on key", body = ShownNewAddOn),
        AdminErrors, BodyErrors,
    )
)]
pub(in crate::http) async fn issue(
    State(app): State<Arc<App>>,
    Extension(actor): Extension<Actor>,
    Body(body): Body<AddOnBody>,
) -> Result<(StatusCode, Json<ShownNewAddOn>), ApiError> {
    let change = app.permitted_change(actor)?;
    let request = AddOnRequest {
        plan: body.plan.as_deref().map(plan_choice).transpose()?,
        grants: body.add.into_iter().map(AddOnGrant::from).collect(),
        redeem_by: body.redeem_by,
        order: body.order,
        note: body.note,
    };
    let (key, stored) = issue_add_on(&app.store, &request, &change).await?;
    let shown = ShownNewAddOn::of(&key, stored);
    Ok((StatusCode::CREATED, Json(shown)))
}

/// Show an add-on key, by its number or the key.
#[utoipa::path(
    get, path = "/addons/{addOn}", operation_id = "show_add_on", tag = "add-ons",
    params(("addOn" = String, Path)),
    responses(
        (status = 200, description = "The add-on key", body = ShownAddOn),
        AdminErrors, AddOnErrors,
    )
)]
pub(in crate::http) async fn show(
    State(app): State<Arc<App>>,
    Path(add_on): Path<String>,
) -> Result<Json<ShownAddOn>, ApiError> {
    let found = look_up_add_on(app.store.reader(), &add_on).await?;
    Ok(Json(found.into()))
}

/// The refund of an add-on key.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct RefundBody {
    /// Only show what would change.
    #[serde(default)]
    preview: bool,
    /// The reason.
    reason: Option<String>,
}

/// Refund an add-on key. It can no longer be redeemed, and the amendment that it became is undone.
#[utoipa::path(
    post, path = "/addons/{addOn}/refund", operation_id = "refund_add_on", tag = "add-ons",
    request_body = RefundBody, params(("addOn" = String, Path)),
    responses(
        (status = 200, description = "The refund, or a preview of it",
            body = ShownRefundedAddOn),
        AdminErrors, BodyErrors, AddOnErrors,
        (status = 409, body = ErrorBody, description = "The add-on key has already been refunded"),
    )
)]
pub(in crate::http) async fn refund(
    State(app): State<Arc<App>>,
    Extension(actor): Extension<Actor>,
    Path(add_on): Path<String>,
    Body(body): Body<RefundBody>,
) -> Result<Json<ShownRefundedAddOn>, ApiError> {
    let change = app.permitted_change(actor)?;
    let RefundBody { preview, reason } = body;
    let refunding = refund_add_on(&app.store, &add_on, reason.as_deref(), &change, !preview);
    let refunded = refunding.await?;
    Ok(Json(ShownRefundedAddOn::of(refunded, !preview, change.at)))
}

/// The add-on key to redeem.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(in crate::http) struct RedeemBody {
    /// The add-on key.
    add_on_key: String,
    /// Only show what would change.
    #[serde(default)]
    preview: bool,
}

/// Redeem an add-on key for a license. Repeating it for the same license changes nothing.
#[utoipa::path(
    post, path = "/licenses/{license}/redeem", operation_id = "redeem_add_on", tag = "add-ons",
    request_body = RedeemBody, params(("license" = String, Path)),
    responses(
        (status = 200, description = "The redeemed key, or a preview of the redemption",
            body = ShownRedeemedAddOn),
        AdminErrors, BodyErrors,
        (status = 404, body = ErrorBody, description = "`not_found`: no license has this id or \
            key, or the add-on key does not exist"),
        (status = 409, body = ErrorBody, description = "The key was redeemed for another \
            license, was refunded or has expired, or the license is revoked"),
    )
)]
pub(in crate::http) async fn redeem(
    State(app): State<Arc<App>>,
    Extension(actor): Extension<Actor>,
    Path(license): Path<String>,
    Body(body): Body<RedeemBody>,
) -> Result<Json<ShownRedeemedAddOn>, ApiError> {
    let change = app.permitted_change(actor)?;
    let RedeemBody {
        add_on_key,
        preview,
    } = body;
    let redeeming = redeem_add_on(&app.store, &license, &add_on_key, &change, !preview);
    let redeemed = redeeming.await?;
    Ok(Json(ShownRedeemedAddOn::of(redeemed, !preview, change.at)))
}
