//! Counts requests and measures the time until their responses begin, by route.

use std::sync::Arc;

use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::Response;

use crate::app::App;

/// The route of requests that match no route: their paths are chosen by callers.
const UNMATCHED: &str = "unmatched";

/// Wraps every route. A request counts when its response begins.
pub(super) async fn measure(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let route = request.extensions().get::<MatchedPath>().cloned();
    let begun = app.clock.running();
    let response = next.run(request).await;
    let took = app.clock.running().saturating_sub(begun);
    let route = route.as_ref().map_or(UNMATCHED, MatchedPath::as_str);
    app.metrics.answered(route, response.status(), took);
    response
}
