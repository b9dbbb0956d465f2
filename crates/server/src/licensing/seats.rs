//! The machines that use a license: lists their seats, frees a seat, and releases it before its
//! lease has ended.

use chrono::{DateTime, SecondsFormat, SubsecRound as _, Utc};
use license_core::seat::Overlap;
use license_service::database::repeated;
use sea_orm::ConnectionTrait;
use serde::Serialize;
use serde_json::json;
use utoipa::ToSchema;

use crate::audit::{Action, Change};
use crate::licensing::look_up::{LookUpError, look_up};
use crate::store::licenses::License;
use crate::store::seats::{self, Seat, SeatsQuery};
use crate::store::{Store, StoreError};

/// One page of the seats of a license, in the order in which they were first taken.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SeatsPage {
    /// The seats.
    pub seats: Vec<ListedSeat>,
    /// The number of seats on all pages.
    pub total: u64,
    /// How many seats of the license are held.
    pub seats_held: u64,
    /// How many seats the license has.
    pub license_seats: u32,
    /// The `cursor` of the next page; `null` on the last one.
    pub next_cursor: Option<String>,
}

/// A seat in a list.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct ListedSeat {
    /// The seat.
    #[serde(flatten)]
    pub seat: Seat,
    /// Whether the seat is excess: more seats are held than the license has, and this one was taken
    /// after the others. Its lease is not extended; the machine may run until `signedUntil`.
    #[serde(rename = "excess")]
    pub is_excess: bool,
}

/// A page of `size` seats of a license.
///
/// # Errors
/// If the database returns an error.
pub async fn seats_page(
    db: &impl ConnectionTrait,
    license: &License,
    query: &SeatsQuery,
    size: u64,
    now: DateTime<Utc>,
) -> Result<SeatsPage, StoreError> {
    let first_excess = seats::first_excess(db, &license.id, license.seats, now).await?;
    let total = seats::count(db, &license.id, query).await?;
    let seats_held = seats::count(db, &license.id, &SeatsQuery::held()).await?;
    let found = seats::list(db, &license.id, query, size).await?;
    let next_cursor = found.next_cursor(Seat::cursor);
    let found = found.rows.into_iter().map(|seat| ListedSeat {
        is_excess: seat.is_excess(first_excess, now),
        seat,
    });
    Ok(SeatsPage {
        seats: found.collect(),
        total,
        seats_held,
        license_seats: license.seats,
        next_cursor,
    })
}

