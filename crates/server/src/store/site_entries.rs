//! `site_entries`: the number of audit log entries that the sites of a license caused on a day, and
//! the number that were only counted. The summary of a day replaces its row.

use chrono::NaiveDate;
use license_service::database::{ExpectedTable, writes};
use sea_orm::entity::prelude::*;
use sea_orm::{ActiveValue, ConnectionTrait, EntityTrait, QueryOrder as _, QuerySelect as _};

use super::StoreError;

/// A row as the database library sees it.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "site_entries")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    license_id: String,
    #[sea_orm(primary_key, auto_increment = false)]
    day: NaiveDate,
    written: i64,
    counted: i64,
}

/// There are no relations.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// One row for each of these.
const KEY: [Column; 2] = [Column::LicenseId, Column::Day];

/// What this program needs of the table.
pub(super) fn expected() -> ExpectedTable {
    ExpectedTable::of::<Entity>(&[&KEY])
}

/// The entries of the sites of one license on one day.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SiteEntries {
    /// The license.
    pub license_id: String,
    /// The day, in UTC.
    pub day: NaiveDate,
    /// The number of entries that were written.
    pub written: u64,
    /// The number of entries that were only counted.
    pub counted: u64,
}

/// The entries of the sites of a license on a day so far.
///
/// # Errors
/// If the database returns an error.
pub async fn of_day(
    db: &impl ConnectionTrait,
    license_id: &str,
    day: NaiveDate,
) -> Result<SiteEntries, StoreError> {
    let key = (license_id.to_owned(), day);
    let found = Entity::find_by_id(key).one(db).await?;
    Ok(found.map_or_else(
        || SiteEntries {
            license_id: license_id.to_owned(),
            day,
            written: 0,
            counted: 0,
        },
        SiteEntries::from,
    ))
}

/// Stores the counts. The license must have been locked since they were read.
///
/// # Errors
/// If the database returns an error.
pub async fn save(db: &impl ConnectionTrait, entries: &SiteEntries) -> Result<(), StoreError> {
    let number = |times: u64| i64::try_from(times).unwrap_or(i64::MAX);
    let row = ActiveModel {
        license_id: ActiveValue::Set(entries.license_id.clone()),
        day: ActiveValue::Set(entries.day),
        written: ActiveValue::Set(number(entries.written)),
        counted: ActiveValue::Set(number(entries.counted)),
    };
    let changed = [Column::Written, Column::Counted];
    Ok(writes::upsert::<Entity>(db, writes::values(&row), &KEY, &changed).await?)
}

/// Rows of earlier days, oldest first.
///
/// # Errors
/// If the database returns an error.
pub async fn before(
    db: &impl ConnectionTrait,
    day: NaiveDate,
    limit: u64,
) -> Result<Vec<SiteEntries>, StoreError> {
    let rows = Entity::find()
        .filter(Column::Day.lt(day))
        .order_by_asc(Column::Day)
        .order_by_asc(Column::LicenseId)
        .limit(limit)
        .all(db)
        .await?;
    Ok(rows.into_iter().map(SiteEntries::from).collect())
}

/// Removes a row. Returns whether it existed.
///
/// # Errors
/// If the database returns an error.
pub async fn remove(
    db: &impl ConnectionTrait,
    license_id: &str,
    day: NaiveDate,
) -> Result<bool, StoreError> {
    let key = (license_id.to_owned(), day);
    let removed = Entity::delete_by_id(key).exec(db).await?;
    Ok(removed.rows_affected > 0)
}

impl From<Model> for SiteEntries {
    fn from(row: Model) -> Self {
        let times = |times| u64::try_from(times).unwrap_or_default();
        Self {
            license_id: row.license_id,
            day: row.day,
            written: times(row.written),
            counted: times(row.counted),
        }
    }
}
