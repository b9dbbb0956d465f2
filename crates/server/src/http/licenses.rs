//! What sites ask: `docs/api.md`, "Cloud protocol".
//!
//! A refusal is answered with 200: sites of version 1.0.0 show its message
//! only then.

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::http::HeaderMap;
use license_core::keyring::JwkSet;
use license_core::protocol::{
    ActivateRequest, HeartbeatRequest, INSTALLATION_ID_HEADER, NONCE_HEADER, ValidateRequest,
    activated, confirmed, denied, refused,
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::app::App;
use crate::http::error::ApiError;
use crate::licensing::answer::{Answer, Question, answer};
use crate::licensing::document::Addressee;

/// Longest id, name or key, in characters: the width of its column.
const LONGEST_TEXT: usize = 255;
/// Longest nonce, in characters; ours have 43.
const LONGEST_NONCE: usize = 128;

type Body = Result<Bytes, BytesRejection>;
type Reply = Result<Json<Value>, ApiError>;

/// Takes a seat for a machine; free of charge when it holds one already.
pub(super) async fn activate(State(app): State<Arc<App>>, headers: HeaderMap, body: Body) -> Reply {
    let request: ActivateRequest = read(body)?;
    let mut to = addressee(&headers, &request.hardware_id)?;
    check("installationId", &request.installation_id)?;
    check("installationName", &request.installation_name)?;
    check("installationVersion", &request.installation_version)?;
    if to.installation_id.is_empty() {
        to.installation_id.clone_from(&request.installation_id);
    }
    let key = request.license_key.clone();
    let question = Question::Activate(request);
    Ok(Json(match ask(&app, &question, &key, to).await? {
        Answer::License(license) => activated(&license),
        other => refusal(other),
    }))
}

/// Says whether a machine may go on using a license.
pub(super) async fn validate(State(app): State<Arc<App>>, headers: HeaderMap, body: Body) -> Reply {
    let request: ValidateRequest = read(body)?;
    let to = addressee(&headers, &request.hardware_id)?;
    let answer = ask(&app, &Question::Validate, &request.license_key, to).await?;
    Ok(Json(confirmation(answer)))
}

/// The same, and notes what the machine reports.
pub(super) async fn heartbeat(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    body: Body,
) -> Reply {
    let request: HeartbeatRequest = read(body)?;
    let mut to = addressee(&headers, &request.hardware_id)?;
    check("installationId", &request.installation_id)?;
    if to.installation_id.is_empty() {
        to.installation_id.clone_from(&request.installation_id);
    }
    let key = request.license_key.clone();
    let question = Question::Heartbeat(Box::new(request));
    let answer = ask(&app, &question, &key, to).await?;
    Ok(Json(confirmation(answer)))
}

/// Frees a machine's seat.
pub(super) async fn deactivate(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    body: Body,
) -> Reply {
    let request: ValidateRequest = read(body)?;
    let to = addressee(&headers, &request.hardware_id)?;
    let answer = ask(&app, &Question::Deactivate, &request.license_key, to).await?;
    Ok(Json(refusal(answer)))
}

/// The public keys that documents are signed with, newest first.
pub(super) async fn keys(State(app): State<Arc<App>>) -> Json<JwkSet> {
    Json(app.keys().public())
}

async fn ask(
    app: &App,
    question: &Question,
    license_key: &str,
    to: Addressee,
) -> Result<Answer, ApiError> {
    check("licenseKey", license_key)?;
    Ok(answer(app, question, license_key, to).await?)
}

fn confirmation(answer: Answer) -> Value {
    match answer {
        Answer::License(license) => confirmed(&license),
        Answer::Denied {
            reason,
            message,
            signature,
        } => denied(&reason, &message, Some(&signature)),
        Answer::Deactivated { receipt } => deactivated(&receipt),
    }
}

fn refusal(answer: Answer) -> Value {
    match answer {
        Answer::Denied {
            reason,
            message,
            signature,
        } => refused(&reason, &message, Some(&signature)),
        Answer::License(license) => confirmed(&license),
        Answer::Deactivated { receipt } => deactivated(&receipt),
    }
}

fn deactivated(receipt: &str) -> Value {
    json!({"success": true, "data": {"deactivated": true, "signature": receipt}})
}

/// Sites always send JSON, whatever they call it.
fn read<T: DeserializeOwned>(body: Body) -> Result<T, ApiError> {
    let bytes = body.map_err(|error| ApiError::Body(error.status(), error.body_text()))?;
    serde_json::from_slice(&bytes)
        .map_err(|error| ApiError::BadRequest(format!("The body is not as it has to be: {error}")))
}

fn addressee(headers: &HeaderMap, hardware_id: &str) -> Result<Addressee, ApiError> {
    let header = |name: &'static str| {
        let value = headers.get(name).map(|value| value.to_str());
        value
            .transpose()
            .map(Option::unwrap_or_default)
            .map_err(|_| ApiError::BadRequest(format!("The header {name} is not plain text")))
    };
    let installation_id = header(INSTALLATION_ID_HEADER)?;
    check("X-Installation-ID", installation_id)?;
    check("hardwareId", hardware_id)?;
    if hardware_id.is_empty() {
        return Err(ApiError::BadRequest("hardwareId is empty".to_owned()));
    }
    let nonce = header(NONCE_HEADER)?;
    if nonce.len() > LONGEST_NONCE {
        return Err(ApiError::BadRequest(format!(
            "X-License-Nonce has more than {LONGEST_NONCE} characters"
        )));
    }
    Ok(Addressee {
        nonce: Some(nonce.to_owned()).filter(|nonce| !nonce.is_empty()),
        installation_id: installation_id.to_owned(),
        hardware_id: hardware_id.to_owned(),
    })
}

fn check(name: &str, text: &str) -> Result<(), ApiError> {
    if text.chars().count() > LONGEST_TEXT {
        return Err(ApiError::BadRequest(format!(
            "{name} has more than {LONGEST_TEXT} characters"
        )));
    }
    if text.contains('\0') {
        return Err(ApiError::BadRequest(format!(
            "{name} contains a NUL character"
        )));
    }
    Ok(())
}
