//! Starts a trial.

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
use crate::http::body::field::{OptionalText, Text, body, object};
use crate::http::error::{ApiError, BodyErrors, ChangeErrors, ErrorResponse};
use crate::licensing;

/// A trial code, which may be pasted with text around it.
pub(super) const TRIAL_CODE: OptionalText = OptionalText(
    Text::new(
        "trialCode",
        "The trial code, as typed by the customer; omitted if the vendor starts trials without a \
         code",
    )
    .example("FXSTRY-AAAA-BBBB-CCCC-DDDD")
    .max_chars(MAX_KEY_CHARS),
);

body!(
    StartTrialRequest,
    object("The trial to start", &[&TRIAL_CODE])
);

/// A started trial.
#[derive(Serialize, ToSchema)]
pub(super) struct StartTrialResponse {
    /// Always true; failures are returned as errors.
    success: bool,
    /// The license of the trial.
    license: Map<String, Value>,
    /// A human-readable message.
    message: String,
}

/// Start Trial
///
/// Starts a trial with a trial code, and makes its license the active one. Each installation can
/// start one trial; starting it again returns the same trial.
#[utoipa::path(
    post,
    path = "/api/license/trial",
    request_body = StartTrialRequest,
    responses(
        (status = 200, description = "Started", body = StartTrialResponse),
        (status = 400, description = "The code is not a trial code, or the License Server refused it", body = ErrorResponse),
        (status = 409, description = "A license is active", body = ErrorResponse),
        (status = 503, description = "The License Server cannot be reached or does not support trials, or the database is unavailable", body = ErrorResponse),
        ChangeErrors,
        BodyErrors,
    )
)]
pub(super) async fn start(
    State(app): State<Arc<App>>,
    mut body: JsonObject,
) -> Result<Json<StartTrialResponse>, ApiError> {
    let code = body.read(&TRIAL_CODE)?;
    let starting = finish_even_if_disconnected(async move {
        licensing::start_trial::start_trial(&app, code.as_deref()).await
    });
    let license = starting.await??;
    Ok(Json(StartTrialResponse {
        success: true,
        license: license.data().clone(),
        message: "Trial started".to_owned(),
    }))
}
