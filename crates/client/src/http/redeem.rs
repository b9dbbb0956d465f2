//! Redeems an add-on key.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use license_core::license_key::MAX_KEY_CHARS;
use license_service::unattended::finish_even_if_disconnected;
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::app::App;
use crate::http::body::JsonObject;
use crate::http::body::field::{Text, body, object};
use crate::http::error::{ApiError, BodyErrors, ChangeErrors, ErrorResponse};
use crate::licensing;

/// An add-on key, which may be pasted with text around it.
pub(super) const ADD_ON_KEY: Text = Text::new(
    "addOnKey",
    "The add-on key, as typed by the customer; at most 255 characters",
)
.example("FXSADD-AAAA-BBBB-CCCC-DDDD")
.max_chars(MAX_KEY_CHARS);

body!(
    RedeemAddOnRequest,
    object("The add-on key to redeem", &[&ADD_ON_KEY])
);

/// A redeemed add-on key.
#[derive(Serialize, ToSchema)]
pub(super) struct RedeemAddOnResponse {
    /// Always true; failures are returned as errors.
    success: bool,
    /// The license with what the key grants; null if the validation failed. The site then receives
    /// the license with the next validation.
    license: Option<Map<String, Value>>,
    /// The number of the license's amendment that the key became.
    amendment: u32,
    /// A human-readable message.
    message: String,
}

/// Redeem Add-on Key
///
/// Adds what an add-on key grants to the active license, and validates it. Redeeming the same key
/// again for this license changes nothing.
#[utoipa::path(
    post,
    path = "/api/license/redeem",
    request_body = RedeemAddOnRequest,
    responses(
        (status = 200, description = "Redeemed", body = RedeemAddOnResponse),
        (status = 400, description = "The key is not an add-on key, or the License Server refused it", body = ErrorResponse),
        (status = 409, description = "No license is active", body = ErrorResponse),
        (status = 503, description = "The License Server cannot be reached or does not support add-on keys, or the database is unavailable", body = ErrorResponse),
        ChangeErrors,
        BodyErrors,
    )
)]
pub(super) async fn redeem(
    State(app): State<Arc<App>>,
    mut body: JsonObject,
) -> Result<Json<RedeemAddOnResponse>, ApiError> {
    let key = body.read(&ADD_ON_KEY)?;
    let redeeming =
        finish_even_if_disconnected(async move { licensing::redeem::redeem(&app, &key).await });
    let redeemed = redeeming.await??;
    let message = match &redeemed.license {
        Some(_) => "Add-on key redeemed",
        None => {
            "Add-on key redeemed; its entitlements take effect with the next validation, because \
             the License Server could not be reached just now"
        }
    };
    Ok(Json(RedeemAddOnResponse {
        success: true,
        license: redeemed.license.map(|license| license.data().clone()),
        amendment: redeemed.amendment,
        message: message.to_owned(),
    }))
}
