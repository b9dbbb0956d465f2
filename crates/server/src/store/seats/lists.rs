//! The seats of a license, one page at a time.

use sea_orm::entity::prelude::*;
use sea_orm::sea_query::Func;
use sea_orm::{ConnectionTrait, EntityTrait, QueryOrder as _, QuerySelect as _};
use serde::{Deserialize, Serialize};

use super::{Column, Entity, Seat};
use crate::store::StoreError;
use crate::store::page::{Page, PageStart};
use crate::store::page_bytes::page;

/// A position in a list of seats, which are in the order in which they were taken first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct SeatsCursor {
    pub(super) seat: i64,
}

/// Filters of the seats of a license.
#[derive(Clone, Copy, Debug, Default)]
pub struct SeatsQuery {
    /// Only held seats, or only freed ones.
    pub held: Option<bool>,
    /// Where the page begins.
    pub start: PageStart<SeatsCursor>,
    /// Sorts by the time of freeing, latest first; otherwise in the order in which they were first
    /// taken.
    pub freed_last_first: bool,
}

impl SeatsQuery {
    /// All held seats.
    #[must_use]
    pub fn held() -> Self {
        Self {
            held: Some(true),
            ..Self::default()
        }
    }
}

/// Maximum number of seats on one page.
pub const MAX_LISTED: u64 = 1000;

/// A page of the seats of a license, at most `limit` and at most [`MAX_LISTED`].
///
/// # Errors
/// If the database returns an error.
pub async fn list(
    db: &impl ConnectionTrait,
    license_id: &str,
    query: &SeatsQuery,
    limit: u64,
) -> Result<Page<Seat>, StoreError> {
    let mut found = filtered(license_id, query);
    if query.freed_last_first {
        found = found.order_by_desc(Column::FreedAt);
    }
    let found = found.order_by_asc(Column::Id).offset(query.start.offset());
    let found = page(db, found, limit.min(MAX_LISTED)).await?;
    found.try_map(Seat::try_from)
}

/// The number of matching seats of a license, regardless of the page.
///
/// # Errors
/// If the database returns an error.
pub async fn count(
    db: &impl ConnectionTrait,
    license_id: &str,
    query: &SeatsQuery,
) -> Result<u64, StoreError> {
    let query = SeatsQuery {
        start: PageStart::default(),
        ..*query
    };
    Ok(filtered(license_id, &query).count(db).await?)
}

/// Seats of a license whose hardware ids begin with a text, at most two: held, freed or both.
///
/// # Errors
/// If the database returns an error.
pub async fn beginning_with(
    db: &impl ConnectionTrait,
    license_id: &str,
    prefix: &str,
    held: Option<bool>,
) -> Result<Vec<Seat>, StoreError> {
    let query = SeatsQuery {
        held,
        ..SeatsQuery::default()
    };
    let length = i32::try_from(prefix.chars().count()).unwrap_or(i32::MAX);
    let start = Func::cust("SUBSTR")
        .arg(Expr::col((Entity, Column::HardwareId)))
        .arg(Expr::value(1))
        .arg(Expr::value(length));
    let rows = filtered(license_id, &query)
        .filter(sea_orm::sea_query::ExprTrait::eq(Expr::expr(start), prefix))
        .limit(2)
        .all(db)
        .await?;
    rows.into_iter().map(Seat::try_from).collect()
}

fn filtered(license_id: &str, query: &SeatsQuery) -> Select<Entity> {
    let mut found = Entity::find().filter(Column::LicenseId.eq(license_id));
    match query.held {
        Some(true) => found = found.filter(Column::FreedAt.is_null()),
        Some(false) => found = found.filter(Column::FreedAt.is_not_null()),
        None => {}
    }
    if let Some(after) = query.start.after() {
        found = found.filter(Column::Id.gt(after.seat));
    }
    found
}
