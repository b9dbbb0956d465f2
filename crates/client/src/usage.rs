//! What is in use: what services have reported, and what is counted in the
//! database of the VMS.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use license_core::usage::{Gauge, Gauges, Resource, Usage, in_use, merged};
use sea_orm::DatabaseConnection;

use crate::store::{StoreError, vms};

/// What was counted this recently is not counted again.
const FRESH: Duration = Duration::from_secs(1);

/// How to count; `None` counts a table of the usual name, where there is one.
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
    known: Mutex<Known>,
    counting: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct Known {
    gauges: Gauges,
    counted: Usage,
    counted_at: Option<Duration>,
}

impl Meter {
    /// A meter that has counted nothing yet.
    #[must_use]
    pub fn new(queries: Queries) -> Self {
        Self {
            queries,
            known: Mutex::default(),
            counting: tokio::sync::Mutex::new(()),
        }
    }

    /// What is in use, as far as is known.
    #[must_use]
    pub fn usage(&self, now: DateTime<Utc>) -> Usage {
        let known = self.lock();
        in_use(&known.gauges, &known.counted, now)
    }

    /// What services have reported.
    #[must_use]
    pub fn gauges(&self) -> Gauges {
        self.lock().gauges.clone()
    }

    /// Takes a report.
    pub fn report(&self, source: String, gauge: Gauge) {
        self.lock().gauges.insert(source, gauge);
    }

    /// Joins what other processes have heard with what this one has.
    pub fn join(&self, gauges: Gauges, now: DateTime<Utc>) {
        let mut known = self.lock();
        known.gauges = merged(std::mem::take(&mut known.gauges), gauges, now);
    }

    /// Counts anew, unless that was done just now. What cannot be counted
    /// keeps its last number.
    pub async fn count(&self, db: &DatabaseConnection, uptime: impl Fn() -> Duration) {
        let _turn = self.counting.lock().await;
        let is_fresh = |at: Duration| uptime().saturating_sub(at) < FRESH;
        if self.lock().counted_at.is_some_and(is_fresh) {
            return;
        }
        let (cameras, users, storage_gb) = tokio::join!(
            counted(db, Resource::Cameras, self.queries.cameras.as_deref()),
            counted(db, Resource::Users, self.queries.users.as_deref()),
            counted(db, Resource::StorageGb, self.queries.storage_gb.as_deref()),
        );
        let mut known = self.lock();
        known.counted = Usage {
            cameras: cameras.unwrap_or(known.counted.cameras),
            users: users.unwrap_or(known.counted.users),
            storage_gb: storage_gb.unwrap_or(known.counted.storage_gb),
        };
        known.counted_at = Some(uptime());
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The number, or `None` when it could not be counted this time.
async fn counted(
    db: &DatabaseConnection,
    resource: Resource,
    query: Option<&str>,
) -> Option<Option<u64>> {
    let counting = async {
        match (query, resource) {
            (Some(query), _) => vms::number(db, query).await,
            (None, Resource::Cameras) => rows_of(db, "cameras").await,
            (None, Resource::Users) => rows_of(db, "users").await,
            (None, Resource::StorageGb) => Ok(None),
        }
    };
    counting
        .await
        .inspect_err(|error| {
            let resource = resource.as_str();
            tracing::warn!(resource, %error, "what is in use could not be counted");
        })
        .ok()
}

async fn rows_of(db: &DatabaseConnection, table: &'static str) -> Result<Option<u64>, StoreError> {
    if !vms::has_table(db, table).await? {
        return Ok(None);
    }
    vms::number(db, &format!("SELECT count(*) FROM {table}")).await
}
