//! `key_record`: one row with the newest key set that was used with this database, and the revoked
//! keys. No row means that no server has recorded one yet.

use license_core::key_record::KeyRecord;
use license_service::database::{ExpectedTable, writes};
use sea_orm::entity::prelude::*;
use sea_orm::sea_query::{ExprTrait as _, OnConflict};
use sea_orm::{ActiveValue, ConnectionTrait, EntityTrait};

use super::StoreError;

/// The only row.
const ROW: i64 = 1;

/// A row as the database library sees it.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "key_record")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    id: i64,
    version: i64,
    fingerprint: String,
    revoked: Json,
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

/// The recorded key set; `None` if there is none.
///
/// # Errors
/// If the database fails, or the row contains an unexpected value.
pub async fn find(db: &impl ConnectionTrait) -> Result<Option<KeyRecord>, StoreError> {
    let Some(row) = Entity::find_by_id(ROW).one(db).await? else {
        return Ok(None);
    };
    let unexpected = |column, value: String| StoreError::Value { column, value };
    let version = u64::try_from(row.version)
        .map_err(|_| unexpected("key_record.version", row.version.to_string()))?;
    let revoked = serde_json::from_value(row.revoked.clone())
        .map_err(|_| unexpected("key_record.revoked", row.revoked.to_string()))?;
    Ok(Some(KeyRecord {
        version,
        fingerprint: row.fingerprint,
        revoked,
    }))
}

/// Records a key set if none is recorded.
///
/// # Errors
/// If the database fails.
pub async fn add(db: &impl ConnectionTrait, record: &KeyRecord) -> Result<(), StoreError> {
    let is_there = OnConflict::columns(KEY).do_nothing().to_owned();
    let insert = Entity::insert(row(record)).on_conflict(is_there);
    writes::insert_if_missing(db, insert, Column::Id.eq(ROW)).await?;
    Ok(())
}

/// Replaces one record by the next, unless another process was faster.
///
/// # Errors
/// If the database fails.
pub async fn advance(
    db: &impl ConnectionTrait,
    from: &KeyRecord,
    to: &KeyRecord,
) -> Result<(), StoreError> {
    let is_recorded = Column::Id
        .eq(ROW)
        .and(Column::Version.eq(stored(from.version)))
        .and(Column::Fingerprint.eq(&from.fingerprint));
    writes::update_if::<Entity>(db, is_recorded, writes::values(&row(to))).await?;
    Ok(())
}

/// Replaces the record unconditionally.
///
/// # Errors
/// If the database fails.
pub async fn replace(db: &impl ConnectionTrait, record: &KeyRecord) -> Result<(), StoreError> {
    let changed = [Column::Version, Column::Fingerprint, Column::Revoked];
    Ok(writes::upsert::<Entity>(db, writes::values(&row(record)), &KEY, &changed).await?)
}

fn row(record: &KeyRecord) -> ActiveModel {
    ActiveModel {
        id: ActiveValue::Set(ROW),
        version: ActiveValue::Set(stored(record.version)),
        fingerprint: ActiveValue::Set(record.fingerprint.clone()),
        revoked: ActiveValue::Set(record.revoked.clone().into()),
    }
}

fn stored(version: u64) -> i64 {
    i64::try_from(version).unwrap_or(i64::MAX)
}
