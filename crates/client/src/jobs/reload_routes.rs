//! Reloads the gate routes, and the certificates for the License Server, on SIGHUP.

use std::convert::Infallible;
use std::future::pending;
use std::sync::Arc;

use license_service::supervisor;
use tokio::signal::unix::{SignalKind, signal};

use crate::app::App;

pub(super) async fn run(app: Arc<App>) -> Infallible {
    let mut hangup = match signal(SignalKind::hangup()) {
        Ok(hangup) => hangup,
        Err(error) => {
            tracing::warn!(%error, "cannot listen for SIGHUP; GATE_ROUTES will not be reloaded");
            return pending().await;
        }
    };
    while hangup.recv().await.is_some() {
        supervisor::reload(|| reload(&app));
    }
    // Its stream of signals never ends.
    pending().await
}

fn reload(app: &App) {
    app.upstream.renew();
    if let Err(error) = app.gate_routes.reload() {
        tracing::error!(%error, "failed to reload the gate routes, keeping the previous ones");
    } else if let Some(table) = app.gate_routes.table() {
        let default = table.otherwise().as_str();
        tracing::info!(routes = table.len(), default, "gate routes reloaded");
    }
}
