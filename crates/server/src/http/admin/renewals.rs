//! The end of licenses.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::{Extension, Json};
use chrono::{DateTime, Utc};
use serde::Deserialize;
use utoipa::ToSchema;

use crate::app::App;
use crate::audit::Actor;
use crate::http::answered_errors::{AdminErrors, BodyErrors, LicenseErrors};
use crate::http::error::{ApiError, ErrorBody};
use crate::http::given::{Body, expiry_schema, until};
use crate::licensing;
use crate::licensing::judge::ShownLicense;
use crate::licensing::renew::RenewRequest;

/// The new end of a license.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(in crate::http) struct RenewBody {
    #[serde(deserialize_with = "until")]
    #[schema(required, schema_with = expiry_schema)]
    expires_at: Option<DateTime<Utc>>,
    /// The number of the newest amendment that the caller knows of. If there is a newer one, the
    /// response is 409 and names what it changed.
    after: Option<u32>,
    /// The reason, as free text of at most 1000 characters.
    reason: Option<String>,
    /// The reference of the order, at most 255 characters.
    order: Option<String>,
}

/// Set the end of a license.
#[utoipa::path(
    post, path = "/licenses/{license}/renew", operation_id = "renew_license", tag = "licenses",
    request_body = RenewBody, params(("license" = String, Path)),
    responses(
        (status = 200, description = "The license", body = ShownLicense),
        AdminErrors, BodyErrors, LicenseErrors,
        (status = 409, body = ErrorBody,
            description = "The license was amended by others in the meantime, or is revoked"),
    )
)]
pub(in crate::http) async fn renew(
    State(app): State<Arc<App>>,
    Extension(actor): Extension<Actor>,
    Path(license): Path<String>,
    Body(body): Body<RenewBody>,
) -> Result<Json<ShownLicense>, ApiError> {
    let change = app.permitted_change(actor)?;
    let request = RenewRequest {
        expires_at: body.expires_at,
        after: body.after,
        reason: body.reason,
        order: body.order,
    };
    let license = licensing::renew::renew(&app.store, &license, &request, &change).await?;
    Ok(Json(ShownLicense::of(license, change.at)))
}
