//! Turns pages into responses with the right headers.

use askama::Template;
use axum::extract::Request;
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{Html, IntoResponse as _, Response};

/// Allows only content of this service, no inline scripts or styles, and no framing by
/// other pages.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
    connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// The same for the API reference: its script adds styles and images to the page, and
/// sends the requests that a reader tries out.
const REFERENCE_POLICY: &str = "default-src 'none'; script-src 'self'; \
    style-src 'self' 'unsafe-inline'; img-src 'self' data:; font-src 'self'; \
    connect-src 'self'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'";

/// The message after a change, by its code in `words.html`.
#[derive(Clone, Copy, Debug)]
pub struct Notice {
    /// `good`, `wait` or `bad`.
    pub tone: &'static str,
    /// What was changed.
    pub code: &'static str,
}

/// Renders a page as a response.
pub fn show(status: StatusCode, page: &impl Template) -> Response {
    match page.render() {
        Ok(text) => (status, Html(text)).into_response(),
        Err(error) => {
            tracing::error!(%error, "cannot render a page");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

/// Adds the headers of the API reference.
#[expect(clippy::unused_async, reason = "middleware is async")]
pub async fn reference(mut response: Response) -> Response {
    let policy = HeaderValue::from_static(REFERENCE_POLICY);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_SECURITY_POLICY, policy);
    response
}

/// Adds the policy of every page, as a middleware. The listener adds the headers of
/// every response.
pub async fn guarded(request: Request, next: Next) -> Response {
    guard(next.run(request).await)
}

/// The same for a single response.
pub(crate) fn guard(mut response: Response) -> Response {
    let policy = HeaderValue::from_static(POLICY);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_SECURITY_POLICY, policy);
    response
}
