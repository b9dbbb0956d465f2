//! Sign the document of a release, with an entry in the audit log.

use std::path::Path;

use chrono::{DateTime, SubsecRound as _, Utc};
use license_core::document::{DocumentType, ReleaseClaims};
use license_core::release::{PRODUCT, Release};
use license_core::signing_clock::SigningTime;
use serde_json::json;

use crate::audit::{Action, Actor, Change};
use crate::licensing::key_record;
use crate::licensing::keys_error::KeysError;
use crate::signing::SignError;
use crate::store::{Store, StoreError};

/// Why the document of a release was not signed.
#[derive(Debug, thiserror::Error)]
pub enum ReleaseError {
    /// Its date has not come yet.
    #[error(
        "the release is dated {0}, which is in the future; sign its document when it is released"
    )]
    InTheFuture(DateTime<Utc>),
    /// The keys cannot be used.
    #[error(transparent)]
    Keys(#[from] KeysError),
    /// Nothing can be signed.
    #[error(transparent)]
    Sign(#[from] SignError),
    /// The database returned an error.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Signs the document of a release at `at`, with the keys in `directory`.
///
/// # Errors
/// One [`ReleaseError`] for each reason; nothing was signed then.
pub async fn sign(
    store: &Store,
    directory: &Path,
    issuer: &str,
    release: &Release,
    by: Actor,
    at: SigningTime,
) -> Result<String, ReleaseError> {
    let change = Change {
        by,
        at: at.instant(),
    };
    let Release {
        version,
        released,
        exempt,
    } = release;
    if *released > change.at {
        return Err(ReleaseError::InTheFuture(*released));
    }
    let keys = key_record::load(store, directory).await?;
    let claims = ReleaseClaims {
        iss: issuer.to_owned(),
        iat: change.at.trunc_subsecs(0),
        product: PRODUCT.to_owned(),
        version: version.clone(),
        released: *released,
        exempt: *exempt,
    };
    let document = keys.sign(DocumentType::Release, &claims, at)?;
    let details = json!({"released": released, "exempt": exempt});
    let transaction = store.begin().await?;
    let signed = change.note_other(&transaction, Action::ReleaseSigned, version, details);
    signed.await?;
    transaction.commit().await.map_err(StoreError::from)?;
    Ok(document)
}
