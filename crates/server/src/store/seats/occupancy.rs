//! The seats that count against a license: those that are held, and those that are freed and wait
//! for their leases to end.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use license_core::seat::SILENT_FOR;
use sea_orm::entity::prelude::*;
use sea_orm::{
    Condition, ConnectionTrait, EntityTrait, JoinType, QueryOrder as _, QuerySelect as _,
};

use super::{Column, Entity, MAX_LISTED, Relation, Seat, TakenAt};
use crate::store::page_bytes::page;
use crate::store::parts::in_parts;
use crate::store::{StoreError, licenses};

/// The number of held seats of each of these licenses. Licenses without held seats are omitted.
///
/// # Errors
/// If the database returns an error.
pub async fn count_held_of(
    db: &impl ConnectionTrait,
    license_ids: Vec<String>,
) -> Result<HashMap<String, u64>, StoreError> {
    let counts = in_parts(license_ids, |part| {
        Entity::find()
            .select_only()
            .column(Column::LicenseId)
            .column_as(Column::Id.count(), "held")
            .filter(part.has(Column::LicenseId))
            .filter(Column::FreedAt.is_null())
            .group_by(Column::LicenseId)
            .into_tuple()
            .all(db)
    });
    let counts: Vec<(String, i64)> = counts.await?;
    let counts = counts.into_iter();
    Ok(counts.map(|(id, held)| (id, held.unsigned_abs())).collect())
}

/// The number of seats of a license that machines other than this one hold.
///
/// # Errors
/// If the database returns an error.
pub async fn count_held_by_others(
    db: &impl ConnectionTrait,
    license_id: &str,
    hardware_id: &str,
) -> Result<u64, StoreError> {
    let held = of_others(license_id, hardware_id).filter(Column::FreedAt.is_null());
    Ok(held.count(db).await?)
}

/// How many seats of other machines are waiting for their leases to end: those of
/// which [`license_core::seat::SeatState::is_waiting`] is true.
///
/// # Errors
/// If the database returns an error.
pub async fn count_waiting(
    db: &impl ConnectionTrait,
    license_id: &str,
    hardware_id: &str,
    now: DateTime<Utc>,
) -> Result<u64, StoreError> {
    Ok(waiting_seats(license_id, hardware_id, now)
        .count(db)
        .await?)
}

/// The seats among them whose leases end soonest.
///
/// # Errors
/// If the database returns an error.
pub async fn waiting(
    db: &impl ConnectionTrait,
    license_id: &str,
    hardware_id: &str,
    now: DateTime<Utc>,
    limit: u64,
) -> Result<Vec<Seat>, StoreError> {
    let waiting = waiting_seats(license_id, hardware_id, now);
    first(db, waiting.order_by_asc(Column::SignedUntil), limit).await
}

fn waiting_seats(license_id: &str, hardware_id: &str, now: DateTime<Utc>) -> Select<Entity> {
    of_others(license_id, hardware_id)
        .filter(Column::FreedAt.is_not_null())
        .filter(Column::Overlap.is_null())
        .filter(Column::SignedUntil.gte(now.naive_utc()))
}

/// The seats that other machines hold and that are [`license_core::seat::silent`], longest silent
/// first.
///
/// # Errors
/// If the database returns an error.
pub async fn silent(
    db: &impl ConnectionTrait,
    license_id: &str,
    hardware_id: &str,
    now: DateTime<Utc>,
    limit: u64,
) -> Result<Vec<Seat>, StoreError> {
    let silent = of_others(license_id, hardware_id)
        .filter(Column::FreedAt.is_null())
        .filter(Column::ValidUntil.lt(now.naive_utc()))
        .filter(Column::LastSeenAt.lt((now - SILENT_FOR).naive_utc()));
    first(db, silent.order_by_asc(Column::LastSeenAt), limit).await
}

/// The seats of a license that other machines than this one hold or have held.
fn of_others(license_id: &str, hardware_id: &str) -> Select<Entity> {
    Entity::find()
        .filter(Column::LicenseId.eq(license_id))
        .filter(Column::HardwareId.ne(hardware_id))
}

/// The first of these seats, in their order.
async fn first(
    db: &impl ConnectionTrait,
    seats: Select<Entity>,
    limit: u64,
) -> Result<Vec<Seat>, StoreError> {
    let seats = seats.order_by_asc(Column::Id);
    let rows = seats.limit(limit.min(MAX_LISTED)).all(db).await?;
    rows.into_iter().map(Seat::try_from).collect()
}

/// When the first seat was taken that counts although the license has only `seats` seats: this one
/// and those that count and were taken later are excess. `None` if there are none.
///
/// # Errors
/// If the database returns an error.
pub async fn first_excess(
    db: &impl ConnectionTrait,
    license_id: &str,
    seats: u32,
    now: DateTime<Utc>,
) -> Result<Option<TakenAt>, StoreError> {
    let is_waiting = Condition::all()
        .add(Column::Overlap.is_null())
        .add(Column::SignedUntil.gte(now.naive_utc()));
    let counts = Condition::any()
        .add(Column::FreedAt.is_null())
        .add(is_waiting);
    let row = Entity::find()
        .filter(Column::LicenseId.eq(license_id))
        .filter(counts)
        .order_by_asc(Column::ActivatedAt)
        .order_by_asc(Column::Id)
        .offset(u64::from(seats))
        .one(db)
        .await?;
    let seat = row.map(Seat::try_from).transpose()?;
    Ok(seat.map(|seat| seat.taken_at()))
}

/// The number of licenses on which more seats are held than they include.
///
/// # Errors
/// If the database returns an error.
pub async fn count_licenses_over_seats(db: &impl ConnectionTrait) -> Result<u64, StoreError> {
    let over = Entity::find()
        .select_only()
        .column(Column::LicenseId)
        .join(JoinType::InnerJoin, Relation::License.def())
        .filter(Column::FreedAt.is_null())
        .group_by(Column::LicenseId)
        .group_by(licenses::Column::Seats)
        .having(sea_orm::sea_query::ExprTrait::gt(
            Column::Id.count(),
            Expr::col((licenses::Entity, licenses::Column::Seats)),
        ));
    Ok(over.count(db).await?)
}

/// Freed seats whose leases are still valid: first those that wait, then those whose place was
/// passed on. In both groups, those that end last come first. At most `limit`, and no more than fit on a
/// page.
///
/// # Errors
/// If the database returns an error.
pub async fn running_freed(
    db: &impl ConnectionTrait,
    license_id: &str,
    now: DateTime<Utc>,
    limit: u64,
) -> Result<Vec<Seat>, StoreError> {
    let found = running_freed_seats(license_id, now)
        .order_by_desc(Column::Overlap.is_null())
        .order_by_desc(Column::SignedUntil)
        .order_by_desc(Column::Id);
    let found = page(db, found, limit.min(MAX_LISTED)).await?;
    found.rows.into_iter().map(Seat::try_from).collect()
}

/// The number of such seats.
///
/// # Errors
/// If the database returns an error.
pub async fn count_running_freed(
    db: &impl ConnectionTrait,
    license_id: &str,
    now: DateTime<Utc>,
) -> Result<u64, StoreError> {
    Ok(running_freed_seats(license_id, now).count(db).await?)
}

fn running_freed_seats(license_id: &str, now: DateTime<Utc>) -> Select<Entity> {
    Entity::find()
        .filter(Column::LicenseId.eq(license_id))
        .filter(Column::FreedAt.is_not_null())
        .filter(Column::SignedUntil.gte(now.naive_utc()))
}
