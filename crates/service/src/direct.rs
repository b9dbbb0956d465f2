//! Responses that need neither the router nor its layers, for the questions that are asked most.
//!
//! A request that is answered here passes no layer: an implementation takes only those that every
//! layer would let pass unchanged, and leaves all others to the router.

use std::fmt::Debug;
use std::net::SocketAddr;

use axum::body::{Body, Bytes};
use axum::http::request::Parts;
use axum::http::{HeaderName, HeaderValue, Response, StatusCode, header};
use axum::response::IntoResponse;
use httparse::Header;

/// Answers some requests before the router.
pub trait Direct: Debug + Send + Sync {
    /// What becomes of a request with this head.
    fn by_head(&self, head: &Head<'_>, peer: SocketAddr) -> ByHead;

    /// The response to a request for which [`Self::by_head`] has asked for the body; `None` leaves
    /// it to the router.
    fn by_body(&self, head: &Head<'_>, body: &[u8]) -> Option<DirectResponse>;
}

/// What becomes of a request, as far as its head says.
#[derive(Debug)]
pub enum ByHead {
    /// The router answers it.
    Router,
    /// This is the response. The body is not needed.
    Response(DirectResponse),
    /// The body decides. If it does not arrive in one piece with the head, the router answers the
    /// request.
    Body,
}

/// The head of a request.
#[derive(Clone, Copy, Debug)]
pub struct Head<'a> {
    /// The method.
    pub method: &'a str,
    /// The path as sent, without the query.
    pub path: &'a str,
    /// What follows the first `?`.
    pub query: Option<&'a str>,
    /// Whether the address of the request names a host, as for a proxy (RFC 9112, section 3.2.2).
    pub names_host: bool,
    /// The headers as sent, in their order.
    pub headers: &'a [Header<'a>],
}

impl<'a> Head<'a> {
    /// Calls `what` with the head of a request that the HTTP library has read.
    pub fn of<T>(parts: &Parts, what: impl FnOnce(&Head<'_>) -> T) -> T {
        let headers = parts.headers.iter().map(|(name, value)| Header {
            name: name.as_str(),
            value: value.as_bytes(),
        });
        let headers: Vec<Header<'_>> = headers.collect();
        what(&Head {
            method: parts.method.as_str(),
            path: parts.uri.path(),
            query: parts.uri.query(),
            names_host: parts.uri.authority().is_some(),
            headers: &headers,
        })
    }

    /// The values of a header. Names are compared without regard to case.
    pub fn values(&self, name: &str) -> impl Iterator<Item = &'a [u8]> {
        let headers = self.headers.iter();
        let named = headers.filter(move |it| it.name.eq_ignore_ascii_case(name));
        named.map(|it| it.value)
    }

    /// The first value of a header.
    #[must_use]
    pub fn value(&self, name: &str) -> Option<&'a [u8]> {
        self.values(name).next()
    }
}

/// The value of a header as text, if it consists of visible characters of ASCII, spaces and tabs.
#[must_use]
pub fn text_of(value: &[u8]) -> Option<&str> {
    let is_text = |byte: &u8| matches!(byte, b' '..=b'~' | b'\t');
    let text = std::str::from_utf8(value).ok()?;
    value.iter().all(is_text).then_some(text)
}

/// A response. The headers that every response has are added when it is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirectResponse {
    /// The status.
    pub status: StatusCode,
    /// The headers that this response has in addition.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// The body; a response with 304 has none.
    pub body: Bytes,
}

impl DirectResponse {
    /// A response without a body.
    #[must_use]
    pub fn empty(status: StatusCode) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body: Bytes::new(),
        }
    }

    /// A response with this JSON.
    #[must_use]
    pub fn json(status: StatusCode, body: Bytes) -> Self {
        let json = HeaderValue::from_static("application/json");
        Self {
            status,
            headers: vec![(header::CONTENT_TYPE, json)],
            body,
        }
    }
}

impl From<DirectResponse> for Response<Bytes> {
    fn from(direct: DirectResponse) -> Self {
        let mut response = Self::new(direct.body);
        *response.status_mut() = direct.status;
        response.headers_mut().extend(direct.headers);
        response
    }
}

impl IntoResponse for DirectResponse {
    fn into_response(self) -> axum::response::Response {
        Response::from(self).map(Body::from)
    }
}

/// Answers nothing: every request goes to the router.
#[derive(Clone, Copy, Debug)]
pub struct NoDirect;

impl Direct for NoDirect {
    fn by_head(&self, _: &Head<'_>, _: SocketAddr) -> ByHead {
        ByHead::Router
    }

    fn by_body(&self, _: &Head<'_>, _: &[u8]) -> Option<DirectResponse> {
        None
    }
}
