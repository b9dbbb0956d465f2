//! The calls from sites: `docs/api.md`, "Cloud protocol".
//!
//! A refusal is answered with 200: sites of version 1.0.0 show its message
//! only then.
#![expect(
    unused_qualifications,
    reason = "written by the macro that describes parameters"
)]

use std::convert::Infallible;
use std::sync::Arc;

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderValue};
use axum::response::IntoResponse;
use futures_util::stream;
use license_core::foreign_text::json_fault;
use license_core::offline::MAX_REQUEST_CHARS;
use license_core::protocol::{
    ACTIVATE, ActivateRequest, Call, DEACTIVATE, DRIFT_HEADER, DeactivateRequest,
    ENTITLEMENTS_HEADER, HEARTBEAT, HeartbeatRequest, INSTALLATION_ID_HEADER, NONCE_HEADER,
    PROOF_HEADER, REDEEM, RedeemRequest, SEQ_HEADER, USAGE_HEADER, VALIDATE, ValidateRequest,
};
use license_core::rate::FAILURE_RATE;
use license_core::usage::sent::received;
use license_service::unattended::finish_even_if_disconnected;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use utoipa::openapi::schema::{ObjectBuilder, Type};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{IntoParams, PartialSchema, ToSchema};

use crate::app::App;
use crate::audit::Actor;
use crate::http::access::ClientAddress;
use crate::http::answered_errors::{BodyErrors, ProofErrors, QueryErrors, SiteErrors};
use crate::http::error::{ApiError, ErrorBody};
use crate::http::given::{Params, from_json, json_text};
use crate::http::site_messages::{
    self, ActivateAnswer, DeactivateAnswer, KeySet, MAX_NONCE_CHARS, MAX_TEXT_CHARS, OfflineAnswer,
    OfflineRequest, RedeemAnswer, SiteHeaders, UsageHeader, ValidateAnswer,
};
use crate::licensing::admit::{SiteCall, admit_trial};
use crate::licensing::answer::answer;
use crate::licensing::document::Addressee;
use crate::licensing::offline;
use crate::licensing::sent_proof::CheckedProof;
use crate::licensing::site_answer::SiteAnswer;
use crate::licensing::site_question::{CallDetails, SiteQuestion};

pub(super) type ReceivedBody = Result<Bytes, BytesRejection>;
pub(super) type Reply = Result<Json<Value>, ApiError>;

/// Take a seat for a machine.
///
/// A machine that already has a seat keeps it.
#[utoipa::path(
    post, path = "/activate", operation_id = "activate", tag = "sites",
    request_body = site_messages::ActivateRequest, params(SiteHeaders),
    responses(
        (status = 200, description = "The license, or a signed denial", body = ActivateAnswer),
        BodyErrors, ProofErrors, SiteErrors,
    )
)]
pub(super) async fn activate(
    State(app): State<Arc<App>>,
    address: ClientAddress,
    headers: HeaderMap,
    body: ReceivedBody,
) -> Reply {
    let sent = Sent::new(headers, body, ACTIVATE)?;
    let request: ActivateRequest = sent.read()?;
    let mut to = addressee(&sent.headers, &request.license_key, &request.hardware_id)?;
    check("installationId", &request.installation_id)?;
    check("installationName", &request.installation_name)?;
    check("installationVersion", &request.installation_version)?;
    if to.installation_id.is_empty() {
        to.installation_id.clone_from(&request.installation_id);
    }
    let question = SiteQuestion::Activate(request);
    let answer = ask(app, address, question, to, sent).await?;
    Ok(Json(answer.body(Call::Activate)))
}

/// Confirm or deny that a machine may keep using a license.
#[utoipa::path(
    post, path = "/validate", operation_id = "validate", tag = "sites",
    request_body = site_messages::ValidateRequest, params(SiteHeaders),
    responses(
        (status = 200, description = "The license, or a signed denial", body = ValidateAnswer),
        BodyErrors, ProofErrors, SiteErrors,
    )
)]
pub(super) async fn validate(
    State(app): State<Arc<App>>,
    address: ClientAddress,
    headers: HeaderMap,
    body: ReceivedBody,
) -> Reply {
    let sent = Sent::new(headers, body, VALIDATE)?;
    let request: ValidateRequest = sent.read()?;
    let to = addressee(&sent.headers, &request.license_key, &request.hardware_id)?;
    let answer = ask(app, address, SiteQuestion::Validate, to, sent).await?;
    Ok(Json(answer.body(Call::Validate)))
}

