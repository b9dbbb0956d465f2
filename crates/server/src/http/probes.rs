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

/// 200 while changes can be stored, a key may sign, the keys are those of the files, and the
/// clock is trusted.
pub(super) async fn readyz(State(app): State<Arc<App>>) -> (StatusCode, Json<Value>) {
    let database = app.store.check_writable().await;
    let now = app.clock.now();
    let key = app.keys().check(now);
    let clock = app.signing_clock.permit(now);
    if let Err(error) = &key {
        tracing::error!(%error, "not ready");
    }
    let signing = match &key {
        Err(_) => Err("no key may sign"),
        Ok(()) if !app.are_keys_current() => Err("the signing keys cannot be reloaded"),
        Ok(()) => Ok(()),
    };
    let is_ready = database.is_ok() && signing.is_ok() && clock.is_ok();
    let status = match is_ready {
        true => StatusCode::OK,
        false => StatusCode::SERVICE_UNAVAILABLE,
    };
    let word = |ok: bool, otherwise: &'static str| if ok { "ok" } else { otherwise };
    let body = json!({
        "ready": is_ready,
        "database": word(database.is_ok(), "does not take changes"),
        "signing": signing.err().unwrap_or("ok"),
        "clock": clock.map_or_else(|doubt| doubt.to_string(), |_| "ok".to_owned()),
    });
    (status, Json(body))
}
