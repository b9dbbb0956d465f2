//! Usage: reports from services, and counts from the VMS database.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use license_core::usage::{Counts, Gauge, Gauges, NoRoom, Resource, Usage, in_use, merged};
use license_service::clock::Clock;
use license_service::database::Database;

use crate::shared_reading::SharedReading;
use crate::store::vms;

/// How to count; `None` counts the table with the default name, if it exists.
#[derive(Clone, Debug, Default)]
pub struct Queries {
    /// `USAGE_CAMERAS_QUERY`.
    pub cameras: Option<String>,
    /// `USAGE_USERS_QUERY`.
    pub users: Option<String>,
    /// `USAGE_STORAGE_GB_QUERY`.
    pub storage_gb: Option<String>,
}

/// How long a number counts after a resource could last be counted. Afterwards, its usage is unknown.
pub const COUNT_LIFETIME: Duration = Duration::from_secs(3600);

/// What is known about usage.
pub struct Meter {
    queries: Queries,
    clock: Arc<dyn Clock>,
    known: Arc<Mutex<Known>>,
    counting: SharedReading<()>,
}

#[derive(Debug, Default)]
struct Known {
    /// The reports that this process has received.
    own: Gauges,
    /// These reports and those of other processes, as stored in the database.
    gauges: Gauges,
    counted: Counted,
}

/// What was counted in the database of the VMS.
#[derive(Debug, Default)]
struct Counted {
    cameras: Option<Count>,
    users: Option<Count>,
    storage_gb: Option<Count>,
}

/// The last number of a resource.
#[derive(Clone, Copy, Debug)]
struct Count {
    number: u64,
    /// When it was counted, in time of the running process.
    at: Duration,
}

impl Counted {
    /// The numbers that still count.
    fn usage(&self, running: Duration) -> Usage {
        let number = |count: Option<Count>| {
            let count = count?;
            let age = running.saturating_sub(count.at);
            (age <= COUNT_LIFETIME).then_some(count.number)
        };
        Usage {
            cameras: number(self.cameras),
            users: number(self.users),
            storage_gb: number(self.storage_gb),
            // Only services know how many there are of anything else.
            counts: Counts::default(),
        }
    }
}

impl Known {
    fn join(&mut self, others: Gauges, now: DateTime<Utc>) {
        self.own.expire(now);
        self.gauges = merged(self.own.clone(), others, now);
    }
}

impl fmt::Debug for Meter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { queries, known, .. } = self;
        let mut shown = f.debug_struct("Meter");
        let shown = shown.field("queries", queries).field("known", known);
        shown.finish_non_exhaustive()
    }
}

impl Meter {
    /// A meter that has not counted yet.
    #[must_use]
    pub fn new(queries: Queries, clock: Arc<dyn Clock>) -> Self {
        Self {
            queries,
            known: Arc::default(),
            counting: SharedReading::new(clock.clone()),
            clock,
        }
    }

    /// The known usage.
    #[must_use]
    pub fn usage(&self, now: DateTime<Utc>) -> Usage {
        let known = self.lock();
        let counted = known.counted.usage(self.clock.running());
        in_use(&known.gauges, &counted, now)
    }

    /// The reports from services.
    #[must_use]
    pub fn gauges(&self) -> Gauges {
        self.lock().gauges.clone()
    }

    /// Adds a report. Reports from other processes are removed to make room.
    ///
    /// # Errors
    /// [`NoRoom`] if it exceeds a limit; an older report from the same source then stays.
    pub fn report(&self, source: String, gauge: Gauge) -> Result<(), NoRoom> {
        let mut known = self.lock();
        let now = gauge.reported_at;
        known.own.expire(now);
        let inserted = known.own.insert(source, gauge);
        let others = std::mem::take(&mut known.gauges);
        known.join(others, now);
        inserted
    }

    /// Restores the reports that this process had received before a restart.
    pub fn restore(&self, gauges: Gauges, now: DateTime<Utc>) {
        let mut known = self.lock();
        known.own = merged(std::mem::take(&mut known.own), gauges, now);
        let others = std::mem::take(&mut known.gauges);
        known.join(others, now);
    }

    /// Merges the reports that this process has received with those in the database, which replace
    /// the previous ones from there.
    pub fn join(&self, stored: Gauges, now: DateTime<Utc>) {
        let mut known = self.lock();
        known.join(stored, now);
    }

    /// Counts, unless that was done less than `max_age` ago. A resource that cannot be counted
    /// keeps its last number for [`COUNT_LIFETIME`].
    pub async fn count(&self, db: Database, max_age: Duration) {
        let counting = || {
            let (queries, known) = (self.queries.clone(), self.known.clone());
            let clock = self.clock.clone();
            async move {
                let (cameras, users, storage_gb) = tokio::join!(
                    counted(&db, Resource::Cameras, queries.cameras.as_deref()),
                    counted(&db, Resource::Users, queries.users.as_deref()),
                    counted(&db, Resource::StorageGb, queries.storage_gb.as_deref()),
                );
                let at = clock.running();
                let count = |counted: Option<Option<u64>>, last| match counted {
                    Some(number) => number.map(|number| Count { number, at }),
                    None => last,
                };
                let mut known = lock(&known);
                known.counted = Counted {
                    cameras: count(cameras, known.counted.cameras),
                    users: count(users, known.counted.users),
                    storage_gb: count(storage_gb, known.counted.storage_gb),
                };
            }
        };
        // After a panic, the last numbers are kept.
        self.counting.get(max_age, counting).await;
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        lock(&self.known)
    }
}

fn lock(known: &Mutex<Known>) -> MutexGuard<'_, Known> {
    known.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The number, or `None` if it could not be counted this time.
async fn counted(db: &Database, resource: Resource, query: Option<&str>) -> Option<Option<u64>> {
    let counting = async {
        match (query, resource) {
            (Some(query), _) => vms::number(db, query).await,
            (None, Resource::Cameras) => vms::rows(db, "cameras").await,
            (None, Resource::Users) => vms::rows(db, "users").await,
            (None, Resource::StorageGb) => Ok(None),
        }
    };
    counting
        .await
        .inspect_err(|error| {
            let resource = resource.as_str();
            tracing::warn!(resource, %error, "failed to count usage");
        })
        .ok()
}