/// Record the usage that a machine reports, and confirm or deny as for a validation.
///
/// A confirmation is not signed: it grants no lease.
#[utoipa::path(
    post, path = "/heartbeat", operation_id = "heartbeat", tag = "sites",
    request_body = site_messages::HeartbeatRequest, params(SiteHeaders, UsageHeader),
    responses(
        (status = 200, description = "The license without a signature, or a signed denial",
            body = ValidateAnswer),
        BodyErrors, ProofErrors, SiteErrors,
    )
)]
pub(super) async fn heartbeat(
    State(app): State<Arc<App>>,
    address: ClientAddress,
    headers: HeaderMap,
    body: ReceivedBody,
) -> Reply {
    let sent = Sent::new(headers, body, HEARTBEAT)?;
    let mut request: HeartbeatRequest = sent.read()?;
    let header = sent
        .headers
        .get(USAGE_HEADER)
        .and_then(|it| it.to_str().ok());
    request.usage = received(request.usage_metrics, header);
    let mut to = addressee(&sent.headers, &request.license_key, &request.hardware_id)?;
    check("installationId", &request.installation_id)?;
    if to.installation_id.is_empty() {
        to.installation_id.clone_from(&request.installation_id);
    }
    let question = SiteQuestion::Heartbeat(Box::new(request));
    let answer = ask(app, address, question, to, sent).await?;
    Ok(Json(answer.body(Call::Heartbeat)))
}

/// Free the seat of a machine.
#[utoipa::path(
    post, path = "/deactivate", operation_id = "deactivate", tag = "sites",
    request_body = site_messages::DeactivateRequest, params(SiteHeaders),
    responses(
        (status = 200, description = "A signed receipt or denial", body = DeactivateAnswer),
        BodyErrors, ProofErrors, SiteErrors,
    )
)]
pub(super) async fn deactivate(
    State(app): State<Arc<App>>,
    address: ClientAddress,
    headers: HeaderMap,
    body: ReceivedBody,
) -> Reply {
    let sent = Sent::new(headers, body, DEACTIVATE)?;
    let request: DeactivateRequest = sent.read()?;
    let to = addressee(&sent.headers, &request.license_key, &request.hardware_id)?;
    let answer = ask(app, address, SiteQuestion::Deactivate, to, sent).await?;
    Ok(Json(answer.body(Call::Deactivate)))
}

/// Redeem an add-on key for the license of a machine that holds a seat.
///
/// The key becomes an amendment of the license, once: repeating it for the same license has the same
/// result. Every site of the license gets what the key grants with its next validation.
#[utoipa::path(
    post, path = "/redeem", operation_id = "redeem", tag = "sites",
    request_body = site_messages::RedeemRequest, params(SiteHeaders),
    responses(
        (status = 200, description = "A signed receipt or denial", body = RedeemAnswer),
        BodyErrors, ProofErrors, SiteErrors,
    )
)]
pub(super) async fn redeem(
    State(app): State<Arc<App>>,
    address: ClientAddress,
    headers: HeaderMap,
    body: ReceivedBody,
) -> Reply {
    let sent = Sent::new(headers, body, REDEEM)?;
    let request: RedeemRequest = sent.read()?;
    let mut to = addressee(&sent.headers, &request.license_key, &request.hardware_id)?;
    check("addOnKey", &request.add_on_key)?;
    to.code = Some(request.add_on_key.clone());
    let question = SiteQuestion::Redeem(request.add_on_key);
    let answer = ask(app, address, question, to, sent).await?;
    Ok(Json(answer.body(Call::Redeem)))
}

/// Whether a request file from this address is read. A normal one is short: longer texts are not
/// read from an address that has failed too often.
pub(super) fn is_read(app: &App, address: ClientAddress, file: &str) -> bool {
    file.len() <= MAX_REQUEST_CHARS || !app.rates.is_failing(address.0, app.clock.running())
}

