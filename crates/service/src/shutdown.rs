//! Handles the signals that stop a process, and those that must not.

use std::io;

use rustix::process::Signal;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// A token that is cancelled by SIGTERM and SIGINT.
///
/// # Errors
/// If the process may not handle signals.
pub fn on_signal() -> io::Result<CancellationToken> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let shutdown = CancellationToken::new();
    let told = shutdown.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        told.cancel();
    });
    Ok(shutdown)
}

/// Logs signals that other programs use to reopen their logs or to report, and that would end the
/// process otherwise.
///
/// # Errors
/// If the process may not handle signals.
pub fn report_unused_signals() -> io::Result<()> {
    for (name, kind) in [
        ("SIGUSR1", SignalKind::user_defined1()),
        ("SIGUSR2", SignalKind::user_defined2()),
        ("SIGALRM", SignalKind::alarm()),
    ] {
        let mut signals = signal(kind)?;
        tokio::spawn(async move {
            while signals.recv().await.is_some() {
                tracing::info!(
                    signal = name,
                    "signal ignored: logs go to standard error; rotate them with copytruncate, and \
                     open the file for appending (2>>)"
                );
            }
        });
    }
    Ok(())
}

/// Prevents the log from ending the process: a closed terminal sends SIGHUP, and a log file that
/// reaches the file size limit causes SIGXFSZ. The write then fails instead. A broken pipe is
/// ignored by the standard library.
///
/// # Errors
/// If the process may not handle signals.
pub fn ignore_log_signals() -> io::Result<()> {
    for kind in [Signal::HUP, Signal::XFSZ] {
        // The handler stays when this is dropped.
        drop(signal(SignalKind::from_raw(kind.as_raw()))?);
    }
    Ok(())
}