/// Why a seat was not freed.
#[derive(Debug, thiserror::Error)]
pub enum FreeError {
    /// The license does not exist.
    #[error(transparent)]
    LookUp(#[from] LookUpError),
    /// This machine holds no seat.
    #[error("the machine '{0}' does not hold a seat of this license")]
    NotHeld(String),
    /// Several machines match.
    #[error(transparent)]
    Ambiguous(#[from] AmbiguousMachine),
    /// The database returned an error.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Frees the seat of a machine, which is denied at its next validation.
///
/// # Errors
/// One [`FreeError`] for each reason; nothing has changed then.
pub async fn free(
    store: &Store,
    license: &str,
    hardware_id: &str,
    change: &Change,
) -> Result<Seat, FreeError> {
    repeated(|| try_free(store, license, hardware_id, change)).await
}

async fn try_free(
    store: &Store,
    license: &str,
    hardware_id: &str,
    change: &Change,
) -> Result<Seat, FreeError> {
    let license = look_up(store, license).await?;
    let (transaction, license) = store.hold(license).await?;
    let seat = seat_of(&transaction, &license.id, hardware_id, Some(true)).await??;
    let Some(mut seat) = seat.filter(Seat::is_held) else {
        return Err(FreeError::NotHeld(hardware_id.to_owned()));
    };
    let hardware_id = &*seat.hardware_id.clone();
    seat.freed_at = Some(change.at);
    seats::save(&transaction, &seat).await?;
    let details = json!({"installation": seat.installation_name});
    change
        .note_seat(
            &transaction,
            Action::SeatFreed,
            &license,
            hardware_id,
            details,
        )
        .await?;
    transaction.commit().await.map_err(StoreError::from)?;
    Ok(seat)
}

/// Several machines match the first characters of a hardware id.
#[derive(Debug, thiserror::Error)]
#[error("several hardware ids begin with '{0}'; enter more characters")]
pub struct AmbiguousMachine(String);

/// Minimum number of characters that can stand for a whole hardware id.
const MIN_PREFIX_CHARS: usize = 8;

/// The seat of the machine with this hardware id, or of the only machine whose hardware id begins
/// with this text, among held or freed seats as requested. An ellipsis at the end, as in lists and
/// examples, is ignored.
async fn seat_of(
    db: &impl ConnectionTrait,
    license_id: &str,
    machine: &str,
    held: Option<bool>,
) -> Result<Result<Option<Seat>, AmbiguousMachine>, StoreError> {
    if let Some(seat) = seats::find(db, license_id, machine).await? {
        return Ok(Ok(Some(seat)));
    }
    let prefix = machine.trim_end_matches(['…', '.']);
    if prefix.chars().count() < MIN_PREFIX_CHARS {
        return Ok(Ok(None));
    }
    let mut found = seats::beginning_with(db, license_id, prefix, held).await?;
    if found.len() > 1 {
        return Ok(Err(AmbiguousMachine(prefix.to_owned())));
    }
    Ok(Ok(found.pop()))
}

/// Why a seat was not released.
#[derive(Debug, thiserror::Error)]
pub enum ReleaseError {
    /// The license was not found.
    #[error(transparent)]
    LookUp(#[from] LookUpError),
    /// Several machines match.
    #[error(transparent)]
    Ambiguous(#[from] AmbiguousMachine),
    /// The machine holds the seat.
    #[error("the machine '{0}' still has its seat; free the seat first")]
    Held(String),
    /// The machine's seat does not count.
    #[error("the seat of '{0}' does not count against the license; nothing to release")]
    NotWaiting(String),
    /// The machine may run longer than the caller has confirmed.
    #[error("the machine '{hardware_id}' may run until {}; confirm this time to release the seat", in_seconds(*.until))]
    Unconfirmed {
        /// The machine.
        hardware_id: String,
        /// When its lease ends.
        until: DateTime<Utc>,
    },
    /// The database returned an error.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// An instant as displayed and confirmed: in whole seconds.
#[must_use]
pub fn in_seconds(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Secs, true)
}

/// Releases a freed seat whose lease is still valid, so that another machine can take the seat
/// without using a move. `confirmed_until` is the instant until which, as the caller confirms, both
/// machines may run.
///
/// # Errors
/// One [`ReleaseError`] for each reason; nothing has changed then.
pub async fn release(
    store: &Store,
    license: &str,
    hardware_id: &str,
    confirmed_until: Option<DateTime<Utc>>,
    change: &Change,
) -> Result<Seat, ReleaseError> {
    repeated(|| try_release(store, license, hardware_id, confirmed_until, change)).await
}

async fn try_release(
    store: &Store,
    license: &str,
    hardware_id: &str,
    confirmed_until: Option<DateTime<Utc>>,
    change: &Change,
) -> Result<Seat, ReleaseError> {
    let license = look_up(store, license).await?;
    let (transaction, license) = store.hold(license).await?;
    let seat = seat_of(&transaction, &license.id, hardware_id, None).await??;
    let waiting = seat.filter(|seat| seat.is_held() || seat.state().is_waiting(change.at));
    let Some((mut seat, until)) = waiting.and_then(|seat| {
        let until = seat.signed_until?;
        Some((seat, until))
    }) else {
        return Err(ReleaseError::NotWaiting(hardware_id.to_owned()));
    };
    let hardware_id = &*seat.hardware_id.clone();
    if seat.is_held() {
        return Err(ReleaseError::Held(hardware_id.to_owned()));
    }
    // The displayed and confirmed time is in whole seconds.
    let shown = until.trunc_subsecs(0);
    if confirmed_until.is_none_or(|confirmed| confirmed < shown) {
        let hardware_id = hardware_id.to_owned();
        return Err(ReleaseError::Unconfirmed { hardware_id, until });
    }
    seat.overlap = Some(Overlap::Released);
    seats::save(&transaction, &seat).await?;
    let details = json!({"installation": seat.installation_name, "mayRunUntil": until});
    let action = Action::SeatReleased;
    change
        .note_seat(&transaction, action, &license, hardware_id, details)
        .await?;
    transaction.commit().await.map_err(StoreError::from)?;
    Ok(seat)
}
