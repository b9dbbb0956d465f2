//! `calls`: the number of calls from sites in each hour, by result.

use chrono::{DateTime, NaiveDateTime, Utc};
use license_service::database::{ExpectedTable, writes};
use sea_orm::entity::prelude::*;
use sea_orm::sea_query::{Expr, ExprTrait as _, OnConflict};
use sea_orm::{ActiveValue, ConnectionTrait, EntityTrait, QueryOrder as _, QuerySelect as _};

use super::StoreError;

/// A row as the database library sees it.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "calls")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    hour: NaiveDateTime,
    #[sea_orm(primary_key, auto_increment = false)]
    kind: String,
    #[sea_orm(primary_key, auto_increment = false)]
    answer: String,
    times: i64,
}

/// There are no relations.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// One row for each of these.
const KEY: [Column; 3] = [Column::Hour, Column::Kind, Column::Answer];

/// What this program needs of the table.
pub(super) fn expected() -> ExpectedTable {
    ExpectedTable::of::<Entity>(&[&KEY])
}

/// The calls of one kind with the same result in one hour.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Calls {
    /// When the hour began.
    pub hour: DateTime<Utc>,
    /// `activate`, `validate`, `heartbeat` or `deactivate`.
    pub kind: String,
    /// `confirmed`, `denied`, `throttled` or `withheld`.
    pub answer: String,
    /// How many.
    pub times: u64,
}

/// Adds to the stored counts.
///
/// # Errors
/// If the database returns an error.
pub async fn add(db: &impl ConnectionTrait, calls: &Calls) -> Result<(), StoreError> {
    let times = i64::try_from(calls.times).unwrap_or(i64::MAX);
    let row = ActiveModel {
        hour: ActiveValue::Set(calls.hour.naive_utc()),
        kind: ActiveValue::Set(calls.kind.clone()),
        answer: ActiveValue::Set(calls.answer.clone()),
        times: ActiveValue::Set(times),
    };
    let mut again = OnConflict::columns(KEY);
    again.value(Column::Times, Expr::col((Entity, Column::Times)).add(times));
    let insert = Entity::insert(row).on_conflict(again);
    Ok(writes::insert(db, insert).await?)
}

/// Maximum number of rows that are read: more than the calls of the period for which they are kept.
const MAX_ROWS: u64 = 500_000;

/// Calls since an instant, the oldest first, at most 500,000 rows.
///
/// # Errors
/// If the database returns an error.
pub async fn since(
    db: &impl ConnectionTrait,
    from: DateTime<Utc>,
) -> Result<Vec<Calls>, StoreError> {
    let rows = Entity::find()
        .filter(Column::Hour.gte(from.naive_utc()))
        .order_by_asc(Column::Hour)
        .limit(MAX_ROWS)
        .all(db)
        .await?;
    Ok(rows.into_iter().map(Calls::from).collect())
}

/// Removes older rows.
///
/// # Errors
/// If the database returns an error.
pub async fn forget(db: &impl ConnectionTrait, before: DateTime<Utc>) -> Result<(), StoreError> {
    Entity::delete_many()
        .filter(Column::Hour.lt(before.naive_utc()))
        .exec(db)
        .await?;
    Ok(())
}

impl From<Model> for Calls {
    fn from(row: Model) -> Self {
        Self {
            hour: row.hour.and_utc(),
            kind: row.kind,
            answer: row.answer,
            times: u64::try_from(row.times).unwrap_or_default(),
        }
    }
}
