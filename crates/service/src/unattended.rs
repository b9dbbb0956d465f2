//! Work that continues when the caller who requested it disconnects.

use tracing::Instrument as _;

use crate::database::CallerPlace;
use crate::jobs;

/// The task panicked, which the panic hook has logged, or the service is stopping.
#[derive(Debug, thiserror::Error)]
#[error("the task panicked: {what}")]
pub struct Panicked {
    /// The message of the panic.
    pub what: String,
}

/// Runs `work` to completion even if the caller disconnects: a change that another system has
/// made already must be recorded here. The work begins with the call, before it is awaited, so
/// that the caller does not hold all of its state, and bounds its own time. Its log lines belong to
/// the caller's request, and its database calls to the caller's share of the connections.
///
/// # Errors
/// [`Panicked`].
pub fn finish_even_if_disconnected<T: Send + 'static>(
    work: impl Future<Output = T> + Send + 'static,
) -> impl Future<Output = Result<T, Panicked>> + Send {
    let work = CallerPlace::current().scope(work);
    let running = tokio::spawn(work.in_current_span());
    async move {
        running.await.map_err(|error| {
            let what = match error.try_into_panic() {
                Ok(panic) => jobs::text(&*panic).to_owned(),
                Err(error) => error.to_string(),
            };
            Panicked { what }
        })
    }
}
