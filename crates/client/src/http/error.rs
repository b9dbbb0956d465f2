//! The only place where an error becomes a status code.
//!
//! Bodies keep the shape of version 1.0.0: `{"detail": …}`, where `detail` is a string, or for 422
//! a list of problems.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use license_console::refusal::Refusal;
use license_service::hosts::UnknownHost;
use license_service::request_body::BodyRefusal;
use license_service::request_span::RequestId;
use license_service::sessions::{FAILURE_WINDOW, SignInError};
use license_service::unattended::Panicked;
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::{IntoResponses, ToSchema};

use crate::licensing::activate::ActivateError;
use crate::licensing::deactivate::DeactivateError;
use crate::licensing::offline::OfflineError;
use crate::licensing::redeem::RedeemError;
use crate::licensing::replace::PreviewError;
use crate::licensing::start_trial::StartTrialError;
use crate::licensing::switch::SwitchError;
use crate::licensing::usage::ReportError;
use crate::release_document::UnusableDocument;

/// Why a request failed.
#[derive(Debug)]
pub enum ApiError {
    /// The body lacks a required field.
    Invalid(Box<Invalid>),
    /// The body is not UTF-8.
    NotUtf8,
    /// The body was not read.
    Body(BodyRefusal),
    /// The caller disconnected while sending the body.
    BrokenOff,
    /// The license was not activated.
    Activate(Box<ActivateError>),
    /// The license was not deactivated.
    Deactivate(Box<DeactivateError>),
    /// It is not known what a license key grants.
    Preview(Box<PreviewError>),
    /// No trial was started.
    StartTrial(Box<StartTrialError>),
    /// The add-on key was not redeemed.
    Redeem(Box<RedeemError>),
    /// Licensing by file failed.
    Offline(Box<OfflineError>),
    /// The document of a release was not accepted.
    ReleaseDocument(UnusableDocument),
    /// The feature was not changed.
    Switch(Box<SwitchError>),
    /// The usage report was not accepted.
    Report(ReportError),
    /// The log of attempts is in the database, which is unavailable.
    AttemptsUnavailable,
    /// Changes need a trusted network or the token.
    Untrusted,
    /// Sign-in failed.
    SignIn(SignInError),
    /// A page on another site sent the request.
    CrossSite,
    /// The host name is not accepted.
    UnknownHost(UnknownHost),
    /// There are too many subscribers to events.
    TooManySubscribers,
    /// Not found.
    NotFound,
    /// Method not allowed.
    MethodNotAllowed,
    /// An internal error; see the log.
    Internal,
}

/// One problem in a body, in the wording of version 1.0.0.
#[derive(Debug, Serialize)]
pub struct Invalid {
    /// The type of the problem.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// The location: `body`, and the field or the position.
    pub loc: Vec<Value>,
    /// A human-readable message.
    pub msg: String,
    /// The input.
    pub input: Value,
    /// Further details.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ctx: Option<Value>,
}

/// Marks the response to a call that only a trusted network or the token permits.
#[derive(Clone, Copy, Debug)]
pub(super) struct TokenRequired;

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let status = self.status();
        let needs_token = matches!(self, Self::Untrusted);
        let retry_after = match self {
            Self::Body(BodyRefusal::Busy) => Some(HeaderValue::from_static("1")),
            Self::SignIn(SignInError::TooMany) => Some(FAILURE_WINDOW.as_secs().into()),
            _ => None,
        };
        let refusal = Refusal {
            detail: self.detail(),
            is_cross_site: matches!(self, Self::CrossSite),
            request_id: RequestId::current().map(|id| id.to_string()),
        };
        let is_uncertain = self.is_uncertain();
        let detail = match self {
            Self::Invalid(invalid) => json!([invalid]),
            other => other.detail().into(),
        };
        let mut body = json!({ "detail": detail });
        if let Some(id) = &refusal.request_id {
            body["requestId"] = id.as_str().into();
        }
        if is_uncertain {
            body["code"] = OUTCOME_UNKNOWN.into();
        }
        let mut response = (status, Json(body)).into_response();
        response.extensions_mut().insert(refusal);
        if needs_token {
            response.extensions_mut().insert(TokenRequired);
        }
        if status == StatusCode::UNAUTHORIZED {
            let challenge = HeaderValue::from_static("Bearer");
            response
                .headers_mut()
                .insert(header::WWW_AUTHENTICATE, challenge);
        }
        if let Some(seconds) = retry_after {
            response.headers_mut().insert(header::RETRY_AFTER, seconds);
        }
        response
    }
}

/// The code of an error after which a change may have been stored.
const OUTCOME_UNKNOWN: &str = "outcome_unknown";

impl ApiError {
    /// Whether the change may have been stored.
    fn is_uncertain(&self) -> bool {
        let error = match self {
            Self::Activate(error) => match &**error {
                ActivateError::NotStored(error) => error,
                _ => return false,
            },
            Self::Deactivate(error) => match &**error {
                DeactivateError::NotStored(error) => error,
                _ => return false,
            },
            Self::Offline(error) => match &**error {
                OfflineError::NotStored(error) => error,
                _ => return false,
            },
            Self::StartTrial(error) => match &**error {
                StartTrialError::NotStored(error) => error,
                _ => return false,
            },
            Self::Redeem(error) => match &**error {
                RedeemError::NotStored(error) => error,
                _ => return false,
            },
            Self::Switch(error) => match &**error {
                SwitchError::NotStored(error) => error,
                _ => return false,
            },
            _ => return false,
        };
        error.is_uncertain()
    }

