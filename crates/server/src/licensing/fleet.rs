//! The standing of the installations of all customers.

mod installations;

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use futures_util::TryStreamExt as _;
use license_service::clock::{Clock as _, SystemClock};
use tokio::sync::Mutex;

use crate::app::App;
use crate::licensing::fleet_summary::{Fleet, LastSeen, Version};
use crate::licensing::judge::ShownStatus;
use crate::licensing::seen_standing::Seen;
use crate::shared_results::SharedResults;
use crate::store::installations::{Window, all, count};
use crate::store::licenses::Search;
use crate::store::page::{Page, SortOrder};
use crate::store::{StoreError, calls, licenses, seats};
pub use installations::{Filter, Member, ShownInstallation, suspected};

/// Versions that are counted separately; the rest are combined.
const VERSIONS: usize = 12;

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

    /// A page of the installations that match, sorted by when they called last, at most `limit` from a
    /// start on; and how many match in all. Concurrent callers that ask for the same wait for the same
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
    ) -> Result<(Page<Member>, u64), StoreError> {
        if !filter.takes_all() {
            let asked = (filter.clone(), order, window);
            let evaluating = installations::evaluate(app, filter, order, window);
            let found = self.pages.get(asked, evaluating).await?;
            return Ok(Arc::unwrap_or_clone(found));
        }
        // The database counts and skips installations whose standing need not be derived.
        let (db, now) = (app.store.reader(), app.clock.now());
        let suspected = suspected(db, now).await?;
        let total = count(db).await?;
        let with_next = Window {
            limit: window.limit.saturating_add(1),
            ..window
        };
        let rows = all(db, order, Some(with_next)).await?;
        let members = rows.map_ok(|it| Member::of(it, &suspected, now));
        Ok((installations::fill(members, window.limit).await?, total))
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
