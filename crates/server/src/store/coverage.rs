//! `coverage`: one row with the time up to which this database is known to contain everything that
//! was issued. No row means that this is not known.

use chrono::NaiveDateTime;
use license_core::restored::Coverage;
use license_service::database::{ExpectedTable, writes};
use sea_orm::entity::prelude::*;
use sea_orm::{ActiveValue, ConnectionTrait, DbBackend, EntityTrait, QuerySelect as _};

use super::StoreError;

/// The only row.
const ROW: i64 = 1;

/// A row as the database library sees it.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "coverage")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    id: i64,
    version: i64,
    covered_until: NaiveDateTime,
    is_closed: bool,
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

/// The recorded coverage.
///
/// # Errors
/// If the database returns an error.
pub async fn find(db: &impl ConnectionTrait) -> Result<Option<Coverage>, StoreError> {
    let row = Entity::find_by_id(ROW).one(db).await?;
    Ok(row.map(Coverage::from))
}

/// The same, but other processes that change it wait until the transaction ends.
///
/// # Errors
/// If the database returns an error.
pub async fn hold(db: &impl ConnectionTrait) -> Result<Option<Coverage>, StoreError> {
    let mut select = Entity::find_by_id(ROW);
    // A transaction that changes data has exclusive access to an SQLite file.
    if db.get_database_backend() == DbBackend::Postgres {
        select = select.lock_exclusive();
    }
    let row = select.one(db).await?;
    Ok(row.map(Coverage::from))
}

/// Records the coverage of the database. The caller must have locked the row, and checked that this
/// continues the recorded coverage.
///
/// # Errors
/// If the database returns an error.
pub async fn record(db: &impl ConnectionTrait, coverage: &Coverage) -> Result<(), StoreError> {
    let row = ActiveModel {
        id: ActiveValue::Set(ROW),
        version: ActiveValue::Set(i64::try_from(coverage.version).unwrap_or(i64::MAX)),
        covered_until: ActiveValue::Set(coverage.until.naive_utc()),
        is_closed: ActiveValue::Set(coverage.is_closed),
    };
    let changed = [Column::Version, Column::CoveredUntil, Column::IsClosed];
    Ok(writes::upsert::<Entity>(db, writes::values(&row), &KEY, &changed).await?)
}

impl From<Model> for Coverage {
    fn from(row: Model) -> Self {
        Self {
            version: u64::try_from(row.version).unwrap_or_default(),
            until: row.covered_until.and_utc(),
            is_closed: row.is_closed,
        }
    }
}
