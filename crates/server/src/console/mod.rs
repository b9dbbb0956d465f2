//! The web console of the vendor's staff: the fleet at a glance, all actions on licenses, and
//! customers, plans and tokens.
//!
//! Pages are rendered here and work without JavaScript, which only keeps them up to
//! date. All texts are in `templates/`; style, script, plots and wording are
//! those of `license_console`. Every change has to be confirmed.

mod add_ons;
mod additions;
mod amend;
mod audit;
mod customers;
mod ends;
mod exports;
mod fields;
mod filters;
mod fleet;
mod frame;
mod gauges;
mod impact;
mod installations;
mod issue;
mod kept;
mod keys;
mod known_customers;
mod license;
mod licenses;
mod new_code;
mod offline;
mod pager;
mod plan_choices;
mod plans;
mod sign_in;
mod term_words;
mod tokens;
mod trial_codes;

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
            "/console/licenses/{license}/amend",
            get(amend::page).post(amend::ask),
        )
        .route(
            "/console/licenses/{license}/amend/confirm",
            post(amend::confirm),
        )
        .route(
            "/console/licenses/{license}/amendments",
            get(license::amendments::page),
        )
        .route(
            "/console/licenses/{license}/{what}",
            get(license::actions::ask).post(license::actions::change),
        )
        .merge(customer_pages())
        .merge(add_on_pages())
        .merge(trial_code_pages())
        .merge(plan_pages())
        .merge(token_pages())
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

fn customer_pages() -> Router<HttpState> {
    use customers::{edit, merge};

    Router::new()
        .route("/console/customers", get(customers::page))
        .route("/console/customers/known", get(known_customers::matches))
        .route(
            "/console/customers/new",
            get(edit::new_page).post(edit::ask_new),
        )
        .route("/console/customers/add", post(edit::add_new))
        .route("/console/customers/{customer}", get(customers::customer))
        .route(
            "/console/customers/{customer}/edit",
            get(edit::page).post(edit::ask),
        )
        .route("/console/customers/{customer}/save", post(edit::save))
        .route(
            "/console/customers/{customer}/merge",
            get(merge::page).post(merge::ask),
        )
        .route(
            "/console/customers/{customer}/merge/confirm",
            post(merge::confirm),
        )
}

fn plan_pages() -> Router<HttpState> {
    use plans::edit;

    Router::new()
        .route("/console/plans", get(plans::page))
        .route("/console/plans/{name}", get(plans::plan))
        .route("/console/plans/{name}/edit", get(edit::plan))
        .route("/console/catalogue", get(plans::catalogue_page))
        .route("/console/catalogue/edit", get(edit::entries))
        .route("/console/catalogue/add", get(edit::new_entries))
        // Any name, also "new", may be that of a plan.
        .route("/console/plan-file", get(edit::new_plan).post(edit::ask))
        .route("/console/plan-file/publish", post(edit::publish))
}

fn add_on_pages() -> Router<HttpState> {
    use add_ons::{issue, refund};

    Router::new()
        .route("/console/add-ons", get(add_ons::page))
        .route("/console/add-ons/new", get(issue::page).post(issue::ask))
        .route("/console/add-ons/issue", post(issue::confirm))
        .route(
            "/console/add-ons/{add_on}/refund",
            get(refund::ask).post(refund::confirm),
        )
}

fn trial_code_pages() -> Router<HttpState> {
    Router::new()
        .route("/console/trial-codes", get(trial_codes::page))
        .route(
            "/console/trial-codes/new",
            get(trial_codes::new_page).post(trial_codes::ask),
        )
        .route("/console/trial-codes/add", post(trial_codes::create))
        .route(
            "/console/trial-codes/{code}/withdraw",
            get(trial_codes::ask_withdraw).post(trial_codes::withdraw),
        )
}

fn token_pages() -> Router<HttpState> {
    Router::new()
        .route("/console/tokens", get(tokens::page))
        .route(
            "/console/tokens/new",
            get(tokens::new_page).post(tokens::ask),
        )
        .route("/console/tokens/add", post(tokens::create))
        .route(
            "/console/tokens/{name}/revoke",
            get(tokens::ask_revoke).post(tokens::revoke_token),
        )
}
