//! `license-client serve`

use std::process::ExitCode;
use std::sync::Arc;

use clap::ArgMatches;
use license_service::clock::SystemClock;
use license_service::{listener, shutdown, telemetry};

use crate::cli::own_settings;
use crate::config::{Settings, proxies};
use crate::serve;

pub(super) async fn run(
    mut settings: Settings,
    matches: &ArgMatches,
    from_file: &[String],
) -> anyhow::Result<ExitCode> {
    settings.shown = own_settings::settings(matches, from_file);
    shutdown::ignore_log_signals()?;
    let _log = telemetry::start(&settings.log, settings.log_format);
    telemetry::log_panics();
    shutdown::report_unused_signals()?;
    settings.proxies = proxies();
    settings.proxies.route(settings.license_api_url.expose())?;
    let listener = listener::bind(settings.host, settings.port).await?;
    let shutdown = shutdown::on_signal()?;
    serve::serve(&settings, Arc::new(SystemClock), listener, shutdown).await?;
    Ok(ExitCode::SUCCESS)
}
