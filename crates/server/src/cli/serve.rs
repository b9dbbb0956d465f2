//! `license-server serve`

use std::sync::Arc;

use license_service::clock::SystemClock;
use license_service::listener::Limits;
use license_service::presentable_url::presentable_absolute;
use license_service::{listener, shutdown, telemetry};

use crate::app::App;
use crate::config::{Serve, Storage};
use crate::http::access::Access;
use crate::serve::{self, Bounds};

pub(super) async fn run(storage: &Storage, settings: Serve) -> anyhow::Result<()> {
    shutdown::outlive_the_log()?;
    let _log = telemetry::start(&settings.log, settings.log_format);
    telemetry::log_panics();
    let token = settings.admin_token.load()?;
    tracing::info!(
        state_dir = presentable_absolute(&storage.state_dir),
        "starting"
    );
    // Opens the port last, when the key and the database are ready.
    let clock = Arc::new(SystemClock);
    let app = App::open(storage, settings.terms.clone(), clock.clone()).await?;
    let access = Access::new(token, &settings.allowed_hosts, clock);
    let access = access.behind(settings.trusted_proxies);
    let listener = listener::bind(settings.host, settings.port).await?;
    let shutdown = shutdown::on_signal()?;
    let bounds = Bounds {
        limits: Limits {
            max_connections: settings.max_connections,
            ..Limits::default()
        },
        ..Bounds::default()
    };
    serve::serve_within(Arc::new(app), access, listener, bounds, shutdown).await
}
