//! Sessions for browsers outside the trusted networks.

use std::net::SocketAddr;

use askama::Template;
use axum::Form;
use axum::extract::{ConnectInfo, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::Response;
use serde::Deserialize;

use license_console::page::show;

use super::frame::{Done, Frame};
use crate::http::HttpState;
use crate::http::access::Caller;
use crate::http::error::ApiError;

#[derive(Template)]
#[template(path = "sign_in.html")]
struct SignIn {
    frame: Frame,
    possible: bool,
    error: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct SignInForm {
    #[serde(default)]
    token: String,
}

pub(super) async fn page(State(state): State<HttpState>, caller: Caller) -> Response {
    let page = SignIn {
        frame: Frame::new("sign-in", &state.app, caller),
        possible: state.access.sessions.can_begin(),
        error: None,
    };
    show(StatusCode::OK, &page)
}

pub(super) async fn sign_in(
    State(state): State<HttpState>,
    caller: Caller,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    Form(shown): Form<SignInForm>,
) -> Response {
    let address = state.access.client_address(peer, &headers);
    let token = shown.token.trim();
    match state.access.sessions.sign_in(token, address, &headers) {
        Ok(cookie) => {
            let mut response = Done::SignedIn.redirect();
            response.headers_mut().insert(header::SET_COOKIE, cookie);
            response
        }
        Err(error) => {
            tracing::warn!(security = true, peer = %address, "sign-in failed: {error}");
            let error = ApiError::SignIn(error);
            let page = SignIn {
                frame: Frame::new("sign-in", &state.app, caller),
                possible: state.access.sessions.can_begin(),
                error: Some(error.detail()),
            };
            show(error.status(), &page)
        }
    }
}

pub(super) async fn sign_out(State(state): State<HttpState>, headers: HeaderMap) -> Response {
    let mut response = Done::SignedOut.redirect();
    let cookie = state.access.sessions.end(&headers);
    response.headers_mut().insert(header::SET_COOKIE, cookie);
    response
}
