//! The standing of the installations of all customers.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use futures_util::TryStreamExt as _;
use license_core::fleet::{Signed, is_over, standing_seen};
use license_core::lapse::LapseReason;
use license_core::restored::Refusal;
use license_core::standing::Standing;
use license_core::usage::Resource;
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;
use utoipa::ToSchema;

use crate::app::App;
use crate::licensing::judge::{ShownStatus, refusal};
use crate::shared_results::SharedResults;
use crate::store::installations::{Installation, Window, all, count};
use crate::store::licenses::{Search, Status};
use crate::store::page::{PageStart, SortOrder};
use crate::store::{StoreError, calls, licenses, seats, suspicions};

/// Suspicions older than this are not counted.
const SUSPECTED_FOR: TimeDelta = TimeDelta::days(30);
/// Versions that are counted separately; the rest are combined.
const VERSIONS: usize = 12;

/// The standing of an installation, as seen by the License Server.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Deserialize, Serialize, ToSchema,
)]
#[serde(rename_all = "snake_case")]
#[schema(as = InstallationStanding)]
pub enum Seen {
    /// Its lease is valid.
    Active,
    /// Its validation is overdue, and it works until the end of grace.
    Grace,
    /// It has not validated for so long that its licensed features are off.
    Silent,
    /// Its license is suspended, revoked or has expired.
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
    /// Licenses by their status: `active`, `expired`, `suspended`, `revoked`.
    pub licenses: BTreeMap<String, u64>,
    /// Machines that hold a seat.
    pub installations: u64,
    /// These machines by standing: `active`, `grace`, `silent`, `stopped`.
    pub standings: BTreeMap<String, u64>,
    /// These machines by VMS version, most frequent first.
    pub versions: Vec<Version>,
    /// These machines by the time of their last call.
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

/// The number of installations whose last call was within …
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = LastSeenCounts)]
pub struct LastSeen {
    /// … a day,
    pub day: u64,
    /// … a week but not a day,
    pub week: u64,
    /// … thirty days but not a week,
    pub month: u64,
    /// … a longer time.
    pub longer: u64,
}

/// Filters of installations.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Filter {
    /// Only those with this standing.
    pub standing: Option<Seen>,
    /// Only those of this version.
    pub version: Option<String>,
    /// `true` lists only installations that use more than their license allows, `false` only the
    /// others.
    pub over_limit: Option<bool>,
    /// Only those that are suspected of something, or only the others.
    pub suspected: Option<bool>,
}

/// An installation and its standing.
#[derive(Clone, Debug)]
pub struct Member {
    /// The data of the installation.
    pub installation: Installation,
    /// Its standing.
    pub seen: Seen,
    /// Whether it exceeds a limit of its license.
    pub over_limit: bool,
    /// Whether there is a suspicion about it.
    pub suspected: bool,
}

/// The latest evaluation of the fleet: evaluating all installations takes some time, and pages that
/// update themselves ask often.
#[derive(Debug, Default)]
pub struct Survey {
    last: Mutex<Option<Looked>>,
    pages: SharedResults<(Filter, SortOrder, Window), InstallationsFound>,
}

/// A page of installations, and how many match in all.
type InstallationsFound = (Vec<Member>, u64);

#[derive(Debug)]
struct Looked {
    fleet: Arc<Fleet>,
    /// When it was evaluated, and how long that took, in time of the running process.
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
        let fleet = Arc::new(look(app).await?);
        let at = app.clock.running();
        *last = Some(Looked {
            fleet: fleet.clone(),
            at,
            took: at.saturating_sub(begun),
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
            let evaluating = evaluate(app, filter, order, window);
            let found = self.pages.get(asked, evaluating).await?;
            return Ok(Arc::unwrap_or_clone(found));
        }
        // The database counts and skips installations whose standing need not be derived.
        let (db, now) = (app.store.reader(), app.clock.now());
        let suspected = suspicions::suspected_since(db, now - SUSPECTED_FOR).await?;
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
        let search = Search::default().called(status.decided(), status.has_ended(), now);
        let count = licenses::count(db, &search).await?;
        known.insert(status.as_str().to_owned(), count);
    }
    let mut fleet = Fleet {
        at: now,
        licenses: known,
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
    let suspected = suspicions::suspected_since(db, now - SUSPECTED_FOR).await?;
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

/// Evaluates every installation, for a page of those that match.
async fn evaluate(
    app: &App,
    filter: &Filter,
    order: SortOrder,
    window: Window,
) -> Result<InstallationsFound, StoreError> {
    let (db, now) = (app.store.reader(), app.clock.now());
    let suspected = suspicions::suspected_since(db, now - SUSPECTED_FOR).await?;
    let mut rows = pin!(all(db, order, None).await?);
    let limit = usize::try_from(window.limit).unwrap_or(usize::MAX);
    let (mut page, mut found) = (Vec::new(), 0);
    while let Some(installation) = rows.try_next().await? {
        let it = Member::of(installation, &suspected, now);
        if !filter.takes(&it) {
            continue;
        }
        let has_begun = match &window.start {
            PageStart::Offset(offset) => found >= *offset,
            PageStart::After(cursor) => cursor.is_before(&it.installation),
        };
        if has_begun && page.len() < limit {
            page.push(it);
        }
        found += 1;
    }
    Ok((page, found))
}

impl Fleet {
    /// The number of installations with this standing.
    #[must_use]
    pub fn of(&self, seen: Seen) -> u64 {
        self.standings
            .get(seen.as_str())
            .copied()
            .unwrap_or_default()
    }
}

impl Filter {
    fn takes_all(&self) -> bool {
        self.standing.is_none()
            && self.version.is_none()
            && self.over_limit.is_none()
            && self.suspected.is_none()
    }

    fn takes(&self, it: &Member) -> bool {
        let version = self.version.as_ref();
        self.standing.is_none_or(|seen| seen == it.seen)
            && version.is_none_or(|version| *version == it.installation.installation_version)
            && self.over_limit.is_none_or(|over| over == it.over_limit)
            && self
                .suspected
                .is_none_or(|suspected| suspected == it.suspected)
    }
}

impl Member {
    fn of(
        installation: Installation,
        suspected: &HashMap<String, HashSet<String>>,
        now: DateTime<Utc>,
    ) -> Self {
        let suspected = suspected.get(&installation.license_id);
        Self {
            seen: Seen::of(
                installation.status,
                installation.expires_at,
                installation.signed,
                now,
            ),
            over_limit: is_over(&installation.usage, |resource: Resource| {
                installation.limit(resource)
            }),
            suspected: suspected.is_some_and(|it| it.contains(&installation.hardware_id)),
            installation,
        }
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
