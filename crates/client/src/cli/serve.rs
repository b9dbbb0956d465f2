//! `license-client serve`

use std::process::ExitCode;
use std::sync::Arc;

use license_service::clock::SystemClock;
use license_service::{listener, shutdown, telemetry};

use crate::config::Settings;
use crate::serve;

pub(super) async fn run(settings: Settings) -> anyhow::Result<ExitCode> {
    telemetry::start(&settings.log, settings.log_format)?;
    let listener = listener::bind(settings.host, settings.port).await?;
    let shutdown = shutdown::on_signal()?;
    serve::serve(&settings, Arc::new(SystemClock), listener, shutdown).await?;
    Ok(ExitCode::SUCCESS)
}
