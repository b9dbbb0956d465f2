//! The questions of gateways and applications, answered before the router and its layers.
//!
//! They are asked for every request of the VMS. A question is answered here only if every layer
//! would let it pass unchanged: it names one accepted host, does not come from a browser, and its
//! body is short, declared as JSON, and exactly what the API's document describes. All others take
//! the way of any request, to the same functions, and to the error texts of version 1.0.0.

use std::any::Any;
use std::fmt;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use axum::body::Bytes;
use axum::http::request::Parts;
use axum::http::{HeaderName, HeaderValue, Method, Response, header};
use license_service::direct::{ByHead, Direct};
use license_service::listener::log_panic;
use license_service::request_span::REQUEST_ID;
use serde_json::json;

use crate::app::App;
use crate::http::access::Access;
use crate::http::body::is_json;
use crate::http::error::ApiError;
use crate::http::{authorize, features, license, ofrep};

/// Sent by browsers alone (fetch.spec.whatwg.org).
const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Answers the questions of gateways and applications.
pub struct Questions {
    app: Arc<App>,
    access: Arc<Access>,
}

impl fmt::Debug for Questions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Questions").finish_non_exhaustive()
    }
}

impl Questions {
    /// Questions to this service.
    #[must_use]
    pub fn new(app: Arc<App>, access: Arc<Access>) -> Self {
        Self { app, access }
    }

    /// Whether every layer would let the request pass unchanged.
    fn passes_layers(&self, head: &Parts) -> bool {
        let mut hosts = 0;
        // Responses name the allowed origins.
        !self.access.has_origins()
            && head.uri.authority().is_none()
            && head.headers.iter().all(|(name, value)| match *name {
                header::HOST => {
                    hosts += 1;
                    hosts == 1 && self.access.accepts_host(value)
                }
                // From a browser, in a session, or with a wait for 100 (Continue).
                header::ORIGIN | header::COOKIE | header::EXPECT => false,
                _ => *name != SEC_FETCH_SITE && *name != REQUEST_ID,
            })
    }
}

impl Direct for Questions {
    fn by_head(&self, head: &Parts, peer: SocketAddr) -> ByHead {
        let path = head.uri.path();
        // Gateways pass on headers of visitors, and the answer changes nothing: hosts and origins
        // do not matter.
        if authorize::is_asked_at(path) {
            return ByHead::Response(caught(|| authorize::respond(&self.app, head)));
        }
        if head.method == Method::POST {
            let may_be_answered = matches!(path, features::CHECK | features::CHECK_MANY)
                || path.starts_with(ofrep::ALL_FLAGS);
            return match may_be_answered && is_json(&head.headers) && self.passes_layers(head) {
                true => ByHead::Body,
                false => ByHead::Router,
            };
        }
        if head.method == Method::GET && path == license::STATUS && self.passes_layers(head) {
            let caller = self.access.caller_without_session(peer, &head.headers);
            let status = || json(license::status_json(&self.app, caller));
            return ByHead::Response(caught(status));
        }
        ByHead::Router
    }

    fn by_body(&self, head: &Parts, body: &[u8]) -> Option<Response<Bytes>> {
        let body = std::str::from_utf8(body).ok()?;
        // Lists are read as objects, too.
        if !body.trim_ascii_start().starts_with('{') {
            return None;
        }
        let answer = || match head.uri.path() {
            features::CHECK => features::check_text(&self.app, body).map(json),
            features::CHECK_MANY => features::check_many_text(&self.app, body).map(json),
            ofrep::ALL_FLAGS => ofrep::evaluate_all_text(&self.app, &head.headers, body),
            path => ofrep::evaluate_text(&self.app, path, body).map(json),
        };
        let answered = catch_unwind(AssertUnwindSafe(answer));
        answered.unwrap_or_else(|panic| Some(failed(&*panic)))
    }
}

/// The response, or 500 if the code panics.
fn caught(answer: impl FnOnce() -> Response<Bytes>) -> Response<Bytes> {
    let answered = catch_unwind(AssertUnwindSafe(answer));
    answered.unwrap_or_else(|panic| failed(&*panic))
}

/// The response after a panic: as with the layer for panics.
fn failed(panic: &(dyn Any + Send)) -> Response<Bytes> {
    log_panic(panic);
    let error = ApiError::Internal;
    let mut response = json(features::json_bytes(&json!({"detail": error.detail()})));
    *response.status_mut() = error.status();
    response
}

/// A response with this JSON.
pub(super) fn json(body: Bytes) -> Response<Bytes> {
    let mut response = Response::new(body);
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_a_panic_the_response_is_that_of_the_layer_for_panics() {
        let response = caught(|| panic!("on purpose"));
        assert_eq!(response.status(), 500);
        assert_eq!(response.headers()["content-type"], "application/json");
        assert_eq!(response.body(), "{\"detail\":\"Internal Server Error\"}");
    }
}
