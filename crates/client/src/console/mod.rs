//! The web console: how the site stands, why, until when, and what to do.
//!
//! Pages are rendered here and work without JavaScript; `assets/console.js`
//! keeps them up to date. Texts are in `templates/`, and in `frame.rs` what is
//! said after a change.

mod activate;
pub(crate) mod assets;
mod deactivate;
mod diagnostics;
mod frame;
mod moment;
mod offline;
mod overview;
mod sign_in;
mod switch;
mod timeline;
mod validate;

use std::sync::Arc;

use axum::extract::Request;
use axum::http::{HeaderValue, header};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse as _, Redirect, Response};
use axum::routing::{get, post};
use axum::{Extension, Router};

use crate::config::Settings;
use crate::http::HttpState;
use crate::http::access::Caller;

/// Nothing but what this service serves, no script or style within a page, and
/// no page of others around one of ours.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
    connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// Every page.
pub fn pages(settings: Settings) -> Router<HttpState> {
    Router::new()
        // Changes, and what strangers are not told.
        .route("/console/activate", post(activate::activate))
        .route("/console/validate", post(validate::validate))
        .route("/console/switch", post(switch::switch))
        .route(
            "/console/deactivate",
            get(deactivate::page).post(deactivate::deactivate),
        )
        .route("/console/offline/request", post(offline::request))
        .route("/console/offline/import", post(offline::import))
        .route("/console/support-file", get(diagnostics::support_file))
        .route_layer(from_fn(only_trusted))
        // For everybody.
        .route("/", get(overview::page))
        .route("/console/activate", get(activate::page))
        .route("/console/offline", get(offline::page))
        .route("/console/diagnostics", get(diagnostics::page))
        .route(
            "/console/sign-in",
            get(sign_in::page).post(sign_in::sign_in),
        )
        .route("/console/sign-out", post(sign_in::sign_out))
        .layer(from_fn(guarded))
        .route("/console/assets/{hash}/{name}", get(assets::asset))
        .layer(Extension(Arc::new(settings)))
}

/// Who may not change things goes to sign in.
async fn only_trusted(caller: Caller, request: Request, next: Next) -> Response {
    if caller.trusted {
        next.run(request).await
    } else {
        Redirect::to("/console/sign-in").into_response()
    }
}

/// What every page is sent with.
async fn guarded(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-store"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}
