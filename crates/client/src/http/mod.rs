//! The URL table, and the layers around all routes. `direct.rs` answers gateways before them.

pub mod access;
mod activation;
mod attempts;
mod authorize;
pub(crate) mod body;
mod deactivation;
mod diagnostics;
pub mod direct;
mod docs;
pub mod error;
mod events;
pub mod ext_authz;
mod features;
mod gate_question;
pub(crate) mod hardware;
mod heartbeat;
mod instant;
mod json_answer;
pub(crate) mod license;
mod limits;
mod metrics;
mod offline;
mod ofrep;
mod probes;
mod redeem;
mod release;
pub mod subscribers;
mod trial;
mod unrouted;
mod upcoming;
mod usage;

use std::any::Any;
use std::sync::Arc;

use axum::extract::{FromRef, Request};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use axum::{Router, middleware};
use license_console::refusal::readable;
use license_service::jobs::Jobs;
use license_service::listener::{self, ConnectionCounts, DEFAULT_MAX_CONNECTIONS};
use license_service::plain_path::is_plain;
use license_service::request_body::{BodyLimits, BoundBodies};
use license_service::request_span;
use tokio_util::sync::CancellationToken;
use tower_http::catch_panic::CatchPanicLayer;
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::App;
use crate::config::Settings;
use crate::doctor::diagnostics::Diagnostics;
use crate::http::access::Access;
use crate::http::error::ApiError;
use crate::http::subscribers::Subscribers;

/// The state of handlers.
#[derive(Clone)]
pub struct HttpState {
    /// The service.
    pub app: Arc<App>,
    /// Access control.
    pub access: Arc<Access>,
    /// Cancelled when the service stops, which ends streams.
    pub shutdown: CancellationToken,
    /// Places for subscribers to events.
    pub subscribers: Arc<Subscribers>,
    /// The limits of request bodies.
    pub bodies: BoundBodies,
    /// The counters of the listener.
    pub connections: Arc<ConnectionCounts>,
    /// The background jobs.
    pub jobs: Arc<Jobs>,
    /// The checks of the service's dependencies.
    pub diagnostics: Arc<Diagnostics>,
}

impl HttpState {
    /// The state of handlers, with all places free.
    #[must_use]
    pub fn new(
        app: Arc<App>,
        access: Arc<Access>,
        settings: Settings,
        shutdown: CancellationToken,
    ) -> Self {
        Self {
            diagnostics: Arc::new(Diagnostics::new(settings)),
            jobs: Arc::new(Jobs::new(app.clock.clone(), shutdown.clone())),
            app,
            access,
            shutdown,
            subscribers: Arc::new(Subscribers::of_connections(DEFAULT_MAX_CONNECTIONS)),
            bodies: body::bounds(BodyLimits::default()),
            connections: Arc::default(),
        }
    }
}

impl FromRef<HttpState> for Arc<Diagnostics> {
    fn from_ref(state: &HttpState) -> Self {
        state.diagnostics.clone()
    }
}

impl FromRef<HttpState> for Arc<Jobs> {
    fn from_ref(state: &HttpState) -> Self {
        state.jobs.clone()
    }
}

impl FromRef<HttpState> for Arc<App> {
    fn from_ref(state: &HttpState) -> Self {
        state.app.clone()
    }
}

#[derive(OpenApi)]
#[openapi(
    paths(authorize::authorize, authorize::authorize_feature),
    components(schemas(error::HTTPValidationError, error::ValidationError)),
    info(
        title = "Foxsight License Client Service",
        description = "On-premise license management for Foxsight Central Command VMS",
        license(name = "Proprietary - Foxsight Technology Inc.")
    )
)]
struct ApiDoc;

/// Every route of the service.
fn routes() -> OpenApiRouter<HttpState> {
    OpenApiRouter::with_openapi(ApiDoc::openapi())
        // Changes, and data with names of hosts and users: from trusted networks, or with the
        // token.
        .routes(routes!(activation::activate))
        .routes(routes!(activation::preview))
        .routes(routes!(license::validate))
        .routes(routes!(heartbeat::heartbeat))
        .routes(routes!(deactivation::deactivate))
        .routes(routes!(redeem::redeem))
        .routes(routes!(trial::start))
        .routes(routes!(offline::request))
        .routes(routes!(offline::import))
        .routes(routes!(features::switch))
        .routes(routes!(usage::report))
        .routes(routes!(diagnostics::show_settings))
        .routes(routes!(diagnostics::run_diagnostics))
        .route_layer(middleware::from_fn(access::only_trusted))
        // Reads: open.
        .routes(routes!(license::status))
        .routes(routes!(features::check))
        .routes(routes!(features::check_many))
        .routes(routes!(features::list))
        .routes(routes!(limits::check))
        .routes(routes!(limits::list))
        .routes(routes!(release::check))
        .routes(routes!(attempts::list))
        .routes(routes!(hardware::show))
        .routes(routes!(events::events))
        .routes(routes!(events::ofrep_events))
        .routes(routes!(ofrep::evaluate))
        .routes(routes!(ofrep::evaluate_all))
        .routes(routes!(metrics::metrics))
        .routes(routes!(probes::health))
        .routes(routes!(probes::livez))
        .routes(routes!(probes::readyz))
}

/// Every route and its documentation, with `pages` for people. It takes several milliseconds and
/// needs nothing of the service's state, so it is made while the service starts.
pub fn documented_routes(pages: Router<HttpState>) -> Router<HttpState> {
    let (router, mut openapi) = routes().split_for_parts();
    deactivation::make_body_optional(&mut openapi);
    router
        .route("/openapi.json", get(docs::openapi_json(&openapi)))
        .merge(docs::pages())
        .merge(pages)
}

/// The whole service as a router, from [`documented_routes`].
pub fn router(state: HttpState, router: Router<HttpState>) -> Router {
    let access = state.access.clone();
    let bodies = state.bodies.clone();
    let router = ofrep::FURTHER_FLAG_PATHS
        .into_iter()
        .fold(router, |router, path| {
            router.route(path, post(ofrep::evaluate))
        });
    let router = router
        .fallback(unrouted::not_found)
        .method_not_allowed_fallback(unrouted::method_not_allowed)
        .layer(middleware::from_fn(request_span::record_route))
        .with_state(state);
    // Around the whole router and not its routes, so that the layers see the final response.
    Router::new()
        .fallback_service(router)
        .layer(middleware::map_response(unrouted::tidy_allow))
        .layer(middleware::from_fn(only_plain_paths))
        // Within `identify`, which says whether the caller is trusted.
        .layer(bodies)
        .layer(middleware::from_fn_with_state(
            access.clone(),
            access::only_same_site,
        ))
        .layer(middleware::from_fn_with_state(
            access.clone(),
            access::identify,
        ))
        .layer(middleware::from_fn(readable))
        .layer(access.cors_layer())
        .layer(CatchPanicLayer::custom(panicked))
        .layer(middleware::from_fn(request_span::trace))
}

/// Refuses paths that a proxy may have interpreted differently, on every route. The key of a flag
/// may contain anything: an unusual key is unknown.
async fn only_plain_paths(request: Request, next: Next) -> Response {
    let path = request.uri().path();
    match path.starts_with(ofrep::FLAGS) || is_plain(path) {
        true => next.run(request).await,
        false => ApiError::NotFound.into_response(),
    }
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "the signature that the layer requires"
)]
fn panicked(panic: Box<dyn Any + Send>) -> Response {
    listener::log_panic(&*panic);
    ApiError::Internal.into_response()
}
