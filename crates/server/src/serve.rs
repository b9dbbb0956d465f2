//! Run the service until it is told to stop.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use axum_server::Handle;
use hyper_util::rt::TokioTimer;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::app::App;
use crate::http;

/// Requests in flight get this long to finish; SIGTERM to exit takes at most
/// 10 s.
const DRAIN: Duration = Duration::from_secs(8);
/// A client gets this long to send its request's head.
const HEADER_TIMEOUT: Duration = Duration::from_secs(15);
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
    tracing::info!(address = %listener.local_addr()?, keys = ?app.keys().list(), "listening");
    let watch = tokio::spawn(watch_keys(app.clone()));
    let handle = Handle::new();
    let drain = tokio::spawn({
        let handle = handle.clone();
        async move {
            shutdown.cancelled().await;
            tracing::info!("stopping: finishing the requests in flight");
            handle.graceful_shutdown(Some(DRAIN));
        }
    });
    let mut server = axum_server::from_tcp(listener.into_std()?)?.handle(handle);
    server
        .http_builder()
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT);
    let served = server
        .serve(http::router(app.clone()).into_make_service())
        .await;
    drain.abort();
    watch.abort();
    app.store.clone().close().await;
    tracing::info!("stopped");
    served.context("the listener failed")
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
            Ok(()) => tracing::info!(keys = ?app.keys().list(), "the signing keys have changed"),
            Err(error) => tracing::error!(
                %error,
                "the signing keys were not read anew; those from before go on signing"
            ),
        }
    }
}
