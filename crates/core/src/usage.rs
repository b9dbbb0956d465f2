//! Usage, combined from several sources.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

/// A resource that is counted, and that a license may limit.
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

    /// A code for programs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Cameras => "cameras",
            Self::Users => "users",
            Self::StorageGb => "storage_gb",
        }
    }
}

/// Known amounts; `None` if unknown.
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

/// A usage report of one service of the VMS.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Gauge {
    /// The amounts; `None` if the source does not report a resource.
    #[serde(flatten)]
    pub usage: Usage,
    /// When it was reported.
    pub reported_at: DateTime<Utc>,
    /// The report is valid up to and including this instant.
    pub until: DateTime<Utc>,
}

/// The reports by source. A new one replaces the older one of the same source.
pub type Gauges = BTreeMap<String, Gauge>;

/// The valid reports at `now` of two processes, which may have received different ones: the
/// newer one of each source.
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

/// The usage at `now`: for each resource the sum of the valid reports, or else the measured
/// value.
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
