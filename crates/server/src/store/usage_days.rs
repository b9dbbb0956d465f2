//! `usage_days`: the highest usage that each machine has reported on each day.

use chrono::NaiveDate;
use license_core::usage::Usage;
use license_service::database::{ExpectedTable, writes};
use sea_orm::entity::prelude::*;
use sea_orm::sea_query::{CaseStatement, Expr, ExprTrait as _, OnConflict, SimpleExpr};
use sea_orm::{ActiveValue, ConnectionTrait, EntityTrait, QueryOrder as _, QuerySelect as _};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::StoreError;

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
    cameras: i64,
    users: i64,
    storage_gb: i64,
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
    /// Maximum number of cameras in use.
    pub cameras: u64,
    /// Maximum number of users.
    pub users: u64,
    /// Maximum size of recordings, in GB.
    pub storage_gb: u64,
}

/// Records a heartbeat of a machine.
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
    let number =
        |amount: Option<u64>| i64::try_from(amount.unwrap_or_default()).unwrap_or(i64::MAX);
    let (cameras, users) = (number(usage.cameras), number(usage.users));
    let storage_gb = number(usage.storage_gb);
    let row = ActiveModel {
        license_id: ActiveValue::Set(license_id.to_owned()),
        hardware_id: ActiveValue::Set(hardware_id.to_owned()),
        day: ActiveValue::Set(day),
        heartbeats: ActiveValue::Set(1),
        cameras: ActiveValue::Set(cameras),
        users: ActiveValue::Set(users),
        storage_gb: ActiveValue::Set(storage_gb),
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
    let insert = Entity::insert(row).on_conflict(again);
    Ok(writes::insert(db, insert).await?)
}

/// SQLite and PostgreSQL have different names for the greater of two values.
fn greater(column: Column, amount: i64) -> SimpleExpr {
    let known = || Expr::col((Entity, column));
    CaseStatement::new()
        .case(known().lt(amount), amount)
        .finally(known())
        .into()
}

/// Maximum number of entries, one per machine and day, in one response.
pub const MAX_LISTED: u64 = 1000;

/// A position in a list of usage.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct UsageCursor {
    day: NaiveDate,
    hardware_id: String,
}

impl UsageDay {
    /// Its position in lists.
    #[must_use]
    pub fn cursor(&self) -> UsageCursor {
        UsageCursor {
            day: self.day,
            hardware_id: self.hardware_id.clone(),
        }
    }
}

/// The usage of the machines of a license since a day, newest day first: the entries after a
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
) -> Result<Vec<UsageDay>, StoreError> {
    let mut found = Entity::find()
        .filter(Column::LicenseId.eq(license_id))
        .filter(Column::Day.gte(day));
    if let Some(after) = after {
        // A page that begins before the first day is past the last one.
        if after.day < day {
            return Ok(Vec::new());
        }
        let on_the_same_day = Column::Day
            .eq(after.day)
            .and(Column::HardwareId.gt(&after.hardware_id));
        found = found.filter(Column::Day.lt(after.day).or(on_the_same_day));
    }
    let rows = found
        .order_by_desc(Column::Day)
        .order_by_asc(Column::HardwareId)
        .limit(std::cmp::min(limit, MAX_LISTED))
        .all(db)
        .await?;
    Ok(rows.into_iter().map(UsageDay::from).collect())
}

/// The highest usage of any one machine of a license, on each day since a given day.
///
/// # Errors
/// If the database returns an error.
pub async fn greatest_since(
    db: &impl ConnectionTrait,
    license_id: &str,
    day: NaiveDate,
) -> Result<Vec<(NaiveDate, Usage)>, StoreError> {
    let rows: Vec<(NaiveDate, i64, i64, i64)> = Entity::find()
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
    let amount = |amount| u64::try_from(amount).ok();
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

impl From<Model> for UsageDay {
    fn from(row: Model) -> Self {
        let amount = |amount| u64::try_from(amount).unwrap_or_default();
        Self {
            day: row.day,
            hardware_id: row.hardware_id,
            heartbeats: amount(row.heartbeats),
            cameras: amount(row.cameras),
            users: amount(row.users),
            storage_gb: amount(row.storage_gb),
        }
    }
}
