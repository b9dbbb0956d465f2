//! Set the end of a license.

use chrono::{DateTime, SubsecRound as _, Utc};
use license_core::amendment::{self, Amendment};
use license_service::database::repeated;
use serde_json::json;

use crate::audit::{Action, PermittedChange};
use crate::licensing::amend::{AmendError, AmendRequest, record};
use crate::licensing::current::amendments_at;
use crate::licensing::expiry::{ExpiryError, check_expiry};
use crate::licensing::look_up::{LookUpError, look_up};
use crate::store::licenses::{License, Status};
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
    /// The license cannot be amended in this way.
    #[error(transparent)]
    Amend(AmendError),
    /// The database returned an error.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<AmendError> for RenewError {
    fn from(error: AmendError) -> Self {
        match error {
            AmendError::Store(error) => Self::Store(error),
            error => Self::Amend(error),
        }
    }
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
    change: &PermittedChange,
) -> Result<License, RenewError> {
    let expires_at = expires_at.map(|end| end.trunc_subsecs(0));
    check_expiry(expires_at, change.at)?;
    repeated(|| try_renew(store, license, expires_at, change)).await
}

async fn try_renew(
    store: &Store,
    license: &str,
    expires_at: Option<DateTime<Utc>>,
    change: &PermittedChange,
) -> Result<License, RenewError> {
    let license = look_up(store, license).await?;
    let (transaction, license) = store.hold(license).await?;
    if license.status == Status::Revoked {
        return Err(RenewError::Revoked);
    }
    let known = amendments_at(&transaction, &license.id, change.at).await?;
    let amendment = Amendment {
        changes: vec![amendment::Change::Expiry(expires_at)],
        ..AmendRequest::default().without_changes(&known, change)?
    };
    let from = license.expires_at;
    let (license, _) = record(&transaction, license, &known, &amendment, change.time()).await?;
    let details = json!({"from": from, "to": expires_at});
    change
        .note(&transaction, Action::Renewed, &license, details)
        .await?;
    transaction.commit().await.map_err(StoreError::from)?;
    Ok(license)
}
