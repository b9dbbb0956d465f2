//! The web console: the standing of the site, the reason, the deadline, and what to do.
//!
//! Pages are rendered here and work without JavaScript, which only keeps them up to
//! date. The words of reasons and lapses are in `license_core`, all other texts in
//! `templates/`; style, script, plots and display names are those of `license_console`.

mod activate;
mod deactivate;
mod diagnostics;
mod frame;
mod offline;
mod overview;
mod redeem;
mod sign_in;
mod switch;
mod timeline;
mod trial;
mod validate;
mod warnings;

use axum::Router;
use axum::extract::Request;
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse as _, Redirect, Response};
use axum::routing::{MethodRouter, get, post};
use license_console::assets::asset;
use license_console::page::guarded;
use license_console::reopening::reopening;
use license_service::request_body::{MAX_LONG_BODY_BYTES, allow_bytes};

use crate::http::HttpState;
use crate::http::access::Caller;

/// Every page.
pub fn pages() -> Router<HttpState> {
    table().router
}

/// The path of every page, so that a test can visit each of them.
#[must_use]
pub fn paths() -> Vec<&'static str> {
    table().paths
}

fn table() -> Table {
    Table::default()
        .page("/console/activate", post(activate::activate))
        .page("/console/redeem", post(redeem::redeem))
        .page("/console/trial", post(trial::start))
        .page("/console/validate", post(validate::validate))
        .page("/console/switch", post(switch::switch))
        .page(
            "/console/deactivate",
            get(deactivate::page).post(deactivate::deactivate),
        )
        .page("/console/offline/request", post(offline::request))
        .page("/console/offline/import", post(offline::import))
        .page(
            "/console/diagnostics",
            get(diagnostics::page).post(diagnostics::check),
        )
        .page("/console/support-file", post(diagnostics::support_file))
        .only_for_trusted_callers()
        .page("/", get(overview::page))
        .page("/console/activate", get(activate::page))
        .page("/console/redeem", get(redeem::page))
        .page("/console/trial", get(trial::page))
        .page("/console/offline", get(offline::page))
        .page(
            "/console/sign-in",
            get(sign_in::page).post(sign_in::sign_in),
        )
        .page("/console/sign-out", post(sign_in::sign_out))
        .with_page_headers()
        .page("/console/assets/{hash}/{name}", get(asset))
}

/// Pages and their paths, because a [`Router`] cannot list its paths.
#[derive(Default)]
struct Table {
    router: Router<HttpState>,
    paths: Vec<&'static str>,
}

impl Table {
    fn page(mut self, path: &'static str, methods: MethodRouter<HttpState>) -> Self {
        self.router = self.router.route(path, methods);
        self.paths.push(path);
        self
    }

    /// Restricts the pages added so far to trusted callers.
    fn only_for_trusted_callers(mut self) -> Self {
        self.router = self.router.route_layer(from_fn(only_trusted));
        self
    }

    fn with_page_headers(mut self) -> Self {
        self.router = self.router.layer(from_fn(with_session));
        self.router = self.router.layer(from_fn(guarded));
        self
    }
}

/// The parameter of a page that was opened again.
const REOPENED: &str = "reopened";
/// Maximum length of its address, in bytes: those of this console are far shorter.
const MAX_REOPENED_BYTES: usize = 1024;

/// Opens a page again, one time, if it was requested by a link of another site: the browser may have
/// a session.
async fn with_session(caller: Caller, request: Request, next: Next) -> Response {
    let uri = request.uri();
    let query = uri.query().unwrap_or_default();
    let is_short = uri.path().len() + query.len() <= MAX_REOPENED_BYTES;
    if !caller.trusted && is_short && !query.contains(REOPENED) {
        let separator = if query.is_empty() { "" } else { "&" };
        let target = format!("{}?{query}{separator}{REOPENED}=1", uri.path());
        if let Some(page) = reopening(request.method(), request.headers(), &target) {
            return page;
        }
    }
    next.run(request).await
}

/// Redirects callers that may not make changes to the sign-in page.
async fn only_trusted(caller: Caller, request: Request, next: Next) -> Response {
    if caller.trusted {
        allow_bytes(request.extensions(), MAX_LONG_BODY_BYTES);
        next.run(request).await
    } else {
        Redirect::to("/console/sign-in").into_response()
    }
}
