//! `trials`: which installation has started a trial, and its license. A row contains the hash of the
//! site's secret.

use chrono::{DateTime, NaiveDateTime, Utc};
use license_service::database::{ExpectedTable, writes};
use sea_orm::entity::prelude::*;
use sea_orm::{ActiveValue, ConnectionTrait, EntityTrait};

use super::StoreError;

/// A row as the database library sees it.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "trials")]
pub struct Model {
    #[sea_orm(primary_key)]
    id: i64,
    installation_id: String,
    hardware_id: String,
    code_id: String,
    license_id: String,
    started_at: NaiveDateTime,
    secret_hash: Option<String>,
}

/// There are no relations.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// What this program needs of the table.
pub(super) fn expected() -> ExpectedTable {
    ExpectedTable::of::<Entity>(&[&[Column::InstallationId]])
}

/// The trial of an installation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StartedTrial {
    /// The installation.
    pub installation_id: String,
    /// The machine on which it was started.
    pub hardware_id: String,
    /// The id of the code.
    pub code_id: String,
    /// The id of the license.
    pub license_id: String,
    /// When it was started.
    pub started_at: DateTime<Utc>,
    /// The hash of the secret that the site sent; `None` if it sent none.
    pub secret_hash: Option<String>,
}

/// Adds a trial.
///
/// # Errors
/// If the database returns an error, for example because the installation has started one.
pub async fn insert(db: &impl ConnectionTrait, trial: &StartedTrial) -> Result<(), StoreError> {
    let row = ActiveModel {
        id: ActiveValue::NotSet,
        installation_id: ActiveValue::Set(trial.installation_id.clone()),
        hardware_id: ActiveValue::Set(trial.hardware_id.clone()),
        code_id: ActiveValue::Set(trial.code_id.clone()),
        license_id: ActiveValue::Set(trial.license_id.clone()),
        started_at: ActiveValue::Set(trial.started_at.naive_utc()),
        secret_hash: ActiveValue::Set(trial.secret_hash.clone()),
    };
    Ok(writes::insert(db, Entity::insert(row)).await?)
}

/// The trial of an installation.
///
/// # Errors
/// If the database returns an error.
pub async fn find(
    db: &impl ConnectionTrait,
    installation_id: &str,
) -> Result<Option<StartedTrial>, StoreError> {
    let found = Entity::find().filter(Column::InstallationId.eq(installation_id));
    let row = found.one(db).await?;
    Ok(row.map(|row| StartedTrial {
        installation_id: row.installation_id,
        hardware_id: row.hardware_id,
        code_id: row.code_id,
        license_id: row.license_id,
        started_at: row.started_at.and_utc(),
        secret_hash: row.secret_hash,
    }))
}

/// Removes the trial of an installation; returns whether there was one.
///
/// # Errors
/// If the database returns an error.
pub async fn remove(db: &impl ConnectionTrait, installation_id: &str) -> Result<bool, StoreError> {
    let removed = Entity::delete_many()
        .filter(Column::InstallationId.eq(installation_id))
        .exec(db)
        .await?;
    Ok(removed.rows_affected > 0)
}
