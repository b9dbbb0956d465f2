//! Run the service until it is told to stop.

use std::sync::Arc;
use std::time::Duration;

use license_service::listener;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::app::App;
use crate::http;

/// How often the directory of the keys is looked at.
const WATCH_KEYS_EVERY: Duration = Duration::from_secs(2);

/// Serves on `listener` until `shutdown` is cancelled.
///
/// # Errors
/// When the listener fails.
pub async fn serve(
    app: Arc<App>,
    listener: TcpListener,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    tracing::info!(address = %listener.local_addr()?, keys = ?app.keys(), "listening");
    let watch = tokio::spawn(watch_keys(app.clone()));
    let served = listener::serve(http::router(app.clone()), listener, shutdown).await;
    watch.abort();
    app.store.clone().close().await;
    tracing::info!("stopped");
    served
}

/// Takes up keys that a command has made in the meantime.
async fn watch_keys(app: Arc<App>) {
    let mut seen = app.keys_changed_at();
    loop {
        tokio::time::sleep(WATCH_KEYS_EVERY).await;
        let changed_at = app.keys_changed_at();
        if changed_at == seen {
            continue;
        }
        seen = changed_at;
        match app.reload_keys() {
            Ok(()) => tracing::info!(keys = ?app.keys(), "the signing keys have changed"),
            Err(error) => tracing::error!(
                %error,
                "the signing keys were not read anew; those from before go on signing"
            ),
        }
    }
}
