//! The web console of the vendor's staff: the fleet at a glance, and all actions on
//! licenses.
//!
//! Pages are rendered here and work without JavaScript, which only keeps them up to
//! date. All texts are in `templates/`; style, script, plots and wording are
//! those of `license_console`. Every change has to be confirmed.

mod audit;
mod exports;
mod filters;
mod fleet;
mod frame;
mod gauges;
mod installations;
mod issue;
mod kept;
mod keys;
mod license;
mod licenses;
mod offline;
mod pager;
mod sign_in;

use axum::Router;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::{get, post};
use license_console::assets::asset;
use license_console::page::guarded;

use crate::http::{HttpState, trusted_body};

/// Every page.
pub fn pages(state: HttpState) -> Router<HttpState> {
    Router::new()
        .route("/", get(fleet::page))
        .route("/console/installations", get(installations::page))
        .route("/console/installations/export", get(installations::export))
        .route("/console/licenses", get(licenses::page))
        .route("/console/licenses/export", get(licenses::export))
        .route("/console/usage/export", get(exports::usage))
        .route("/console/amendments/export", get(exports::amendments))
        .route("/console/licenses/new", get(issue::page).post(issue::ask))
        .route("/console/licenses/issue", post(issue::issue))
        .route("/console/licenses/{license}", get(license::page))
        .route(
            "/console/licenses/{license}/{what}",
            get(license::ask).post(license::change),
        )
        .route("/console/offline", get(offline::page).post(offline::ask))
        .route("/console/offline/sign", post(offline::sign))
        .route("/console/keys", get(keys::page))
        .route(
            "/console/keys/rotate",
            get(keys::ask_rotate).post(keys::rotate),
        )
        .route(
            "/console/keys/{kid}/revoke",
            get(keys::ask_revoke).post(keys::revoke),
        )
        .route("/console/audit", get(audit::page))
        .route("/console/audit/export", get(audit::export))
        .route_layer(from_fn(trusted_body))
        .route_layer(from_fn_with_state(state, sign_in::in_session))
        .route(
            "/console/sign-in",
            get(sign_in::page)
                .post(sign_in::sign_in)
                .layer(from_fn(sign_in::with_kept_fields)),
        )
        .route("/console/sign-out", post(sign_in::sign_out))
        .layer(from_fn(guarded))
        .route("/console/assets/{hash}/{name}", get(asset))
}
