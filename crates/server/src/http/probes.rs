//! Is the service alive, ready?

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde_json::{Value, json};

use crate::app::App;

/// 200 while the process answers at all.
pub(super) async fn livez() -> &'static str {
    "ok"
}

/// 200 while the database answers. There always is a signing key: without one
/// the service does not start.
pub(super) async fn readyz(State(app): State<Arc<App>>) -> (StatusCode, Json<Value>) {
    match app.store.ping().await {
        Ok(()) => (
            StatusCode::OK,
            Json(json!({"ready": true, "database": "ok"})),
        ),
        Err(error) => {
            tracing::error!(%error, "not ready");
            let body = json!({"ready": false, "database": "does not answer"});
            (StatusCode::SERVICE_UNAVAILABLE, Json(body))
        }
    }
}
