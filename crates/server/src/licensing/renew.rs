//! Set the end of a license.

use chrono::{DateTime, Utc};
use license_service::database::repeated;
use serde_json::json;

use crate::audit::{Action, Change};
use crate::licensing::issue::{ExpiryError, check_expiry};
use crate::licensing::look_up::{LookUpError, look_up};
use crate::store::licenses::{self, License, Status};
use crate::store::{Store, StoreError};

/// Why the end of a license was not changed.
#[derive(Debug, thiserror::Error)]
pub enum RenewError {
    /// The license does not exist.
    #[error(transparent)]
    LookUp(#[from] LookUpError),
    /// Revocation is permanent.
    #[error("the license was revoked, which cannot be undone; issue a new one")]
    Revoked,
    /// The end is invalid.
    #[error(transparent)]
    Expiry(#[from] ExpiryError),
    /// The database returned an error.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Sets the last instant at which a license may be used; `None` means never. Sites receive the
/// change at their next validation.
///
/// # Errors
/// One [`RenewError`] for each reason that it is unchanged.
pub async fn renew(
    store: &Store,
    license: &str,
    expires_at: Option<DateTime<Utc>>,
    change: &Change,
) -> Result<License, RenewError> {
    check_expiry(expires_at, change.at)?;
    repeated(|| try_renew(store, license, expires_at, change)).await
}

async fn try_renew(
    store: &Store,
    license: &str,
    expires_at: Option<DateTime<Utc>>,
    change: &Change,
) -> Result<License, RenewError> {
    let license = look_up(store, license).await?;
    let (transaction, license) = store.hold(license).await?;
    if license.status == Status::Revoked {
        return Err(RenewError::Revoked);
    }
    licenses::set_expiry(&transaction, &license.license_key, expires_at, change.at).await?;
    let details = json!({"from": license.expires_at, "to": expires_at});
    change
        .note(&transaction, Action::Renewed, &license, details)
        .await?;
    transaction.commit().await.map_err(StoreError::from)?;
    Ok(License {
        expires_at,
        updated_at: change.at,
        ..license
    })
}
