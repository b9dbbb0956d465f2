//! The amendments of a license.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::{Extension, Json};
use chrono::{DateTime, Utc};
use license_core::amendment::{TermChanges, UpdateRule};
use license_core::entitlement::{Period, Quantity};
use serde::{Deserialize, Serialize};
use utoipa::openapi::schema::{ObjectBuilder, OneOfBuilder, Type};
use utoipa::{IntoParams, ToSchema};

use super::paging::{PageSize, page_start};
use crate::app::App;
use crate::audit::Actor;
use crate::http::answered_errors::{AdminErrors, BodyErrors, LicenseErrors, QueryErrors};
use crate::http::error::{ApiError, ErrorBody};
use crate::http::given::{
    Body, Params, UpdateRuleText, expiry_schema, plan_choice, since, start_schema, stated,
    stated_since, stated_until, until, updates_schema,
};
use crate::licensing;
use crate::licensing::amend::{
    Addition, AmendRequest, ShownAmended, ShownAmendment, quantity_schema,
};
use crate::licensing::look_up::look_up;
use crate::store::amendments::{AmendmentsCursor, newest};

/// Which page of the amendments.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(in crate::http) struct AmendmentsParams {
    /// The `nextCursor` of the previous page.
    cursor: Option<String>,
    /// Maximum number of rows on the page.
    #[serde(default)]
    #[param(inline)]
    limit: PageSize,
}

/// One page of the amendments of a license.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::http) struct AmendmentsPage {
    amendments: Vec<ShownAmendment>,
    /// The number of amendments.
    total: u32,
    /// The `cursor` of the next page; `null` on the last one.
    next_cursor: Option<String>,
}

/// List the amendments of a license, newest first.
#[utoipa::path(
    get, path = "/licenses/{license}/amendments", operation_id = "list_amendments",
    tag = "licenses",
    params(("license" = String, Path), AmendmentsParams),
    responses(
        (status = 200, description = "A page of amendments", body = AmendmentsPage),
        AdminErrors, LicenseErrors, QueryErrors,
    )
)]
pub(in crate::http) async fn list(
    State(app): State<Arc<App>>,
    Path(license): Path<String>,
    Params(params): Params<AmendmentsParams>,
) -> Result<Json<AmendmentsPage>, ApiError> {
    let license = look_up(&app.store, &license).await?;
    let start = page_start::<AmendmentsCursor>(params.cursor.as_deref(), |_| true)?;
    let (db, most) = (app.store.reader(), params.limit.get().into());
    let found = newest(db, &license.id, start.after(), most).await?;
    Ok(Json(AmendmentsPage {
        next_cursor: found.next_cursor(|last| AmendmentsCursor { below: last.number }),
        amendments: found.rows.into_iter().map(ShownAmendment::from).collect(),
        total: license.amendment,
    }))
}

/// What to change. Absent fields are not changed.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(in crate::http) struct AmendBody {
    /// Only show what would change.
    #[serde(default)]
    preview: bool,
    /// The number of the newest amendment that the caller knows of. If the license was amended
    /// after that, nothing is changed.
    after: Option<u32>,
    /// The reason.
    reason: Option<String>,
    /// The reference of the order.
    order: Option<String>,
    /// When it takes effect: an instant, or a day, which means its beginning in UTC. By default,
    /// immediately.
    #[serde(default, deserialize_with = "since")]
    #[schema(schema_with = start_schema)]
    effective_at: Option<DateTime<Utc>>,
    /// The number of an amendment to undo.
    undoes: Option<u32>,
    /// The plan that replaces the current one, such as `professional@3`; without a version, the
    /// newest one. What the current plan grants ends; anything that was added separately stays.
    plan: Option<String>,
    /// What to end: the features, and what is counted.
    #[serde(default)]
    end: Vec<String>,
    /// What to grant in addition, after `end` and `plan` have been applied.
    #[serde(default)]
    add: Vec<AdditionBody>,
    /// When anything of the license is first in force; `null` removes this bound.
    #[serde(default, deserialize_with = "stated_since")]
    #[schema(schema_with = start_schema)]
    starts_at: Option<Option<DateTime<Utc>>>,
    #[serde(default, deserialize_with = "stated_until")]
    #[schema(schema_with = expiry_schema)]
    expires_at: Option<Option<DateTime<Utc>>>,
    /// The customer: its id, its name or its reference. A new name adds a customer; an empty string
    /// means none.
    customer: Option<String>,
    /// Maximum number of machines at the same time.
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
}

/// Something to grant in addition.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Addition)]
struct AdditionBody {
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
}

impl AmendBody {
    fn request(self) -> Result<AmendRequest, ApiError> {
        let add = self.add.into_iter().map(|it| Addition {
            key: it.key,
            quantity: it.quantity,
            period: Period {
                from: it.from,
                until: it.until,
            },
        });
        Ok(AmendRequest {
            after: self.after,
            reason: self.reason,
            order: self.order,
            effective_at: self.effective_at,
            undoes: self.undoes,
            plan: self.plan.as_deref().map(plan_choice).transpose()?,
            end: self.end,
            add: add.collect(),
            starts_at: self.starts_at,
            expires_at: self.expires_at,
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
        })
    }
}

pub(super) fn addition_schema() -> OneOfBuilder {
    let none = ObjectBuilder::new().schema_type(Type::Null);
    let description = "Quantity; missing for a feature";
    quantity_schema().item(none).description(Some(description))
}

/// Amend a license: add or end entitlements, or change its terms, now or on a date.
#[utoipa::path(
    post, path = "/licenses/{license}/amendments", operation_id = "amend_license",
    tag = "licenses",
    request_body = AmendBody, params(("license" = String, Path)),
    responses(
        (status = 200, description = "A preview: nothing was changed", body = ShownAmended),
        (status = 201, description = "The new amendment", body = ShownAmended),
        AdminErrors, BodyErrors, LicenseErrors,
        (status = 409, body = ErrorBody,
            description = "The license was amended by others in the meantime, or is revoked"),
    )
)]
pub(in crate::http) async fn amend(
    State(app): State<Arc<App>>,
    Extension(actor): Extension<Actor>,
    Path(license): Path<String>,
    Body(body): Body<AmendBody>,
) -> Result<(StatusCode, Json<ShownAmended>), ApiError> {
    let change = app.permitted_change(actor)?;
    let is_preview = body.preview;
    let request = body.request()?;
    let (status, amended) = match is_preview {
        true => {
            let preview = licensing::amend::preview(&app.store, &license, &request, &change);
            (StatusCode::OK, preview.await?)
        }
        false => {
            let amended = licensing::amend::amend(&app.store, &license, &request, &change);
            (StatusCode::CREATED, amended.await?)
        }
    };
    let shown = ShownAmended::of(amended, !is_preview, change.at);
    Ok((status, Json(shown)))
}
