//! Logs: sentences that read alone, and fields to search by.

use clap::ValueEnum;
use tracing_subscriber::EnvFilter;

/// How log lines are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Sends the process's logs to standard error. Only the first call counts.
///
/// # Errors
/// When `filter` is not a filter of `tracing`.
pub fn start(filter: &str, format: LogFormat) -> Result<(), LogFilterError> {
    let filter = EnvFilter::try_new(filter).map_err(|error| LogFilterError {
        filter: filter.to_owned(),
        error: error.to_string(),
    })?;
    let logs = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    // A second start, as in a test, keeps the first subscriber.
    let _ = match format {
        LogFormat::Text => logs
            .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()))
            .with_target(false)
            .try_init(),
        LogFormat::Json => logs.json().flatten_event(true).try_init(),
    };
    Ok(())
}

/// The filter cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("LOG is '{filter}', which is no log filter ({error}); try 'info' or 'license_core=debug'")]
pub struct LogFilterError {
    filter: String,
    error: String,
}
