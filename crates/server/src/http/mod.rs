//! The URL table, and what stands before every route.

mod error;
mod licenses;
mod probes;

use std::any::Any;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use license_service::listener;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::timeout::TimeoutLayer;

use crate::app::App;
use crate::http::error::ApiError;

/// Longest request body, in bytes.
const LONGEST_BODY: usize = 64 * 1024;
/// Longest time for one request.
const LONGEST_REQUEST: Duration = Duration::from_secs(30);

/// Every route of the service.
pub fn router(app: Arc<App>) -> Router {
    let licenses = Router::new()
        .route("/activate", post(licenses::activate))
        .route("/validate", post(licenses::validate))
        .route("/heartbeat", post(licenses::heartbeat))
        .route("/deactivate", post(licenses::deactivate))
        .route("/offline", post(licenses::offline))
        .route("/keys", get(licenses::keys));
    Router::new()
        .nest("/api/licenses", licenses)
        .route("/livez", get(probes::livez))
        .route("/readyz", get(probes::readyz))
        .fallback(async || ApiError::NotFound)
        .method_not_allowed_fallback(async || ApiError::MethodNotAllowed)
        .layer(DefaultBodyLimit::max(LONGEST_BODY))
        .layer(TimeoutLayer::with_status_code(
            StatusCode::SERVICE_UNAVAILABLE,
            LONGEST_REQUEST,
        ))
        .layer(CatchPanicLayer::custom(panicked))
        .with_state(app)
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "the form that the layer calls"
)]
fn panicked(panic: Box<dyn Any + Send>) -> Response {
    listener::log_panic(&*panic);
    ApiError::Internal.into_response()
}
