//! Who holds a license, and taking a seat from them.

use serde_json::json;

use crate::audit::{Action, Change};
use crate::licensing::look_up::{LookUpError, look_up};
use crate::store::seats::{self, Seat};
use crate::store::{Store, StoreError, licenses};

/// Why a seat was not freed.
#[derive(Debug, thiserror::Error)]
pub enum FreeError {
    /// There is no such license.
    #[error(transparent)]
    LookUp(#[from] LookUpError),
    /// This machine holds no seat.
    #[error("the machine '{0}' holds no seat of this license")]
    NotHeld(String),
    /// The database refuses.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Frees the seat of a machine, which learns of it with its next validation.
///
/// # Errors
/// One [`FreeError`] for each reason; nothing has changed then.
pub async fn free(
    store: &Store,
    license: &str,
    hardware_id: &str,
    change: &Change,
) -> Result<Seat, FreeError> {
    let license = look_up(store, license).await?;
    let transaction = store.begin().await?;
    let license = licenses::hold(&transaction, license).await?;
    let seat = seats::find(&transaction, &license.id, hardware_id).await?;
    let Some(mut seat) = seat.filter(Seat::is_held) else {
        return Err(FreeError::NotHeld(hardware_id.to_owned()));
    };
    seat.freed_at = Some(change.at);
    seats::save(&transaction, &seat).await?;
    let details = json!({"installation": seat.installation_name});
    change
        .note_seat(
            &transaction,
            Action::SeatFreed,
            &license.id,
            hardware_id,
            details,
        )
        .await?;
    transaction.commit().await.map_err(StoreError::from)?;
    Ok(seat)
}
