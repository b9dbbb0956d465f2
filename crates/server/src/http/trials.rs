//! The start of a trial by a site.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use license_core::protocol::{Call, TRIAL, TrialRequest};
use license_core::trial_secret::TrialSecret;
use license_service::unattended::finish_even_if_disconnected;

use crate::app::App;
use crate::http::access::ClientAddress;
use crate::http::answered_errors::{BodyErrors, ProofErrors, SiteErrors};
use crate::http::error::ApiError;
use crate::http::licenses::{ReceivedBody, Reply, Sent, addressee, check};
use crate::http::site_messages::{self, ActivateAnswer, SiteHeaders};
use crate::licensing::admit::admit_trial;
use crate::licensing::start_trial::{TrialStart, answer_trial};

/// Start a trial with a trial code, and take the seat of its license.
///
/// Each installation can start one trial. Repeating the call returns the same trial if the call
/// contains the same secret or, if the trial was started without a secret, the same code.
#[utoipa::path(
    post, path = "/trial", operation_id = "start_trial", tag = "sites",
    request_body = site_messages::TrialRequest, params(SiteHeaders),
    responses(
        (status = 200, description = "The license, or a signed denial", body = ActivateAnswer),
        BodyErrors, ProofErrors, SiteErrors,
    )
)]
pub(super) async fn start(
    State(app): State<Arc<App>>,
    address: ClientAddress,
    headers: HeaderMap,
    body: ReceivedBody,
) -> Reply {
    let received = Sent::new(headers, body, TRIAL)?;
    let request: TrialRequest = received.read()?;
    let sent = request.code.clone().unwrap_or_default();
    let mut to = addressee(&received.headers, &sent, &request.hardware_id)?;
    check("code", &sent)?;
    to.code = Some(sent);
    check("installationId", &request.installation_id)?;
    check("installationName", &request.installation_name)?;
    check("installationVersion", &request.installation_version)?;
    if to.installation_id.is_empty() {
        to.installation_id.clone_from(&request.installation_id);
    }
    if to.installation_id.is_empty() {
        return Err(ApiError::BadRequest("installationId is empty".to_owned()));
    }
    let secret = request.secret.filter(|secret| !secret.is_empty());
    let secret = secret.map(|text| TrialSecret::parse(&text)).transpose();
    let secret =
        secret.map_err(|error| ApiError::BadRequest(format!("invalid secret: {error}")))?;
    let start = TrialStart {
        code: request.code,
        secret,
        installation_id: to.installation_id.clone(),
        installation_name: request.installation_name,
        installation_version: request.installation_version,
        hardware_id: request.hardware_id,
        address: Some(address.0),
    };
    let answered = finish_even_if_disconnected(async move {
        let _turn = admit_trial(&app, address.0).await?;
        let details = received.details(&app, &to);
        Ok::<_, ApiError>(answer_trial(&app, &start, to, &details).await?)
    });
    Ok(Json(answered.await??.body(Call::Trial)))
}
