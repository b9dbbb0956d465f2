//! Set the end of a license.

use chrono::{DateTime, SubsecRound as _, Utc};
use license_core::amendment::{self, Amendment};
use license_service::database::repeated;
use serde_json::json;

use crate::audit::{Action, PermittedChange};
use crate::keyed_call::{OK, note_answer};
use crate::licensing::amend::{AmendRequest, Amended, AuditEntry, Prepared};
use crate::licensing::amend_error::AmendError;
use crate::licensing::expiry::{ExpiryError, check_expiry};
use crate::licensing::judge::ShownLicense;
use crate::licensing::line_done::{LineDone, LineError, Storing};
use crate::licensing::look_up::{LookUpError, look_up};
use crate::licensing::newest_amendment::amendments_to_follow;
use crate::store::licenses::License;
use crate::store::{Store, StoreError};

/// The new end of a license.
#[derive(Clone, Debug, Default)]
pub struct RenewRequest {
    /// The last instant at which the license may be used; `None` means never.
    pub expires_at: Option<DateTime<Utc>>,
    /// The number of the newest amendment that its author knows.
    pub after: Option<u32>,
    /// Why, for people.
    pub reason: Option<String>,
    /// The reference of the order.
    pub order: Option<String>,
}

/// Why the end of a license was not changed.
#[derive(Debug, thiserror::Error)]
pub enum RenewError {
    /// The license does not exist.
    #[error(transparent)]
    LookUp(#[from] LookUpError),
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

/// Sets the last instant at which a license may be used. Sites receive the change at their next
/// validation.
///
/// # Errors
/// One [`RenewError`] for each reason that it is unchanged.
pub async fn renew(
    store: &Store,
    license: &str,
    request: &RenewRequest,
    change: &PermittedChange,
) -> Result<License, RenewError> {
    let renewed = renew_as(store, license, request, change, Storing::ALONE).await?;
    Ok(renewed.license)
}

/// What [`renew`] would do, without doing it.
///
/// # Errors
/// As [`renew`].
pub async fn preview(
    store: &Store,
    license: &str,
    request: &RenewRequest,
    change: &PermittedChange,
) -> Result<Amended, RenewError> {
    renew_as(store, license, request, change, Storing::PREVIEW).await
}

/// The same for a line of a file: exactly once, or with `is_dry_run` without storing it.
///
/// # Errors
/// [`RenewError::Done`] if that was done before, and as [`renew`].
pub async fn renew_once(
    store: &Store,
    license: &str,
    request: &RenewRequest,
    change: &PermittedChange,
    line: &str,
    is_dry_run: bool,
) -> Result<License, RenewError> {
    let storing = Storing::of_line(line, is_dry_run);
    let renewed = renew_as(store, license, request, change, storing).await?;
    Ok(renewed.license)
}

async fn renew_as(
    store: &Store,
    license: &str,
    request: &RenewRequest,
    change: &PermittedChange,
    storing: Storing<'_>,
) -> Result<Amended, RenewError> {
    let expires_at = request.expires_at.map(|end| end.trunc_subsecs(0));
    check_expiry(expires_at, change.at)?;
    let request = RenewRequest {
        expires_at,
        ..request.clone()
    };
    repeated(|| try_renew(store, license, &request, change, storing)).await
}

async fn try_renew(
    store: &Store,
    license: &str,
    request: &RenewRequest,
    change: &PermittedChange,
    storing: Storing<'_>,
) -> Result<Amended, RenewError> {
    let license = look_up(store, license).await?;
    storing.check(store.reader()).await?;
    if !storing.is_stored() {
        let renewing = renewing(store, license, request, change).await?;
        return Ok(renewing.preview(store, change.at).await?);
    }
    let (_turn, license) = store.turn_to_amend(license).await?;
    let renewing = renewing(store, license.clone(), request, change).await?;
    let (transaction, license) = store.hold(license).await?;
    storing.check(&transaction).await?;
    let entry = AuditEntry {
        action: Action::Renewed,
        details: json!({"from": license.expires_at, "to": request.expires_at}),
    };
    let renewed = renewing.store(&transaction, &license, entry, change);
    let renewed = renewed.await?;
    storing
        .note(&transaction, &renewed.license, change.at)
        .await?;
    let shown = || ShownLicense::of(renewed.license.clone(), change.at);
    note_answer(&transaction, OK, shown).await?;
    storing.end(transaction).await?;
    Ok(renewed)
}

/// The amendment that renews a license with this row.
async fn renewing(
    store: &Store,
    license: License,
    request: &RenewRequest,
    change: &PermittedChange,
) -> Result<Prepared, RenewError> {
    let known = amendments_to_follow(store, &license, request.after, change.at).await?;
    let texts = AmendRequest {
        reason: request.reason.clone(),
        order: request.order.clone(),
        ..AmendRequest::default()
    };
    let amendment = Amendment {
        changes: vec![amendment::Change::Expiry(request.expires_at)],
        ..texts.without_changes(&known, change)?
    };
    Ok(Prepared::new(store, license, known, amendment, None, change).await?)
}
