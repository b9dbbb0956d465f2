//! `license-server serve`

use std::sync::Arc;

use anyhow::Context as _;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::app::App;
use crate::clock::SystemClock;
use crate::config::{Serve, Storage};
use crate::{serve, telemetry};

pub(super) async fn run(storage: &Storage, settings: Serve) -> anyhow::Result<()> {
    telemetry::start(&settings.log, settings.log_format)?;
    // The port opens last: whoever can connect finds a key and a database.
    let app = App::open(storage, settings.terms.clone(), Arc::new(SystemClock)).await?;
    let listener = TcpListener::bind((settings.host, settings.port))
        .await
        .with_context(|| {
            format!(
                "cannot listen on {}:{}; is another service using the port? Choose one with PORT",
                settings.host, settings.port
            )
        })?;
    let shutdown = CancellationToken::new();
    stop_on_signal(&shutdown)?;
    serve::serve(Arc::new(app), listener, shutdown).await
}

fn stop_on_signal(shutdown: &CancellationToken) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let shutdown = shutdown.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        shutdown.cancel();
    });
    Ok(())
}
