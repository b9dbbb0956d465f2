//! Follows a License Client on its own thread and runtime, independent of the program's
//! runtime.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::pin::pin;
use std::sync::{Arc, Weak};
use std::thread;
use std::time::Duration;

use futures_util::future::{join, select};
use license_core::announcement::{Announcement, Envelope};
use tokio::runtime::Runtime;
use tokio::sync::watch;
use tokio::time::sleep;

use crate::clock::{self, Ticks, in_ticks};
use crate::error::{ContactError, GateError};
use crate::known::Known;
use crate::shared::Shared;
use crate::subscription::{Renewal, Subscription};

/// The delay after the first failure; it doubles after each failure.
const FIRST_WAIT: Duration = Duration::from_millis(100);
/// The maximum delay.
const MAX_WAIT: Duration = Duration::from_secs(5);
/// How often the clocks are read: the machine may have been suspended.
const CLOCK_INTERVAL: Duration = Duration::from_secs(1);
/// A reason that was logged is logged again after this time.
const REMINDER_INTERVAL: Duration = Duration::from_secs(60 * 60);
/// Maximum number of reasons that are remembered as logged.
const MAX_LOGGED: usize = 16;

/// Follows the License Client as long as the gate exists.
struct Follower {
    /// Weak, so that the follower ends with the last gate.
    shared: Weak<Shared>,
    known: RefCell<Known>,
    logged: RefCell<Logged>,
    subscription: Subscription,
}

/// Reasons that were logged since contact was lost.
#[derive(Default)]
struct Logged {
    texts: BTreeSet<String>,
    last: Option<Ticks>,
}

impl Logged {
    /// Whether to log a reason: the first time and every hour.
    fn is_due(&mut self, text: &str, now: Ticks) -> bool {
        let interval = in_ticks(REMINDER_INTERVAL);
        let is_old = self
            .last
            .is_none_or(|last| now.saturating_sub(last) > interval);
        let is_new = self.texts.len() < MAX_LOGGED && self.texts.insert(text.to_owned());
        if is_old || is_new {
            self.last = Some(now);
        }
        is_old || is_new
    }
}

/// Starts the thread, which ends with the last gate of `shared`.
pub(crate) fn start(
    shared: &Arc<Shared>,
    known: Known,
    subscription: Subscription,
    runtime: Runtime,
) -> Result<(), GateError> {
    let follower = Follower {
        shared: Arc::downgrade(shared),
        known: RefCell::new(known),
        logged: RefCell::default(),
        subscription,
    };
    let gate = shared.changes();
    let run = move || {
        let exit = Exit(Weak::clone(&follower.shared));
        let work = join(follower.follow(), follower.keep_time());
        runtime.block_on(select(pin!(gone(gate)), pin!(work)));
        // A pending name lookup must not delay the end.
        runtime.shutdown_background();
        std::mem::forget(exit);
    };
    let thread = thread::Builder::new().name("license-gate".to_owned());
    thread
        .spawn(run)
        .map_err(|error| GateError::Thread(error.to_string()))?;
    Ok(())
}

/// Runs when the thread ends although the gate still exists: logs this, and wakes
/// everyone waiting for changes.
struct Exit(Weak<Shared>);

impl Drop for Exit {
    fn drop(&mut self) {
        tracing::error!(
            "contact lost: the thread that follows the License Client has ended; this is a bug"
        );
        if let Some(shared) = self.0.upgrade() {
            shared.stop();
        }
    }
}

/// Returns when the last gate is gone.
async fn gone(mut gate: watch::Receiver<u64>) {
    while gate.changed().await.is_ok() {}
}

impl Follower {
    /// Receives announcements, and reconnects when contact is lost.
    async fn follow(&self) {
        let mut wait = FIRST_WAIT;
        loop {
            let heard = self.subscription.hear(|announcement, envelope| {
                self.apply(announcement, envelope)?;
                wait = FIRST_WAIT;
                Ok(())
            });
            let error = match heard.await {
                // The decisions stay until the new connection has sent its own.
                Ok(Renewal) => continue,
                Err(error) => error,
            };
            self.lose_contact(error);
            sleep(wait).await;
            wait = (wait * 2).min(MAX_WAIT);
        }
    }

    /// Updates the table when a deadline has passed or a clock was set. Does no work while
    /// nothing changes.
    async fn keep_time(&self) {
        loop {
            let Some(shared) = self.shared.upgrade() else {
                return;
            };
            let now = clock::ticks();
            shared.beat(now);
            let changed = self
                .known
                .borrow_mut()
                .changed_table(&clock::readings(), now);
            if let Some(table) = changed {
                shared.publish(table);
            }
            let left = shared.table().until().saturating_sub(now).saturating_add(1);
            drop(shared);
            let left = Duration::from_nanos(u64::try_from(left).unwrap_or_default());
            // After a suspend one update is enough, even if many were missed.
            sleep(left.clamp(Duration::from_millis(1), CLOCK_INTERVAL)).await;
        }
    }

    fn apply(&self, announcement: Announcement, envelope: &Envelope) -> Result<(), ContactError> {
        let Some(shared) = self.shared.upgrade() else {
            return Err(ContactError::Stopped);
        };
        let mut known = self.known.borrow_mut();
        let was_in_contact = known.is_in_contact();
        let unproven = known.apply(announcement, envelope, clock::readings());
        let unproven = unproven.map_err(|error| ContactError::Unreadable(error.to_string()))?;
        let now = clock::ticks();
        shared.beat(now);
        let error = unproven.map(|why| ContactError::NotProven(why.to_string()));
        shared.fail(error.clone());
        shared.publish(known.table(&clock::readings(), now));
        let mut logged = self.logged.borrow_mut();
        match error {
            Some(error) => {
                if logged.is_due(&error.to_string(), now) {
                    tracing::error!(security = true, "licensed features are off: {error}");
                }
            }
            None => *logged = Logged::default(),
        }
        if !was_in_contact {
            let url = self.subscription.address();
            tracing::info!(%url, "in contact with the License Client");
        }
        shared.check_required();
        Ok(())
    }

    fn lose_contact(&self, error: ContactError) {
        let Some(shared) = self.shared.upgrade() else {
            return;
        };
        let mut known = self.known.borrow_mut();
        let now = clock::ticks();
        let was_in_contact = known.lose_contact(&clock::readings());
        if was_in_contact {
            shared.publish(known.table(&clock::readings(), now));
        }
        let text = error.to_string();
        shared.fail(Some(error));
        let url = self.subscription.address();
        let is_due = self.logged.borrow_mut().is_due(&text, now);
        if was_in_contact {
            tracing::warn!(%url, "contact with the License Client lost: {text}");
        } else if is_due {
            tracing::warn!(%url, "no contact with the License Client: {text}");
        } else {
            tracing::debug!(%url, "still no contact with the License Client: {text}");
        }
    }
}
