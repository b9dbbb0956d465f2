//! `license-server serve`

use std::sync::Arc;
use std::time::Duration;

use license_service::clock::{Clock as _, SystemClock};
use license_service::listener::Limits;
use license_service::presentable_url::presentable_absolute;
use license_service::{listener, shutdown, telemetry};

use crate::app::App;
use crate::config::{Serve, Storage, Terms};
use crate::http::access::Access;
use crate::open::OpenError;
use crate::serve::{self, Bounds};

/// Timeout for a database that is not available when the service starts.
const START_TIMEOUT: Duration = Duration::from_secs(60);
/// Delay between two attempts …
const RETRY_INTERVAL: Duration = Duration::from_secs(1);
/// … and between two log lines about them.
const REPORT_INTERVAL: Duration = Duration::from_secs(15);

pub(super) async fn run(storage: &Storage, settings: Serve) -> anyhow::Result<()> {
    shutdown::ignore_log_signals()?;
    let _log = telemetry::start(&settings.log, settings.log_format);
    telemetry::log_panics();
    shutdown::report_unused_signals()?;
    let token = settings.admin_token.load()?;
    tracing::info!(
        state_dir = presentable_absolute(&storage.state_dir),
        "starting"
    );
    // Opens the port last, when the key and the database are ready.
    let clock = Arc::new(SystemClock);
    let shutdown = shutdown::on_signal()?;
    let opening = open_when_there(storage, &settings.terms, &clock);
    let app = tokio::select! {
        app = opening => app?,
        () = shutdown.cancelled() => return Ok(()),
    };
    let access = Access::new(token, &settings.allowed_hosts, clock);
    let access = access.behind(settings.trusted_proxies);
    let listener = listener::bind(settings.host, settings.port).await?;
    let bounds = Bounds {
        limits: Limits {
            max_connections: settings.max_connections,
            ..Limits::default()
        },
        ..Bounds::default()
    };
    serve::serve_within(Arc::new(app), access, listener, bounds, shutdown).await
}

/// Opens the service. If the database is not available yet, because it is starting together with
/// this machine, this waits for it; if it returns an error, the service does not start.
async fn open_when_there(
    storage: &Storage,
    terms: &Terms,
    clock: &Arc<SystemClock>,
) -> Result<App, OpenError> {
    let start = clock.running();
    let mut reported_at = None;
    loop {
        let error = match App::open(storage, terms.clone(), clock.clone()).await {
            Err(error) if error.is_database_away() => error,
            opened => return opened,
        };
        let waited = clock.running().saturating_sub(start);
        if waited >= START_TIMEOUT {
            return Err(error);
        }
        if reported_at.is_none_or(|at| waited.saturating_sub(at) >= REPORT_INTERVAL) {
            reported_at = Some(waited);
            let seconds_left = START_TIMEOUT.saturating_sub(waited).as_secs();
            tracing::warn!(%error, seconds_left, "waiting for the database");
        }
        tokio::time::sleep(RETRY_INTERVAL).await;
    }
}
