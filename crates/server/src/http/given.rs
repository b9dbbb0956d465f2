//! Bodies and parameters, with our own error messages.

use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{FromRequest, FromRequestParts, Query, Request};
use axum::http::request::Parts;
use bytes::Buf as _;
use chrono::{DateTime, Utc};
use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize as _, Deserializer};

use crate::http::error::ApiError;
use crate::licensing::issue::end_of;

/// A JSON body.
pub(super) struct Body<T>(pub(super) T);

/// The parameters in the address.
pub(super) struct Params<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Body<T> {
    type Rejection = ApiError;

    /// Read as JSON, regardless of its content type. A missing body counts as empty.
    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        let bytes = json_text(Bytes::from_request(request, state).await)?;
        let text = if bytes.is_empty() { b"{}" } else { &bytes[..] };
        let body = serde_json::from_slice(text);
        body.map(Self)
            .map_err(|error| ApiError::BadRequest(format!("invalid request body: {error}")))
    }
}

/// The JSON text of a body, of sites and of the vendor's staff alike, without the byte order
/// mark that some programs begin it with.
///
/// # Errors
/// When the body was not received, or contains a NUL, which no database keeps in a text.
pub(super) fn json_text(received: Result<Bytes, BytesRejection>) -> Result<Bytes, ApiError> {
    const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();
    let mut bytes = received.map_err(|error| ApiError::Body(error.status(), error.body_text()))?;
    if bytes.starts_with(BYTE_ORDER_MARK) {
        bytes.advance(BYTE_ORDER_MARK.len());
    }
    if bytes.windows(6).any(|part| part == b"\\u0000") {
        let message = "the body contains a NUL character".to_owned();
        return Err(ApiError::BadRequest(message));
    }
    Ok(bytes)
}

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Params<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        match Query::<T>::from_request_parts(parts, state).await {
            Ok(Query(params)) => Ok(Self(params)),
            Err(error) => {
                let text = error.body_text();
                let text = text
                    .rsplit_once("query string: ")
                    .map_or(&*text, |(_, it)| it);
                Err(ApiError::InvalidParameter(format!(
                    "invalid parameters: {text}"
                )))
            }
        }
    }
}

/// An instant, or the end of a day; or nothing.
pub(super) fn until<'de, D: Deserializer<'de>>(from: D) -> Result<Option<DateTime<Utc>>, D::Error> {
    let Some(text) = Option::<String>::deserialize(from)? else {
        return Ok(None);
    };
    end_of(&text).map(Some).ok_or_else(|| {
        let expected = "expected 2030-12-31 or 2030-12-31T12:00:00Z";
        D::Error::custom(format!("invalid time '{text}': {expected}"))
    })
}
