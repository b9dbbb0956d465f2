//! Sessions for the vendor's staff.

use std::sync::Arc;

use askama::Template;
use axum::Form;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, Request, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Redirect, Response};
use license_console::page::show;
use serde::Deserialize;

use super::frame::{Done, Frame, Said, trouble};
use crate::audit::Actor;
use crate::http::access::{Access, ClientAddress, MAX_NEXT_BYTES};
use crate::http::error::ApiError;
use crate::http::{HttpState, sessions};

#[derive(Template)]
#[template(path = "sign_in.html")]
struct SignIn {
    frame: Frame,
    possible: bool,
    next: String,
    error: Option<String>,
}

#[derive(Default, Deserialize)]
pub(super) struct SignInQuery {
    #[serde(default)]
    next: String,
}

#[derive(Deserialize)]
pub(super) struct SignInForm {
    #[serde(default)]
    token: String,
    #[serde(default)]
    next: String,
}

pub(super) async fn page(
    State(access): State<Arc<Access>>,
    wanted: Result<Query<SignInQuery>, QueryRejection>,
    said: Result<Query<Said>, QueryRejection>,
) -> Response {
    let wanted = wanted.map(|Query(wanted)| wanted).unwrap_or_default();
    let done = said.map(|Query(said)| said).unwrap_or_default().done;
    form(&access, own_page(&wanted.next), done, None)
}

fn form(access: &Access, next: &str, done: Option<Done>, error: Option<&ApiError>) -> Response {
    let frame = Frame {
        signed_in: false,
        ..Frame::new("sign-in").after(done)
    };
    let page = SignIn {
        frame,
        possible: access.sessions.can_begin(),
        next: next.to_owned(),
        error: error.map(ApiError::message),
    };
    show(error.map_or(StatusCode::OK, ApiError::status), &page)
}

pub(super) async fn sign_in(
    State(state): State<HttpState>,
    ClientAddress(address): ClientAddress,
    headers: HeaderMap,
    Form(shown): Form<SignInForm>,
) -> Response {
    let token = shown.token.trim();
    let next = own_page(&shown.next);
    let signed_in = match state.access.sessions.check(token, address) {
        Ok(()) => sessions::begin(&state, &headers)
            .await
            .map_err(ApiError::from),
        Err(error) => {
            tracing::warn!(security = true, peer = %address, "sign-in failed: {error}");
            Err(ApiError::SignIn(error))
        }
    };
    match signed_in {
        Ok(cookie) => {
            tracing::info!(security = true, peer = %address, "signed in");
            let mut response = Done::SignedIn.redirect(next);
            if let Some(cookie) = cookie {
                response.headers_mut().insert(header::SET_COOKIE, cookie);
            }
            response
        }
        Err(error) => form(&state.access, next, None, Some(&error)),
    }
}

/// Lets browsers with a session through. All others are sent to the sign-in page, and
/// back after signing in.
pub(super) async fn in_session(
    State(state): State<HttpState>,
    ClientAddress(address): ClientAddress,
    mut request: Request,
    next: Next,
) -> Response {
    let is_signed_in = match sessions::is_signed_in(&state, request.headers()).await {
        Ok(is_signed_in) => is_signed_in,
        Err(error) => return trouble("sign-in", error),
    };
    if !is_signed_in {
        // A change was not made, and has to be requested again.
        let wanted = request.uri().path_and_query().map_or("/", |it| it.as_str());
        let next: String = match *request.method() {
            Method::GET | Method::HEAD if wanted.len() <= MAX_NEXT_BYTES => {
                url::form_urlencoded::byte_serialize(wanted.as_bytes()).collect()
            }
            _ => "%2F".to_owned(),
        };
        return Redirect::to(&format!("/console/sign-in?next={next}")).into_response();
    }
    let actor = Actor::Console(address);
    request.extensions_mut().insert(actor);
    next.run(request).await
}

/// The page shown after signing in. Pages of other sites and texts longer than any
/// address of ours are rejected.
fn own_page(next: &str) -> &str {
    let fits = next.len() <= MAX_NEXT_BYTES;
    let is_own = next == "/" || next.starts_with("/?") || next.starts_with("/console/");
    let is_plain = next.bytes().all(|byte| byte.is_ascii_graphic());
    if fits && is_own && is_plain {
        next
    } else {
        "/"
    }
}

pub(super) async fn sign_out(State(state): State<HttpState>, headers: HeaderMap) -> Response {
    let cookie = match sessions::end(&state, &headers).await {
        Ok(cookie) => cookie,
        Err(error) => return trouble("sign-in", error),
    };
    let mut response = Done::SignedOut.redirect("/console/sign-in");
    response.headers_mut().insert(header::SET_COOKIE, cookie);
    response
}

#[cfg(test)]
mod tests {
    use super::{MAX_NEXT_BYTES, own_page};

    #[test]
    fn only_pages_of_this_service_are_shown_after_signing_in() {
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
        let longest = format!("/console/{}", "x".repeat(MAX_NEXT_BYTES - 9));
        assert_eq!(own_page(&longest), longest);
        assert_eq!(own_page(&format!("{longest}x")), "/");
    }
}
