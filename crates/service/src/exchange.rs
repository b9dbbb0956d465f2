//! Runs an HTTP exchange of a command so that its timeout takes effect.
//!
//! A program that sends interim responses without end keeps the thread that reads them busy for
//! seconds at a time. No timer of the same runtime expires meanwhile.

use std::thread;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use tokio::runtime::Builder;
use tokio::sync::oneshot;

/// Runs `exchange` on a thread of its own, which ends with the process at the latest.
///
/// # Errors
/// If it takes longer than `limit`, if the system refuses the thread, and those of the exchange.
pub async fn within<T: Send + 'static>(
    limit: Duration,
    exchange: impl Future<Output = anyhow::Result<T>> + Send + 'static,
) -> anyhow::Result<T> {
    let (done, result) = oneshot::channel();
    let run = move || {
        let runtime = Builder::new_current_thread().enable_all().build();
        let result = runtime.map_err(anyhow::Error::from);
        // After the limit, its result is not awaited.
        let _ = done.send(result.and_then(|runtime| runtime.block_on(exchange)));
    };
    thread::Builder::new()
        .spawn(run)
        .context("cannot start a thread")?;
    match tokio::time::timeout(limit, result).await {
        Ok(result) => result.context("the request ended without a result")?,
        Err(_) => Err(anyhow!("no answer within {} s", limit.as_secs())),
    }
}
