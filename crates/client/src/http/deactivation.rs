//! Deactivates the license.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use license_service::unattended::finish_even_if_disconnected;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa::openapi::{OpenApi, RefOr, Required};

use crate::app::App;
use crate::http::body::OptionalJsonObject;
use crate::http::body::field::{Flag, body, object};
use crate::http::error::{ApiError, BodyErrors, ChangeErrors, ErrorResponse};
use crate::licensing;
use crate::licensing::deactivate::Seat;

const PATH: &str = "/api/license/deactivate";

const FORCE: Flag = Flag::optional(
    "force",
    "Deactivate even if the License Server cannot be reached",
);

body!(
    LicenseDeactivationRequest,
    object("Options for deactivation; the body is optional", &[&FORCE])
);

/// A body may be missing, but not null: the derived document has both or neither.
pub(super) fn make_body_optional(document: &mut OpenApi) {
    let path = document.paths.paths.get_mut(PATH);
    let operation = path.and_then(|path| path.post.as_mut());
    if let Some(RefOr::T(body)) = operation.and_then(|it| it.request_body.as_mut()) {
        body.required = Some(Required::False);
    }
}

/// A deactivated license.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct LicenseDeactivationResponse {
    /// Always true; failures are returned as errors.
    success: bool,
    /// Whether the License Server has freed the seat.
    seat_freed: bool,
    /// A human-readable message.
    message: String,
}

/// Deactivate License
///
/// Frees the seat at the License Server and removes the license here. Fails if the License Server
/// cannot be reached, unless forced.
#[utoipa::path(
    post,
    path = PATH,
    request_body = LicenseDeactivationRequest,
    responses(
        (status = 200, description = "Deactivated", body = LicenseDeactivationResponse),
        (status = 409, description = "No license is active", body = ErrorResponse),
        (status = 503, description = "The License Server or the database cannot be reached", body = ErrorResponse),
        ChangeErrors,
        BodyErrors,
    )
)]
pub(super) async fn deactivate(
    State(app): State<Arc<App>>,
    OptionalJsonObject(body): OptionalJsonObject,
) -> Result<Json<LicenseDeactivationResponse>, ApiError> {
    let force = body.map_or(Ok(false), |mut body| body.read(&FORCE))?;
    let seat =
        finish_even_if_disconnected(
            async move { licensing::deactivate::deactivate(&app, force).await },
        )
        .await??;
    let message = match seat {
        Seat::Freed => "License deactivated; its seat is free",
        Seat::NotHeld => "License deactivated; there was no seat to free",
        Seat::Unknown => {
            "License deactivated only on this machine: the License Server could not be reached, \
             so the vendor must free the seat"
        }
    };
    Ok(Json(LicenseDeactivationResponse {
        success: true,
        seat_freed: seat == Seat::Freed,
        message: message.to_owned(),
    }))
}
