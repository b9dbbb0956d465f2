//! Decides which of several processes on one database makes the scheduled calls to the License
//! Server.
//!
//! A row of `system_config` is the lease. Its holder changes it every few seconds; another process
//! takes it over when it has not seen a change for [`TAKEN_OVER_AFTER`]. No clocks are compared.
//! The number in the row grows with each takeover: a holder that was suspended, and whose number is
//! no longer in the row, detects this at its next renewal and gives up the lease. Leases that
//! belong to a database session would not survive a pooler.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use license_service::database::Database;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::metrics::Metrics;
use crate::store::{Store, StoreError, system_config};

/// How often the holder renews the lease, and the others check it.
pub const RENEW_INTERVAL: Duration = Duration::from_secs(3);
/// How long a lease may remain unchanged before another process takes it over.
pub const TAKEN_OVER_AFTER: Duration = Duration::from_secs(10);
/// A lease that was renewed this recently shows that another process is alive.
const ALIVE: TimeDelta = TimeDelta::seconds(30);

/// This process's part in the scheduling.
#[derive(Debug)]
pub struct Scheduler {
    process: String,
    state: Mutex<State>,
    is_stopped: AtomicBool,
}

#[derive(Debug, Default)]
struct State {
    /// When this process last renewed the lease; `None` while another process holds it.
    renewed: Option<Duration>,
    /// Another holder's row, and the time since which it has been unchanged.
    seen: Option<(String, Duration)>,
    /// The time since which the database has not responded.
    cut_off: Option<Duration>,
}

/// The row.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Lease {
    /// The process that holds it; `None` after it was released.
    holder: Option<String>,
    /// Grows with each takeover.
    fence: u64,
    /// Grows with each renewal.
    renewals: u64,
    /// Only for people and for [`ALIVE`].
    renewed_at: DateTime<Utc>,
}

impl Scheduler {
    /// A process that does not hold the lease yet.
    #[must_use]
    pub fn new() -> Self {
        Self {
            process: Uuid::new_v4().to_string(),
            state: Mutex::default(),
            is_stopped: AtomicBool::new(false),
        }
    }

    /// Whether this process may make the scheduled calls: it holds the lease,
    /// or the database has been unavailable for so long that no process can hold it.
    /// Several processes then call, which is harmless.
    #[must_use]
    pub fn may_call(&self, uptime: Duration) -> bool {
        let state = self.lock();
        let recent = |since: Duration| uptime.saturating_sub(since) < TAKEN_OVER_AFTER;
        match (state.renewed, state.cut_off) {
            (Some(renewed), _) if recent(renewed) => true,
            (_, Some(cut_off)) => !recent(cut_off),
            _ => false,
        }
    }

    /// Renews the lease, takes it over if appropriate, or only checks it; returns whether this
    /// process then holds it.
    ///
    /// # Errors
    /// If the database returns an error; a held lease is kept until it is too old.
    pub async fn attend(
        &self,
        store: &Store,
        now: DateTime<Utc>,
        uptime: Duration,
    ) -> Result<bool, StoreError> {
        let db = store.db();
        let attended = store.within(self.renew_or_take(&db, now, uptime)).await;
        let mut state = self.lock();
        match attended {
            Ok(held) => {
                state.cut_off = None;
                state.renewed = held.then_some(uptime);
                Ok(held)
            }
            Err(error) => {
                drop(state);
                self.note_cut_off(uptime);
                Err(error)
            }
        }
    }

    /// Notes that the lease cannot be read at this uptime.
    pub fn note_cut_off(&self, uptime: Duration) {
        self.lock().cut_off.get_or_insert(uptime);
    }

    /// Releases the lease, so that another process need not wait.
    ///
    /// # Errors
    /// If the database returns an error.
    pub async fn give_back(&self, db: &Database, now: DateTime<Utc>) -> Result<(), StoreError> {
        let Some(text) = system_config::get(db, system_config::SCHEDULER).await? else {
            return Ok(());
        };
        match read(&text) {
            Some(lease) if lease.holder.as_ref() == Some(&self.process) => {
                let free = write(None, lease.fence, 0, now);
                system_config::replace(db, system_config::SCHEDULER, &text, &free, now).await?;
            }
            _ => {}
        }
        self.lock().renewed = None;
        Ok(())
    }

