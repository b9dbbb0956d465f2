//! Request files of sites without internet.

use std::sync::Arc;

use axum::extract::State;
use axum::{Extension, Json};
use license_core::document::DenialReason;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::app::App;
use crate::audit::Actor;
use crate::http::answered_errors::{AdminErrors, BodyErrors};
use crate::http::error::{ApiError, ErrorBody};
use crate::http::given::Body;
use crate::licensing::offline;
use crate::licensing::site_answer::SiteAnswer;

/// A request file.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct RequestFile {
    /// The unmodified file.
    request: String,
}

/// A license file.
#[derive(Serialize, ToSchema)]
pub(in crate::http) struct LicenseFile {
    /// Whether the request was granted.
    granted: bool,
    /// The reason for a denial; `null` if the request was granted.
    reason: Option<String>,
    /// The file.
    file: String,
}

/// Answer a request file.
#[utoipa::path(
    post, path = "/offline", operation_id = "sign_license_file", tag = "offline",
    request_body = RequestFile,
    responses(
        (status = 200, description = "The license file", body = LicenseFile),
        AdminErrors,
        (status = 403, body = ErrorBody,
            description = "`no_admin_token` or `not_offered`: OFFLINE_DAYS is 0"),
        BodyErrors,
        (status = 409, body = ErrorBody,
            description = "The key sets that the site lacks do not fit into a file"),
    )
)]
pub(in crate::http) async fn sign(
    State(app): State<Arc<App>>,
    Extension(actor): Extension<Actor>,
    Body(given): Body<RequestFile>,
) -> Result<Json<LicenseFile>, ApiError> {
    let lease = app.terms.offline_days;
    let request = offline::read(&given.request)?;
    let signed = offline::sign(&app, request, lease, actor).await?;
    let denied = match &signed.answer {
        SiteAnswer::Denied { reason, .. } => Some(reason),
        SiteAnswer::License(_) | SiteAnswer::Deactivated { .. } | SiteAnswer::Redeemed { .. } => {
            None
        }
    };
    Ok(Json(LicenseFile {
        granted: denied.is_none(),
        reason: denied.map(DenialReason::as_str).map(str::to_owned),
        file: signed.file,
    }))
}
