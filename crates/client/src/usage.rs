//! Usage: reports from services, and counts from the VMS database.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use license_core::usage::{Counts, Gauge, Gauges, NoRoom, Resource, Usage, in_use, merged};
use license_service::clock::Clock;
use license_service::database::Database;

use crate::shared_reading::SharedReading;
use crate::store::{StoreError, vms};

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

/// What is known about usage.
#[derive(Debug)]
pub struct Meter {
    queries: Queries,
    known: Arc<Mutex<Known>>,
    counting: SharedReading<()>,
}

#[derive(Debug, Default)]
struct Known {
    /// The reports that this process has received.
    own: Gauges,
    /// These reports and those of other processes, as stored in the database.
    gauges: Gauges,
    counted: Usage,
}

impl Known {
    fn join(&mut self, others: Gauges, now: DateTime<Utc>) {
        self.own.expire(now);
        self.gauges = merged(self.own.clone(), others, now);
    }
}

impl Meter {
    /// A meter that has not counted yet.
    #[must_use]
    pub fn new(queries: Queries, clock: Arc<dyn Clock>) -> Self {
        Self {
            queries,
            known: Arc::default(),
            counting: SharedReading::new(clock),
        }
    }

    /// The known usage.
    #[must_use]
    pub fn usage(&self, now: DateTime<Utc>) -> Usage {
        let known = self.lock();
        in_use(&known.gauges, &known.counted, now)
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
    /// keeps its last number.
    pub async fn count(&self, db: Database, max_age: Duration) {
        let counting = || {
            let (queries, known) = (self.queries.clone(), self.known.clone());
            async move {
                let (cameras, users, storage_gb) = tokio::join!(
                    counted(&db, Resource::Cameras, queries.cameras.as_deref()),
                    counted(&db, Resource::Users, queries.users.as_deref()),
                    counted(&db, Resource::StorageGb, queries.storage_gb.as_deref()),
                );
                let mut known = lock(&known);
                known.counted = Usage {
                    cameras: cameras.unwrap_or(known.counted.cameras),
                    users: users.unwrap_or(known.counted.users),
                    storage_gb: storage_gb.unwrap_or(known.counted.storage_gb),
                    // Only services know how many there are of anything else.
                    counts: Counts::default(),
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
