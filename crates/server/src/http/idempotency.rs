//! Answers each call with an `Idempotency-Key` once, and repeats the answer.
//!
//! These layers are around all routes of both APIs. A call without a key, and one that changes
//! nothing by its method, passes through them unchanged.

use std::sync::Arc;

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{FromRequest as _, Request, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use license_core::idempotency::{IdempotencyKey, KeyOwner, Keyed, KeyedRequest};
use license_core::license_key::LicenseKey;
use license_core::offline::{OfflineRequest, Purpose};
use license_core::protocol::{
    DRIFT_HEADER, ENTITLEMENTS_HEADER, IDEMPOTENCY_HEADER, INSTALLATION_ID_HEADER, NONCE_HEADER,
    SEQ_HEADER, USAGE_HEADER,
};
use license_service::admin_token::bearer;
use license_service::unattended::finish_even_if_disconnected;
use serde::Deserialize;

use crate::app::App;
use crate::audit::{Actor, AuthorToken};
use crate::http::access::ClientAddress;
use crate::http::error::ApiError;
use crate::http::given::{from_json, json_text};
use crate::http::licenses::is_read;
use crate::keyed_call::{KeyedCall, Repeated};
use crate::store::StoreError;

/// The headers of sites on which their answers depend.
const SITE_HEADERS: [&str; 6] = [
    INSTALLATION_ID_HEADER,
    NONCE_HEADER,
    SEQ_HEADER,
    DRIFT_HEADER,
    ENTITLEMENTS_HEADER,
    USAGE_HEADER,
];

/// Around the routes of the vendor's staff, inside the layer that checks the token.
pub(super) async fn of_staff(
    State(app): State<Arc<App>>,
    request: Request,
    next: Next,
) -> Response {
    let (key, request, body) = match with_key(request).await {
        Ok(Sent::WithKey(key, request, body)) => (key, request, body),
        Ok(Sent::Without(request)) => return next.run(request).await,
        Err(refusal) => return refusal.into_response(),
    };
    let Some(Actor::Staff { token, .. }) = request.extensions().get() else {
        return ApiError::Internal.into_response();
    };
    let owner = KeyOwner::Staff {
        token: token.as_ref().map(AuthorToken::id),
        secret: bearer(request.headers())
            .unwrap_or_default()
            .trim_matches('"'),
    };
    let call = keyed_call(&app, &key, &owner, &request, &body, &[]);
    answer_once(app, call, request, next).await
}

/// Around the routes of sites. A body that names no caller passes: its call is refused.
pub(super) async fn of_sites(
    State(app): State<Arc<App>>,
    address: ClientAddress,
    request: Request,
    next: Next,
) -> Response {
    let (key, request, body) = match with_key(request).await {
        Ok(Sent::WithKey(key, request, body)) => (key, request, body),
        Ok(Sent::Without(request)) => return next.run(request).await,
        Err(refusal) => return refusal.into_response(),
    };
    let Some(sender) = Sender::of(&app, address, request.uri().path(), &body) else {
        return next.run(request).await;
    };
    let headers = request.headers();
    let headers = SITE_HEADERS
        .iter()
        .filter_map(|name| Some((*name, headers.get(*name)?.as_bytes())));
    let headers: Vec<_> = headers.collect();
    let call = keyed_call(&app, &key, &sender.owner(), &request, &body, &headers);
    answer_once(app, call, request, next).await
}

/// A request as it was sent.
enum Sent {
    /// With a key, and its body, which the request still contains.
    WithKey(IdempotencyKey, Request, Bytes),
    /// Without a key, or with a method that changes nothing.
    Without(Request),
}

/// Reads the key of a request, and its body if there is a key.
async fn with_key(request: Request) -> Result<Sent, ApiError> {
    if matches!(
        *request.method(),
        Method::GET | Method::HEAD | Method::OPTIONS
    ) {
        return Ok(Sent::Without(request));
    }
    let Some(key) = sent_key(request.headers())? else {
        return Ok(Sent::Without(request));
    };
    let (parts, body) = request.into_parts();
    let read = Bytes::from_request(Request::new(body), &()).await;
    let body = read.map_err(|error| ApiError::Body(error.status(), error.body_text()))?;
    let request = Request::from_parts(parts, Body::from(body.clone()));
    Ok(Sent::WithKey(key, request, body))
}

fn sent_key(headers: &HeaderMap) -> Result<Option<IdempotencyKey>, ApiError> {
    let mut sent = headers.get_all(IDEMPOTENCY_HEADER).iter();
    let Some(text) = sent.next() else {
        return Ok(None);
    };
    if sent.next().is_some() {
        let message = "the request has several Idempotency-Keys; send one".to_owned();
        return Err(ApiError::BadRequest(message));
    }
    let key = IdempotencyKey::parse(text.as_bytes());
    let key = key.map_err(|error| ApiError::BadRequest(error.to_string()))?;
    Ok(Some(key))
}

fn keyed_call(
    app: &App,
    key: &IdempotencyKey,
    owner: &KeyOwner<'_>,
    request: &Request,
    body: &[u8],
    headers: &[(&str, &[u8])],
) -> KeyedCall {
    let path = request.uri().path_and_query();
    let asked = KeyedRequest {
        method: request.method().as_str(),
        path: path.map_or("/", |it| it.as_str()),
        body,
        headers,
    };
    KeyedCall::new(Keyed::new(key, owner, &asked), app.clock.clone())
}

/// What a site's body says about its sender.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct SenderFields {
    license_key: Option<String>,
    hardware_id: Option<String>,
    installation_id: Option<String>,
    /// A request file.
    request: Option<String>,
}

