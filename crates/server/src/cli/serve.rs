//! `license-server serve`

use std::sync::Arc;

use license_service::clock::SystemClock;
use license_service::{listener, shutdown, telemetry};

use crate::app::App;
use crate::config::{Serve, Storage};
use crate::serve;

pub(super) async fn run(storage: &Storage, settings: Serve) -> anyhow::Result<()> {
    telemetry::start(&settings.log, settings.log_format)?;
    // The port opens last: whoever can connect finds a key and a database.
    let app = App::open(storage, settings.terms.clone(), Arc::new(SystemClock)).await?;
    let listener = listener::bind(settings.host, settings.port).await?;
    let shutdown = shutdown::on_signal()?;
    serve::serve(Arc::new(app), listener, shutdown).await
}
