//! `bulk_lines`: the lines of files whose changes were made. Rows are only added.

use chrono::{DateTime, NaiveDateTime, Utc};
use license_service::database::{ExpectedTable, writes};
use sea_orm::entity::prelude::*;
use sea_orm::{ActiveValue, ConnectionTrait, EntityTrait};

use super::StoreError;

/// A row as the database library sees it.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "bulk_lines")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    id: String,
    license_id: String,
    amendment: i32,
    done_at: NaiveDateTime,
}

/// There are no relations.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// What this program needs of the table.
pub(super) fn expected() -> ExpectedTable {
    ExpectedTable::of::<Entity>(&[&[Column::Id]])
}

/// A line whose change was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DoneLine {
    /// Which line: see [`license_core::line_id`].
    pub id: String,
    /// The id of the license.
    pub license_id: String,
    /// The number of the amendment with which it was made.
    pub amendment: u32,
    /// When.
    pub done_at: DateTime<Utc>,
}

/// The line with this id, if its change was made.
///
/// # Errors
/// If the database returns an error.
pub async fn find(db: &impl ConnectionTrait, id: &str) -> Result<Option<DoneLine>, StoreError> {
    let row = Entity::find_by_id(id).one(db).await?;
    Ok(row.map(|row| DoneLine {
        id: row.id,
        license_id: row.license_id,
        amendment: u32::try_from(row.amendment).unwrap_or_default(),
        done_at: row.done_at.and_utc(),
    }))
}

/// Adds a line, in the transaction of its change.
///
/// # Errors
/// If the database returns an error, for example because the line was added by another process.
pub async fn insert(db: &impl ConnectionTrait, line: &DoneLine) -> Result<(), StoreError> {
    let row = ActiveModel {
        id: ActiveValue::Set(line.id.clone()),
        license_id: ActiveValue::Set(line.license_id.clone()),
        amendment: ActiveValue::Set(i32::try_from(line.amendment).unwrap_or(i32::MAX)),
        done_at: ActiveValue::Set(line.done_at.naive_utc()),
    };
    Ok(writes::insert(db, Entity::insert(row)).await?)
}
