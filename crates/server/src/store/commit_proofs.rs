//! `commit_proofs`: rows of processes, each with the token of the newest transaction that wrote it.

use license_service::database::{ExpectedTable, writes};
use sea_orm::entity::prelude::*;
use sea_orm::sea_query::ExprTrait as _;
use sea_orm::{
    ActiveValue, Condition, ConnectionTrait, EntityTrait, Order, QueryOrder as _, QuerySelect as _,
};

use super::StoreError;

/// A row as the database library sees it.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "commit_proofs")]
pub struct Model {
    /// Which row: a random number of the process; negative for the row of a server's records.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: i64,
    /// The newest token, larger than those before.
    pub token: i64,
    /// The sequence number of the moment at which it was written.
    pub number: i64,
}

impl Model {
    /// The sequence number of the moment at which the row was written.
    #[must_use]
    pub fn number(&self) -> u64 {
        u64::try_from(self.number).unwrap_or_default()
    }
}

/// There are no relations.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// One row for each of these.
const KEY: [Column; 1] = [Column::Id];

/// What this program needs of the table.
pub(super) fn expected() -> ExpectedTable {
    ExpectedTable::of::<Entity>(&[&KEY])
}

/// Writes a row. Answers whether it had one of the `expected` tokens before; without any, nothing
/// is expected of it.
///
/// # Errors
/// If the database returns an error.
pub async fn write(
    db: &impl ConnectionTrait,
    row: &Model,
    expected: &[i64],
) -> Result<bool, StoreError> {
    if !expected.is_empty() {
        let is_expected = one_of(Column::Token, expected);
        let values = vec![
            (Column::Token, Expr::value(row.token)),
            (Column::Number, Expr::value(row.number)),
        ];
        let row = Column::Id.eq(row.id).and(is_expected);
        if writes::update_if::<Entity>(db, row, values).await? {
            return Ok(true);
        }
    }
    let new = ActiveModel {
        id: ActiveValue::Set(row.id),
        token: ActiveValue::Set(row.token),
        number: ActiveValue::Set(row.number),
    };
    let changed = [Column::Token, Column::Number];
    writes::upsert::<Entity>(db, writes::values(&new), &KEY, &changed).await?;
    Ok(expected.is_empty())
}

/// Those of these rows that exist.
///
/// # Errors
/// If the database returns an error.
pub async fn find(db: &impl ConnectionTrait, rows: &[i64]) -> Result<Vec<Model>, StoreError> {
    let found = Entity::find().filter(one_of(Column::Id, rows));
    Ok(found.all(db).await?)
}

/// Maximum number of rows of other processes that are read.
const MAX_OTHERS: u64 = 100_000;

/// Those of these rows that exist, and the rows that were written since this number, at most
/// 100,000 of them.
///
/// # Errors
/// If the database returns an error.
pub async fn find_since(
    db: &impl ConnectionTrait,
    rows: &[i64],
    since: u64,
) -> Result<Vec<Model>, StoreError> {
    let since = i64::try_from(since).unwrap_or(i64::MAX);
    let found = Condition::any()
        .add(one_of(Column::Id, rows))
        .add(Column::Number.gte(since));
    let are_first = one_of(Column::Id, rows);
    Ok(Entity::find()
        .filter(found)
        .order_by(are_first, Order::Desc)
        .limit(MAX_OTHERS + rows.len() as u64)
        .all(db)
        .await?)
}

/// Removes rows that were written before this number.
///
/// # Errors
/// If the database returns an error.
pub async fn forget(db: &impl ConnectionTrait, before: u64) -> Result<(), StoreError> {
    let before = i64::try_from(before).unwrap_or(i64::MAX);
    Entity::delete_many()
        .filter(Column::Number.lt(before))
        .exec(db)
        .await?;
    Ok(())
}

/// A process has few rows, with few tokens each.
#[expect(clippy::disallowed_methods, reason = "the values are few")]
fn one_of(column: Column, values: &[i64]) -> Expr {
    column.is_in(values.iter().copied())
}
