//! Changes that are not broken off half-way.

use crate::http::error::ApiError;

/// Runs `change` to completion even if the caller disconnects: a seat granted by the License
/// Server must not be lost because a caller did not wait.
pub(crate) async fn to_the_end<T: Send + 'static>(
    change: impl Future<Output = T> + Send + 'static,
) -> Result<T, ApiError> {
    tokio::spawn(change).await.map_err(|error| {
        tracing::error!(%error, "a change ended in a panic");
        ApiError::Internal
    })
}
