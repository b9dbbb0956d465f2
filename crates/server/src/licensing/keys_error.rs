//! Why signing keys were not changed or not loaded.

use license_core::signing_clock::ClockDoubt;
use license_service::turns::QueueFull;
use license_service::unattended::Panicked;

use crate::signing::SigningError;
use crate::store::StoreError;

/// Why the keys were not changed.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    /// The key directory, or its content, cannot be used.
    #[error(transparent)]
    Signing(#[from] SigningError),
    /// The database returned an error.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The clock may be wrong, and clients would treat the date of the set as proof.
    #[error(transparent)]
    Clock(#[from] ClockDoubt),
    /// Too many changes are waiting.
    #[error("too many changes of the signing keys are waiting")]
    Busy(#[from] QueueFull),
    /// An internal error, or the service is stopping.
    #[error("the key change was interrupted; check with 'license-server keys list'")]
    Interrupted(#[from] Panicked),
}
