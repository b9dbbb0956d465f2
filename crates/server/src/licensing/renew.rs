//! Set the end of a license.

use chrono::{DateTime, SubsecRound as _, Utc};
use license_core::amendment::{self, Amendment};
use license_service::database::repeated;
use serde_json::json;

use crate::audit::{Action, PermittedChange};
use crate::licensing::amend::{AmendError, AmendRequest, record};
use crate::licensing::current::amendments_at;
use crate::licensing::expiry::{ExpiryError, check_expiry};
use crate::licensing::line_done::{LineDone, LineError, check_not_done, note_done};
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
    /// It is the change of a line that was made before.
    #[error(transparent)]
    Done(#[from] LineDone),
    /// The database returned an error.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<LineError> for RenewError {
    fn from(error: LineError) -> Self {
        match error {
            LineError::Store(error) => Self::Store(error),
            LineError::Done(error) => Self::Done(error),
        }
    }
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
    let request = AmendRequest {
        expires_at: Some(expires_at),
        ..AmendRequest::default()
    };
    renew_as(store, license, &request, change, None).await
}

/// The same with the end, the reason and the order of a request, for a line of a file: exactly once.
///
/// # Errors
/// [`RenewError::Done`] if that was done before, and as [`renew`].
pub async fn renew_once(
    store: &Store,
    license: &str,
    request: &AmendRequest,
    change: &PermittedChange,
    line: &str,
) -> Result<License, RenewError> {
    renew_as(store, license, request, change, Some(line)).await
}

async fn renew_as(
    store: &Store,
    license: &str,
    request: &AmendRequest,
    change: &PermittedChange,
    line: Option<&str>,
) -> Result<License, RenewError> {
    let expires_at = request.expires_at.flatten();
    let request = AmendRequest {
        expires_at: Some(expires_at.map(|end| end.trunc_subsecs(0))),
        ..request.clone()
    };
    check_expiry(request.expires_at.flatten(), change.at)?;
    repeated(|| try_renew(store, license, &request, change, line)).await
}

async fn try_renew(
    store: &Store,
    license: &str,
    request: &AmendRequest,
    change: &PermittedChange,
    line: Option<&str>,
) -> Result<License, RenewError> {
    let expires_at = request.expires_at.flatten();
    let license = look_up(store, license).await?;
    let (transaction, license) = store.hold(license).await?;
    if let Some(line) = line {
        check_not_done(&transaction, line).await?;
    }
    if license.status == Status::Revoked {
        return Err(RenewError::Revoked);
    }
    let known = amendments_at(&transaction, &license.id, change.at).await?;
    let amendment = Amendment {
        changes: vec![amendment::Change::Expiry(expires_at)],
        ..request.without_changes(&known, change)?
    };
    let from = license.expires_at;
    let (license, _) = record(&transaction, license, &known, &amendment, change.time()).await?;
    let details = json!({"from": from, "to": expires_at});
    change
        .note(&transaction, Action::Renewed, &license, details)
        .await?;
    if let Some(line) = line {
        note_done(&transaction, line, &license, change.at).await?;
    }
    transaction.commit().await.map_err(StoreError::from)?;
    Ok(license)
}
