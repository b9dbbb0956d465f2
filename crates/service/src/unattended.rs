//! Work that continues when the caller who requested it disconnects.

use tracing::Instrument as _;

use crate::caller_place::CallerPlace;
use crate::current_call::CarriedCall;
use crate::jobs;
use crate::request_span::CarriedId;

/// The task panicked, which the panic hook has logged, or the service is stopping.
#[derive(Debug, thiserror::Error)]
#[error("the task panicked: {what}")]
pub struct Panicked {
    /// The message of the panic.
    pub what: String,
}

/// Runs `work` to completion even if the caller disconnects: a change that another system has
/// made already must be recorded here. The work begins with the call, before it is awaited, so
/// that the caller does not hold all of its state, and bounds its own time. Its log lines and errors
/// belong to the caller's request and call, and its database calls to the caller's share of the
/// connections.
///
/// # Errors
/// [`Panicked`].
pub fn finish_even_if_disconnected<T: Send + 'static>(
    work: impl Future<Output = T> + Send + 'static,
) -> impl Future<Output = Result<T, Panicked>> + Send {
    // In a box, because each scope would be as large as the work otherwise.
    let work = CallerPlace::current().scope(Box::pin(work));
    let work = CarriedCall::current().scope(work);
    let work = CarriedId::current().scope(work);
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
