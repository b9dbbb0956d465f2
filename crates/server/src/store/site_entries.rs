//! `site_entries`: how many entries of the audit log the sites of a license caused on
//! a day, and how many more were only counted. The summary of a day replaces its row.

use chrono::NaiveDate;
use sea_orm::entity::prelude::*;
use sea_orm::sea_query::OnConflict;
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

/// What the sites of one license did on one day.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SiteEntries {
    /// The license.
    pub license_id: String,
    /// The day, in UTC.
    pub day: NaiveDate,
    /// How many entries were written.
    pub written: u64,
    /// How many more were only counted.
    pub counted: u64,
}

/// What the sites of a license did on a day so far.
///
/// # Errors
/// When the database refuses.
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

/// Stores what they did. The license has to be held since it was read.
///
/// # Errors
/// When the database refuses.
pub async fn save(db: &impl ConnectionTrait, entries: &SiteEntries) -> Result<(), StoreError> {
    let number = |times: u64| i64::try_from(times).unwrap_or(i64::MAX);
    let row = ActiveModel {
        license_id: ActiveValue::Set(entries.license_id.clone()),
        day: ActiveValue::Set(entries.day),
        written: ActiveValue::Set(number(entries.written)),
        counted: ActiveValue::Set(number(entries.counted)),
    };
    let mut again = OnConflict::columns([Column::LicenseId, Column::Day]);
    again.update_columns([Column::Written, Column::Counted]);
    Entity::insert(row)
        .on_conflict(again)
        .exec_without_returning(db)
        .await?;
    Ok(())
}

/// Rows of earlier days, the oldest first.
///
/// # Errors
/// When the database refuses.
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

/// Removes a row. Answers whether it was there.
///
/// # Errors
/// When the database refuses.
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
