//! Looks at the machine's clocks, and keeps the effective time for the next
//! start.

use std::sync::Arc;
use std::time::Duration;

use crate::app::{App, log_clock_event};

/// How often. Between two looks time passes with the running process alone.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How often the time is kept: a machine that is cut off loses at most this.
const KEPT_EVERY: Duration = Duration::from_secs(5 * 60);

pub(super) async fn run(app: Arc<App>) {
    let Some(clock) = app.effective.clone() else {
        return;
    };
    let mut kept = None;
    loop {
        let doubted = clock.guard().doubts();
        let events = clock.observe();
        events.iter().for_each(log_clock_event);
        if !events.is_empty() {
            app.changed.notify_one();
        }
        if clock.guard().doubts() && !doubted {
            // The License Server settles it.
            app.note_call(|calls| calls.validation_wanted = true);
        }
        let uptime = app.clock.uptime();
        let is_old = kept.is_none_or(|kept| uptime.saturating_sub(kept) >= KEPT_EVERY);
        if is_old || !events.is_empty() {
            kept = Some(uptime);
            app.kept_time.write(|| clock.believed()).await;
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}
