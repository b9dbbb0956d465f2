//! Suspend, reinstate and revoke.

use license_service::database::repeated;
use serde_json::json;

use crate::audit::{Action, Change};
use crate::licensing::changed_license;
use crate::licensing::look_up::{LookUpError, look_up};
use crate::store::licenses::{self, License, Status};
use crate::store::{Store, StoreError};

/// Maximum length of the message for the site, in characters.
pub const MAX_MESSAGE_CHARS: usize = 1000;

/// Why the status of a license was not changed.
#[derive(Debug, thiserror::Error)]
pub enum StatusError {
    /// The license does not exist.
    #[error(transparent)]
    LookUp(#[from] LookUpError),
    /// Revocation is permanent.
    #[error("the license was revoked, which cannot be undone; issue a new one")]
    Revoked,
    /// The message for the site is too long.
    #[error("the message is limited to {MAX_MESSAGE_CHARS} characters")]
    Message,
    /// The database returned an error.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Sets a license's status and the message for its sites; without a message, the default one is
/// used. Setting the same status again changes nothing. Sites receive the change at their next
/// validation.
///
/// # Errors
/// One [`StatusError`] for each reason that it is unchanged.
pub async fn set_status(
    store: &Store,
    license: &str,
    status: Status,
    message: Option<&str>,
    change: &Change,
) -> Result<License, StatusError> {
    if let Some(text) = message {
        let is_long = text.chars().count() > MAX_MESSAGE_CHARS;
        if is_long || text.contains('\0') {
            return Err(StatusError::Message);
        }
    }
    repeated(|| try_set_status(store, license, status, message, change)).await
}

async fn try_set_status(
    store: &Store,
    license: &str,
    status: Status,
    message: Option<&str>,
    change: &Change,
) -> Result<License, StatusError> {
    let license = look_up(store, license).await?;
    let (transaction, license) = store.hold(license).await?;
    if license.status == Status::Revoked && status != Status::Revoked {
        return Err(StatusError::Revoked);
    }
    if license.status == status && license.status_message.as_deref() == message {
        return Ok(license);
    }
    licenses::set_status(
        &transaction,
        &license.license_key,
        status,
        message,
        change.at,
    )
    .await?;
    let action = match status {
        Status::Active => Action::Reinstated,
        Status::Suspended => Action::Suspended,
        Status::Revoked => Action::Revoked,
    };
    let details = json!({"from": license.status, "message": message});
    change.note(&transaction, action, &license, details).await?;
    let license = License {
        status,
        status_message: message.map(str::to_owned),
        updated_at: change.at,
        ..license
    };
    changed_license::commit(transaction, &license, change).await?;
    let license_key = license_core::license_key::mask(&license.license_key);
    tracing::info!(license_key, %status, "license status changed");
    Ok(license)
}
