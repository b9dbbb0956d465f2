//! `system_config`: texts by key. The installation id is the Python service's
//! row; the other keys are ours.

use chrono::{DateTime, NaiveDateTime, Utc};
use license_service::database::{ExpectedTable, writes};
use sea_orm::ConnectionTrait;
use sea_orm::entity::prelude::*;
use sea_orm::sea_query::{ExprTrait as _, OnConflict};
use sea_orm::{ActiveValue, EntityTrait};

use super::StoreError;

/// Row with the installation id.
pub const INSTALLATION_ID: &str = "installation_id";
/// Row with the hardware id.
pub const HARDWARE_ID: &str = "license_client.hardware_id";
/// Row whose value changes with every change.
pub const REVISION: &str = "license_client.revision";
/// Row with the data that does not fit into the columns of the license cache.
pub const EVIDENCE: &str = "license_client.evidence";
/// Row with the time of the last heartbeat.
pub const HEARTBEAT_AT: &str = "license_client.heartbeat_at";
/// Row with the installation's secret, the key of the hardware hashes.
pub const SECRET: &str = "license_client.secret";
/// Row with the key with which the installation proves its calls.
pub const INSTALLATION_KEY: &str = "license_client.installation_key";
/// Row with the fingerprints of the known machines.
pub const FINGERPRINTS: &str = "license_client.fingerprints";
/// Row with the lease of the process that calls the License Server on schedule.
pub const SCHEDULER: &str = "license_client.scheduler";
/// Row with the usage reports from services of the VMS.
pub const USAGE: &str = "license_client.usage";

/// Row with the signed key sets that lead from the keys of this program to those
/// that are trusted now.
pub const KEY_SETS: &str = "license_client.key_sets";
/// Row with the high-water mark of the effective time.
pub const EFFECTIVE_TIME: &str = "license_client.effective_time";

/// A row as the database library sees it.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "system_config")]
pub struct Model {
    #[sea_orm(primary_key)]
    id: i32,
    #[sea_orm(unique)]
    key: String,
    value: String,
    updated_at: Option<NaiveDateTime>,
}

/// There are no relations.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// One row for each of these.
const KEY: [Column; 1] = [Column::Key];

/// What this program needs of the table.
pub(super) fn expected() -> ExpectedTable {
    ExpectedTable::of::<Entity>(&[&KEY])
}

/// The value of a row, `None` without that row.
///
/// # Errors
/// If the database returns an error.
pub async fn get(db: &impl ConnectionTrait, key: &str) -> Result<Option<String>, StoreError> {
    let row = super::find::<Entity>(db, |_| super::MAX_DOCUMENT_CHARS).filter(Column::Key.eq(key));
    let row = row.one(db).await?;
    Ok(row.map(|row| row.value))
}

/// Creates or changes a row.
///
/// # Errors
/// If the database returns an error.
pub async fn set(
    db: &impl ConnectionTrait,
    key: &str,
    value: &str,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    let row = writes::values(&row(key, value, now));
    let changed = [Column::Value, Column::UpdatedAt];
    Ok(writes::upsert::<Entity>(db, row, &KEY, &changed).await?)
}

/// Creates a row unless it exists. If two processes start together, one wins, and both then read
/// the same value.
///
/// # Errors
/// If the database returns an error.
pub async fn insert_if_missing(
    db: &impl ConnectionTrait,
    key: &str,
    value: &str,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    let is_there = OnConflict::columns(KEY).do_nothing().to_owned();
    let insert = Entity::insert(row(key, value, now)).on_conflict(is_there);
    writes::insert_if_missing(db, insert, Column::Key.eq(key)).await?;
    Ok(())
}

/// Changes a row from one value to another; returns whether it had the old value. If two processes
/// try at the same time, one succeeds.
///
/// # Errors
/// If the database returns an error.
pub async fn replace(
    db: &impl ConnectionTrait,
    key: &str,
    from: &str,
    to: &str,
    now: DateTime<Utc>,
) -> Result<bool, StoreError> {
    let row = Column::Key.eq(key).and(Column::Value.eq(from));
    let values = vec![
        (Column::Value, to.into()),
        (Column::UpdatedAt, now.naive_utc().into()),
    ];
    Ok(writes::update_if::<Entity>(db, row, values).await?)
}

/// Removes a row, if there is one.
///
/// # Errors
/// If the database returns an error.
pub async fn remove(db: &impl ConnectionTrait, key: &str) -> Result<(), StoreError> {
    Entity::delete_many()
        .filter(Column::Key.eq(key))
        .exec(db)
        .await?;
    Ok(())
}

fn row(key: &str, value: &str, now: DateTime<Utc>) -> ActiveModel {
    ActiveModel {
        id: ActiveValue::NotSet,
        key: ActiveValue::Set(key.to_owned()),
        value: ActiveValue::Set(value.to_owned()),
        updated_at: ActiveValue::Set(Some(now.naive_utc())),
    }
}
