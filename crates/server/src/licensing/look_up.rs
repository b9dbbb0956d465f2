//! Find a license by whatever the caller typed.

use license_core::license_key::{LicenseKey, LicenseKeyError};
use uuid::Uuid;

use crate::store::licenses::{self, License};
use crate::store::{Store, StoreError};

/// Why a command finds no license.
#[derive(Debug, thiserror::Error)]
pub enum LookUpError {
    /// The key is mistyped.
    #[error(transparent)]
    Key(#[from] LicenseKeyError),
    /// There is none with this key.
    #[error("no license has the key {0}")]
    Unknown(LicenseKey),
    /// There is none with this id.
    #[error("no license has the id {0}")]
    UnknownId(Uuid),
    /// The database refuses.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The license that somebody names, by its key in any spelling or by its id.
///
/// # Errors
/// One [`LookUpError`] for each reason that there is none.
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
