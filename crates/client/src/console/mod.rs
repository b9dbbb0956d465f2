//! The web console: how the site stands, why, until when, and what to do.
//!
//! Pages are rendered here and work without JavaScript, which keeps them up to
//! date. All texts are in `templates/`; style, script, plots and words are
//! those of `license_console`.

mod activate;
mod deactivate;
mod diagnostics;
mod frame;
mod offline;
mod overview;
mod sign_in;
mod switch;
mod timeline;
mod validate;

use std::sync::Arc;

use axum::extract::Request;
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse as _, Redirect, Response};
use axum::routing::{get, post};
use axum::{Extension, Router};
use license_console::assets::asset;
use license_console::page::guarded;

use crate::config::Settings;
use crate::http::HttpState;
use crate::http::access::Caller;

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
        .route("/console/assets/{hash}/{name}", get(asset))
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
