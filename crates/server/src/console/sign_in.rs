//! Sessions for the vendor's staff.

use std::net::IpAddr;
use std::sync::Arc;

use askama::Template;
use axum::Form;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Redirect, Response};
use license_console::page::show;
use license_console::reopening::reopening;
use license_service::request_body::allow_bytes;
use license_service::sessions::Door;
use serde::Deserialize;

use super::frame::{Done, Frame, Said, trouble};
use super::kept::Kept;
use crate::http::access::{Access, ClientAddress, MAX_NEXT_BYTES};
use crate::http::caller::Staff;
use crate::http::error::ApiError;
use crate::http::reader::Reader;
use crate::http::sessions::FoundSession;
use crate::http::{HttpState, sessions};

#[derive(Template)]
#[template(path = "sign_in.html")]
struct SignIn {
    frame: Frame,
    possible: bool,
    next: String,
    /// The request that was sent without a session.
    kept: Kept,
    error: Option<String>,
}

#[derive(Default, Deserialize)]
pub(super) struct SignInQuery {
    #[serde(default)]
    next: String,
}

/// Maximum length of the sign-in form, in bytes: the largest form that any caller may send
/// ([`BodyLimits::max_bytes`](license_service::request_body::BodyLimits::max_bytes)) fits, with
/// longer names.
const MAX_FORM_BYTES: usize = 16 * 1024;

/// Allows the sign-in form to contain the fields of another form.
pub(super) async fn with_kept_fields(request: Request, next: Next) -> Response {
    allow_bytes(request.extensions(), MAX_FORM_BYTES);
    next.run(request).await
}

/// The sign-in page; with a session, the page that it was to lead to: after a link of another site,
/// only the second request has the cookie.
pub(super) async fn page(
    State(state): State<HttpState>,
    State(access): State<Arc<Access>>,
    headers: HeaderMap,
    wanted: Result<Query<SignInQuery>, QueryRejection>,
    said: Result<Query<Said>, QueryRejection>,
) -> Response {
    let wanted = wanted.map(|Query(wanted)| wanted).unwrap_or_default();
    let done = said.map(|Query(said)| said).unwrap_or_default().done;
    if !wanted.next.is_empty() {
        match sessions::signed_in(&state, &headers).await {
            Ok(Some(_)) => return Redirect::to(own_page(&wanted.next)).into_response(),
            Ok(None) => {}
            Err(error) => return trouble("sign-in", error),
        }
    }
    let (next, done) = match after_sign_in(&wanted.next) {
        // The browser did not keep the cookie.
        Some(next) => (next, Some(Done::NoSession)),
        None => (wanted.next.as_str(), done),
    };
    form(&access, own_page(next), Kept::default(), done, None)
}

/// The page to which signing in leads, if `next` is its address after signing in.
fn after_sign_in(next: &str) -> Option<&str> {
    let page = next.strip_suffix("done=signed-in")?;
    page.strip_suffix(['?', '&'])
}

fn form(
    access: &Access,
    next: &str,
    kept: Kept,
    done: Option<Done>,
    error: Option<&ApiError>,
) -> Response {
    let is_refused = !kept.is_empty();
    let frame = Frame {
        signed_in: false,
        ..Frame::new("sign-in").after(done)
    };
    let page = SignIn {
        frame,
        possible: access.has_tokens(),
        next: next.to_owned(),
        kept,
        error: error.map(ApiError::message),
    };
    let status = match is_refused {
        true => StatusCode::UNAUTHORIZED,
        false => StatusCode::OK,
    };
    let mut response = show(error.map_or(status, ApiError::status), &page);
    if let Some(wait) = error.and_then(ApiError::retry_after_header) {
        response.headers_mut().insert(header::RETRY_AFTER, wait);
    }
    response
}

