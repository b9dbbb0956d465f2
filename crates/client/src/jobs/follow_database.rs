//! Applies changes made by other processes, and writes pending changes to the database.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use crate::app::App;

/// How often the database is checked without notifications.
const POLL_INTERVAL: Duration = Duration::from_secs(5);

pub(super) async fn run(app: Arc<App>) -> Infallible {
    let mut seen = None;
    loop {
        tokio::select! {
            () = tokio::time::sleep(POLL_INTERVAL) => {}
            () = app.database_changed.notified() => {}
        }
        seen = app.knowledge.follow_database(seen).await;
    }
}