    /// A message that says what went wrong and what to do.
    #[must_use]
    pub fn detail(&self) -> String {
        match self {
            Self::Invalid(invalid) => invalid.msg.clone(),
            Self::NotUtf8 => "There was an error parsing the body".to_owned(),
            Self::Body(BodyRefusal::TooLong { max_bytes }) => {
                format!("The request body is too large. The limit is {max_bytes} bytes.")
            }
            Self::Body(BodyRefusal::TooManyPieces) => {
                "The request body arrived in too many pieces. Send larger chunks.".to_owned()
            }
            Self::Body(BodyRefusal::Encoded { encoding }) => {
                format!(
                    "The request body is compressed ({encoding}). Send it without Content-Encoding."
                )
            }
            Self::Body(BodyRefusal::TimedOut) => {
                "The request body did not arrive in time".to_owned()
            }
            Self::Body(BodyRefusal::Busy) => {
                "The service is receiving too many requests. Try again later.".to_owned()
            }
            Self::BrokenOff => "The request body ended early".to_owned(),
            Self::Activate(error) => error.to_string(),
            Self::Deactivate(error) => error.to_string(),
            Self::Offline(error) => error.to_string(),
            Self::Preview(error) => error.to_string(),
            Self::StartTrial(error) => error.to_string(),
            Self::Redeem(error) => error.to_string(),
            Self::ReleaseDocument(why) => format!("The document was not accepted: {why}"),
            Self::Switch(error) => error.to_string(),
            Self::Report(error) => error.to_string(),
            // Anyone may read this: names of hosts and users are only written to the log.
            Self::AttemptsUnavailable => "The attempts log is unavailable because the database \
                is unavailable; see the service log"
                .to_owned(),
            Self::Untrusted => "To make changes, call from a network in TRUSTED_NETWORKS, or send \
                the header 'Authorization: Bearer' with the ADMIN_TOKEN"
                .to_owned(),
            Self::SignIn(error) => error.to_string(),
            Self::CrossSite => "The request seems to come from a page on another site. A proxy \
                in front of the service must pass on the Host header with its port; if other \
                sites may call the service, list their origins in CORS_ALLOWED_ORIGINS."
                .to_owned(),
            Self::UnknownHost(unknown) => unknown.to_string(),
            Self::TooManySubscribers => "Too many subscribers; try again later".to_owned(),
            Self::NotFound => "Not Found".to_owned(),
            Self::MethodNotAllowed => "Method Not Allowed".to_owned(),
            Self::Internal => "Internal Server Error".to_owned(),
        }
    }

