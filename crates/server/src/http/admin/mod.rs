//! What the vendor's programs do, below `/api/admin`: as the console and the
//! commands, and with the same use cases.
#![expect(
    unused_qualifications,
    reason = "written by the macro that describes parameters"
)]

mod audit;
mod fleet;
mod keys;
mod licenses;
mod offline;
mod paging;
mod seats;
mod usage;

pub(crate) use audit::jsonl;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::{Modify, OpenApi, openapi};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::http::HttpState;

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Foxsight License Server, administration",
        description = "Licenses, seats, the fleet, signing keys and the audit log. Every call \
            needs the ADMIN_TOKEN as a bearer token."
    ),
    modifiers(&Token),
    security(("token" = []))
)]
struct ApiDoc;

struct Token;

impl Modify for Token {
    fn modify(&self, document: &mut openapi::OpenApi) {
        let token = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build();
        let components = document.components.get_or_insert_default();
        components.add_security_scheme("token", SecurityScheme::Http(token));
    }
}

/// Every route.
pub(super) fn routes() -> OpenApiRouter<HttpState> {
    let routes = OpenApiRouter::new()
        .routes(routes!(licenses::list, licenses::issue))
        .routes(routes!(licenses::show))
        .routes(routes!(seats::list))
        .routes(routes!(usage::list))
        .routes(routes!(licenses::renew))
        .routes(routes!(licenses::suspend))
        .routes(routes!(licenses::reinstate))
        .routes(routes!(licenses::revoke))
        .routes(routes!(seats::free))
        .routes(routes!(seats::release))
        .routes(routes!(offline::sign))
        .routes(routes!(fleet::fleet))
        .routes(routes!(fleet::installations))
        .routes(routes!(fleet::calls))
        .routes(routes!(keys::list))
        .routes(routes!(keys::rotate))
        .routes(routes!(keys::revoke))
        .routes(routes!(audit::list))
        .routes(routes!(audit::export));
    OpenApiRouter::with_openapi(ApiDoc::openapi()).nest("/api/admin", routes)
}
