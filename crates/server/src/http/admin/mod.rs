//! The API for the vendor's programs, below `/api/admin`. It uses the same use cases as the console
//! and the commands.
#![expect(
    unused_qualifications,
    reason = "written by the macro that describes parameters"
)]

mod add_ons;
mod amendments;
mod audit;
mod customers;
mod exports;
mod fleet;
mod keys;
mod licenses;
mod offline;
mod paging;
mod plan_schema;
mod plans;
mod renewals;
mod seats;
mod tokens;
mod trial_codes;
mod usage;

pub(crate) use audit::jsonl;
pub(crate) use exports::csv;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::http::HttpState;

/// Every route.
pub(super) fn routes() -> OpenApiRouter<HttpState> {
    OpenApiRouter::new()
        .routes(routes!(licenses::list, licenses::issue))
        .routes(routes!(exports::licenses))
        .routes(routes!(licenses::show))
        .routes(routes!(seats::list))
        .routes(routes!(usage::list))
        .routes(routes!(amendments::list, amendments::amend))
        .routes(routes!(add_ons::redeem))
        .routes(routes!(renewals::renew))
        .routes(routes!(licenses::suspend))
        .routes(routes!(licenses::reinstate))
        .routes(routes!(licenses::revoke))
        .routes(routes!(licenses::require_proof))
        .routes(routes!(seats::free))
        .routes(routes!(seats::release))
        .routes(routes!(offline::sign))
        .routes(routes!(fleet::fleet))
        .routes(routes!(fleet::installations))
        .routes(routes!(exports::installations))
        .routes(routes!(exports::usage))
        .routes(routes!(exports::amendments))
        .routes(routes!(fleet::calls))
        .routes(routes!(plans::list, plans::publish))
        .routes(routes!(plans::versions))
        .routes(routes!(plans::list_catalogue))
        .routes(routes!(add_ons::list, add_ons::issue))
        .routes(routes!(add_ons::show))
        .routes(routes!(add_ons::refund))
        .routes(routes!(trial_codes::list, trial_codes::add))
        .routes(routes!(trial_codes::show, trial_codes::withdraw))
        .routes(routes!(keys::list))
        .routes(routes!(keys::rotate))
        .routes(routes!(keys::revoke))
        .routes(routes!(customers::list, customers::add))
        .routes(routes!(customers::show, customers::edit))
        .routes(routes!(customers::merge))
        .routes(routes!(tokens::list, tokens::add))
        .routes(routes!(tokens::revoke))
        .routes(routes!(audit::list))
        .routes(routes!(audit::export))
}
