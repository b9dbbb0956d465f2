//! Keeps the attempts log from growing forever.

use std::convert::Infallible;
use std::sync::Arc;

use chrono::TimeDelta;

use crate::app::App;
use crate::store::local_license_validation_attempts::prune;

/// The interval.
const PRUNE_INTERVAL: TimeDelta = TimeDelta::hours(24);

pub(super) async fn run(app: Arc<App>) -> Infallible {
    loop {
        if app.knowledge.is_database_open() {
            match prune(&app.store.db(), app.clock.now()).await {
                Ok(0) => {}
                Ok(rows) => tracing::info!(rows, "pruned the attempts log"),
                Err(error) => tracing::warn!(%error, "failed to prune the attempts log"),
            }
        }
        app.clock
            .sleep_until(app.clock.now() + PRUNE_INTERVAL)
            .await;
    }
}
