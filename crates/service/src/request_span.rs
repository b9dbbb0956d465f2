//! Request ids: the log lines of a request, its response, and the page or body of an error contain
//! the same id.

use std::fmt;
use std::sync::Arc;

use axum::extract::{MatchedPath, Request};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method};
use axum::middleware::Next;
use axum::response::Response;
use tracing::field::Empty;
use tracing::{Instrument as _, Span};

use crate::random;

/// The header of requests and responses. The id in a request is kept, so that a proxy's log and
/// ours can be correlated.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Maximum length of an id that a caller chooses, in bytes.
const MAX_ID_BYTES: usize = 64;

tokio::task_local! {
    static CURRENT: RequestId;
}

/// The id of one request: 1 to 64 ASCII letters, digits, `-`, `_` and `.`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestId(Arc<str>);

impl RequestId {
    /// The id of the request that is being answered; `None` outside of [`trace`].
    #[must_use]
    pub fn current() -> Option<Self> {
        CURRENT.try_with(Clone::clone).ok()
    }

    /// The caller's id if it is valid, otherwise a new one. A repeated header is not valid.
    fn of(headers: &HeaderMap) -> Self {
        let mut sent = headers.get_all(REQUEST_ID).iter();
        let sent = match (sent.next(), sent.next()) {
            (Some(only), None) => only.to_str().ok().filter(|id| is_valid(id)),
            _ => None,
        };
        match sent {
            Some(id) => Self(id.into()),
            None => {
                let number = u64::from_be_bytes(random::bytes());
                Self(format!("{number:016x}").into())
            }
        }
    }

    fn to_header(&self) -> Option<HeaderValue> {
        HeaderValue::from_str(&self.0).ok()
    }
}

/// The id of a request, for its work that runs elsewhere.
pub(crate) struct CarriedId(Option<RequestId>);

impl CarriedId {
    /// The id of the request that is being answered.
    pub(crate) fn current() -> Self {
        Self(RequestId::current())
    }

    /// Runs work of the request.
    pub(crate) async fn scope<T>(self, work: impl Future<Output = T>) -> T {
        match self.0 {
            Some(id) => CURRENT.scope(id, work).await,
            None => work.await,
        }
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn is_valid(id: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    let capitals = id.to_ascii_uppercase();
    // Ids are logged, and the keys and codes that the vendor issues are secrets.
    (1..=MAX_ID_BYTES).contains(&id.len())
        && id.bytes().all(is_allowed)
        && !["FXSGHT", "FXSADD", "FXSTRY"]
            .iter()
            .any(|prefix| capitals.contains(prefix))
}

/// Assigns the request an id and a span; a middleware around all others.
pub async fn trace(request: Request, next: Next) -> Response {
    let id = RequestId::of(request.headers());
    // At this level, so that every log level keeps the id in the lines that are written.
    let span = tracing::error_span!(
        "request",
        %id,
        method = known(request.method()),
        route = Empty
    );
    let answering = CURRENT.scope(id.clone(), next.run(request));
    let mut response = answering.instrument(span).await;
    if let Some(id) = id.to_header() {
        response.headers_mut().insert(REQUEST_ID, id);
    }
    response
}

/// Adds the route to the span; a middleware of the router. The path itself may contain a license
/// key, and other text that a caller chooses.
pub async fn record_route(request: Request, next: Next) -> Response {
    if let Some(route) = request.extensions().get::<MatchedPath>() {
        Span::current().record("route", route.as_str());
    }
    next.run(request).await
}

/// Callers may invent methods of any length.
fn known(method: &Method) -> &str {
    match *method {
        Method::GET
        | Method::HEAD
        | Method::POST
        | Method::PUT
        | Method::PATCH
        | Method::DELETE
        | Method::OPTIONS => method.as_str(),
        _ => "other",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(ids: &[&str]) -> RequestId {
        let headers = ids.iter().map(|id| (REQUEST_ID, id.parse().unwrap()));
        RequestId::of(&headers.collect())
    }

    #[test]
    fn a_callers_id_is_kept_only_if_it_is_harmless_in_a_log() {
        let longest = "x".repeat(MAX_ID_BYTES);
        for id in ["a", "7f3c-02_B.9", &longest] {
            assert_eq!(of(&[id]).to_string(), id);
        }
        let too_long = "x".repeat(MAX_ID_BYTES + 1);
        for ids in [
            &[][..],
            &[""],
            &[&too_long],
            &["a b"],
            &["a\tb"],
            &["a\"b"],
            &["ä"],
            &["fxsght-AAAA-BBBB-CCCC-DDDD"],
            &["x-FXSADD-AAAA-BBBB-CCCC-DDDD"],
            &["FXSTRY-AAAA-BBBB-CCCC-DDDD"],
            &["one", "two"],
            &["one", "one"],
        ] {
            let id = of(ids).to_string();
            assert!(id.len() == 16 && is_valid(&id), "{ids:?}: {id}");
            assert_ne!(of(ids).to_string(), id);
        }
    }
}
