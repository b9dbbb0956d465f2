//! Why signing keys were not changed or not loaded.

use license_core::signing_clock::ClockDoubt;
use license_service::unattended::Panicked;

use crate::signing::SigningError;
use crate::store::StoreError;

/// Why the keys are unchanged.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    /// The directory of the keys, or what is in it.
    #[error(transparent)]
    Signing(#[from] SigningError),
    /// The database refuses.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The clock may be wrong: clients would take the date of the set for proof.
    #[error(transparent)]
    Clock(#[from] ClockDoubt),
    /// An internal error, or the service stops.
    #[error("the key change was interrupted; check with 'license-server keys list'")]
    Interrupted(#[from] Panicked),
}
