//! `lost_numbers`: ranges of sequence numbers that this database may have lost, because it was not
//! in use, or was restored from a backup. Rows are removed when no lease from that time is valid any
//! more.

use license_core::restored::{LostNumbers, MAX_LEAD};
use license_service::database::{ExpectedTable, writes};
use sea_orm::entity::prelude::*;
use sea_orm::{
    ActiveValue, Condition, ConnectionTrait, EntityTrait, QueryOrder as _, QuerySelect as _,
};

use super::StoreError;

/// A row as the database library sees it.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "lost_numbers")]
pub struct Model {
    #[sea_orm(primary_key)]
    id: i64,
    after_number: i64,
    until_number: i64,
}

/// There are no relations.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// What this program needs of the table.
pub(super) fn expected() -> ExpectedTable {
    ExpectedTable::of::<Entity>(&[])
}

/// Adds a range. Ranges that overlap become one: several servers may notice the same loss.
///
/// # Errors
/// If the database returns an error.
pub async fn add(db: &impl ConnectionTrait, lost: LostNumbers) -> Result<(), StoreError> {
    let (mut after, mut until) = (stored(lost.after), stored(lost.until));
    let overlap = Condition::all()
        .add(Column::UntilNumber.gte(after))
        .add(Column::AfterNumber.lte(until));
    let joined: Option<(Option<i64>, Option<i64>)> = Entity::find()
        .select_only()
        .column_as(Column::AfterNumber.min(), "first")
        .column_as(Column::UntilNumber.max(), "last")
        .filter(overlap.clone())
        .into_tuple()
        .one(db)
        .await?;
    if let Some((Some(first), Some(last))) = joined {
        after = after.min(first);
        until = until.max(last);
    }
    Entity::delete_many().filter(overlap).exec(db).await?;
    let row = ActiveModel {
        id: ActiveValue::NotSet,
        after_number: ActiveValue::Set(after),
        until_number: ActiveValue::Set(until),
    };
    Ok(writes::insert(db, Entity::insert(row)).await?)
}

/// A range that a number is in, or one that ends up to [`MAX_LEAD`] before it.
///
/// # Errors
/// If the database returns an error.
pub async fn around(
    db: &impl ConnectionTrait,
    number: u64,
) -> Result<Option<LostNumbers>, StoreError> {
    let lead = MAX_LEAD.num_milliseconds();
    // The range that ends last: if the number is in any range, it is in this one.
    let row = Entity::find()
        .filter(Column::UntilNumber.gte(stored(number).saturating_sub(lead)))
        .filter(Column::AfterNumber.lt(stored(number)))
        .order_by_desc(Column::UntilNumber)
        .limit(1)
        .one(db)
        .await?;
    Ok(row.map(LostNumbers::from))
}

/// The range that ends last.
///
/// # Errors
/// If the database returns an error.
pub async fn newest(db: &impl ConnectionTrait) -> Result<Option<LostNumbers>, StoreError> {
    let newest = Entity::find().order_by_desc(Column::UntilNumber).limit(1);
    Ok(newest.one(db).await?.map(LostNumbers::from))
}

impl From<Model> for LostNumbers {
    fn from(row: Model) -> Self {
        Self {
            after: u64::try_from(row.after_number).unwrap_or_default(),
            until: u64::try_from(row.until_number).unwrap_or_default(),
        }
    }
}

/// Removes ranges that end before this number.
///
/// # Errors
/// If the database returns an error.
pub async fn forget(db: &impl ConnectionTrait, before: u64) -> Result<(), StoreError> {
    Entity::delete_many()
        .filter(Column::UntilNumber.lt(stored(before)))
        .exec(db)
        .await?;
    Ok(())
}

fn stored(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
