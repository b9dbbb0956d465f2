//! Data about a caller that the limits on calls need, in one query.

use sea_orm::entity::prelude::*;
use sea_orm::sea_query::{Expr, ExprTrait as _};
use sea_orm::{ConnectionTrait, EntityTrait, FromQueryResult, JoinType, QuerySelect as _};

use super::{StoreError, licenses, seats};

/// A machine that called with a license key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallerOfLicense {
    /// The license.
    pub license_id: String,
    /// The number of machines that the license is for.
    pub seats: u32,
    /// Whether the machine holds one of its seats.
    pub holds_seat: bool,
}

#[derive(FromQueryResult)]
struct Row {
    id: String,
    seats: i32,
    held: Option<String>,
}

/// The license with this key, and its relation to this machine; `None` if the key is unknown.
///
/// # Errors
/// If the database returns an error.
pub async fn find(
    db: &impl ConnectionTrait,
    license_key: &str,
    hardware_id: &str,
) -> Result<Option<CallerOfLicense>, StoreError> {
    let hardware_id = hardware_id.to_owned();
    let its_seat = seats::Relation::License
        .def()
        .rev()
        .on_condition(move |_, seat| {
            Expr::col((seat.clone(), seats::Column::HardwareId))
                .eq(hardware_id.clone())
                .and(Expr::col((seat, seats::Column::FreedAt)).is_null())
                .into()
        });
    let row = licenses::Entity::find()
        .select_only()
        .column(licenses::Column::Id)
        .column(licenses::Column::Seats)
        .column_as(seats::Column::HardwareId, "held")
        .join(JoinType::LeftJoin, its_seat)
        .filter(licenses::Column::LicenseKey.eq(license_key))
        .into_model::<Row>()
        .one(db)
        .await?;
    Ok(row.map(|row| CallerOfLicense {
        license_id: row.id,
        seats: u32::try_from(row.seats).unwrap_or_default(),
        holds_seat: row.held.is_some(),
    }))
}
