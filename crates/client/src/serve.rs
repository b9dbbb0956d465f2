//! Run the service until it receives a stop signal.

use std::sync::Arc;
use std::time::Duration;

use license_core::response::Trust;
use license_service::clock::Clock;
use license_service::direct::NoDirect;
use license_service::jobs::Jobs;
use license_service::listener::{self, Limits, Port, Protocol};
use license_service::presentable_url::presentable_absolute;
use license_service::state_dir;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::app::App;
use crate::config::Settings;
use crate::console;
use crate::http::access::Access;
use crate::http::direct::Questions;
use crate::http::subscribers::Subscribers;
use crate::http::{self, HttpState, body, ext_authz};
use crate::jobs;
use crate::knowledge::timekeeping::Occasion;
use crate::licensing;
use crate::store::left_behind;

/// Maximum time that callers wait for the database when the service starts.
const STARTUP_TIMEOUT: Duration = Duration::from_millis(500);
/// Timeout of the database during shutdown.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(1);

/// Serves on `listener` until `shutdown` is cancelled.
///
/// # Errors
/// If the service cannot start: an unusable setting, file or database.
pub async fn serve(
    settings: &Settings,
    clock: Arc<dyn Clock>,
    listener: TcpListener,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    let routes = tokio::task::spawn_blocking(|| http::documented_routes(console::pages()));
    settings.require_chosen()?;
    let ext_authz = match settings.ext_authz_port {
        Some(port) => Some(listener::bind_port_of("EXT_AUTHZ_PORT", settings.host, port).await?),
        None => None,
    };
    let token = settings.admin_token.load()?;
    let access = Access::new(
        &settings.trusted_networks,
        token,
        &settings.allowed_hosts,
        &settings.cors_allowed_origins,
        clock.clone(),
    )?;
    let access = Arc::new(access.behind(settings.trusted_proxies));
    state_dir::remove_left_over(&settings.state_dir, clock.now());
    let app = Arc::new(App::new(settings, clock)?);
    app.knowledge.load_local_copy();
    licensing::release::follow(&app).await;
    let opening = open_database(&app, &shutdown).await;
    announce(settings, &app, &access, &listener, ext_authz.as_ref())?;
    if settings.database_url.is_none() {
        tokio::spawn(
            shutdown
                .clone()
                .run_until_cancelled_owned(warn_of_left_behind()),
        );
    }

    let supervised = Arc::new(Jobs::new(app.clock.clone(), shutdown.clone()));
    jobs::start(&app, &supervised);
    let limits = Limits {
        max_connections: settings.max_connections,
        trusted_networks: access.networks().to_vec(),
        ..settings.limits.clone()
    }
    .within_open_files();
    let mut state = HttpState::new(app.clone(), access, settings.clone(), shutdown.clone());
    state.subscribers = Arc::new(Subscribers::of_connections(limits.max_connections));
    state.jobs = supervised.clone();
    state.bodies = body::bounds(settings.body_limits.clone());
    let connections = state.connections.clone();
    let mut ports = Vec::new();
    ports.extend(ext_authz.map(|listener| Port {
        listener,
        protocol: Protocol::Http2,
        direct: Arc::new(NoDirect),
        router: ext_authz::router(state.clone()),
    }));
    ports.push(Port {
        listener,
        protocol: Protocol::Http1,
        direct: Arc::new(Questions::new(app.clone(), state.access.clone())),
        router: http::router(state, routes.await?),
    });
    listener::serve_ports(ports, limits, connections, shutdown).await;

    supervised.ended().await;
    if let Some(opening) = opening {
        // The result is recorded in `Knowledge`.
        let _ = opening.await;
    }
    keep_at_stop(&app).await;
    give_back_the_schedule(&app).await;
    app.store.close().await;
    tracing::info!("stopped");
    Ok(())
}

/// Opens the database. If it is available, this waits for it, so that the first response includes
/// its content; otherwise callers are answered from memory. Returns the task that continues.
async fn open_database(
    app: &Arc<App>,
    shutdown: &CancellationToken,
) -> Option<JoinHandle<Option<()>>> {
    let app = app.clone();
    let opening = async move { app.knowledge.try_to_open_database().await };
    let mut opening = tokio::spawn(shutdown.clone().run_until_cancelled_owned(opening));
    let opened = tokio::time::timeout(STARTUP_TIMEOUT, &mut opening).await;
    opened.is_err().then_some(opening)
}

fn announce(
    settings: &Settings,
    app: &App,
    access: &Access,
    listener: &TcpListener,
    ext_authz: Option<&TcpListener>,
) -> anyhow::Result<()> {
    let ext_authz = ext_authz.map(TcpListener::local_addr).transpose()?;
    match &**app.keys.trust() {
        Trust::Keys(keyring) => {
            let keys: Vec<&str> = keyring.key_ids().collect();
            tracing::info!(
                ?keys,
                "signed mode: licenses must be signed by a trusted key"
            );
        }
        Trust::Unsigned => tracing::warn!(
            "unsigned mode: unsigned responses from the License Server are accepted; set \
             LICENSE_TRUSTED_KEYS to the vendor's public keys"
        ),
    }
    if access.is_closed() {
        tracing::warn!(
            "TRUSTED_NETWORKS is none and no ADMIN_TOKEN is set, so no caller can make changes"
        );
    }
    if let Some(attached) = access.attached() {
        tracing::info!(
            attached = %attached,
            "callers from gateways and from this machine's own addresses need the ADMIN_TOKEN, \
             unless TRUSTED_NETWORKS includes them"
        );
    }
    if let Some(table) = app.gate_routes.table() {
        let default = table.otherwise().as_str();
        tracing::info!(routes = table.len(), default, "gate routes loaded");
    }
    tracing::info!(
        address = %listener.local_addr()?,
        ext_authz = ext_authz.map(tracing::field::display),
        license_server = %settings.license_api_url,
        state_dir = presentable_absolute(&settings.state_dir),
        database = %settings.database(),
        installation_id = app.identity().map(|identity| identity.installation_id.clone()),
        "listening"
    );
    Ok(())
}

/// Explains where the license of the Python service is.
async fn warn_of_left_behind() {
    if let Some(licenses) = left_behind::licenses(left_behind::DEFAULT_OF_VERSION_1).await {
        tracing::error!(
            licenses,
            "DATABASE_URL is not set, so an SQLite file is used, but the Python service's default \
             database exists on this machine; to keep using that database, set DATABASE_URL to the \
             default in its README (vms_db on localhost) and restart"
        );
    }
}

/// The next process must know until when this one ran.
async fn keep_at_stop(app: &App) {
    if app.time.effective().is_none() {
        app.knowledge.write_local_copy().await;
        return;
    }
    app.knowledge.observe_clocks();
    let keeping = app.knowledge.keep_time(Occasion::Stopping);
    if tokio::time::timeout(SHUTDOWN_TIMEOUT, keeping)
        .await
        .is_err()
    {
        tracing::debug!("failed to store the effective time during shutdown");
    }
}

/// So that another process need not wait for it.
async fn give_back_the_schedule(app: &App) {
    let db = app.store.db();
    let giving = app.scheduler.give_back(&db, app.clock.now());
    let giving = tokio::time::timeout(SHUTDOWN_TIMEOUT, giving).await;
    if let Ok(Err(error)) = giving {
        tracing::debug!(%error, "failed to release the scheduler lease");
    }
}
