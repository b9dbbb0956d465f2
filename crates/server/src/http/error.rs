//! The only place where an error becomes a status code.
//!
//! Errors have no `success` field: a site interprets `success: false` as a denial by the License
//! Server, and none of these errors is a denial.

mod changes;
mod repetition;

use std::time::Duration;

use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use license_console::refusal::Refusal;
use license_core::protocol::SEQ_HEADER;
use license_core::signing_clock::ClockDoubt;
use license_service::hosts::UnknownHost;
use license_service::request_body::BodyRefusal;
use license_service::request_span::RequestId;
use license_service::sessions::{FAILURE_WINDOW, SignInError};
use license_service::unattended::Panicked;
use serde::Serialize;
use utoipa::ToSchema;

use crate::http::known_tokens::NotRead;
use crate::keyed_call::Repeated;
use crate::licensing::admit::AdmitError;
use crate::licensing::look_up::LookUpError;
use crate::licensing::offline::OfflineError;
use crate::licensing::site_answer::AnswerError;
use crate::signing::{SignError, SigningError};
use crate::store::StoreError;
use license_service::cursor::InvalidCursor;

/// The challenge for a missing token (RFC 6750, section 3).
const CHALLENGE: (HeaderName, HeaderValue) = (
    header::WWW_AUTHENTICATE,
    HeaderValue::from_static("Bearer realm=\"license-server\""),
);

/// The challenge for a missing or outdated proof (RFC 9449, section 7.1).
const PROOF_CHALLENGE: (HeaderName, HeaderValue) = (
    header::WWW_AUTHENTICATE,
    HeaderValue::from_static("DPoP algs=\"EdDSA\", error=\"invalid_dpop_proof\""),
);

/// Why a request is not answered.
#[derive(Debug)]
pub enum ApiError {
    /// The body or a header is invalid.
    BadRequest(String),
    /// A parameter of the address is unknown or has an invalid value.
    InvalidParameter(String),
    /// The body cannot be read: it is too large, or ended early.
    Body(StatusCode, String),
    /// The body was not read.
    BodyRefused(BodyRefusal),
    /// The vendor has switched this off.
    NotOffered(String),
    /// Not found.
    Unknown(String),
    /// The request conflicts with the current state.
    Conflict(String),
    /// The `Idempotency-Key` was used before.
    Repeated(Repeated),
    /// The token is required.
    Unauthorized,
    /// There is no token, so none can be used.
    NoToken,
    /// The token of this name has expired.
    TokenExpired(String),
    /// Sign-in failed.
    SignIn(SignInError),
    /// A page on another site sent the request.
    CrossSite,
    /// The service is called by an unknown host name.
    UnknownHost(UnknownHost),
    /// The caller has exceeded its rate limit; contains the time until the next allowed call.
    TooManyCalls(Duration),
    /// Too many sessions were begun with the token; contains the time until the next allowed one.
    TooManySignIns(Duration),
    /// A merge has moved only so many licenses, for this reason.
    Interrupted(u64, Box<Self>),
    /// Nothing is signed now: the clock may be wrong, or no key may sign.
    NotSigning,
    /// A change is not recorded, because the clock may be wrong.
    ClockDoubt(ClockDoubt),
    /// The call of a site does not prove the installation key of its seat. Contains the sequence number
    /// that another proof must name; `None` if another proof is of no use.
    Unproven(Option<u64>),
    /// The site is newer than the database, which may be a restored backup.
    OlderThanSite,
    /// Not found.
    NotFound,
    /// Method not allowed.
    MethodNotAllowed,
    /// Too many others are waiting for the same license, the same row or a database connection. The
    /// database itself works.
    Busy,
    /// The request was not completed in time.
    TimedOut {
        /// Whether it may have changed something, or may still do so.
        may_change: bool,
    },
    /// The database is unavailable; the log has the reason.
    Unavailable,
    /// The database has not confirmed a change, which may have been stored.
    Uncertain,
    /// An internal error; see the log.
    Internal,
}

/// The message for a caller.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ErrorBody {
    error: ErrorDetail,
}

#[derive(Debug, Serialize, ToSchema)]
struct ErrorDetail {
    /// A short code for programs.
    code: &'static str,
    /// What is wrong, and what to do.
    message: String,
    /// The id of the request in the server's log, also in the `X-Request-Id` header.
    #[serde(rename = "requestId", skip_serializing_if = "Option::is_none")]
    request_id: Option<String>,
}

