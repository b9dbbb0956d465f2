//! What was, over time: calls of the fleet, usage of a license.

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use license_core::usage::Usage;
use serde::Serialize;
use utoipa::ToSchema;

use crate::app::App;
use crate::store::usage_days::{self, UsageDay};
use crate::store::{StoreError, calls};

/// For so long history is kept.
pub const KEPT_FOR: TimeDelta = TimeDelta::days(400);

/// How many calls of sites were answered on one day.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct CallsOfDay {
    /// The day, in UTC.
    #[schema(value_type = String, format = Date)]
    pub day: NaiveDate,
    /// `activate`, `validate`, `heartbeat` or `deactivate`.
    pub kind: String,
    /// Answered with a yes.
    pub confirmed: u64,
    /// Answered with a no.
    pub denied: u64,
}

/// Calls of one kind on each of the last `days` days, the oldest first and today
/// last.
///
/// # Errors
/// When the database refuses.
pub async fn calls_by_day(
    app: &App,
    kind: &str,
    days: u32,
    now: DateTime<Utc>,
) -> Result<Vec<CallsOfDay>, StoreError> {
    // What cannot be written down is shown without it.
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
                _ => day.denied += calls.times,
            }
        }
    }
    Ok(of_day)
}

/// What the machines of a license have used on each of the last `days` days.
///
/// # Errors
/// When the database refuses.
pub async fn usage_by_day(
    app: &App,
    license_id: &str,
    days: u32,
) -> Result<Vec<UsageDay>, StoreError> {
    let first = app.clock.now().date_naive() - TimeDelta::days(i64::from(days) - 1);
    usage_days::since(app.store.reader(), license_id, first).await
}

/// On each day, the most that any one machine has used: limits are for a
/// machine.
#[must_use]
pub fn greatest(days: &[UsageDay]) -> Vec<(NaiveDate, Usage)> {
    let mut most: Vec<(NaiveDate, Usage)> = Vec::new();
    for it in days {
        if most.last().is_none_or(|(day, _)| *day != it.day) {
            most.push((it.day, Usage::default()));
        }
        if let Some((_, most)) = most.last_mut() {
            most.cameras = most.cameras.max(Some(it.cameras));
            most.users = most.users.max(Some(it.users));
            most.storage_gb = most.storage_gb.max(Some(it.storage_gb));
        }
    }
    most
}

/// Forgets what is older than [`KEPT_FOR`].
///
/// # Errors
/// When the database refuses.
pub async fn forget(app: &App) -> Result<(), StoreError> {
    let before = app.clock.now() - KEPT_FOR;
    calls::forget(app.store.reader(), before).await?;
    usage_days::forget(app.store.reader(), before.date_naive()).await
}
