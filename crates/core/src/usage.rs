//! Usage, combined from several sources.

mod counts;
pub mod sent;

use std::collections::BTreeMap;
use std::fmt;

use chrono::{DateTime, TimeDelta, Utc};
use serde::de::{IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

pub use self::counts::{Counts, MAX_REPORT_KEYS};
use crate::feature::FeatureKey;

/// A resource that every product counts, and that messages and licenses name in their own
/// fields. A license may count anything else too, by its key.
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

    /// The resource with this code; `None` for everything else that a license may count.
    #[must_use]
    pub fn of(key: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|it| it.as_str() == key)
    }
}

impl AsRef<str> for Resource {
    fn as_ref(&self) -> &str {
        self.as_str()
    }
}

/// Known amounts; `None` if unknown.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Usage {
    /// Cameras.
    pub cameras: Option<u64>,
    /// Users.
    pub users: Option<u64>,
    /// Recordings, in GB.
    pub storage_gb: Option<u64>,
    /// Everything else that is counted.
    #[serde(default, skip_serializing_if = "Counts::is_empty")]
    pub counts: Counts,
}

impl Usage {
    /// One amount: of a [`Resource`], or of anything else by its key.
    #[must_use]
    pub fn of(&self, key: impl AsRef<str>) -> Option<u64> {
        let key = key.as_ref();
        match Resource::of(key) {
            Some(Resource::Cameras) => self.cameras,
            Some(Resource::Users) => self.users,
            Some(Resource::StorageGb) => self.storage_gb,
            None => self.counts.get(key),
        }
    }

    /// What is known, by key: cameras, users and storage first.
    pub fn known(&self) -> impl Iterator<Item = (&str, u64)> {
        let resources = Resource::ALL.into_iter();
        let resources = resources.filter_map(|it| Some((it.as_str(), self.of(it)?)));
        resources.chain(self.counts.iter())
    }

    /// The greater of each amount; one that is unknown in either is that of the other. There are
    /// counts of at most [`MAX_KEYS`] things, with those of `self` first.
    #[must_use]
    pub fn greatest(&self, other: &Self) -> Self {
        let known = self.counts.len();
        let is_new = |key: &&FeatureKey| self.counts.get(key.as_str()).is_none();
        let new = other.counts.keys().filter(is_new);
        let new = new.take(MAX_KEYS.saturating_sub(known));
        let greatest = |key: &FeatureKey| {
            let amount = self.of(key.as_str()).max(other.of(key.as_str()))?;
            Some((key.clone(), amount))
        };
        Self {
            cameras: self.cameras.max(other.cameras),
            users: self.users.max(other.users),
            storage_gb: self.storage_gb.max(other.storage_gb),
            counts: self.counts.keys().chain(new).filter_map(greatest).collect(),
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
/// Maximum number of keys in the counts of all reports together.
pub const MAX_KEYS: usize = 64;
/// Maximum time for which a report counts.
pub const MAX_EXPIRY: TimeDelta = TimeDelta::days(7);

/// Why a report is not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoRoom {
    /// The name of its source is too long.
    #[error("The name of a source can have at most {MAX_SOURCE_CHARS} characters")]
    SourceChars,
    /// There are too many sources already.
    #[error(
        "{MAX_SOURCES} sources have already reported; use the same name for the same service \
         each time"
    )]
    Sources,
    /// The report counts too many things.
    #[error("A report can contain at most {MAX_REPORT_KEYS} keys")]
    ReportKeys,
    /// All reports together would count too many things.
    #[error(
        "All reports together would contain more than {MAX_KEYS} keys; use the same key for the \
         same resource in all reports"
    )]
    Keys,
}

/// The reports by source, of at most [`MAX_SOURCES`] with names of at most [`MAX_SOURCE_CHARS`],
/// which count at most [`MAX_KEYS`] things. Anything beyond these limits is ignored when reading.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Gauges {
    by_source: BTreeMap<String, Gauge>,
    /// How many reports count each key.
    reports_of: BTreeMap<FeatureKey, usize>,
}

