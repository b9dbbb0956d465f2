//! Make the next signing key, and revoke one, with an entry in the audit log.

use std::path::Path;
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::json;

use crate::app::App;
use crate::licensing::audit::{Action, Actor, Change};
use crate::signing::{SigningError, SigningKeys};
use crate::store::{Store, StoreError};

/// Why the keys stay as they are.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    /// The directory of the keys, or what is in it.
    #[error(transparent)]
    Signing(#[from] SigningError),
    /// The database refuses.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A fault of ours, or the service stops.
    #[error("the change of the keys was broken off; look with 'license-server keys list'")]
    BrokenOff,
}

/// Makes the next key, which signs after `overlap`; answers its id and from when
/// on it signs.
///
/// # Errors
/// One [`KeysError`] for each reason; nothing has changed then.
pub async fn rotate(
    store: &Store,
    directory: &Path,
    issuer: &str,
    overlap: TimeDelta,
    change: &Change,
) -> Result<(String, DateTime<Utc>), KeysError> {
    // The database is asked first: without an entry in its log nothing is done.
    let transaction = store.begin().await?;
    let (kid, signs_from) = SigningKeys::rotate(directory, issuer, change.at, overlap)?;
    let details = json!({"signsFrom": signs_from});
    change
        .note_key(&transaction, Action::KeyMade, &kid, details)
        .await?;
    transaction.commit().await.map_err(StoreError::from)?;
    Ok((kid, signs_from))
}

/// Revokes a key; answers the version of the set that says so.
///
/// # Errors
/// One [`KeysError`] for each reason; nothing has changed then.
pub async fn revoke(
    store: &Store,
    directory: &Path,
    issuer: &str,
    kid: &str,
    change: &Change,
) -> Result<u64, KeysError> {
    let transaction = store.begin().await?;
    let version = SigningKeys::revoke(directory, issuer, kid, change.at)?;
    let details = json!({"keySet": version});
    change
        .note_key(&transaction, Action::KeyRevoked, kid, details)
        .await?;
    transaction.commit().await.map_err(StoreError::from)?;
    Ok(version)
}

/// The same in a running service, which takes the new key up at once. It goes on
/// to its end, also when the caller hangs up in between.
///
/// # Errors
/// One [`KeysError`] for each reason; nothing has changed then.
pub async fn rotate_in(
    app: &Arc<App>,
    overlap: TimeDelta,
    by: Actor,
) -> Result<(String, DateTime<Utc>), KeysError> {
    let rotating = app.clone();
    to_the_end(async move {
        let app = rotating;
        let change = Change::now(&app, by);
        let issuer = &app.terms.issuer;
        let made = rotate(&app.store, app.keys_dir(), issuer, overlap, &change).await?;
        app.reload_keys()?;
        Ok(made)
    })
    .await
}

/// The same in a running service, with a key to revoke.
///
/// # Errors
/// One [`KeysError`] for each reason; nothing has changed then.
pub async fn revoke_in(app: &Arc<App>, kid: String, by: Actor) -> Result<u64, KeysError> {
    let revoking = app.clone();
    to_the_end(async move {
        let app = revoking;
        let change = Change::now(&app, by);
        let issuer = &app.terms.issuer;
        let version = revoke(&app.store, app.keys_dir(), issuer, &kid, &change).await?;
        app.reload_keys()?;
        Ok(version)
    })
    .await
}

async fn to_the_end<T: Send + 'static>(
    change: impl Future<Output = Result<T, KeysError>> + Send + 'static,
) -> Result<T, KeysError> {
    match tokio::spawn(change).await {
        Ok(done) => done,
        Err(_) => Err(KeysError::BrokenOff),
    }
}
