//! The standing of the installations of all customers.

mod installations;

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use futures_util::TryStreamExt as _;
use license_core::fleet::{Signed, standing_seen};
use license_core::lapse::LapseReason;
use license_core::restored::Refusal;
use license_core::standing::Standing;
use license_service::clock::{Clock as _, SystemClock};
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;
use utoipa::ToSchema;

use crate::app::App;
use crate::licensing::judge::{ShownStatus, refusal};
use crate::shared_results::SharedResults;
use crate::store::installations::{Window, all, count};
use crate::store::licenses::{Search, Status};
use crate::store::page::SortOrder;
use crate::store::{StoreError, calls, licenses, seats};
pub use installations::{Filter, Member, ShownInstallation, suspected};

/// Versions that are counted separately; the rest are combined.
const VERSIONS: usize = 12;

/// The standing of an installation, as seen by the License Server.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    Hash,
    PartialOrd,
    Ord,
    Deserialize,
    Serialize,
    ToSchema,
    clap::ValueEnum,
)]
#[serde(rename_all = "snake_case")]
#[schema(as = InstallationStanding)]
pub enum Seen {
    /// Its lease is valid.
    Active,
    /// Its validation is overdue; it works until its grace period ends.
    Grace,
    /// It has not validated for so long that its licensed features are off.
    Silent,
    /// Its license is suspended or revoked, or has expired.
    Stopped,
}

impl Seen {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Active, Self::Grace, Self::Silent, Self::Stopped];

    /// Derived from the license's state and the last signed document.
    #[must_use]
    pub fn of(
        status: Status,
        expires_at: Option<DateTime<Utc>>,
        signed: Option<Signed>,
        now: DateTime<Utc>,
    ) -> Self {
        let denial = refusal(status, expires_at, now).map(Refusal::reason);
        match standing_seen(denial.as_ref(), signed, now) {
            Standing::Active => Self::Active,
            Standing::Grace { .. } => Self::Grace,
            Standing::Lapsed(LapseReason::GracePeriodExpired) | Standing::Unlicensed => {
                Self::Silent
            }
            Standing::Lapsed(LapseReason::Denied(_) | LapseReason::LicenseExpired) => Self::Stopped,
        }
    }

    /// The code in URLs and JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Grace => "grace",
            Self::Silent => "silent",
            Self::Stopped => "stopped",
        }
    }
}

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

/// The latest evaluation of the fleet: evaluating all installations takes some time, and pages that
/// update themselves ask often.
#[derive(Debug, Default)]
pub struct Survey {
    last: Mutex<Option<Looked>>,
    pages: SharedResults<(Filter, SortOrder, Window), installations::Found>,
}

#[derive(Debug)]
struct Looked {
    fleet: Arc<Fleet>,
    /// When it was evaluated, in time of the running process, and how long that took.
    at: Duration,
    took: Duration,
}

impl Survey {
    /// The latest evaluation of the fleet, for callers that must not cause work.
    #[must_use]
    pub fn last(&self) -> Option<Arc<Fleet>> {
        let last = self.last.try_lock().ok()?;
        last.as_ref().map(|looked| looked.fleet.clone())
    }

    /// The current or a recent evaluation of the fleet. Evaluations take at most a twentieth of the
    /// time, and concurrent callers wait for the same result.
    ///
    /// # Errors
    /// If the database returns an error.
    pub async fn fleet(&self, app: &App) -> Result<Arc<Fleet>, StoreError> {
        let mut last = self.last.lock().await;
        let begun = app.clock.running();
        if let Some(looked) = &*last
            && begun.saturating_sub(looked.at) < looked.took * 20
        {
            return Ok(looked.fleet.clone());
        }
        let started = SystemClock.running();
        let fleet = Arc::new(look(app).await?);
        let at = app.clock.running();
        *last = Some(Looked {
            fleet: fleet.clone(),
            at,
            // A clock that was moved meanwhile does not make the work longer.
            took: at
                .saturating_sub(begun)
                .min(SystemClock.running() - started),
        });
        Ok(fleet)
    }

