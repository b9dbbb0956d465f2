//! Run the service until it is told to stop.

use std::sync::Arc;

use anyhow::Context as _;
use license_core::contact::Trust;
use license_service::clock::Clock;
use license_service::listener;
use secrecy::SecretString;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::app::App;
use crate::config::Settings;
use crate::http::access::Access;
use crate::http::{self, HttpState};
use crate::jobs;
use crate::licensing::resume::resume;

/// Serves on `listener` until `shutdown` is cancelled.
///
/// # Errors
/// When the service cannot start: an unusable setting, file or database.
pub async fn serve(
    settings: &Settings,
    clock: Arc<dyn Clock>,
    listener: TcpListener,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    let token = admin_token(settings)?;
    let access = Arc::new(Access::new(
        &settings.trusted_networks,
        token.as_ref(),
        &settings.allowed_hosts,
        &settings.cors_allowed_origins,
    )?);
    let app = Arc::new(App::open(settings, clock).await?);
    resume(&app)
        .await
        .context("the evidence cannot be loaded")?;
    announce(settings, &app, &listener)?;

    let tracker = TaskTracker::new();
    jobs::start(&app, &tracker, &shutdown);
    let router = http::router(HttpState {
        app: app.clone(),
        access,
    });
    let served = listener::serve(router, listener, shutdown.clone()).await;

    // The server may have ended by itself: then the jobs end, too.
    shutdown.cancel();
    tracker.close();
    tracker.wait().await;
    app.store.clone().close().await;
    tracing::info!("stopped");
    served
}

fn announce(settings: &Settings, app: &App, listener: &TcpListener) -> anyhow::Result<()> {
    match &app.trust {
        Trust::Keys(keyring) => {
            let keys: Vec<&str> = keyring.key_ids().collect();
            tracing::info!(?keys, "licenses have to be signed by a trusted key");
        }
        Trust::Unsigned => tracing::warn!(
            "unsigned mode: the License Server's word is taken without a signature; \
             set LICENSE_TRUSTED_KEYS to the vendor's public keys"
        ),
    }
    tracing::info!(
        address = %listener.local_addr()?,
        license_server = %settings.license_api_url,
        database = %settings.database(),
        installation_id = app.identity.installation_id,
        "listening"
    );
    Ok(())
}

fn admin_token(settings: &Settings) -> anyhow::Result<Option<SecretString>> {
    let Some(file) = &settings.admin_token_file else {
        return Ok(settings.admin_token.clone());
    };
    let text = std::fs::read_to_string(file)
        .with_context(|| format!("ADMIN_TOKEN_FILE: '{}' cannot be read", file.display()))?;
    let token = text.trim();
    anyhow::ensure!(
        token.len() >= 16,
        "ADMIN_TOKEN_FILE: a token has at least 16 characters"
    );
    Ok(Some(token.into()))
}