/// Answer the request file of a site without internet.
#[utoipa::path(
    post, path = "/offline", operation_id = "answer_request_file", tag = "sites",
    request_body = OfflineRequest,
    responses(
        (status = 200, description = "The license file", body = OfflineAnswer),
        BodyErrors, SiteErrors,
        (status = 403, body = ErrorBody, description = "`not_offered`: OFFLINE_DAYS is 0"),
        (status = 409, body = ErrorBody,
            description = "The key sets that the site lacks do not fit into a file, or the \
                request does not prove the installation key of the machine's seat"),
    )
)]
pub(super) async fn offline(
    State(app): State<Arc<App>>,
    address: ClientAddress,
    body: ReceivedBody,
) -> Reply {
    let body: OfflineBody = read(body)?;
    let lease = app.terms.offline_days;
    offline::check_offered(lease)?;
    if !is_read(&app, address, &body.request) {
        return Err(ApiError::TooManyCalls(FAILURE_RATE.interval));
    }
    let file = match offline::read(&body.request) {
        Ok(file) => file,
        Err(unreadable) => {
            let now = app.clock.running();
            app.rates
                .fail(address.0, now)
                .map_err(ApiError::TooManyCalls)?;
            return Err(unreadable.into());
        }
    };
    let signed = finish_even_if_disconnected(async move {
        let request = &file.request;
        let (license_key, hardware_id) = (request.license_key.clone(), request.hardware_id.clone());
        let question = offline::question(request);
        let call = SiteCall {
            address: address.0,
            call: request.purpose.call(),
            license_key: &license_key,
            hardware_id: &hardware_id,
            add_on_key: question.as_ref().and_then(SiteQuestion::add_on_key),
        };
        let _turn = match question {
            None => (None, Some(admit_trial(&app, address.0).await?)),
            Some(_) => (call.admit(&app).await?, None),
        };
        let signed = offline::sign_for(&app, file, lease, Actor::Site, Some(address.0)).await?;
        call.note(&app, &signed.answer);
        Ok::<_, ApiError>(signed)
    });
    let signed = signed.await??;
    let (granted, message) = match &signed.answer {
        SiteAnswer::License(_) => (true, "The license file contains a lease"),
        SiteAnswer::Deactivated { .. } | SiteAnswer::Redeemed { .. } => {
            (true, "The license file contains the receipt")
        }
        SiteAnswer::Denied { message, .. } => (false, message.as_str()),
    };
    let data = json!({"granted": granted, "message": message, "file": signed.file});
    Ok(Json(json!({"success": true, "data": data})))
}

#[derive(Deserialize)]
struct OfflineBody {
    /// The unmodified request file.
    request: String,
}

/// The version after which signed sets are added.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct KeysParams {
    /// The version that the site has; the response contains the signed sets that follow it.
    #[param(inline, value_type = KeySetVersion, required = false)]
    after: Option<u64>,
}

/// The document would otherwise say that a version fits into 63 bits.
struct KeySetVersion;

impl PartialSchema for KeySetVersion {
    fn schema() -> RefOr<Schema> {
        let number = ObjectBuilder::new().schema_type(Type::Integer);
        number.minimum(Some(0)).maximum(Some(u64::MAX)).into()
    }
}

impl ToSchema for KeySetVersion {}

/// Get the public keys that documents are signed with.
#[utoipa::path(
    get, path = "/keys", operation_id = "get_public_keys", tag = "sites",
    params(KeysParams),
    responses(
        (status = 200, description = "The keys", body = KeySet),
        QueryErrors, SiteErrors,
    )
)]
pub(super) async fn keys(
    State(app): State<Arc<App>>,
    Params(params): Params<KeysParams>,
) -> impl IntoResponse {
    // All callers share the bytes, so unread responses use no additional memory.
    let parts = app.keys().answer(params.after);
    let length = parts.iter().map(Bytes::len).sum::<usize>();
    let headers = [
        (CONTENT_TYPE, HeaderValue::from_static("application/json")),
        (CONTENT_LENGTH, HeaderValue::from(length)),
    ];
    let parts = parts.into_iter().map(Ok::<_, Infallible>);
    #[expect(clippy::disallowed_methods, reason = "public, and in memory already")]
    let body = Body::from_stream(stream::iter(parts));
    (headers, body)
}

/// Answers a call when it is its turn. If a caller disconnects, its turn is kept until the call has
/// ended: otherwise disconnected callers could use up the connections of others.
pub(super) async fn ask(
    app: Arc<App>,
    address: ClientAddress,
    question: SiteQuestion,
    to: Addressee,
    sent: Sent,
) -> Result<SiteAnswer, ApiError> {
    check("licenseKey", &to.license_key)?;
    let answered = finish_even_if_disconnected(async move {
        let (license_key, hardware_id) = (to.license_key.clone(), to.hardware_id.clone());
        let call_of_site = SiteCall {
            address: address.0,
            call: question.call(),
            license_key: &license_key,
            hardware_id: &hardware_id,
            add_on_key: question.add_on_key(),
        };
        let _turn = call_of_site.admit(&app).await?;
        let details = sent.details(&app, &to);
        let answer = answer(&app, &question, to, &details).await?;
        call_of_site.note(&app, &answer);
        Ok(answer)
    });
    answered.await?
}

