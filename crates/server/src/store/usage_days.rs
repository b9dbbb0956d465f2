//! `usage_days`: the highest usage that each machine has reported on each day.

use std::collections::BTreeMap;

use chrono::NaiveDate;
use license_core::usage::Usage;
use license_service::database::{ExpectedTable, writes};
use sea_orm::entity::prelude::*;
use sea_orm::sea_query::{CaseStatement, Expr, ExprTrait as _, OnConflict, SimpleExpr};
use sea_orm::{
    ActiveValue, Condition, ConnectionTrait, EntityTrait, QueryOrder as _, QuerySelect as _,
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::StoreError;
use super::installations::counts_of;
use super::page::{Page, Storable};
use super::page_bytes::page;

/// A row as the database library sees it.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "usage_days")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    license_id: String,
    #[sea_orm(primary_key, auto_increment = false)]
    hardware_id: String,
    #[sea_orm(primary_key, auto_increment = false)]
    day: NaiveDate,
    heartbeats: i64,
    cameras: Option<i64>,
    users: Option<i64>,
    storage_gb: Option<i64>,
    counts: Option<Json>,
}

/// There are no relations.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// One row for each of these.
const KEY: [Column; 3] = [Column::LicenseId, Column::HardwareId, Column::Day];

/// What this program needs of the table.
pub(super) fn expected() -> ExpectedTable {
    ExpectedTable::of::<Entity>(&[&KEY])
}

/// The usage of one machine on one day.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct UsageDay {
    /// The day, in UTC.
    #[schema(value_type = String, format = Date)]
    pub day: NaiveDate,
    /// The machine.
    pub hardware_id: String,
    /// The number of its reports.
    pub heartbeats: u64,
    /// Maximum number of cameras in use; `null` if it was never known.
    pub cameras: Option<u64>,
    /// Maximum number of users; `null` if it was never known.
    pub users: Option<u64>,
    /// Maximum size of recordings, in GB; `null` if it was never known.
    pub storage_gb: Option<u64>,
    /// Maximum number of everything else that was counted, by its key.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub counts: BTreeMap<String, u64>,
}

/// Records a heartbeat of a machine whose license is locked.
///
/// # Errors
/// If the database returns an error.
pub async fn note(
    db: &impl ConnectionTrait,
    license_id: &str,
    hardware_id: &str,
    day: NaiveDate,
    usage: &Usage,
) -> Result<(), StoreError> {
    let number = |amount: Option<u64>| amount.map(|it| i64::try_from(it).unwrap_or(i64::MAX));
    let (cameras, users) = (number(usage.cameras), number(usage.users));
    let storage_gb = number(usage.storage_gb);
    let counts = match usage.counts.is_empty() {
        true => None,
        false => {
            let known = Entity::find_by_id((license_id.to_owned(), hardware_id.to_owned(), day));
            let known = known.one(db).await?.map(UsageDay::from);
            Some(greatest_counts(known, usage))
        }
    };
    let row = ActiveModel {
        license_id: ActiveValue::Set(license_id.to_owned()),
        hardware_id: ActiveValue::Set(hardware_id.to_owned()),
        day: ActiveValue::Set(day),
        heartbeats: ActiveValue::Set(1),
        cameras: ActiveValue::Set(cameras),
        users: ActiveValue::Set(users),
        storage_gb: ActiveValue::Set(storage_gb),
        counts: ActiveValue::Set(counts.clone()),
    };
    let mut again = OnConflict::columns(KEY);
    again
        .value(
            Column::Heartbeats,
            Expr::col((Entity, Column::Heartbeats)).add(1),
        )
        .value(Column::Cameras, greater(Column::Cameras, cameras))
        .value(Column::Users, greater(Column::Users, users))
        .value(Column::StorageGb, greater(Column::StorageGb, storage_gb));
    if let Some(counts) = counts {
        again.value(Column::Counts, counts);
    }
    let insert = Entity::insert(row).on_conflict(again);
    Ok(writes::insert(db, insert).await?)
}

/// SQLite and PostgreSQL have different names for the greater of two values. One that is unknown does
/// not count.
fn greater(column: Column, amount: Option<i64>) -> SimpleExpr {
    let known = || Expr::col((Entity, column));
    let Some(amount) = amount else {
        return known();
    };
    CaseStatement::new()
        .case(known().is_null().or(known().lt(amount)), amount)
        .finally(known())
        .into()
}

/// The counts of a machine's day with those of another report.
fn greatest_counts(known: Option<UsageDay>, usage: &Usage) -> Json {
    let known = known.map(|day| Usage {
        counts: counts_of(day.counts),
        ..Usage::default()
    });
    let greatest = known.unwrap_or_default().greatest(usage);
    let counts = greatest.counts.iter();
    let counts: BTreeMap<&str, u64> = counts.collect();
    serde_json::to_value(counts).unwrap_or_default()
}

/// Maximum number of entries, one per machine and day, in one response.
pub const MAX_LISTED: u64 = 1000;

/// A position in a list of usage.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct UsageCursor {
    day: Storable<NaiveDate>,
    hardware_id: String,
}

impl UsageDay {
    /// Its position in lists.
    #[must_use]
    pub fn cursor(&self) -> UsageCursor {
        UsageCursor {
            day: Storable::of_row(self.day),
            hardware_id: self.hardware_id.clone(),
        }
    }
}

