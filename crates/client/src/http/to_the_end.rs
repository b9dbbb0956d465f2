//! Changes that are not broken off half-way.

use crate::http::error::ApiError;

/// Runs `change` to its end, also when the caller hangs up in between: a seat
/// that the License Server has given must not be forgotten because somebody
/// did not wait.
pub(crate) async fn to_the_end<T: Send + 'static>(
    change: impl Future<Output = T> + Send + 'static,
) -> Result<T, ApiError> {
    tokio::spawn(change).await.map_err(|error| {
        tracing::error!(%error, "a change ended in a panic");
        ApiError::Internal
    })
}
