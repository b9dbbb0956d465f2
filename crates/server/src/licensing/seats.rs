//! Who holds a license, and taking a seat from them.

use chrono::{DateTime, Utc};

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
    #[error("the machine '{0}' holds no seat of this license; see 'license-server seats list'")]
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
    key: &str,
    hardware_id: &str,
    now: DateTime<Utc>,
) -> Result<Seat, FreeError> {
    let license = look_up(store, key).await?;
    let transaction = store.begin().await?;
    licenses::lock(&transaction, &license.license_key).await?;
    let seat = seats::find(&transaction, &license.id, hardware_id).await?;
    let Some(mut seat) = seat.filter(Seat::is_held) else {
        return Err(FreeError::NotHeld(hardware_id.to_owned()));
    };
    seat.freed_at = Some(now);
    seats::save(&transaction, &seat).await?;
    transaction.commit().await.map_err(StoreError::from)?;
    Ok(seat)
}
