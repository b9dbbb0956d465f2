//! All licenses that match a search, in the order in which they were issued.

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::{AT_A_TIME, Export, amounts, limit, optional, optional_time, quantity, time};
use crate::licensing::current::all_current;
use crate::licensing::judge::ShownLicense;
use crate::spreadsheet::Column;
use crate::store::licenses::{License, LicensesCursor, Search, Sort, list};
use crate::store::page::{PageStart, SortOrder};
use crate::store::{Store, StoreError, seats};

/// Licenses that match a search.
#[derive(Debug)]
pub struct LicensesExport {
    search: Search,
    now: DateTime<Utc>,
    start: Option<PageStart<LicensesCursor>>,
}

impl LicensesExport {
    /// As they are at `now`. The order of the search does not matter.
    #[must_use]
    pub fn new(search: Search, now: DateTime<Utc>) -> Self {
        let search = Search {
            sort: Sort::CreatedAt,
            order: Some(SortOrder::Asc),
            ..search
        };
        Self {
            search,
            now,
            start: Some(PageStart::default()),
        }
    }
}

/// A license in an export.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LicenseRow {
    #[serde(flatten)]
    shown: ShownLicense,
    /// The number of machines that currently have a seat.
    seats_held: u64,
}

impl LicenseRow {
    fn license(&self) -> &License {
        &self.shown.license
    }
}

impl Export for LicensesExport {
    type Row = LicenseRow;

    const NAME: &'static str = "licenses";

    const COLUMNS: &'static [Column<LicenseRow>] = &COLUMNS;

    async fn next(&mut self, store: &Store) -> Result<Vec<LicenseRow>, StoreError> {
        let db = store.reader();
        let Some(start) = self.start.take() else {
            return Ok(Vec::new());
        };
        let reading = async {
            let found = list(db, &self.search, &start, AT_A_TIME).await?;
            let last = found.last_of_more().map(|last| self.search.cursor(last));
            let ids = found.rows.iter().map(|license| license.id.clone());
            let held = seats::count_held_of(db, ids.collect()).await?;
            let found = all_current(db, found.rows, self.now).await?;
            let row = |license: License| LicenseRow {
                seats_held: held.get(&license.id).copied().unwrap_or_default(),
                shown: ShownLicense::of(license, self.now),
            };
            let rows: Vec<_> = found.into_iter().map(row).collect();
            Ok::<_, StoreError>((rows, last))
        };
        let (rows, last) = store.in_share(reading).await?;
        self.start = last.map(PageStart::After);
        Ok(rows)
    }
}

const fn column(name: &'static str, cell: fn(&LicenseRow) -> String) -> Column<LicenseRow> {
    Column { name, cell }
}

const COLUMNS: [Column<LicenseRow>; 28] = [
    column("id", |it| it.license().id.clone()),
    column("licenseKey", |it| it.license().license_key.clone()),
    column("customer", |it| it.license().customer.clone()),
    column("customerId", |it| {
        optional(it.license().customer_id.clone())
    }),
    column("plan", |it| it.license().plan.clone()),
    column("trial", |it| it.license().trial.to_string()),
    column("status", |it| it.shown.status.as_str().to_owned()),
    column("statusMessage", |it| {
        optional(it.license().status_message.clone())
    }),
    column("startsAt", |it| optional_time(it.license().starts_at)),
    column("expiresAt", |it| {
        let license = it.license();
        match (license.expires_at, license.lasts_from_activation) {
            (Some(end), _) => time(end),
            (None, None) => "never".to_owned(),
            (None, Some(_)) => String::new(),
        }
    }),
    column("lastsFromActivation", |it| {
        optional(it.license().lasts_from_activation)
    }),
    column("seats", |it| it.license().seats.to_string()),
    column("seatsHeld", |it| it.seats_held.to_string()),
    column("features", |it| it.license().features.join("; ")),
    column("maxCameras", |it| limit(it.license().max_cameras)),
    column("maxUsers", |it| limit(it.license().max_users)),
    column("maxStorageGb", |it| limit(it.license().max_storage_gb)),
    column("counts", |it| {
        let counts = it.license().counts.iter();
        amounts(counts.map(|(key, number)| (key.as_str(), quantity(*number))))
    }),
    column("moves", |it| it.license().moves.to_string()),
    column("movesPeriodDays", |it| {
        it.license().moves_period_days.to_string()
    }),
    column("leaseHours", |it| optional(it.license().lease_hours)),
    column("graceHours", |it| optional(it.license().grace_hours)),
    column("offlineDays", |it| optional(it.license().offline_days)),
    column("updatesUntil", |it| {
        optional_time(it.license().updates_until)
    }),
    column("updates", |it| it.license().updates.as_str().to_owned()),
    column("amendment", |it| it.license().amendment.to_string()),
    column("createdAt", |it| time(it.license().created_at)),
    column("updatedAt", |it| time(it.license().updated_at)),
];
