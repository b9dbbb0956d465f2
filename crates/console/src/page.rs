//! How a page becomes an answer, and what every one is sent with.

use askama::Template;
use axum::extract::Request;
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{Html, IntoResponse as _, Response};

/// Nothing but what this service serves, no script or style within a page, and
/// no page of others around one of ours.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
    connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// The same for the reference of the API: its script makes styles and pictures
/// on the page itself, and sends the requests that a reader tries out.
const REFERENCE_POLICY: &str = "default-src 'none'; script-src 'self'; \
    style-src 'self' 'unsafe-inline'; img-src 'self' data:; font-src 'self'; \
    connect-src 'self'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'";

/// Something that has just been done, by its code in `words.html`.
#[derive(Clone, Copy, Debug)]
pub struct Notice {
    /// `good`, `wait` or `bad`.
    pub tone: &'static str,
    /// What was done.
    pub code: &'static str,
}

/// A page as an answer.
pub fn show(status: StatusCode, page: &impl Template) -> Response {
    match page.render() {
        Ok(text) => (status, Html(text)).into_response(),
        Err(error) => {
            tracing::error!(%error, "a page cannot be rendered");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

/// Adds what the pages of the reference are sent with.
#[expect(clippy::unused_async, reason = "middleware is async")]
pub async fn reference(mut response: Response) -> Response {
    let policy = HeaderValue::from_static(REFERENCE_POLICY);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_SECURITY_POLICY, policy);
    response
}

/// Adds the headers of every page, as a middleware. The listener adds those of
/// every response.
pub async fn guarded(request: Request, next: Next) -> Response {
    guard(next.run(request).await)
}

/// The same for one response.
pub(crate) fn guard(mut response: Response) -> Response {
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::CACHE_CONTROL, "no-store"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}
