//! History: calls from the fleet, and usage of a license.

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use license_core::restored::number_at;
use license_core::signing_clock::SigningTime;
use license_core::usage::Usage;
use serde::Serialize;
use serde_json::json;
use utoipa::ToSchema;

use crate::app::App;
use crate::audit::{Action, Actor};
use crate::store::page::Page;
use crate::store::usage_days::{self, UsageCursor, UsageDay};
use crate::store::{
    StoreError, calls, commit_proofs, licenses, lost_numbers, seats, site_entries, suspicions,
};

/// How long history is kept, in days.
pub const KEPT_DAYS: u32 = 400;
/// How long history is kept.
pub const KEPT_FOR: TimeDelta = TimeDelta::days(KEPT_DAYS as i64);
/// How long a freed seat is kept after its last lease has ended.
pub const FREED_KEPT_FOR: TimeDelta = TimeDelta::days(7);
/// How long the rows of a process that no longer writes are kept: a running process writes every 15
/// seconds.
const PROOFS_KEPT_FOR: TimeDelta = TimeDelta::days(7);
/// The number of days of licenses that are summarized together.
const AT_A_TIME: u64 = 100;

/// The number of calls from sites that were answered on one day.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct CallsOfDay {
    /// The day, in UTC.
    #[schema(value_type = String, format = Date)]
    pub day: NaiveDate,
    /// `activate`, `validate`, `heartbeat` or `deactivate`.
    pub kind: String,
    /// Confirmed.
    pub confirmed: u64,
    /// Denied.
    pub denied: u64,
    /// Refused because the caller had exceeded its rate limit (HTTP 429).
    pub throttled: u64,
    /// Not answered because the site reported a sequence number that is not in the database (HTTP
    /// 503).
    pub withheld: u64,
}

/// Calls of one kind on each of the last `days` days, oldest first.
///
/// # Errors
/// If the database returns an error.
pub async fn calls_by_day(
    app: &App,
    kind: &str,
    days: u32,
    now: DateTime<Utc>,
) -> Result<Vec<CallsOfDay>, StoreError> {
    // Counts that cannot be stored are still included.
    app.write_traffic_down().await;
    let today = now.date_naive();
    let first = today - TimeDelta::days(i64::from(days) - 1);
    let mut of_day: Vec<_> = first
        .iter_days()
        .take_while(|day| *day <= today)
        .map(|day| CallsOfDay {
            day,
            kind: kind.to_owned(),
            confirmed: 0,
            denied: 0,
            throttled: 0,
            withheld: 0,
        })
        .collect();
    let from = first.and_time(chrono::NaiveTime::MIN).and_utc();
    for calls in calls::since(app.store.reader(), from).await? {
        let index = (calls.hour.date_naive() - first).num_days();
        let day = usize::try_from(index)
            .ok()
            .and_then(|it| of_day.get_mut(it));
        if let Some(day) = day.filter(|_| calls.kind == kind) {
            match calls.answer.as_str() {
                "confirmed" => day.confirmed += calls.times,
                "denied" => day.denied += calls.times,
                "withheld" => day.withheld += calls.times,
                _ => day.throttled += calls.times,
            }
        }
    }
    Ok(of_day)
}

/// The usage of the machines of a license on each of the last `days` days, newest first: the
/// page of entries after a cursor, at most `limit`.
///
/// # Errors
/// If the database returns an error.
pub async fn usage_by_day(
    app: &App,
    license_id: &str,
    days: u32,
    after: Option<&UsageCursor>,
    limit: u64,
) -> Result<Page<UsageDay>, StoreError> {
    let first = first_of(app, days);
    usage_days::since(app.store.reader(), license_id, first, after, limit).await
}

/// The highest usage of any one machine on each of the last `days` days, because limits apply to
/// each machine.
///
/// # Errors
/// If the database returns an error.
pub async fn greatest_by_day(
    app: &App,
    license_id: &str,
    days: u32,
) -> Result<Vec<(NaiveDate, Usage)>, StoreError> {
    usage_days::greatest_since(app.store.reader(), license_id, first_of(app, days)).await
}

fn first_of(app: &App, days: u32) -> NaiveDate {
    app.clock.now().date_naive() - TimeDelta::days(i64::from(days) - 1)
}

/// Removes data older than [`KEPT_FOR`], and freed seats [`FREED_KEPT_FOR`] after their last lease
/// has ended; writes summaries of the site entries that were only counted. Does nothing while the
/// clock may be wrong: a freed seat could be removed while its lease is still valid.
///
/// # Errors
/// If the database returns an error.
pub async fn forget(app: &App) -> Result<(), StoreError> {
    match app.signing_clock.permit(app.clock.now()) {
        Ok(now) => forget_at(app, now).await,
        Err(_) => Ok(()),
    }
}

async fn forget_at(app: &App, now: SigningTime) -> Result<(), StoreError> {
    let now = now.instant();
    let before = now - KEPT_FOR;
    calls::forget(app.store.reader(), before).await?;
    usage_days::forget(app.store.reader(), before.date_naive()).await?;
    suspicions::forget(app.store.reader(), before).await?;
    lost_numbers::forget(app.store.reader(), number_at(before)).await?;
    commit_proofs::forget(app.store.reader(), number_at(now - PROOFS_KEPT_FOR)).await?;
    seats::prune(app.store.reader(), now - FREED_KEPT_FOR).await?;
    sum_up_site_entries(app, now).await
}

/// Writes, for each license and past day, how many entries of sites were only counted.
async fn sum_up_site_entries(app: &App, now: DateTime<Utc>) -> Result<(), StoreError> {
    let change = app.change(Actor::Service);
    loop {
        let transaction = app.store.begin().await?;
        let days = site_entries::before(&transaction, now.date_naive(), AT_A_TIME).await?;
        if days.is_empty() {
            return Ok(());
        }
        for day in days {
            // If several servers do this, one of them removes the row.
            let removed = site_entries::remove(&transaction, &day.license_id, day.day).await?;
            let license = licenses::find_by_id(&transaction, &day.license_id).await?;
            if let Some(license) = license.filter(|_| removed && day.counted > 0) {
                let details = json!({"day": day.day, "entries": day.counted});
                let action = Action::SiteEntriesCounted;
                change.note(&transaction, action, &license, details).await?;
            }
        }
        transaction.commit().await?;
    }
}
