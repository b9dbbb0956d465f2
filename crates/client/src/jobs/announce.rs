//! Notifies subscribers whenever what the site may use has changed: because there is new evidence,
//! or because a lease, a grace period or a license has ended, or an
//! entitlement has started or ended.

use std::convert::Infallible;
use std::sync::Arc;

use chrono::TimeDelta;

use crate::app::App;

pub(super) async fn run(app: Arc<App>) -> Infallible {
    loop {
        let now = app.plausible_time();
        let state = app.entitled.at(&app.snapshot(), now).announced.clone();
        app.announced.send_if_modified(|told| {
            let is_new = told.as_ref().is_none_or(|told| told.id != state.id);
            if is_new {
                *told = Some(state);
            }
            is_new
        });
        let over = async {
            match app.snapshot().holds_until(now) {
                // The end is inclusive.
                Some(end) => {
                    let after = end + TimeDelta::microseconds(1);
                    app.clock.sleep_until(after).await;
                }
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = over => {}
            () = app.knowledge.changed() => {}
        }
    }
}