/// A call of a site, as it was received.
pub(super) struct Sent {
    pub(super) headers: HeaderMap,
    body: Bytes,
    path: &'static str,
}

impl Sent {
    /// A call of `path`, a path of [`license_core::protocol`].
    ///
    /// # Errors
    /// If the body was not received, or is no text.
    pub(super) fn new(
        headers: HeaderMap,
        body: ReceivedBody,
        path: &'static str,
    ) -> Result<Self, ApiError> {
        Ok(Self {
            headers,
            body: json_text(body)?,
            path,
        })
    }

    /// Its body. Sites always send JSON, regardless of the content type.
    ///
    /// # Errors
    /// If it is not what the call needs.
    pub(super) fn read<T: DeserializeOwned>(&self) -> Result<T, ApiError> {
        from_body(&self.body)
    }

    /// The information about the sender in the headers, with its checked proof. Other unreadable
    /// headers are ignored.
    pub(super) fn details(&self, app: &App, to: &Addressee) -> CallDetails {
        let text = |name: &'static str| self.headers.get(name)?.to_str().ok();
        let nonce = to.nonce.as_deref().unwrap_or_default();
        let proofs = self.headers.get_all(PROOF_HEADER).iter();
        let proofs: Vec<&[u8]> = proofs.map(HeaderValue::as_bytes).collect();
        let hosts = &app.terms.site_hosts;
        CallDetails {
            offline: None,
            newest_seq: text(SEQ_HEADER).and_then(|seq| seq.parse().ok()),
            drifted: text(DRIFT_HEADER).is_some_and(|names| !names.is_empty()),
            knows_entitlements: text(ENTITLEMENTS_HEADER) == Some("1"),
            proof: CheckedProof::of_call(&proofs, self.path, &self.body, nonce, hosts),
        }
    }
}

/// Sites always send JSON, regardless of the content type.
pub(super) fn read<T: DeserializeOwned>(body: ReceivedBody) -> Result<T, ApiError> {
    from_body(&json_text(body)?)
}

fn from_body<T: DeserializeOwned>(body: &Bytes) -> Result<T, ApiError> {
    from_json(body).map_err(|error| {
        let why = json_fault(error.without_member());
        ApiError::BadRequest(format!("Invalid request body: {why}"))
    })
}

pub(super) fn addressee(
    headers: &HeaderMap,
    license_key: &str,
    hardware_id: &str,
) -> Result<Addressee, ApiError> {
    let header = |name: &'static str| {
        let value = headers.get(name).map(|value| value.to_str());
        value
            .transpose()
            .map(Option::unwrap_or_default)
            .map_err(|_| ApiError::BadRequest(format!("The header {name} must be plain text")))
    };
    let installation_id = header(INSTALLATION_ID_HEADER)?;
    check("X-Installation-ID", installation_id)?;
    check("hardwareId", hardware_id)?;
    if hardware_id.is_empty() {
        return Err(ApiError::BadRequest("hardwareId is empty".to_owned()));
    }
    let nonce = header(NONCE_HEADER)?;
    if nonce.len() > MAX_NONCE_CHARS {
        return Err(ApiError::BadRequest(format!(
            "X-License-Nonce has more than {MAX_NONCE_CHARS} characters"
        )));
    }
    Ok(Addressee {
        license_key: license_key.to_owned(),
        sent_key: None,
        code: None,
        nonce: Some(nonce.to_owned()).filter(|nonce| !nonce.is_empty()),
        installation_id: installation_id.to_owned(),
        hardware_id: hardware_id.to_owned(),
    })
}

pub(super) fn check(name: &str, text: &str) -> Result<(), ApiError> {
    if text.chars().count() > MAX_TEXT_CHARS {
        return Err(ApiError::BadRequest(format!(
            "{name} has more than {MAX_TEXT_CHARS} characters"
        )));
    }
    if text.contains('\0') {
        return Err(ApiError::BadRequest(format!(
            "{name} contains a NUL character"
        )));
    }
    Ok(())
}
