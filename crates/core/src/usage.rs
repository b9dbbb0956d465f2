//! Usage, combined from several sources.

use std::collections::BTreeMap;
use std::fmt;

use chrono::{DateTime, TimeDelta, Utc};
use serde::de::{IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

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

/// A usage report from one service of the VMS.
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

/// Maximum number of sources whose reports count.
pub const MAX_SOURCES: usize = 256;
/// Maximum length of a source's name, in characters.
pub const MAX_SOURCE_CHARS: usize = 100;
/// Maximum time for which a report counts.
pub const MAX_EXPIRY: TimeDelta = TimeDelta::days(7);

/// The reports by source, of at most [`MAX_SOURCES`] with names of at most [`MAX_SOURCE_CHARS`].
/// Anything beyond these limits is ignored when reading.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Gauges(BTreeMap<String, Gauge>);

impl Gauges {
    /// Adds a report, which replaces an older one from the same source; returns whether there is
    /// room for it.
    pub fn insert(&mut self, source: String, gauge: Gauge) -> bool {
        let is_known = self.0.contains_key(&source);
        let has_room = is_known || self.0.len() < MAX_SOURCES;
        let fits = has_room && source.chars().count() <= MAX_SOURCE_CHARS;
        if fits {
            self.0.insert(source, gauge);
        }
        fits
    }

    /// Removes the reports that have expired at `now`.
    pub fn expire(&mut self, now: DateTime<Utc>) {
        self.0.retain(|_, gauge| now <= gauge.until);
    }

    /// The reports.
    pub fn values(&self) -> impl Iterator<Item = &Gauge> {
        self.0.values()
    }
}

impl<'de> Deserialize<'de> for Gauges {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = Gauges;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("reports by source")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Gauges, A::Error> {
                let mut gauges = Gauges::default();
                while gauges.0.len() < MAX_SOURCES
                    && let Some((source, gauge)) = map.next_entry()?
                {
                    gauges.insert(source, gauge);
                }
                while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                Ok(gauges)
            }
        }
        deserializer.deserialize_map(Reader)
    }
}

/// The valid reports at `now` of this process and of others, which may have received different
/// ones: the newer one of each source. Reports received by other processes count as long as there
/// is room beside our own, are dated `now` at the latest, and expire after at most [`MAX_EXPIRY`].
#[must_use]
pub fn merged(own: Gauges, others: Gauges, now: DateTime<Utc>) -> Gauges {
    let mut merged = own;
    merged.expire(now);
    for (source, gauge) in others.0 {
        let reported_at = gauge.reported_at.min(now);
        let longest = reported_at.checked_add_signed(MAX_EXPIRY);
        let gauge = Gauge {
            usage: gauge.usage,
            reported_at,
            until: longest.map_or(gauge.until, |longest| longest.min(gauge.until)),
        };
        let is_newer = |known: &Gauge| known.reported_at < gauge.reported_at;
        if now <= gauge.until && merged.0.get(&source).is_none_or(is_newer) {
            merged.insert(source, gauge);
        }
    }
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
