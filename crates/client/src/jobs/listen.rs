//! Receives the database's notifications of changes made by other processes. Missed ones are found
//! by polling.

use std::convert::Infallible;
use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use crate::app::App;
use crate::store::StoreError;

/// How long to wait before reconnecting.
const AGAIN_AFTER: Duration = Duration::from_secs(5);

pub(super) async fn run(app: Arc<App>) -> Infallible {
    loop {
        match listen(&app).await {
            // SQLite has no notifications.
            Ok(()) => return pending().await,
            Err(error) => tracing::debug!(%error, "cannot receive database notifications"),
        }
        tokio::time::sleep(AGAIN_AFTER).await;
    }
}

async fn listen(app: &App) -> Result<(), StoreError> {
    let Some(mut listener) = app.store.listen().await? else {
        return Ok(());
    };
    loop {
        listener.heard().await?;
        app.database_changed.notify_one();
    }
}
