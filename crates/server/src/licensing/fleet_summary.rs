//! A summary of the installations of all customers.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;
use utoipa::ToSchema;

use crate::licensing::judge::ShownStatus;
use crate::licensing::seen_standing::Seen;

/// A summary of all installations.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Fleet {
    /// When the summary was created.
    pub at: DateTime<Utc>,
    /// Licenses by their status: `scheduled`, `active`, `expiring`, `expired`, `suspended`,
    /// `revoked`.
    pub licenses: BTreeMap<String, u64>,
    /// The number of licenses whose plan is for trying the product out, of any status.
    pub trials: u64,
    /// Machines that hold a seat.
    pub installations: u64,
    /// Machines that hold a seat, by standing: `active`, `grace`, `silent`, `stopped`.
    pub standings: BTreeMap<String, u64>,
    /// Machines that hold a seat, by VMS version, most frequent first.
    pub versions: Vec<Version>,
    /// Machines that hold a seat, by the time of their last call.
    pub last_seen: LastSeen,
    /// The number of installations that exceed a limit of their license.
    pub over_limit: u64,
    /// The number of licenses on which more seats are held than they include.
    pub licenses_over_seats: u64,
    /// The number of installations with a suspicion in the last 30 days.
    pub suspected: u64,
    /// Calls of the last 24 hours that were not answered because the site is newer than the
    /// database, which may be a restored backup.
    pub withheld: u64,
}

/// The number of installations with a version.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = VersionCount)]
pub struct Version {
    /// As reported by the site; empty for all other versions.
    pub version: String,
    /// The number of installations.
    pub installations: u64,
}

/// The number of installations by the time of their last call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = LastSeenCounts)]
pub struct LastSeen {
    /// Within a day.
    pub day: u64,
    /// Within a week, but not within a day.
    pub week: u64,
    /// Within 30 days, but not within a week.
    pub month: u64,
    /// More than 30 days ago.
    pub longer: u64,
}

impl Fleet {
    /// The number of licenses with this status.
    #[must_use]
    pub fn licenses_of(&self, status: ShownStatus) -> u64 {
        let count = self.licenses.get(status.as_str());
        count.copied().unwrap_or_default()
    }

    /// The number of installations with this standing.
    #[must_use]
    pub fn of(&self, seen: Seen) -> u64 {
        self.standings
            .get(seen.as_str())
            .copied()
            .unwrap_or_default()
    }
}

impl LastSeen {
    /// Counts an installation that last called so long ago.
    pub(super) fn note(&mut self, ago: TimeDelta) {
        let count = match ago.num_hours() {
            ..24 => &mut self.day,
            24..168 => &mut self.week,
            168..720 => &mut self.month,
            _ => &mut self.longer,
        };
        *count += 1;
    }
}
