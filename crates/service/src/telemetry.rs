//! Logging: messages that make sense on their own, and fields to search by.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::convert::Infallible;
use std::future;
use std::panic;
use std::sync::{Arc, OnceLock};

use clap::ValueEnum;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::layer::{Layer as _, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::clock::{Clock as _, SystemClock};
use crate::log_filter::LogFilter;
use crate::log_limit::{self, LogLimit, ShortLines};
use crate::log_writer::LogWriter;
use crate::runtime::RAISE_THREADS;
use crate::stderr::StandardError;

/// The format of log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// Plain text.
    Text,
    /// One JSON object per line.
    Json,
}

/// The log of this process, created by the first start.
static LOG: OnceLock<Parts> = OnceLock::new();

struct Parts {
    limit: LogLimit,
    writer: LogWriter,
}

/// Keeps the log open. When dropped, it writes the pending counts and lines.
#[must_use = "its end writes the last lines"]
pub struct Log(());

impl Drop for Log {
    fn drop(&mut self) {
        if let Some(log) = LOG.get() {
            log.limit.report();
            log.writer.flush();
        }
    }
}

/// Sends the process's logs to standard error, limited by [`log_limit`], and never waits: lines
/// that cannot be written are dropped and counted. Only the first call counts.
pub fn start(filter: &LogFilter, format: LogFormat) -> Log {
    let log = LOG.get_or_init(|| Parts {
        limit: LogLimit::new(Arc::new(SystemClock)),
        writer: LogWriter::start(StandardError),
    });
    let filter = filter.targets();
    let filter = filter.with_target(log_limit::TARGET, LevelFilter::INFO);
    let lines = tracing_subscriber::fmt::layer()
        // The library would use a macro that panics.
        .log_internal_errors(false)
        .with_writer(move || ShortLines {
            inner: log.writer.clone(),
            are_json: format == LogFormat::Json,
        });
    let lines = match format {
        LogFormat::Text => lines
            .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()))
            .with_target(false)
            .boxed(),
        LogFormat::Json => lines
            .json()
            .flatten_event(true)
            .with_span_list(false)
            .boxed(),
    };
    // A second start, as in a test, keeps the first subscriber.
    let _ = tracing_subscriber::registry()
        .with(filter)
        .with(log.limit.clone())
        .with(lines)
        .try_init();
    Log(())
}

/// Whether a panic reports that the system refused a thread, in the wording of the standard library
/// and Tokio.
#[must_use]
pub(crate) fn is_refused_thread(what: &str) -> bool {
    what.contains("can't spawn worker thread") || what.contains("failed to spawn thread")
}

/// Logs panics instead of writing them to standard error, which may be unread. A service calls it
/// when it starts logging.
pub fn log_panics() {
    panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string);
        let backtrace = Backtrace::capture();
        let is_captured = backtrace.status() == BacktraceStatus::Captured;
        let what = panic.payload_as_str();
        let message = match what.is_some_and(is_refused_thread) {
            true => format!("the system refused a new thread; {RAISE_THREADS}"),
            false => "a bug in this program caused a panic".to_owned(),
        };
        tracing::error!(
            what,
            place,
            thread = std::thread::current().name(),
            backtrace = is_captured.then(|| backtrace.to_string()),
            "{message}"
        );
    }));
}

/// The help text of the metric that counts [`dropped_lines`].
pub const DROPPED_LINES_HELP: &str =
    "Log lines that could not be written because standard error was closed, full or not being read";

/// The number of log lines that could not be written since the start.
#[must_use]
pub fn dropped_lines() -> u64 {
    LOG.get().map_or(0, |log| log.writer.dropped())
}

/// Writes the number of lines that were left out or dropped after every interval, forever.
pub async fn report_regularly() -> Infallible {
    let Some(log) = LOG.get() else {
        return future::pending().await;
    };
    let mut reported = 0;
    loop {
        SystemClock.sleep(log_limit::INTERVAL).await;
        log.limit.report();
        let lines = log.writer.dropped() - reported;
        if lines > 0 {
            reported += lines;
            tracing::warn!(
                lines,
                "dropped log lines that could not be written because standard error was closed, \
                 full or not being read"
            );
        }
    }
}

#[cfg(test)]
mod tests;
