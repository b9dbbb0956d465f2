//! Find a license by whatever the caller typed.

use license_core::license_key::{LicenseKey, LicenseKeyError};

use crate::store::licenses::{self, License};
use crate::store::{Store, StoreError};

/// Why a command finds no license.
#[derive(Debug, thiserror::Error)]
pub enum LookUpError {
    /// The key is mistyped.
    #[error("{0}")]
    Key(#[from] LicenseKeyError),
    /// There is none with this key.
    #[error("there is no license with the key {0}; see 'license-server list'")]
    Unknown(LicenseKey),
    /// The database refuses.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The license that a command names.
///
/// # Errors
/// One [`LookUpError`] for each reason that there is none.
pub async fn look_up(store: &Store, key: &str) -> Result<License, LookUpError> {
    let key = LicenseKey::parse(key)?;
    let found = licenses::find(store.reader(), key.as_str()).await?;
    found.ok_or(LookUpError::Unknown(key))
}