    /// The installations that match, sorted by when they called last, at most `limit` from a start
    /// on; and how many match in all. Concurrent callers that ask for the same wait for the same
    /// evaluation, which begins after their calls.
    ///
    /// # Errors
    /// If the database returns an error.
    pub async fn installations(
        &self,
        app: &App,
        filter: &Filter,
        order: SortOrder,
        window: Window,
    ) -> Result<(Vec<Member>, u64), StoreError> {
        if !filter.takes_all() {
            let asked = (filter.clone(), order, window);
            let evaluating = installations::evaluate(app, filter, order, window);
            let found = self.pages.get(asked, evaluating).await?;
            return Ok(Arc::unwrap_or_clone(found));
        }
        // The database counts and skips installations whose standing need not be derived.
        let (db, now) = (app.store.reader(), app.clock.now());
        let suspected = suspected(db, now).await?;
        let rows = all(db, order, Some(window)).await?;
        let page = rows.map_ok(|it| Member::of(it, &suspected, now));
        Ok((page.try_collect().await?, count(db).await?))
    }
}

/// Evaluates every installation, one after the other.
async fn look(app: &App) -> Result<Fleet, StoreError> {
    let db = app.store.reader();
    let now = app.clock.now();
    let mut known = BTreeMap::new();
    for status in ShownStatus::ALL {
        let search = Search {
            state: Some((status.state(), now)),
            ..Search::default()
        };
        let count = licenses::count(db, &search).await?;
        known.insert(status.as_str().to_owned(), count);
    }
    let trials = Search {
        trial: Some(true),
        ..Search::default()
    };
    let mut fleet = Fleet {
        at: now,
        licenses: known,
        trials: licenses::count(db, &trials).await?,
        installations: 0,
        standings: Seen::ALL.map(|seen| (seen.as_str().to_owned(), 0)).into(),
        versions: Vec::new(),
        last_seen: LastSeen::default(),
        over_limit: 0,
        licenses_over_seats: seats::count_licenses_over_seats(db).await?,
        suspected: 0,
        withheld: withheld_since(app, now - TimeDelta::days(1)).await?,
    };
    let mut versions: BTreeMap<String, u64> = BTreeMap::new();
    let suspected = suspected(db, now).await?;
    let mut installations = pin!(all(db, SortOrder::Asc, None).await?);
    while let Some(installation) = installations.try_next().await? {
        let it = Member::of(installation, &suspected, now);
        fleet.installations += 1;
        *fleet
            .standings
            .entry(it.seen.as_str().to_owned())
            .or_default() += 1;
        fleet.last_seen.note(now - it.installation.last_seen_at);
        fleet.over_limit += u64::from(it.over_limit);
        fleet.suspected += u64::from(it.suspected);
        *versions
            .entry(it.installation.installation_version)
            .or_default() += 1;
    }
    fleet.versions = most_frequent(versions);
    Ok(fleet)
}

/// Calls since an instant that were not answered because the database is older than the
/// site.
async fn withheld_since(app: &App, from: DateTime<Utc>) -> Result<u64, StoreError> {
    // Counts that cannot be stored are still included.
    app.write_traffic_down().await;
    let calls = calls::since(app.store.reader(), from).await?;
    let withheld = calls.iter().filter(|it| it.answer == "withheld");
    Ok(withheld.map(|it| it.times).sum())
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
    fn note(&mut self, ago: TimeDelta) {
        let count = match ago.num_hours() {
            ..24 => &mut self.day,
            24..168 => &mut self.week,
            168..720 => &mut self.month,
            _ => &mut self.longer,
        };
        *count += 1;
    }
}

fn most_frequent(versions: BTreeMap<String, u64>) -> Vec<Version> {
    let versions = versions.into_iter();
    let mut versions: Vec<_> = versions
        .map(|(version, installations)| Version {
            version,
            installations,
        })
        .collect();
    versions.sort_by_key(|it| std::cmp::Reverse(it.installations));
    let rest = versions.split_off(versions.len().min(VERSIONS));
    let installations = rest.iter().map(|it| it.installations).sum();
    if installations > 0 {
        versions.push(Version {
            version: String::new(),
            installations,
        });
    }
    versions
}