impl ApiError {
    /// The status code.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        match self {
            Self::BadRequest(_) => StatusCode::BAD_REQUEST,
            Self::InvalidParameter(_) => StatusCode::UNPROCESSABLE_ENTITY,
            Self::Body(status, _) => *status,
            Self::BodyRefused(BodyRefusal::TooLong { .. }) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::BodyRefused(BodyRefusal::TooManyPieces) => StatusCode::BAD_REQUEST,
            Self::BodyRefused(BodyRefusal::Encoded { .. }) => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::BodyRefused(BodyRefusal::TimedOut) => StatusCode::REQUEST_TIMEOUT,
            Self::BodyRefused(BodyRefusal::Busy) => StatusCode::SERVICE_UNAVAILABLE,
            Self::NotOffered(_) | Self::NoToken | Self::CrossSite => StatusCode::FORBIDDEN,
            Self::Unknown(_) | Self::NotFound => StatusCode::NOT_FOUND,
            Self::Conflict(_) | Self::Repeated(_) => StatusCode::CONFLICT,
            Self::Unauthorized
            | Self::TokenExpired(_)
            | Self::SignIn(SignInError::WrongToken)
            | Self::Unproven(_) => StatusCode::UNAUTHORIZED,
            Self::SignIn(SignInError::TooMany)
            | Self::TooManyCalls(_)
            | Self::TooManySignIns(_) => StatusCode::TOO_MANY_REQUESTS,
            Self::Interrupted(_, why) => why.status(),
            Self::UnknownHost(_) => StatusCode::MISDIRECTED_REQUEST,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::Busy
            | Self::TimedOut { .. }
            | Self::Unavailable
            | Self::Uncertain
            | Self::NotSigning
            | Self::ClockDoubt(_)
            | Self::OlderThanSite => StatusCode::SERVICE_UNAVAILABLE,
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// What is wrong, and what to do.
    #[must_use]
    pub fn message(&self) -> String {
        match self {
            Self::BadRequest(message)
            | Self::InvalidParameter(message)
            | Self::Body(_, message)
            | Self::NotOffered(message)
            | Self::Unknown(message)
            | Self::Conflict(message) => capitalised(message),
            Self::Repeated(repeated) => repetition::message(repeated),
            Self::BodyRefused(refusal) => capitalised(&refusal.to_string()),
            Self::SignIn(error) => error.to_string(),
            Self::Unauthorized => {
                "Expected the header 'Authorization: Bearer' with a token created by \
                 'license-server tokens add', or with the ADMIN_TOKEN"
                    .to_owned()
            }
            Self::NoToken => "The License Server has no token for administration; create one with \
                'license-server tokens add NAME'"
                .to_owned(),
            Self::TokenExpired(name) => format!(
                "The token '{name}' has expired; revoke it, and create another one with \
                 'license-server tokens add'"
            ),
            Self::CrossSite => "The request seems to come from a page on another site. A proxy \
                in front of the License Server must pass on the Host header with its port."
                .to_owned(),
            Self::UnknownHost(unknown) => unknown.to_string(),
            Self::TooManyCalls(wait) => {
                format!("Too many calls; wait {} s, then try again", seconds(*wait))
            }
            Self::TooManySignIns(wait) => format!(
                "Too many sign-ins with this token; wait {} s, then sign in again. Programs use the \
                 API, which needs no session.",
                seconds(*wait)
            ),
            Self::Interrupted(moved, why) => format!(
                "The merge was interrupted (licenses moved by it: {moved}); repeat the merge to \
                 move the remaining licenses. {}",
                why.message()
            ),
            Self::NotSigning => "The License Server cannot sign at present; see its log".to_owned(),
            Self::ClockDoubt(doubt) => {
                format!(
                    "Nothing was changed, because the License Server's clock may be wrong: {doubt}"
                )
            }
            Self::Unproven(None) => {
                "The call does not prove the installation key of the machine's \
                seat. Activate the license again on that machine, or ask your vendor to free the \
                seat."
                    .to_owned()
            }
            Self::Unproven(Some(newest)) => format!(
                "The proof of the installation key names an old sequence number; repeat the call \
                 with a proof that names {newest}"
            ),
            Self::OlderThanSite => "The License Server's database is older than this site's \
                                    license; the vendor has been alerted"
                .to_owned(),
            Self::NotFound => "Not found".to_owned(),
            Self::MethodNotAllowed => "Method not allowed".to_owned(),
            Self::Busy => {
                "The License Server is busy; wait a few seconds, then try again".to_owned()
            }
            Self::TimedOut { may_change: false } => {
                "The License Server did not complete the request \
                in time; wait a few seconds, then try again, or request less at a time"
                    .to_owned()
            }
            Self::TimedOut { may_change: true } => {
                "The License Server did not complete the request \
                in time. A change may have been stored, or may still be; check whether it was \
                before you repeat the request."
                    .to_owned()
            }
            Self::Unavailable => "The database is unavailable; see the server log".to_owned(),
            Self::Uncertain => "The change may have been stored: the connection to the database \
                failed before the change was confirmed. Check whether the change was stored before \
                you repeat it."
                .to_owned(),
            Self::Internal => "Internal error; see the server log".to_owned(),
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::BadRequest(_) | Self::Body(..) => "bad_request",
            Self::InvalidParameter(_) => "invalid_parameter",
            Self::BodyRefused(BodyRefusal::TooLong { .. }) => "body_too_long",
            Self::BodyRefused(BodyRefusal::TooManyPieces | BodyRefusal::Encoded { .. }) => {
                "bad_request"
            }
            Self::BodyRefused(BodyRefusal::TimedOut) => "timeout",
            Self::BodyRefused(BodyRefusal::Busy)
            | Self::Busy
            | Self::TimedOut { may_change: false } => "busy",
            Self::NotOffered(_) => "not_offered",
            Self::Unknown(_) | Self::NotFound => "not_found",
            Self::Conflict(_) => "conflict",
            Self::Repeated(repeated) => repetition::code(repeated),
            Self::Unauthorized | Self::SignIn(SignInError::WrongToken) => "unauthorized",
            Self::SignIn(SignInError::TooMany) => "too_many_tries",
            Self::TooManyCalls(_) | Self::TooManySignIns(_) => "too_many_calls",
            Self::NotSigning | Self::ClockDoubt(_) => "not_signing",
            Self::OlderThanSite => "database_older_than_site",
            Self::Unproven(None) => "unproven",
            Self::Unproven(Some(_)) => "proof_outdated",
            Self::NoToken => "no_admin_token",
            Self::TokenExpired(_) => "token_expired",
            Self::Interrupted(_, why) => why.code(),
            Self::CrossSite => "cross_site",
            Self::UnknownHost(_) => "unknown_host",
            Self::MethodNotAllowed => "method_not_allowed",
            Self::Unavailable => "unavailable",
            Self::Uncertain | Self::TimedOut { may_change: true } => "outcome_unknown",
            Self::Internal => "internal",
        }
    }
}