/// The site that sends a call.
enum Sender {
    Machine(LicenseKey, String),
    /// It has no license key yet.
    Installation(String, String),
}

impl Sender {
    /// By the fields that the route reads: others could name a different sender in each call.
    fn of(app: &App, address: ClientAddress, path: &str, body: &Bytes) -> Option<Self> {
        let body = json_text(Ok(body.clone())).ok()?;
        let fields: SenderFields = from_json(&body).ok()?;
        if path.ends_with("/offline") {
            let file = fields.request?;
            if !is_read(app, address, &file) {
                return None;
            }
            let file = OfflineRequest::from_file(&file).ok()?;
            return match file.purpose {
                Purpose::Trial => Some(Self::Installation(file.installation_id, file.hardware_id)),
                _ => Self::machine(&file.license_key, file.hardware_id),
            };
        }
        let hardware_id = fields.hardware_id?;
        if path.ends_with("/trial") {
            return Some(Self::Installation(fields.installation_id?, hardware_id));
        }
        Self::machine(&fields.license_key?, hardware_id)
    }

    fn machine(license_key: &str, hardware_id: String) -> Option<Self> {
        let license_key = LicenseKey::parse(license_key).ok()?;
        Some(Self::Machine(license_key, hardware_id))
    }

    fn owner(&self) -> KeyOwner<'_> {
        match self {
            Self::Machine(license_key, hardware_id) => KeyOwner::Machine {
                license_key: license_key.as_str(),
                hardware_id,
            },
            Self::Installation(installation_id, hardware_id) => KeyOwner::Installation {
                installation_id,
                hardware_id,
            },
        }
    }
}

/// Answers a call when no other one with its key is being answered here. It is answered and the
/// answer stored even if the caller disconnects, which is why callers repeat calls.
async fn answer_once(app: Arc<App>, call: KeyedCall, request: Request, next: Next) -> Response {
    let answered = finish_even_if_disconnected(async move {
        let Ok(_turn) = app.keyed_calls.take(call.id()).await else {
            return Err(ApiError::Repeated(Repeated::InProgress));
        };
        let call = Arc::new(call);
        // Nothing is read for sites before they are admitted: their use cases check the key.
        let is_staff = request.extensions().get::<Actor>().is_some();
        if is_staff && is_repeated(&app, &call).await? {
            return repeated(&app, &call).await;
        }
        let response = call.clone().scope(next.run(request)).await;
        // Another server may have made the change meanwhile, and be why it was refused.
        let is_refused = is_staff && response.status().is_client_error() && !call.is_noted();
        if call.is_repeated() || is_refused && is_repeated(&app, &call).await? {
            return repeated(&app, &call).await;
        }
        kept(&app, &call, response, is_staff).await
    });
    match answered.await {
        Ok(Ok(response)) => response,
        Ok(Err(refusal)) => refusal.into_response(),
        Err(panicked) => ApiError::from(panicked).into_response(),
    }
}

/// Whether another call is stored for the key.
async fn is_repeated(app: &App, call: &KeyedCall) -> Result<bool, ApiError> {
    match call.check(app.store.reader()).await {
        Ok(()) => Ok(false),
        Err(StoreError::RepeatedCall) => Ok(true),
        Err(error) => Err(error.into()),
    }
}

/// The response to a call that repeats another one.
async fn repeated(app: &App, call: &KeyedCall) -> Result<Response, ApiError> {
    let (status, body) = match call.repeated(app.store.reader()).await? {
        Repeated::Answer { status, body } => (status, body),
        refusal => return Err(ApiError::Repeated(refusal)),
    };
    let status = StatusCode::from_u16(status).map_err(|_| ApiError::Internal)?;
    let json = HeaderValue::from_static("application/json");
    Ok((status, [(CONTENT_TYPE, json)], body).into_response())
}

/// Stores the response to a call, and returns it. A refusal is stored only if the call has changed
/// something before: otherwise it may be another one when the call is repeated. The answers of sites
/// are stored with their changes.
async fn kept(
    app: &App,
    call: &KeyedCall,
    response: Response,
    is_staff: bool,
) -> Result<Response, ApiError> {
    let status = response.status();
    if status.is_server_error() {
        return Ok(response);
    }
    let (parts, body) = response.into_parts();
    let body = to_bytes(body, usize::MAX).await;
    let body = body.map_err(|_| ApiError::Internal)?;
    let is_kept = is_staff && status.is_success();
    let db = app.store.reader();
    if let Err(error) = call.keep_answer(db, status.as_u16(), &body, is_kept).await {
        tracing::warn!(%error, "an answer cannot be repeated, because it was not stored");
    }
    Ok(Response::from_parts(parts, Body::from(body)))
}
