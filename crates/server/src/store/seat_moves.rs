//! `seat_moves`: the spent moves. The transfer budget of a license limits the rows.

use chrono::{DateTime, NaiveDateTime, Utc};
use license_service::database::{ExpectedTable, writes};
use sea_orm::entity::prelude::*;
use sea_orm::{ActiveValue, ConnectionTrait, EntityTrait};

use super::StoreError;

/// A row as the database library sees it.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "seat_moves")]
pub struct Model {
    #[sea_orm(primary_key)]
    id: i64,
    license_id: String,
    at: NaiveDateTime,
    from_hardware_id: String,
    to_hardware_id: String,
    overlap_until: NaiveDateTime,
}

/// There are no relations.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// What this program needs of the table.
pub(super) fn expected() -> ExpectedTable {
    ExpectedTable::of::<Entity>(&[]).append_only()
}

/// A machine took the place of another one whose lease is still valid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeatMove {
    /// The license.
    pub license_id: String,
    /// When.
    pub at: DateTime<Utc>,
    /// The machine whose place was taken.
    pub from_hardware_id: String,
    /// The machine that took it.
    pub to_hardware_id: String,
    /// When the lease of the former machine ends.
    pub overlap_until: DateTime<Utc>,
}

/// Adds a move.
///
/// # Errors
/// If the database returns an error.
pub async fn insert(db: &impl ConnectionTrait, seat_move: &SeatMove) -> Result<(), StoreError> {
    let row = ActiveModel {
        id: ActiveValue::NotSet,
        license_id: ActiveValue::Set(seat_move.license_id.clone()),
        at: ActiveValue::Set(seat_move.at.naive_utc()),
        from_hardware_id: ActiveValue::Set(seat_move.from_hardware_id.clone()),
        to_hardware_id: ActiveValue::Set(seat_move.to_hardware_id.clone()),
        overlap_until: ActiveValue::Set(seat_move.overlap_until.naive_utc()),
    };
    Ok(writes::insert(db, Entity::insert(row)).await?)
}

/// The number of moves that a license spent after an instant.
///
/// # Errors
/// If the database returns an error.
pub async fn count_after(
    db: &impl ConnectionTrait,
    license_id: &str,
    after: DateTime<Utc>,
) -> Result<u64, StoreError> {
    Ok(Entity::find()
        .filter(Column::LicenseId.eq(license_id))
        .filter(Column::At.gt(after.naive_utc()))
        .count(db)
        .await?)
}
