//! Responses to the vendor's staff that are sent while they are read: the only place that creates
//! such a body, so that each piece is read within the caller's share of the connections, and only
//! while the caller may still read it.

use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse as _, Response};
use futures_util::stream;

use crate::http::error::ApiError;
use crate::http::known_tokens::NotRead;
use crate::http::reader::Reader;
use crate::http::{HttpState, sessions};
use crate::licensing::exports::Pieces;
use crate::store::StoreError;

/// Maximum duration of a stream, up to its last piece. An idle session ends after the same time.
const MAX_DURATION: Duration = Duration::from_secs(30 * 60);

/// A response that is to be streamed to the caller.
pub(crate) struct StaffStream {
    state: HttpState,
    reader: Reader,
    begun: Duration,
}

/// Why a stream ended early. The connection is aborted, so that a part is not mistaken for the
/// whole.
#[derive(Debug, thiserror::Error)]
enum EndedEarly {
    #[error("the reader's token was revoked or has expired, or its session has ended")]
    NotAllowed,
    #[error("cannot determine whether the reader's token is still valid")]
    NotKnown,
    #[error("the file was not read within {} minutes", MAX_DURATION.as_secs() / 60)]
    TooSlow,
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl FromRequestParts<HttpState> for StaffStream {
    type Rejection = ApiError;

    /// A request without a reader is a bug: the route is not behind those layers.
    async fn from_request_parts(parts: &mut Parts, state: &HttpState) -> Result<Self, ApiError> {
        let reader: Option<&Reader> = parts.extensions.get();
        Ok(Self {
            reader: reader.ok_or(ApiError::Internal)?.clone(),
            state: state.clone(),
            begun: state.app.clock.running(),
        })
    }
}

impl StaffStream {
    /// A file to download, whose pieces are read while it is being sent.
    ///
    /// # Errors
    /// If the first piece cannot be read.
    pub(crate) async fn file<P: Pieces + 'static>(
        self,
        mut pieces: P,
        kind: &'static str,
        name: &str,
    ) -> Result<Response, ApiError> {
        let name = HeaderValue::try_from(format!("attachment; filename=\"{name}\""));
        let headers = [
            (header::CONTENT_TYPE, HeaderValue::from_static(kind)),
            (
                header::CONTENT_DISPOSITION,
                name.map_err(|_| ApiError::Internal)?,
            ),
        ];
        let first = self.next(&mut pieces).await?;
        Ok((headers, self.body(first, pieces)).into_response())
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "every piece is read on behalf of the reader"
    )]
    fn body<P: Pieces + 'static>(self, first: Option<Bytes>, pieces: P) -> Body {
        let rest = stream::try_unfold(
            (self, pieces, first),
            async |(stream, mut pieces, first)| {
                let piece = match first {
                    Some(first) => Some(first),
                    None => stream.next(&mut pieces).await.inspect_err(|error| {
                        tracing::warn!(%error, "a file for the vendor's staff was not sent completely");
                    })?,
                };
                Ok::<_, EndedEarly>(piece.map(|piece| (piece, (stream, pieces, None))))
            },
        );
        Body::from_stream(rest)
    }

    /// The next piece, if the reader may still read it.
    async fn next(&self, pieces: &mut impl Pieces) -> Result<Option<Bytes>, EndedEarly> {
        let caller = self.reader.caller.clone();
        let reading = async |_| {
            self.check().await?;
            let piece = pieces.next(&self.state.app.store).await?;
            Ok(piece.map(Bytes::from))
        };
        caller.within_share(reading).await
    }

    /// Checks what a new request of the reader would be checked for.
    async fn check(&self) -> Result<(), EndedEarly> {
        let HttpState { app, access, .. } = &self.state;
        if app.clock.running().saturating_sub(self.begun) > MAX_DURATION {
            return Err(EndedEarly::TooSlow);
        }
        let token = self.reader.caller.token();
        let owners = access.owners(&[token]).await;
        let owners = owners.map_err(|NotRead| EndedEarly::NotKnown)?;
        if !owners.iter().any(|it| it.token() == token) {
            return Err(EndedEarly::NotAllowed);
        }
        match &self.reader.session {
            Some(id) if !sessions::is_valid(&self.state, id).await? => Err(EndedEarly::NotAllowed),
            _ => Ok(()),
        }
    }
}

impl From<EndedEarly> for ApiError {
    fn from(error: EndedEarly) -> Self {
        match error {
            EndedEarly::NotAllowed => Self::Unauthorized,
            EndedEarly::NotKnown => Self::Unavailable,
            EndedEarly::TooSlow => Self::Busy,
            EndedEarly::Store(error) => error.into(),
        }
    }
}