/// Whole seconds, rounded up.
fn seconds(wait: Duration) -> u64 {
    wait.as_secs() + u64::from(wait.subsec_nanos() > 0)
}

/// Maximum wait requested from a site while nothing is signed: the clock may be corrected or
/// accepted at any time.
const NOT_SIGNING_WAIT: Duration = Duration::from_secs(60);

/// How long a caller is asked to wait if too many others are waiting.
const BUSY_WAIT: Duration = Duration::from_secs(5);

/// How long a caller is asked to wait while the database returns errors.
const UNAVAILABLE_WAIT: Duration = Duration::from_secs(10);

impl ApiError {
    /// How long to wait before retrying the same request, if waiting helps.
    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::TooManyCalls(wait) | Self::TooManySignIns(wait) => Some(*wait),
            Self::SignIn(SignInError::TooMany) => Some(FAILURE_WINDOW),
            Self::NotSigning | Self::ClockDoubt(_) | Self::OlderThanSite => Some(NOT_SIGNING_WAIT),
            Self::Interrupted(_, why) => why.retry_after(),
            Self::Repeated(repeated) => repetition::retry_after(repeated),
            Self::Busy | Self::TimedOut { may_change: false } => Some(BUSY_WAIT),
            Self::Unavailable => Some(UNAVAILABLE_WAIT),
            Self::BodyRefused(BodyRefusal::Busy) => Some(Duration::from_secs(1)),
            _ => None,
        }
    }
}

impl ApiError {
    /// The same in whole seconds, for a header.
    pub(crate) fn retry_after_header(&self) -> Option<HeaderValue> {
        let wait = self.retry_after()?;
        Some(HeaderValue::from(seconds(wait)))
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let error = ErrorDetail {
            code: self.code(),
            message: self.message(),
            request_id: RequestId::current().map(|id| id.to_string()),
        };
        let refusal = Refusal {
            detail: error.message.clone(),
            is_cross_site: matches!(self, Self::CrossSite),
            request_id: error.request_id.clone(),
        };
        let body = (self.status(), Extension(refusal), Json(ErrorBody { error }));
        match (self.retry_after_header(), self) {
            (Some(wait), _) => ([(header::RETRY_AFTER, wait)], body).into_response(),
            (None, Self::Unauthorized | Self::TokenExpired(_)) => {
                ([CHALLENGE], body).into_response()
            }
            (None, Self::Unproven(None)) => ([PROOF_CHALLENGE], body).into_response(),
            (None, Self::Unproven(Some(newest))) => {
                let number = [(SEQ_HEADER, HeaderValue::from(newest))];
                ([PROOF_CHALLENGE], number, body).into_response()
            }
            (None, _) => body.into_response(),
        }
    }
}

