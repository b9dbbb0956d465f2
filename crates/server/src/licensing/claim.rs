//! Finds a place for a machine among the seats of a license. The rules are
//! [`license_core::seat`]'s.

use chrono::{DateTime, TimeDelta, Utc};
use license_core::seat::{Occupancy, Overlap, SeatLimit};
use sea_orm::ConnectionTrait;
use serde_json::json;

use crate::audit::{Action, Change};
use crate::store::licenses::License;
use crate::store::seat_moves::{self, SeatMove};
use crate::store::{StoreError, seats};

/// Why a machine gets no place, and the number of moves left.
#[derive(Clone, Copy, Debug)]
pub struct SeatRefusal {
    /// The reason.
    pub limit: SeatLimit,
    /// Moves left.
    pub moves_left: u32,
}

/// Claims a place for a machine that holds no seat. If that needs the places of machines whose
/// leases are still valid, or of silent machines, it spends moves. `longest_move` is the maximum
/// remaining time of such a lease, and `takes_silent` says whether the places of silent machines may
/// be taken. The license must be locked.
///
/// # Errors
/// If the database returns an error.
pub async fn claim(
    db: &impl ConnectionTrait,
    license: &License,
    hardware_id: &str,
    longest_move: TimeDelta,
    takes_silent: bool,
    change: &Change,
) -> Result<Result<(), SeatRefusal>, StoreError> {
    let (id, now) = (&license.id, change.at);
    let moves_left = moves_left(db, license, now).await?;
    let mut occupancy = Occupancy {
        seats: license.seats,
        held: seats::count_held_by_others(db, id, hardware_id).await?,
        waiting: seats::count_waiting(db, id, hardware_id, now).await?,
        waiting_until: &[],
        silent: 0,
        moves_left,
    };
    let waiting = seats::waiting(db, id, hardware_id, now, occupancy.excess()).await?;
    let until: Vec<_> = waiting.iter().filter_map(|it| it.signed_until).collect();
    occupancy.waiting_until = &until;
    let longest = now + longest_move;
    let movable = occupancy.movable(longest);
    let found = u64::try_from(movable).unwrap_or(u64::MAX);
    let missing = occupancy.excess().saturating_sub(found);
    let silent = match missing {
        missing if missing == 0 || !takes_silent => Vec::new(),
        missing => seats::silent(db, id, hardware_id, now, missing).await?,
    };
    occupancy.silent = silent.len();
    let moved = match occupancy.take(longest) {
        Ok(moved) => moved,
        Err(limit) => return Ok(Err(SeatRefusal { limit, moves_left })),
    };
    let passed_on = waiting.into_iter().take(movable).chain(silent).take(moved);
    for (mut seat, left) in passed_on.zip((0..moves_left).rev()) {
        let silent_since = seat.is_held().then_some(seat.last_seen_at);
        let overlap_until = seat.signed_until.unwrap_or(now);
        seat.freed_at = seat.freed_at.or(Some(now));
        seat.overlap = Some(Overlap::Moved);
        seats::save(db, &seat).await?;
        let mut details = json!({
            "from": seat.hardware_id,
            "mayRunUntil": overlap_until,
            "movesLeft": left,
        });
        if let Some(since) = silent_since {
            details["silentSince"] = json!(since);
        }
        let seat_move = SeatMove {
            license_id: id.clone(),
            at: now,
            from_hardware_id: seat.hardware_id,
            to_hardware_id: hardware_id.to_owned(),
            overlap_until,
        };
        seat_moves::insert(db, &seat_move).await?;
        change
            .note_seat(db, Action::SeatMoved, license, hardware_id, details)
            .await?;
    }
    Ok(Ok(()))
}

/// The number of moves that a license has left.
///
/// # Errors
/// If the database returns an error.
pub async fn moves_left(
    db: &impl ConnectionTrait,
    license: &License,
    now: DateTime<Utc>,
) -> Result<u32, StoreError> {
    let budget = license.transfer_budget();
    let spent = seat_moves::count_after(db, &license.id, budget.counts_after(now)).await?;
    Ok(budget.left(spent))
}