pub(super) async fn sign_in(
    State(state): State<HttpState>,
    ClientAddress(address): ClientAddress,
    headers: HeaderMap,
    Form(fields): Form<Vec<(String, String)>>,
) -> Response {
    let field = |wanted: &str| {
        let found = fields.iter().find(|(name, _)| name == wanted);
        found.map(|(_, value)| value.clone()).unwrap_or_default()
    };
    let (token, next) = (field("token"), field("next"));
    let (token, next) = (token.trim(), own_page(&next));
    let kept = Kept::of_sign_in(fields);
    match begin(&state, token, address, &headers).await {
        Ok(cookie) => {
            let mut response = match kept.is_empty() {
                true => Done::SignedIn.redirect(next),
                false => kept.resume(next),
            };
            response.headers_mut().insert(header::SET_COOKIE, cookie);
            response
        }
        Err(error) => form(&state.access, next, kept, None, Some(&error)),
    }
}

/// Begins a session for a browser with a correct token; returns the cookie to set.
async fn begin(
    state: &HttpState,
    token: &str,
    address: IpAddr,
    headers: &HeaderMap,
) -> Result<HeaderValue, ApiError> {
    let signing_in = state.access.sign_in(&state.app.store, token, address);
    let caller = signing_in.await.inspect_err(|error| {
        let why = error.message();
        tracing::warn!(security = true, peer = %address, "sign-in failed: {why}");
    })?;
    let (rates, now) = (&state.app.rates, state.app.clock.running());
    let begin = async |staff: Staff| {
        rates
            .sign_in(staff.token(), now)
            .map_err(ApiError::TooManySignIns)?;
        let cookie = sessions::begin(state, headers, &staff).await?;
        let name = staff.name();
        tracing::info!(security = true, peer = %address, name, "signed in");
        Ok(cookie)
    };
    caller.within_share(begin).await
}

/// Lets browsers with a session through. All others are redirected to the sign-in page and, after
/// signing in, back to their page with the form that they submitted.
pub(super) async fn in_session(
    State(state): State<HttpState>,
    ClientAddress(address): ClientAddress,
    mut request: Request,
    next: Next,
) -> Response {
    let session = match sessions::signed_in(&state, request.headers()).await {
        Ok(session) => session,
        Err(error) => return trouble("sign-in", error),
    };
    let Some(FoundSession { caller, id }) = session else {
        let wanted = request.uri().path_and_query().map_or("/", |it| it.as_str());
        let (method, wanted) = (request.method().clone(), wanted.to_owned());
        let headers = request.headers().clone();
        let kept = Kept::of(request).await;
        if !kept.is_empty() {
            return form(&state.access, own_page(&wanted), kept, None, None);
        }
        // A change without any input is requested again.
        let next: String = match method {
            Method::GET | Method::HEAD if wanted.len() <= MAX_NEXT_BYTES => {
                url::form_urlencoded::byte_serialize(wanted.as_bytes()).collect()
            }
            _ => "%2F".to_owned(),
        };
        let sign_in = format!("/console/sign-in?next={next}");
        let reopened = reopening(&method, &headers, &sign_in);
        return reopened.unwrap_or_else(|| Redirect::to(&sign_in).into_response());
    };
    let reader = Reader::in_session(caller.clone(), id);
    let serve = |staff: Staff| {
        let extensions = request.extensions_mut();
        extensions.insert(staff.actor(Door::Console, address));
        extensions.insert(reader);
        next.run(request)
    };
    caller.within_share(serve).await
}

/// The page shown after signing in. Pages of other sites and texts longer than any of our URLs are
/// rejected.
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
    use super::{MAX_NEXT_BYTES, after_sign_in, own_page};

    #[test]
    fn a_page_after_signing_in_is_known_by_its_notice() {
        for (next, page) in [
            ("/?done=signed-in", Some("/")),
            (
                "/console/licenses?page=2&done=signed-in",
                Some("/console/licenses?page=2"),
            ),
            ("/?done=signed-out", None),
            ("/undone=signed-in", None),
            ("/", None),
        ] {
            assert_eq!(after_sign_in(next), page, "{next}");
        }
    }

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