    /// Whether another process has the lease and is alive.
    ///
    /// # Errors
    /// If the database returns an error.
    pub async fn others_are_alive(
        &self,
        db: &Database,
        now: DateTime<Utc>,
    ) -> Result<bool, StoreError> {
        let text = system_config::get(db, system_config::SCHEDULER).await?;
        let lease = text.as_deref().and_then(read);
        Ok(lease.is_some_and(|lease| {
            let other = lease.holder.is_some_and(|holder| holder != self.process);
            other && (now - lease.renewed_at).abs() < ALIVE
        }))
    }

    /// Whether the process that should make the scheduled calls does not make them, as far as this
    /// process can tell.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        self.is_stopped.load(Ordering::SeqCst)
    }

    /// The scheduled calls are not made, although the License Server is reachable. A user of the
    /// database can keep every process from calling, so each new occurrence is a security event.
    pub fn note_stopped(&self, metrics: &Metrics) {
        if !self.is_stopped.swap(true, Ordering::SeqCst) {
            tracing::error!(
                security = true,
                "no process is making the scheduled calls, although the License Server is \
                 reachable; this process validates instead"
            );
            metrics.security_event();
        }
    }

    /// The scheduled calls are made.
    pub fn note_running(&self) {
        if self.is_stopped.swap(false, Ordering::SeqCst) {
            tracing::info!("the scheduled calls are being made again");
        }
    }

    async fn renew_or_take(
        &self,
        db: &Database,
        now: DateTime<Utc>,
        uptime: Duration,
    ) -> Result<bool, StoreError> {
        const KEY: &str = system_config::SCHEDULER;
        let Some(text) = system_config::get(db, KEY).await? else {
            let first = write(Some(&self.process), 1, 0, now);
            system_config::insert_if_missing(db, KEY, &first, now).await?;
            return Ok(system_config::get(db, KEY).await? == Some(first));
        };
        // An unreadable row has no holder.
        let lease = read(&text);
        let (fence, renewals) = lease
            .as_ref()
            .map_or((0, 0), |lease| (lease.fence, lease.renewals));
        let holder = lease.and_then(|lease| lease.holder);
        let next = match holder {
            Some(holder) if holder == self.process => fence,
            Some(_) if !self.is_stale(&text, uptime) => return Ok(false),
            Some(_) | None => fence + 1,
        };
        let ours = write(Some(&self.process), next, renewals + 1, now);
        let taken = system_config::replace(db, KEY, &text, &ours, now).await?;
        if taken && next != fence {
            tracing::info!(fence = next, "this process now makes the scheduled calls");
        }
        Ok(taken)
    }

    /// Whether another holder's row has been unchanged for long enough.
    fn is_stale(&self, text: &str, uptime: Duration) -> bool {
        let mut state = self.lock();
        match &state.seen {
            Some((seen, since)) if seen == text => {
                uptime.saturating_sub(*since) >= TAKEN_OVER_AFTER
            }
            _ => {
                state.seen = Some((text.to_owned(), uptime));
                false
            }
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Scheduler {
    fn default() -> Self {
        Self::new()
    }
}

fn read(text: &str) -> Option<Lease> {
    let lease: Lease = serde_json::from_str(text).ok()?;
    // Numbers that cannot grow were not written by this program.
    let grows = lease.fence < u64::MAX && lease.renewals < u64::MAX;
    grows.then_some(lease)
}

fn write(holder: Option<&str>, fence: u64, renewals: u64, now: DateTime<Utc>) -> String {
    let lease = serde_json::json!({
        "holder": holder, "fence": fence, "renewals": renewals, "renewedAt": now,
    });
    lease.to_string()
}
