//! Reads the table of the gate anew when the process is told to (SIGHUP).

use std::sync::Arc;

use tokio::signal::unix::{SignalKind, signal};

use crate::app::App;

pub(super) async fn run(app: Arc<App>) {
    let mut hangup = match signal(SignalKind::hangup()) {
        Ok(hangup) => hangup,
        Err(error) => {
            tracing::warn!(%error, "SIGHUP cannot be heard; GATE_ROUTES is read at the start alone");
            return;
        }
    };
    while hangup.recv().await.is_some() {
        match app.gate_routes.reload() {
            Ok(routes) => tracing::info!(routes, "the table of the gate is read anew"),
            Err(error) => tracing::error!(
                %error,
                "the table of the gate is not read anew; the one from before goes on"
            ),
        }
    }
}