impl From<NotRead> for ApiError {
    fn from(_: NotRead) -> Self {
        Self::Unavailable
    }
}

impl From<OfflineError> for ApiError {
    fn from(error: OfflineError) -> Self {
        match error {
            OfflineError::Answer(error) => error.into(),
            OfflineError::NotOffered => Self::NotOffered(error.to_string()),
            OfflineError::File(_)
            | OfflineError::Field(_)
            | OfflineError::Secret(_)
            | OfflineError::WrittenAhead(_) => Self::BadRequest(error.to_string()),
            OfflineError::TooFarBehind { .. } => Self::Conflict(error.to_string()),
        }
    }
}

impl From<InvalidCursor> for ApiError {
    fn from(error: InvalidCursor) -> Self {
        Self::InvalidParameter(error.to_string())
    }
}

impl From<AdmitError> for ApiError {
    fn from(error: AdmitError) -> Self {
        match error {
            AdmitError::TooManyCalls(wait) => Self::TooManyCalls(wait),
            AdmitError::Busy => Self::Busy,
            AdmitError::NotSigning(_) => Self::NotSigning,
            AdmitError::Store(error) => error.into(),
        }
    }
}

impl From<AnswerError> for ApiError {
    fn from(error: AnswerError) -> Self {
        match error {
            // The job that watches the clock reports it, and so does readiness.
            AnswerError::Document(
                SignError::Clock(_)
                | SignError::Key(
                    SigningError::NoneSignsNow
                    | SigningError::NoneSignsYet { .. }
                    | SigningError::KeysMissing(_)
                    | SigningError::Record { .. }
                    | SigningError::EmptyDatabase(_),
                ),
            ) => Self::NotSigning,
            AnswerError::Outdated(_) => Self::BadRequest(error.to_string()),
            AnswerError::UnprovenFile => Self::Conflict(error.to_string()),
            AnswerError::Unproven(newest) => Self::Unproven(newest),
            AnswerError::OlderThanSite => Self::OlderThanSite,
            AnswerError::TooManyCalls(wait) => Self::TooManyCalls(wait),
            AnswerError::Store(error) => error.into(),
            error @ AnswerError::Document(SignError::TooLong { .. }) => {
                tracing::error!(security = true, %error, "no license was signed for a site");
                Self::Internal
            }
            error @ (AnswerError::Document(_) | AnswerError::NotIssued(_)) => {
                tracing::error!(%error, "failed to answer a request");
                Self::Internal
            }
        }
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::TokenRevoked(_) => return Self::Unauthorized,
            StoreError::TokenExpired(name) => return Self::TokenExpired(name),
            StoreError::RepeatedCall => return Self::Repeated(Repeated::InProgress),
            _ => {}
        }
        if error.is_busy() {
            tracing::debug!(%error, "a request waited too long in the queue");
            return Self::Busy;
        }
        let is_uncertain = error.is_uncertain();
        // The database module logs a failure once, and then counts.
        if !error.is_outage() || is_uncertain {
            tracing::error!(%error, "failed to answer a request");
        }
        match is_uncertain {
            true => Self::Uncertain,
            false => Self::Unavailable,
        }
    }
}

impl From<LookUpError> for ApiError {
    fn from(error: LookUpError) -> Self {
        match error {
            LookUpError::Store(error) => error.into(),
            LookUpError::Key(_) | LookUpError::Unknown(_) | LookUpError::UnknownId(_) => {
                Self::Unknown(error.to_string())
            }
        }
    }
}

impl From<ClockDoubt> for ApiError {
    fn from(doubt: ClockDoubt) -> Self {
        Self::ClockDoubt(doubt)
    }
}

impl From<Panicked> for ApiError {
    fn from(_: Panicked) -> Self {
        Self::Internal
    }
}

/// Errors of programs start with a lower-case letter, because they follow a colon.
fn capitalised(text: &str) -> String {
    let mut chars = text.chars();
    let first = chars.next().map(char::to_uppercase);
    first.into_iter().flatten().chain(chars).collect()
}
