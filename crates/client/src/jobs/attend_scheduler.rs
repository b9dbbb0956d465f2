//! Renews the lease of the scheduled calls, or waits for it.

use std::convert::Infallible;
use std::sync::Arc;

use crate::app::App;
use crate::scheduler::RENEW_INTERVAL;

pub(super) async fn run(app: Arc<App>) -> Infallible {
    loop {
        let uptime = app.clock.uptime();
        let could = app.scheduler.may_call(uptime);
        if app.knowledge.is_database_open() {
            let attending = app.scheduler.attend(&app.store, app.clock.now(), uptime);
            if let Err(error) = attending.await {
                tracing::debug!(%error, "failed to update the scheduler lease");
            }
        } else {
            // The table of the lease may not have been created yet.
            app.scheduler.note_cut_off(uptime);
        }
        if app.scheduler.may_call(app.clock.uptime()) != could {
            app.knowledge.wake_calls();
        }
        tokio::time::sleep(RENEW_INTERVAL).await;
    }
}
