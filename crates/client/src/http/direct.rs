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

use axum::http::header;
use license_service::direct::{ByHead, Direct, DirectResponse, Head};
use license_service::listener::log_panic;
use serde_json::json;

use crate::app::App;
use crate::http::access::Access;
use crate::http::body::is_json;
use crate::http::error::ApiError;
use crate::http::json_answer::{json, json_bytes};
use crate::http::{authorize, features, license, ofrep};

/// Headers that layers read: from a browser, in a session, with a wait for 100 (Continue), or with
/// an id for the log.
const LAYERS: [&str; 5] = [
    "origin",
    "cookie",
    "expect",
    "sec-fetch-site",
    "x-request-id",
];

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
    fn passes_layers(&self, head: &Head<'_>) -> bool {
        let mut hosts = 0;
        // Responses name the allowed origins.
        !self.access.has_origins()
            && !head.names_host
            && head.headers.iter().all(|it| {
                if it.name.eq_ignore_ascii_case("host") {
                    hosts += 1;
                    return hosts == 1 && self.access.accepts_host(it.value);
                }
                !names(&LAYERS, it.name)
            })
    }

    fn question(&self, head: &Head<'_>, body: &str) -> Option<DirectResponse> {
        match head.path {
            features::CHECK => features::check_text(&self.app, body).map(json),
            features::CHECK_MANY => features::check_many_text(&self.app, body).map(json),
            ofrep::ALL_FLAGS => ofrep::evaluate_all_text(&self.app, head, body),
            path => ofrep::evaluate_text(&self.app, path, body).map(json),
        }
    }
}

impl Direct for Questions {
    fn by_head(&self, head: &Head<'_>, peer: SocketAddr) -> ByHead {
        // Gateways pass on headers of visitors, and the answer changes nothing: hosts and origins
        // do not matter.
        if authorize::is_asked_at(head.path) {
            return ByHead::Response(caught(|| authorize::respond(&self.app, head)));
        }
        if head.method == "POST" {
            let may_be_answered = matches!(head.path, features::CHECK | features::CHECK_MANY)
                || head.path.starts_with(ofrep::ALL_FLAGS);
            let is_question = may_be_answered
                && is_json(head.value(header::CONTENT_TYPE.as_str()))
                && self.passes_layers(head);
            return match is_question {
                true => ByHead::Body,
                false => ByHead::Router,
            };
        }
        if head.method == "GET" && head.path == license::STATUS && self.passes_layers(head) {
            let caller = self.access.caller_without_session(peer, head);
            let status = || json(license::status_json(&self.app, caller));
            return ByHead::Response(caught(status));
        }
        ByHead::Router
    }

    fn by_body(&self, head: &Head<'_>, body: &[u8]) -> Option<DirectResponse> {
        let body = std::str::from_utf8(body).ok()?;
        // Lists are read as objects, too.
        if !body.trim_ascii_start().starts_with('{') {
            return None;
        }
        let answered = catch_unwind(AssertUnwindSafe(|| self.question(head, body)));
        answered.unwrap_or_else(|panic| Some(failed(&*panic)))
    }
}

fn names(known: &[&str], name: &str) -> bool {
    known.iter().any(|it| it.eq_ignore_ascii_case(name))
}

/// The response, or 500 if the code panics.
fn caught(answer: impl FnOnce() -> DirectResponse) -> DirectResponse {
    let answered = catch_unwind(AssertUnwindSafe(answer));
    answered.unwrap_or_else(|panic| failed(&*panic))
}

/// The response after a panic: as with the layer for panics.
fn failed(panic: &(dyn Any + Send)) -> DirectResponse {
    log_panic(panic);
    let error = ApiError::Internal;
    let detail = json_bytes(&json!({"detail": error.detail()}));
    DirectResponse::json(error.status(), detail)
}

#[cfg(test)]
mod tests {
    use license_service::request_span::REQUEST_ID;

    use super::*;

    #[test]
    fn the_id_of_a_request_is_for_the_router() {
        assert!(names(&LAYERS, REQUEST_ID.as_str()));
    }

    #[test]
    fn after_a_panic_the_response_is_that_of_the_layer_for_panics() {
        let response = caught(|| panic!("on purpose"));
        assert_eq!(response.status, 500);
        assert_eq!(response.headers[0].1, "application/json");
        assert_eq!(response.body, "{\"detail\":\"Internal Server Error\"}");
    }
}
