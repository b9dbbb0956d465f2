//! Work that goes on when the caller who asked for it disconnects.

/// The work ended in a panic, which is logged.
#[derive(Debug, thiserror::Error)]
#[error("the work ended in a panic")]
pub struct Panicked;

/// Runs `work` to completion even if the caller disconnects: a change that another system has
/// made already must be recorded here. The work bounds its own time.
///
/// # Errors
/// [`Panicked`].
pub async fn finish_even_if_disconnected<T: Send + 'static>(
    work: impl Future<Output = T> + Send + 'static,
) -> Result<T, Panicked> {
    tokio::spawn(work).await.map_err(|error| {
        tracing::error!(%error, "a change ended in a panic");
        Panicked
    })
}
