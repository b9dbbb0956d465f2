//! All installations that match a filter, in the order in which their seats were first taken.

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, Utc};

use super::{AT_A_TIME, Export, amounts, limit, optional, quantity, time};
use crate::licensing::fleet::{Filter, Member, ShownInstallation, suspected};
use crate::spreadsheet::Column;
use crate::store::installations::in_order_of_seats;
use crate::store::{Store, StoreError};

/// Installations that match a filter.
#[derive(Debug)]
pub struct InstallationsExport {
    filter: Filter,
    now: DateTime<Utc>,
    suspected: Option<HashMap<String, HashSet<String>>>,
    after: Option<i64>,
}

impl InstallationsExport {
    /// As they are at `now`.
    #[must_use]
    pub fn new(filter: Filter, now: DateTime<Utc>) -> Self {
        Self {
            filter,
            now,
            suspected: None,
            after: None,
        }
    }
}

impl Export for InstallationsExport {
    type Row = ShownInstallation;

    const NAME: &'static str = "installations";

    const COLUMNS: &'static [Column<ShownInstallation>] = &COLUMNS;

    async fn next(&mut self, store: &Store) -> Result<Vec<ShownInstallation>, StoreError> {
        let db = store.reader();
        if self.suspected.is_none() {
            self.suspected = Some(suspected(db, self.now).await?);
        }
        let suspected = self.suspected.get_or_insert_default();
        loop {
            let found = in_order_of_seats(db, self.after, AT_A_TIME).await?;
            let Some(last) = found.last() else {
                return Ok(Vec::new());
            };
            self.after = Some(last.seat());
            let members = found.into_iter();
            let members = members.map(|it| Member::of(it, suspected, self.now));
            let matching = members.filter(|it| self.filter.takes(it));
            let rows: Vec<_> = matching.map(ShownInstallation::from).collect();
            if !rows.is_empty() {
                return Ok(rows);
            }
        }
    }
}

const fn column(
    name: &'static str,
    cell: fn(&ShownInstallation) -> String,
) -> Column<ShownInstallation> {
    Column { name, cell }
}

const COLUMNS: [Column<ShownInstallation>; 19] = [
    column("licenseId", |it| it.license_id.clone()),
    column("licenseKey", |it| it.license_key.clone()),
    column("customer", |it| it.customer.clone()),
    column("hardwareId", |it| it.hardware_id.clone()),
    column("installationId", |it| it.installation_id.clone()),
    column("installationName", |it| it.installation_name.clone()),
    column("installationVersion", |it| it.installation_version.clone()),
    column("lastSeenAt", |it| time(it.last_seen_at)),
    column("standing", |it| it.standing.as_str().to_owned()),
    column("overLimit", |it| it.over_limit.to_string()),
    column("suspected", |it| it.suspected.to_string()),
    column("cameras", |it| optional(it.usage.cameras)),
    column("maxCameras", |it| limit(it.max_cameras)),
    column("users", |it| optional(it.usage.users)),
    column("maxUsers", |it| limit(it.max_users)),
    column("storageGb", |it| optional(it.usage.storage_gb)),
    column("maxStorageGb", |it| limit(it.max_storage_gb)),
    column("counts", |it| amounts(it.usage.counts.iter())),
    column("maxCounts", |it| {
        let counts = it.max_counts.iter();
        amounts(counts.map(|(key, number)| (key.as_str(), quantity(*number))))
    }),
];
