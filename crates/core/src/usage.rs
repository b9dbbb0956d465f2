//! What is in use, from several sources.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

/// Something that is counted, and that a license may limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Resource {
    /// Cameras.
    Cameras,
    /// Users.
    Users,
    /// Recordings, in GB.
    StorageGb,
}

impl Resource {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Cameras, Self::Users, Self::StorageGb];

    /// A short word that programs can compare.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Cameras => "cameras",
            Self::Users => "users",
            Self::StorageGb => "storage_gb",
        }
    }
}

/// Amounts that are known; `None` where nobody knows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Usage {
    /// Cameras.
    pub cameras: Option<u64>,
    /// Users.
    pub users: Option<u64>,
    /// Recordings, in GB.
    pub storage_gb: Option<u64>,
}

impl Usage {
    /// One amount.
    #[must_use]
    pub fn of(&self, resource: Resource) -> Option<u64> {
        match resource {
            Resource::Cameras => self.cameras,
            Resource::Users => self.users,
            Resource::StorageGb => self.storage_gb,
        }
    }
}

/// What one service of the VMS has reported.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Gauge {
    /// The amounts; the source says nothing about those that are `None`.
    #[serde(flatten)]
    pub usage: Usage,
    /// When it was reported.
    pub reported_at: DateTime<Utc>,
    /// The report counts up to and including this instant.
    pub until: DateTime<Utc>,
}

/// The reports by the name of their source. A new one replaces the older one
/// of the same source.
pub type Gauges = BTreeMap<String, Gauge>;

/// The reports that still count at `now`, of two processes that may have heard
/// different ones: for each source the newer.
#[must_use]
pub fn merged(one: Gauges, other: Gauges, now: DateTime<Utc>) -> Gauges {
    let mut merged = one;
    for (source, gauge) in other {
        match merged.get(&source) {
            Some(known) if known.reported_at >= gauge.reported_at => {}
            _ => {
                merged.insert(source, gauge);
            }
        }
    }
    merged.retain(|_, gauge| now <= gauge.until);
    merged
}

/// What is in use at `now`: for each resource the sum of the reports that
/// still count, else what was measured.
#[must_use]
pub fn in_use(gauges: &Gauges, measured: &Usage, now: DateTime<Utc>) -> Usage {
    let total = |resource| {
        let reported = gauges.values().filter(|gauge| now <= gauge.until);
        let amounts: Vec<u64> = reported.filter_map(|g| g.usage.of(resource)).collect();
        if amounts.is_empty() {
            return measured.of(resource);
        }
        Some(amounts.into_iter().fold(0, u64::saturating_add))
    };
    Usage {
        cameras: total(Resource::Cameras),
        users: total(Resource::Users),
        storage_gb: total(Resource::StorageGb),
    }
}
