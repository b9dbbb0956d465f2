//! Logs: sentences that read alone, and fields to search by.

use std::sync::Arc;

use clap::ValueEnum;
use tokio::task::JoinHandle;
use tracing::Level;
use tracing_subscriber::filter::{Directive, EnvFilter};
use tracing_subscriber::layer::{Layer as _, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::clock::SystemClock;
use crate::log_limit::{self, LogLimit, ShortLines};

/// How log lines are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// The log of this process while it runs. Its end writes what was counted.
#[must_use = "repeated lines are counted and reported while this is kept"]
pub struct Log {
    limit: LogLimit,
    reports: JoinHandle<()>,
}

impl Drop for Log {
    fn drop(&mut self) {
        self.reports.abort();
        self.limit.report();
    }
}

/// Sends the process's logs to standard error, bounded as [`log_limit`] says.
/// Only the first call counts. Call it on a tokio runtime.
///
/// # Errors
/// When `filter` is not a filter of `tracing`.
pub fn start(filter: &str, format: LogFormat) -> Result<Log, LogFilterError> {
    let wrong = |error: String| LogFilterError {
        filter: filter.to_owned(),
        error,
    };
    let counts = format!("{}={}", log_limit::TARGET, Level::INFO);
    let counts: Directive = counts.parse().map_err(|_| wrong(String::new()))?;
    let filter = EnvFilter::try_new(filter)
        .map_err(|error| wrong(error.to_string()))?
        .add_directive(counts);
    let lines = tracing_subscriber::fmt::layer().with_writer(move || ShortLines {
        inner: std::io::stderr(),
        are_json: format == LogFormat::Json,
    });
    let lines = match format {
        LogFormat::Text => lines
            .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()))
            .with_target(false)
            .boxed(),
        LogFormat::Json => lines.json().flatten_event(true).boxed(),
    };
    let limit = LogLimit::new(Arc::new(SystemClock));
    // A second start, as in a test, keeps the first subscriber.
    let _ = tracing_subscriber::registry()
        .with(filter)
        .with(limit.clone())
        .with(lines)
        .try_init();
    let reports = tokio::spawn({
        let limit = limit.clone();
        async move { limit.report_regularly().await }
    });
    Ok(Log { limit, reports })
}

/// The filter cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("LOG is '{filter}', which is no log filter ({error}); try 'info' or 'license_core=debug'")]
pub struct LogFilterError {
    filter: String,
    error: String,
}
