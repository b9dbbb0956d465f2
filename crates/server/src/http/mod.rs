//! The URL table, and the layers around all routes.

pub mod access;
pub(crate) mod admin;
mod answered_errors;
pub(crate) mod caller;
mod document;
pub mod error;
mod given;
mod idempotency;
pub(crate) mod known_tokens;
mod licenses;
mod measured;
mod metrics;
mod probes;
pub(crate) mod reader;
pub(crate) mod sessions;
mod site_messages;
mod site_previews;
pub(crate) mod staff_stream;
mod trials;

use std::any::Any;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{FromRef, Request};
use axum::http::header;
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use axum::{Router, middleware};
use license_console::page::reference;
use license_console::refusal::readable;
use license_service::jobs::Jobs;
use license_service::listener;
use license_service::plain_path::is_plain;
use license_service::request_body::{
    BodyLimits, BoundBodies, MAX_LONG_BODY_BYTES, allow_bytes, mark_trusted,
};
use license_service::request_span;
use tower_http::catch_panic::CatchPanicLayer;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use utoipa_swagger_ui::{Config, SwaggerUi};

use crate::app::App;
use crate::http::access::Access;
use crate::http::error::ApiError;
use crate::licensing::fleet::Survey;

/// Timeout for one request.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// The state of handlers.
#[derive(Clone)]
pub struct HttpState {
    /// The service.
    pub app: Arc<App>,
    /// Access control for the vendor's staff.
    pub access: Arc<Access>,
    /// The latest evaluation of the fleet.
    pub survey: Arc<Survey>,
    /// The limits of request bodies.
    pub bodies: BoundBodies,
    /// The background jobs.
    pub jobs: Arc<Jobs>,
}

/// The bounds of all bodies, with the errors of this API. A caller is trusted after
/// [`trusted_body`].
pub(crate) fn bounds(limits: BodyLimits) -> BoundBodies {
    BoundBodies::new(
        limits,
        |_| false,
        |refusal| ApiError::BodyRefused(refusal).into_response(),
    )
}

/// Gives the bodies of the vendor's staff precedence over those of other callers, and allows them
/// to be long. Placed inside the layer that checks the token or the session.
pub(crate) async fn trusted_body(request: Request, next: Next) -> Response {
    mark_trusted(request.extensions());
    allow_bytes(request.extensions(), MAX_LONG_BODY_BYTES);
    next.run(request).await
}

/// Allows the bodies of sites to be long: some sites send more than is read, and a request file may
/// contain long texts.
async fn long_body(request: Request, next: Next) -> Response {
    allow_bytes(request.extensions(), MAX_LONG_BODY_BYTES);
    next.run(request).await
}

/// Ends requests that take too long. What they have begun to change may be stored nevertheless.
async fn within_time(request: Request, next: Next) -> Response {
    let may_change = !request.method().is_safe();
    match tokio::time::timeout(REQUEST_TIMEOUT, next.run(request)).await {
        Ok(response) => response,
        Err(_) => ApiError::TimedOut { may_change }.into_response(),
    }
}

/// Refuses paths that a proxy may have interpreted differently, on every route.
async fn only_plain_paths(request: Request, next: Next) -> Response {
    match is_plain(request.uri().path()) {
        true => next.run(request).await,
        false => ApiError::NotFound.into_response(),
    }
}

impl FromRef<HttpState> for Arc<App> {
    fn from_ref(state: &HttpState) -> Self {
        state.app.clone()
    }
}

impl FromRef<HttpState> for Arc<Jobs> {
    fn from_ref(state: &HttpState) -> Self {
        state.jobs.clone()
    }
}

impl FromRef<HttpState> for Arc<Survey> {
    fn from_ref(state: &HttpState) -> Self {
        state.survey.clone()
    }
}

impl FromRef<HttpState> for Arc<Access> {
    fn from_ref(state: &HttpState) -> Self {
        state.access.clone()
    }
}

/// Every route of the service, with `pages` for people.
pub fn router(state: HttpState, pages: Router<HttpState>) -> Router {
    let access = state.access.clone();
    let docs: Router<HttpState> = SwaggerUi::new("/docs")
        .config(Config::from("/openapi.json"))
        .into();
    let docs = docs.layer(middleware::map_response(reference));
    let known = || middleware::from_fn_with_state(access.clone(), access::by_known_host);
    let admin = admin::routes()
        .layer(middleware::from_fn_with_state(
            state.clone(),
            idempotency::of_staff,
        ))
        .layer(middleware::from_fn(trusted_body))
        .layer(middleware::from_fn_with_state(
            state.clone(),
            access::with_token,
        ))
        .layer(known());
    let pages = pages
        .layer(middleware::from_fn(access::only_same_site))
        .layer(known());
    let licenses = OpenApiRouter::new()
        .routes(routes!(licenses::activate))
        .routes(routes!(licenses::validate))
        .routes(routes!(licenses::heartbeat))
        .routes(routes!(licenses::deactivate))
        .routes(routes!(licenses::redeem))
        .routes(routes!(site_previews::preview))
        .routes(routes!(trials::start))
        .routes(routes!(licenses::offline))
        .route_layer(middleware::from_fn_with_state(
            state.clone(),
            idempotency::of_sites,
        ))
        .route_layer(middleware::from_fn(long_body))
        .routes(routes!(licenses::keys));
    let (api, openapi) = OpenApiRouter::with_openapi(document::empty())
        .nest("/api/licenses", licenses)
        .nest("/api/admin", admin)
        .split_for_parts();
    let document = Bytes::from(document::to_json(&openapi));
    let document = ([(header::CONTENT_TYPE, "application/json")], document);
    api.merge(pages)
        .merge(docs)
        .route("/openapi.json", get(async move || document.clone()))
        .route("/livez", get(probes::livez))
        .route("/metrics", get(metrics::metrics))
        .route("/readyz", get(probes::readyz))
        .fallback(async || ApiError::NotFound)
        .method_not_allowed_fallback(async || ApiError::MethodNotAllowed)
        .layer(state.bodies.clone())
        .layer(middleware::from_fn(within_time))
        .layer(CatchPanicLayer::custom(panicked))
        .layer(middleware::from_fn(only_plain_paths))
        .layer(middleware::from_fn(readable))
        .layer(middleware::from_fn_with_state(
            state.app.clone(),
            measured::measure,
        ))
        .layer(middleware::from_fn(request_span::record_route))
        .layer(middleware::from_fn(request_span::trace))
        .with_state(state)
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "the signature that the layer requires"
)]
fn panicked(panic: Box<dyn Any + Send>) -> Response {
    listener::log_panic(&*panic);
    ApiError::Internal.into_response()
}
