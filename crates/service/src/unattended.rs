//! Work that goes on when the caller who asked for it disconnects.

use tracing::Instrument as _;

use crate::jobs;

/// The work ended in a panic, which the panic hook has logged, or the service stops.
#[derive(Debug, thiserror::Error)]
#[error("the work ended in a panic: {what}")]
pub struct Panicked {
    /// What the panic says.
    pub what: String,
}

/// Runs `work` to completion even if the caller disconnects: a change that another system has
/// made already must be recorded here. The work begins with the call, before it is awaited, so
/// that the caller does not hold all of its state, and bounds its own time. Its log lines belong to
/// the caller's request.
///
/// # Errors
/// [`Panicked`].
pub fn finish_even_if_disconnected<T: Send + 'static>(
    work: impl Future<Output = T> + Send + 'static,
) -> impl Future<Output = Result<T, Panicked>> + Send {
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
