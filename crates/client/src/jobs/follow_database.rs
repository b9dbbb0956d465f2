//! Applies changes made by other processes, and writes pending changes to the database.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;

use crate::app::App;

/// How often the database is checked without notifications.
const POLL_INTERVAL: Duration = Duration::from_secs(5);

/// Minimum delay between two checks: any user of a PostgreSQL database can send notifications.
const MIN_INTERVAL: Duration = Duration::from_millis(100);

pub(super) async fn run(app: Arc<App>) -> Infallible {
    let mut seen = None;
    loop {
        wait(&app.database_changed, tokio::time::sleep).await;
        seen = app.knowledge.follow_database(seen).await;
    }
}

/// Waits for [`MIN_INTERVAL`], and then until the next check is due. `changed` remembers one
/// notification that arrives earlier.
async fn wait<S: Future<Output = ()>>(changed: &Notify, sleep: impl Fn(Duration) -> S) {
    sleep(MIN_INTERVAL).await;
    tokio::select! {
        () = sleep(POLL_INTERVAL) => {}
        () = changed.notified() => {}
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;
    use futures_util::future::Either;

    use super::*;

    /// Whether a check is due after [`MIN_INTERVAL`], in which `during` happens.
    fn is_due(changed: &Notify, during: impl Fn()) -> bool {
        let sleep = |delay| match delay == MIN_INTERVAL {
            true => {
                during();
                Either::Left(std::future::ready(()))
            }
            false => Either::Right(std::future::pending()),
        };
        wait(changed, sleep).now_or_never().is_some()
    }

    #[test]
    fn a_flood_of_notifications_is_one_check_per_interval_and_the_last_one_counts() {
        let changed = Notify::new();
        let flood = || (0..1000).for_each(|_| changed.notify_one());
        flood();
        assert!(is_due(&changed, flood));
        assert!(!is_due(&changed, || {}));
        assert!(is_due(&changed, || changed.notify_one()));
    }

    #[test]
    fn a_check_never_follows_another_one_without_the_minimum_delay() {
        let changed = Notify::new();
        changed.notify_one();
        let forever = |_| std::future::pending();
        assert!(wait(&changed, forever).now_or_never().is_none());
    }
}