impl Gauges {
    /// Adds a report, which replaces an older one from the same source.
    ///
    /// # Errors
    /// [`NoRoom`] if it exceeds a limit; the older report then stays.
    pub fn insert(&mut self, source: String, gauge: Gauge) -> Result<(), NoRoom> {
        if source.chars().count() > MAX_SOURCE_CHARS {
            return Err(NoRoom::SourceChars);
        }
        let replaced = self.by_source.get(&source);
        if replaced.is_none() && self.by_source.len() >= MAX_SOURCES {
            return Err(NoRoom::Sources);
        }
        let counts = &gauge.usage.counts;
        if counts.len() > MAX_REPORT_KEYS {
            return Err(NoRoom::ReportKeys);
        }
        let is_new = |key: &&FeatureKey| !self.reports_of.contains_key(*key);
        let is_freed = |key: &&FeatureKey| {
            self.reports_of.get(*key) == Some(&1) && counts.get(key.as_str()).is_none()
        };
        let freed = replaced.map_or(0, |it| it.usage.counts.keys().filter(is_freed).count());
        let added = counts.keys().filter(is_new).count();
        if self.reports_of.len() + added > MAX_KEYS + freed {
            return Err(NoRoom::Keys);
        }
        for key in counts.keys() {
            *self.reports_of.entry(key.clone()).or_default() += 1;
        }
        if let Some(replaced) = self.by_source.insert(source, gauge) {
            release(&mut self.reports_of, &replaced);
        }
        Ok(())
    }

    /// Removes the reports that have expired at `now`.
    pub fn expire(&mut self, now: DateTime<Utc>) {
        let reports_of = &mut self.reports_of;
        self.by_source.retain(|_, gauge| {
            let is_valid = now <= gauge.until;
            if !is_valid {
                release(reports_of, gauge);
            }
            is_valid
        });
    }

    /// The reports.
    pub fn values(&self) -> impl Iterator<Item = &Gauge> {
        self.by_source.values()
    }
}

/// Takes the keys of a removed report out of the numbers of reports.
fn release(reports_of: &mut BTreeMap<FeatureKey, usize>, removed: &Gauge) {
    for key in removed.usage.counts.keys() {
        if let Some(reports) = reports_of.get_mut(key) {
            *reports -= 1;
            if *reports == 0 {
                reports_of.remove(key);
            }
        }
    }
}

impl Serialize for Gauges {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.by_source.serialize(serializer)
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
                while gauges.by_source.len() < MAX_SOURCES
                    && let Some((source, gauge)) = map.next_entry()?
                {
                    let _no_room = gauges.insert(source, gauge);
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
    for (source, gauge) in others.by_source {
        let reported_at = gauge.reported_at.min(now);
        let longest = reported_at.checked_add_signed(MAX_EXPIRY);
        let gauge = Gauge {
            usage: gauge.usage,
            reported_at,
            until: longest.map_or(gauge.until, |longest| longest.min(gauge.until)),
        };
        let is_newer = |known: &Gauge| known.reported_at < gauge.reported_at;
        if now <= gauge.until && merged.by_source.get(&source).is_none_or(is_newer) {
            let _no_room = merged.insert(source, gauge);
        }
    }
    merged
}

/// The usage at `now`: for each resource the sum of the valid reports, or else the measured
/// value.
#[must_use]
pub fn in_use(gauges: &Gauges, measured: &Usage, now: DateTime<Utc>) -> Usage {
    let total = |key: &str| {
        let reported = gauges.values().filter(|gauge| now <= gauge.until);
        let amounts = reported.filter_map(|gauge| gauge.usage.of(key));
        amounts
            .reduce(u64::saturating_add)
            .or_else(|| measured.of(key))
    };
    let counted = gauges.reports_of.keys().chain(measured.counts.keys());
    let counted = counted.filter_map(|key| Some((key.clone(), total(key.as_str())?)));
    Usage {
        cameras: total(Resource::Cameras.as_str()),
        users: total(Resource::Users.as_str()),
        storage_gb: total(Resource::StorageGb.as_str()),
        counts: counted.collect(),
    }
}
