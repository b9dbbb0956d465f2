//! Activation, and what it would change.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use license_core::license_key::{MAX_KEY_CHARS, normalize};
use license_core::replacement::Difference;
use license_service::unattended::finish_even_if_disconnected;
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::app::App;
use crate::http::body::field::{Flag, Text, body, object};
use crate::http::body::{JsonObject, too_long};
use crate::http::error::{ApiError, BodyErrors, ChangeErrors, ErrorResponse};
use crate::licensing;
use crate::licensing::replace::FormerSeat;

/// A key may be pasted with text around it, which does not count.
pub(super) const LICENSE_KEY: Text = Text::new(
    "licenseKey",
    "The license key, as typed by the customer; at most 255 characters, excluding surrounding \
     spaces",
)
.example("FXSGHT-AAAA-BBBB-CCCC-DDDD");

/// Whether to free the seat of a license that is replaced.
const GIVE_BACK: Flag = Flag::optional(
    "giveBack",
    "If the key replaces another license, free the seat of the previous license",
);

body!(
    LicenseActivationRequest,
    object("The license key to activate", &[&LICENSE_KEY, &GIVE_BACK])
);

/// An activated license.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct LicenseActivationResponse {
    /// Always true; failures are returned as errors.
    success: bool,
    /// The license, unmodified from the License Server.
    license: Option<Map<String, Value>>,
    /// A human-readable message.
    message: Option<String>,
    /// Always null.
    error: Option<String>,
    /// Whether the seat of the replaced license is free; null if `giveBack` was not set or no
    /// license was replaced.
    former_seat_freed: Option<bool>,
}

/// Activate License
///
/// Asks the License Server for a seat with this key, and makes its license the active one. If
/// that fails for any reason, the previously active license stays active.
#[utoipa::path(
    post,
    path = "/api/license/activate",
    operation_id = "activate_license_api_license_activate_post",
    request_body = LicenseActivationRequest,
    responses(
        (status = 200, description = "Activated", body = LicenseActivationResponse),
        (status = 400, description = "The License Server refused the license key, or could not be reached", body = ErrorResponse),
        (status = 503, description = "The license could not be stored", body = ErrorResponse),
        ChangeErrors,
        BodyErrors,
    )
)]
pub(super) async fn activate(
    State(app): State<Arc<App>>,
    mut body: JsonObject,
) -> Result<Json<LicenseActivationResponse>, ApiError> {
    let license_key = read_key(&mut body)?;
    let give_back = body.read(&GIVE_BACK)?;
    let activated = finish_even_if_disconnected(async move {
        licensing::activate::activate_instead(&app, &license_key, give_back).await
    })
    .await??;
    let seat = activated.former_seat.as_ref();
    Ok(Json(LicenseActivationResponse {
        success: true,
        license: Some(activated.license.data().clone()),
        message: Some(activated_message(seat)),
        error: None,
        former_seat_freed: seat.map(|seat| !matches!(seat, FormerSeat::Kept(_))),
    }))
}

/// What became of an activation, and of the seat of the license that it replaced.
pub(crate) fn activated_message(former_seat: Option<&FormerSeat>) -> String {
    let activated = "License activated successfully";
    match former_seat {
        None => activated.to_owned(),
        Some(FormerSeat::Freed) => format!("{activated}; the seat of the previous license is free"),
        Some(FormerSeat::NotHeld) => {
            format!("{activated}; the previous license had no seat to free")
        }
        Some(FormerSeat::Kept(why)) => format!(
            "{activated}; the seat of the previous license could not be freed, so your vendor must \
             free it: {why}"
        ),
    }
}

/// The license key in a body.
///
/// # Errors
/// [`ApiError::Invalid`].
pub(super) fn read_key(body: &mut JsonObject) -> Result<String, ApiError> {
    let license_key = body.read(&LICENSE_KEY)?;
    match normalize(&license_key).chars().count() > MAX_KEY_CHARS {
        true => Err(too_long("licenseKey", license_key, MAX_KEY_CHARS)),
        false => Ok(license_key),
    }
}

body!(
    ActivationPreviewRequest,
    object("The license key to preview", &[&LICENSE_KEY])
);

/// What activating a license key would change.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct ActivationPreviewResponse {
    /// Whether the key replaces another license.
    replaces: bool,
    /// The license that the key activates, without a signature.
    license: Map<String, Value>,
    /// What the site gains and loses if the key replaces another license.
    changes: Vec<LicenseDifference>,
}

/// A difference between the active license and another one.
#[derive(Serialize, ToSchema)]
struct LicenseDifference {
    /// The feature, what is counted, or `ends` for the end of the license.
    key: String,
    /// The current value: true or false for a feature; a number or `unlimited` for what is
    /// counted; a time or `never` for the end.
    #[schema(value_type = Value)]
    before: Value,
    /// The value with the other license.
    #[schema(value_type = Value)]
    after: Value,
    /// Whether the site loses something.
    loss: bool,
}

impl From<Difference> for LicenseDifference {
    fn from(difference: Difference) -> Self {
        Self {
            before: difference.before.to_json(),
            after: difference.after.to_json(),
            loss: difference.is_loss(),
            key: difference.key,
        }
    }
}

/// Preview Activation
///
/// Asks the License Server what a license key grants, and compares it with the active license.
/// Nothing is changed, and no seat is taken.
#[utoipa::path(
    post,
    path = "/api/license/activate/preview",
    request_body = ActivationPreviewRequest,
    responses(
        (status = 200, description = "The changes that the activation would \
            make", body = ActivationPreviewResponse),
        (status = 400, description = "The License Server refused the license key", body = ErrorResponse),
        (status = 503, description = "The License Server cannot be reached, or does not support previews", body = ErrorResponse),
        ChangeErrors,
        BodyErrors,
    )
)]
pub(super) async fn preview(
    State(app): State<Arc<App>>,
    mut body: JsonObject,
) -> Result<Json<ActivationPreviewResponse>, ApiError> {
    let license_key = read_key(&mut body)?;
    let preview = licensing::replace::preview(&app, &license_key).await?;
    let differences = preview.differences.into_iter();
    Ok(Json(ActivationPreviewResponse {
        replaces: preview.replaced.is_some(),
        license: preview.license.data().clone(),
        changes: differences.map(LicenseDifference::from).collect(),
    }))
}
