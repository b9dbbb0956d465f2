//! The usage of machines on each day, of one license or of all.

use chrono::NaiveDate;
use serde::Serialize;

use super::{AT_A_TIME, Export, OfLicense, amounts, by_id, optional};
use crate::spreadsheet::Column;
use crate::store::usage_days::{UsageDay, UsagePlace, in_order};
use crate::store::{Store, StoreError};

/// Usage since a day.
#[derive(Debug)]
pub struct UsageExport {
    license_id: Option<String>,
    since: NaiveDate,
    after: Option<UsagePlace>,
}

impl UsageExport {
    /// Of the license with this id, or of all.
    #[must_use]
    pub fn new(license_id: Option<String>, since: NaiveDate) -> Self {
        Self {
            license_id,
            since,
            after: None,
        }
    }
}

/// The usage of a machine on a day.
#[derive(Clone, Debug, Serialize)]
pub struct UsageRow {
    #[serde(flatten)]
    license: OfLicense,
    #[serde(flatten)]
    day: UsageDay,
}

impl Export for UsageExport {
    type Row = UsageRow;

    const NAME: &'static str = "usage";

    const COLUMNS: &'static [Column<UsageRow>] = &COLUMNS;

    async fn next(&mut self, store: &Store) -> Result<Vec<UsageRow>, StoreError> {
        let (db, license) = (store.reader(), self.license_id.as_deref());
        let reading = async {
            let found = in_order(db, license, self.since, self.after.as_ref(), AT_A_TIME).await?;
            let ids = found.iter().map(|(place, _)| place.license_id.clone());
            let licenses = by_id(store, ids).await?;
            Ok::<_, StoreError>((found, licenses))
        };
        let (found, licenses) = store.in_share(reading).await?;
        if let Some((place, _)) = found.last() {
            self.after = Some(place.clone());
        }
        let row = |(place, day): (UsagePlace, UsageDay)| UsageRow {
            license: licenses.get(&place.license_id).cloned().unwrap_or_default(),
            day,
        };
        Ok(found.into_iter().map(row).collect())
    }
}

const fn column(name: &'static str, cell: fn(&UsageRow) -> String) -> Column<UsageRow> {
    Column { name, cell }
}

const COLUMNS: [Column<UsageRow>; 10] = [
    column("licenseId", |it| it.license.license_id.clone()),
    column("licenseKey", |it| it.license.license_key.clone()),
    column("customer", |it| it.license.customer.clone()),
    column("hardwareId", |it| it.day.hardware_id.clone()),
    column("day", |it| it.day.day.to_string()),
    column("heartbeats", |it| it.day.heartbeats.to_string()),
    column("cameras", |it| optional(it.day.cameras)),
    column("users", |it| optional(it.day.users)),
    column("storageGb", |it| optional(it.day.storage_gb)),
    column("counts", |it| {
        let counts = it.day.counts.iter();
        amounts(counts.map(|(key, number)| (key.as_str(), *number)))
    }),
];