/// A page of the usage of the machines of a license since a day, newest day first: the entries after a
/// cursor, at most `limit` and at most [`MAX_LISTED`].
///
/// # Errors
/// If the database returns an error.
pub async fn since(
    db: &impl ConnectionTrait,
    license_id: &str,
    day: NaiveDate,
    after: Option<&UsageCursor>,
    limit: u64,
) -> Result<Page<UsageDay>, StoreError> {
    let mut found = Entity::find()
        .filter(Column::LicenseId.eq(license_id))
        .filter(Column::Day.gte(day));
    if let Some(after) = after {
        // A page that begins before the first day is past the last one.
        if after.day.get() < day {
            return Ok(Page::default());
        }
        let on_the_same_day = Column::Day
            .eq(after.day.get())
            .and(Column::HardwareId.gt(&after.hardware_id));
        found = found.filter(Column::Day.lt(after.day.get()).or(on_the_same_day));
    }
    let found = found
        .order_by_desc(Column::Day)
        .order_by_asc(Column::HardwareId);
    let found = page(db, found, std::cmp::min(limit, MAX_LISTED)).await?;
    Ok(found.map(UsageDay::from))
}

/// A place among all rows, which are in the order of these fields.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsagePlace {
    /// The license.
    pub license_id: String,
    /// The machine.
    pub hardware_id: String,
    /// The day.
    pub day: NaiveDate,
}

/// The usage of the machines of one license or of all since a day, by license, machine and day:
/// after a place, at most `most`, and no more than fit on a page.
///
/// # Errors
/// If the database returns an error.
pub async fn in_order(
    db: &impl ConnectionTrait,
    license_id: Option<&str>,
    since: NaiveDate,
    after: Option<&UsagePlace>,
    most: u64,
) -> Result<Vec<(UsagePlace, UsageDay)>, StoreError> {
    let mut found = Entity::find().filter(Column::Day.gte(since));
    if let Some(license_id) = license_id {
        found = found.filter(Column::LicenseId.eq(license_id));
    }
    if let Some(after) = after {
        let (license, machine) = (&*after.license_id, &*after.hardware_id);
        let later_day = Condition::all()
            .add(Column::HardwareId.eq(machine))
            .add(Column::Day.gt(after.day));
        let later_machine = Condition::any()
            .add(Column::HardwareId.gt(machine))
            .add(later_day);
        let later = Condition::any().add(Column::LicenseId.gt(license)).add(
            Condition::all()
                .add(Column::LicenseId.eq(license))
                .add(later_machine),
        );
        // With this condition alone, an index is used.
        found = found.filter(Column::LicenseId.gte(license)).filter(later);
    }
    for column in KEY {
        found = found.order_by_asc(column);
    }
    let found = page(db, found, most).await?;
    let placed = found.rows.into_iter().map(|row| {
        let place = UsagePlace {
            license_id: row.license_id.clone(),
            hardware_id: row.hardware_id.clone(),
            day: row.day,
        };
        (place, row.into())
    });
    Ok(placed.collect())
}

/// A day, with the greatest numbers of cameras, users and GB.
type GreatestOfDay = (NaiveDate, Option<i64>, Option<i64>, Option<i64>);

/// The highest usage of any one machine of a license, on each day since a given day.
///
/// # Errors
/// If the database returns an error.
pub async fn greatest_since(
    db: &impl ConnectionTrait,
    license_id: &str,
    day: NaiveDate,
) -> Result<Vec<(NaiveDate, Usage)>, StoreError> {
    let rows: Vec<GreatestOfDay> = Entity::find()
        .select_only()
        .column(Column::Day)
        .column_as(Column::Cameras.max(), "most_cameras")
        .column_as(Column::Users.max(), "most_users")
        .column_as(Column::StorageGb.max(), "most_storage_gb")
        .filter(Column::LicenseId.eq(license_id))
        .filter(Column::Day.gte(day))
        .group_by(Column::Day)
        .order_by_asc(Column::Day)
        .limit(MAX_LISTED)
        .into_tuple()
        .all(db)
        .await?;
    let rows = rows.into_iter().map(|(day, cameras, users, storage_gb)| {
        let usage = Usage {
            cameras: amount(cameras),
            users: amount(users),
            storage_gb: amount(storage_gb),
            ..Usage::default()
        };
        (day, usage)
    });
    Ok(rows.collect())
}

/// Removes older rows.
///
/// # Errors
/// If the database returns an error.
pub async fn forget(db: &impl ConnectionTrait, before: NaiveDate) -> Result<(), StoreError> {
    Entity::delete_many()
        .filter(Column::Day.lt(before))
        .exec(db)
        .await?;
    Ok(())
}

fn amount(column: Option<i64>) -> Option<u64> {
    column.and_then(|amount| u64::try_from(amount).ok())
}

impl From<Model> for UsageDay {
    fn from(row: Model) -> Self {
        let counts = row.counts.and_then(|it| serde_json::from_value(it).ok());
        Self {
            day: row.day,
            hardware_id: row.hardware_id,
            heartbeats: u64::try_from(row.heartbeats).unwrap_or_default(),
            cameras: amount(row.cameras),
            users: amount(row.users),
            storage_gb: amount(row.storage_gb),
            counts: counts.unwrap_or_default(),
        }
    }
}
