//! Frees the seat, and removes the license.

use license_core::license_key;
use license_core::protocol::DeactivateRequest;
use license_core::response::{Contact, NoContact};

use crate::app::App;
use crate::licensing::exchange::exchange;
use crate::store::StoreError;

/// The result for the seat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seat {
    /// The License Server has freed it.
    Freed,
    /// The License Server responded that there is no seat to free.
    NotHeld,
    /// It could not be reached; the vendor must free the seat.
    Unknown,
}

/// Why a license was not deactivated.
#[derive(Debug, thiserror::Error)]
pub enum DeactivateError {
    /// No license is active.
    #[error("No license activated")]
    Unlicensed,
    /// The seat cannot be freed now, and the deactivation was not forced.
    #[error(
        "The license was not deactivated, because its seat could not be freed: {0}. Try again \
         later, or force the deactivation and ask the vendor to free the seat"
    )]
    NoContact(NoContact),
    /// The database returned an error.
    #[error("{}", .0.of_change("The license was not deactivated, because the database is unavailable"))]
    NotStored(#[from] StoreError),
}

/// Deactivates the license. With `force`, even if the License Server cannot be reached.
///
/// # Errors
/// One [`DeactivateError`] for each reason; the license then stays active.
pub async fn deactivate(app: &App, force: bool) -> Result<Seat, DeactivateError> {
    let turn = app.knowledge.turn().await;
    let evidence = app.snapshot().evidence.clone();
    if evidence.lease.is_none() {
        return Err(DeactivateError::Unlicensed);
    }
    let identity = app.knowledge.require_identity()?;
    // Do not free a seat that would be needed again immediately.
    app.store.ping().await?;
    let request = DeactivateRequest {
        license_key: evidence.license_key().to_owned(),
        hardware_id: identity.hardware_id.clone(),
    };
    let seat = match exchange(app, &identity, &request).await {
        Contact::Confirmed(_) => Seat::Freed,
        // Also if an earlier attempt freed the seat and its receipt was lost.
        Contact::Denied(_) => Seat::NotHeld,
        Contact::None(_) if force => Seat::Unknown,
        Contact::None(why) => return Err(DeactivateError::NoContact(why)),
    };
    turn.forget(evidence.license_key(), None).await?;
    tracing::info!(
        license_key = license_key::mask(evidence.license_key()),
        ?seat,
        "license deactivated"
    );
    Ok(seat)
}