    /// The status code.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        match self {
            Self::Invalid(_) => StatusCode::UNPROCESSABLE_ENTITY,
            Self::NotUtf8 => StatusCode::BAD_REQUEST,
            Self::Activate(error) => match **error {
                ActivateError::Key(_)
                | ActivateError::Refused { .. }
                | ActivateError::NoContact(_) => StatusCode::BAD_REQUEST,
                ActivateError::NotStored(_) => StatusCode::SERVICE_UNAVAILABLE,
            },
            Self::Body(BodyRefusal::TooLong { .. }) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Body(BodyRefusal::TooManyPieces) => StatusCode::BAD_REQUEST,
            Self::Body(BodyRefusal::Encoded { .. }) => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::Body(BodyRefusal::TimedOut) => StatusCode::REQUEST_TIMEOUT,
            Self::Body(BodyRefusal::Busy) => StatusCode::SERVICE_UNAVAILABLE,
            Self::BrokenOff => StatusCode::BAD_REQUEST,
            Self::Deactivate(error) => match **error {
                DeactivateError::Unlicensed => StatusCode::CONFLICT,
                DeactivateError::NoContact(_) | DeactivateError::NotStored(_) => {
                    StatusCode::SERVICE_UNAVAILABLE
                }
            },
            Self::Offline(error) => match **error {
                OfflineError::Unsigned | OfflineError::Unlicensed | OfflineError::Licensed => {
                    StatusCode::CONFLICT
                }
                OfflineError::File(_)
                | OfflineError::Key(_)
                | OfflineError::TrialCode(_)
                | OfflineError::AddOn(_) => StatusCode::BAD_REQUEST,
                OfflineError::NotStored(_) => StatusCode::SERVICE_UNAVAILABLE,
            },
            Self::Preview(error) => match **error {
                PreviewError::Key(_) | PreviewError::Refused(_) => StatusCode::BAD_REQUEST,
                PreviewError::NotOffered
                | PreviewError::NoContact(_)
                | PreviewError::NoIdentity(_) => StatusCode::SERVICE_UNAVAILABLE,
            },
            Self::StartTrial(error) => match **error {
                StartTrialError::Code(_) | StartTrialError::Refused(_) => StatusCode::BAD_REQUEST,
                StartTrialError::Licensed => StatusCode::CONFLICT,
                StartTrialError::NotOffered
                | StartTrialError::NoContact(_)
                | StartTrialError::NotStored(_) => StatusCode::SERVICE_UNAVAILABLE,
            },
            Self::Redeem(error) => match **error {
                RedeemError::Key(_) | RedeemError::Refused(_) => StatusCode::BAD_REQUEST,
                RedeemError::Unlicensed => StatusCode::CONFLICT,
                RedeemError::NotOffered | RedeemError::NoContact(_) | RedeemError::NotStored(_) => {
                    StatusCode::SERVICE_UNAVAILABLE
                }
            },
            Self::ReleaseDocument(UnusableDocument::Unsigned) => StatusCode::CONFLICT,
            Self::ReleaseDocument(_) => StatusCode::BAD_REQUEST,
            Self::Switch(error) => match **error {
                SwitchError::Core(_) => StatusCode::CONFLICT,
                SwitchError::Unknown(_) => StatusCode::NOT_FOUND,
                SwitchError::NotStored(_) => StatusCode::SERVICE_UNAVAILABLE,
            },
            Self::Report(ReportError::NoRoom(_)) => StatusCode::CONFLICT,
            Self::Report(ReportError::NotKept) => StatusCode::SERVICE_UNAVAILABLE,
            Self::AttemptsUnavailable => StatusCode::SERVICE_UNAVAILABLE,
            Self::Untrusted => StatusCode::UNAUTHORIZED,
            Self::SignIn(SignInError::WrongToken) => StatusCode::UNAUTHORIZED,
            Self::SignIn(SignInError::TooMany) => StatusCode::TOO_MANY_REQUESTS,
            Self::CrossSite => StatusCode::FORBIDDEN,
            Self::UnknownHost(_) => StatusCode::MISDIRECTED_REQUEST,
            Self::TooManySubscribers => StatusCode::SERVICE_UNAVAILABLE,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

impl From<Panicked> for ApiError {
    fn from(_: Panicked) -> Self {
        Self::Internal
    }
}

impl From<ActivateError> for ApiError {
    fn from(error: ActivateError) -> Self {
        Self::Activate(Box::new(error))
    }
}

impl From<OfflineError> for ApiError {
    fn from(error: OfflineError) -> Self {
        Self::Offline(Box::new(error))
    }
}

impl From<PreviewError> for ApiError {
    fn from(error: PreviewError) -> Self {
        Self::Preview(Box::new(error))
    }
}

impl From<StartTrialError> for ApiError {
    fn from(error: StartTrialError) -> Self {
        Self::StartTrial(Box::new(error))
    }
}

impl From<RedeemError> for ApiError {
    fn from(error: RedeemError) -> Self {
        Self::Redeem(Box::new(error))
    }
}

impl From<SwitchError> for ApiError {
    fn from(error: SwitchError) -> Self {
        Self::Switch(Box::new(error))
    }
}

impl From<DeactivateError> for ApiError {
    fn from(error: DeactivateError) -> Self {
        Self::Deactivate(Box::new(error))
    }
}

/// The body of all errors except 422.
#[derive(Debug, ToSchema)]
#[expect(dead_code, reason = "describes JSON that is written by hand above")]
pub struct ErrorResponse {
    /// What went wrong and what to do about it.
    detail: String,
    /// `outcome_unknown` if the change may have been stored; absent otherwise.
    code: Option<String>,
    /// The id of the request in the log, also in the `X-Request-Id` header.
    #[schema(rename = "requestId")]
    request_id: Option<String>,
}

/// The body of 422.
#[derive(Debug, ToSchema)]
#[expect(dead_code, reason = "describes JSON that is written by hand above")]
pub struct HTTPValidationError {
    /// The problems and their locations.
    detail: Vec<ValidationError>,
}

/// One problem in a 422.
#[derive(Debug, ToSchema)]
#[expect(dead_code, reason = "describes JSON that is written by hand above")]
pub struct ValidationError {
    /// The type of the problem.
    #[schema(rename = "type")]
    kind: String,
    /// The location: `body`, and the field or the position.
    loc: Vec<Value>,
    /// A human-readable message.
    msg: String,
    /// The input.
    input: Value,
    /// Further details.
    ctx: Option<Value>,
}

/// Errors of routes that make changes.
#[derive(IntoResponses)]
pub enum ChangeErrors {
    /// The request came neither from a trusted network nor with the token.
    #[response(status = 401)]
    Untrusted(ErrorResponse),
    /// Sent by a page on another site.
    #[response(status = 403)]
    CrossSite(ErrorResponse),
    /// The token is wrong, and there were too many wrong ones before.
    #[response(status = 429)]
    TooManyWrongTokens(ErrorResponse),
}

/// Errors of routes that take a body.
#[derive(IntoResponses)]
pub enum BodyErrors {
    /// The request body is not UTF-8, or ended early.
    #[response(status = 400)]
    Unreadable(ErrorResponse),
    /// The request body is invalid.
    #[response(status = 422)]
    Invalid(HTTPValidationError),
}
