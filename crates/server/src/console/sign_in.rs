//! Sessions for the vendor's staff.

use std::sync::Arc;

use askama::Template;
use axum::Form;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::Response;
use license_console::page::show;
use serde::Deserialize;

use super::frame::{Done, Frame, Said};
use crate::http::access::{Access, ClientAddress};
use crate::http::error::ApiError;

#[derive(Template)]
#[template(path = "sign_in.html")]
struct SignIn {
    frame: Frame,
    possible: bool,
    next: String,
    error: Option<String>,
}

#[derive(Default, Deserialize)]
pub(super) struct Wanted {
    #[serde(default)]
    next: String,
}

#[derive(Deserialize)]
pub(super) struct Shown {
    #[serde(default)]
    token: String,
    #[serde(default)]
    next: String,
}

pub(super) async fn page(
    State(access): State<Arc<Access>>,
    wanted: Result<Query<Wanted>, QueryRejection>,
    said: Result<Query<Said>, QueryRejection>,
) -> Response {
    let next = wanted.map(|Query(wanted)| wanted).unwrap_or_default().next;
    let done = said.map(|Query(said)| said).unwrap_or_default().done;
    form(&access, next, done, None)
}

fn form(access: &Access, next: String, done: Option<Done>, error: Option<&ApiError>) -> Response {
    let frame = Frame {
        signed_in: false,
        ..Frame::new("sign-in").after(done)
    };
    let page = SignIn {
        frame,
        possible: access.sessions.can_begin(),
        next,
        error: error.map(ApiError::message),
    };
    show(error.map_or(StatusCode::OK, ApiError::status), &page)
}

pub(super) async fn sign_in(
    State(access): State<Arc<Access>>,
    ClientAddress(address): ClientAddress,
    headers: HeaderMap,
    Form(shown): Form<Shown>,
) -> Response {
    let token = shown.token.trim();
    match access.sessions.sign_in(token, address, &headers) {
        Ok(cookie) => {
            tracing::info!(security = true, peer = %address, "signed in");
            let mut response = Done::SignedIn.go_on(own_page(&shown.next));
            response.headers_mut().insert(header::SET_COOKIE, cookie);
            response
        }
        Err(error) => {
            tracing::warn!(security = true, peer = %address, "sign-in failed: {error}");
            form(&access, shown.next, None, Some(&ApiError::SignIn(error)))
        }
    }
}

/// Nobody is sent to another site after signing in here.
fn own_page(next: &str) -> &str {
    let is_own = next == "/" || next.starts_with("/?") || next.starts_with("/console/");
    let is_plain = next.bytes().all(|byte| byte.is_ascii_graphic());
    if is_own && is_plain { next } else { "/" }
}

pub(super) async fn sign_out(State(access): State<Arc<Access>>, headers: HeaderMap) -> Response {
    let mut response = Done::SignedOut.go_on("/console/sign-in");
    let cookie = access.sessions.end(&headers);
    response.headers_mut().insert(header::SET_COOKIE, cookie);
    response
}

#[cfg(test)]
mod tests {
    use super::own_page;

    #[test]
    fn only_pages_of_this_service_come_after_signing_in() {
        for own in ["/", "/?done=issued", "/console/licenses?page=2"] {
            assert_eq!(own_page(own), own);
        }
        for other in [
            "",
            "//evil.example",
            "/\\evil",
            "https://evil.example",
            "/console/\r\nx:y",
        ] {
            assert_eq!(own_page(other), "/");
        }
    }
}
