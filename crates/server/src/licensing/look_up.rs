//! Finds a license by the text that the user entered.

use license_core::license_key::{LicenseKey, LicenseKeyError};
use uuid::Uuid;

use crate::store::licenses::{self, License};
use crate::store::{Store, StoreError};

/// Why a license was not found.
#[derive(Debug, thiserror::Error)]
pub enum LookUpError {
    /// The key is mistyped.
    #[error(transparent)]
    Key(#[from] LicenseKeyError),
    /// No license has this key.
    #[error("no license has the key {0}")]
    Unknown(LicenseKey),
    /// No license has this id.
    #[error("no license has the id {0}")]
    UnknownId(Uuid),
    /// The database returned an error.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The license with this key, in any spelling, or this id.
///
/// # Errors
/// One [`LookUpError`] for each reason that it was not found.
pub async fn look_up(store: &Store, license: &str) -> Result<License, LookUpError> {
    let db = store.reader();
    if let Ok(id) = Uuid::try_parse(license.trim()) {
        let found = licenses::find_by_id(db, &id.to_string()).await?;
        return found.ok_or(LookUpError::UnknownId(id));
    }
    let key = LicenseKey::parse(license)?;
    let found = licenses::find(db, key.as_str()).await?;
    found.ok_or(LookUpError::Unknown(key))
}
