//! Create the next signing key, and revoke keys, with an entry in the audit log.

use std::path::Path;
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use license_core::signing_clock::SigningTime;
use license_service::turns::Turn;
use license_service::unattended::finish_even_if_disconnected;
use serde_json::{Value, json};

use crate::app::App;
use crate::audit::{Action, Actor, Change};
use crate::keyed_call::may_be_repeated;
use crate::licensing::key_record::{self, in_background};
use crate::licensing::keys_error::KeysError;
use crate::signing::rotate::Prepared;
use crate::signing::{SigningError, SigningKeys};
use crate::store::{Store, StoreError};

/// Default number of days until the next key signs: every site receives it before it is needed.
pub const DEFAULT_OVERLAP_DAYS: u16 = 7;
/// Maximum number of days until then.
pub const MAX_OVERLAP_DAYS: u16 = 365;

/// Creates the next key at `at`, which signs after `overlap`; returns its id and the time from
/// which it signs.
///
/// # Errors
/// One [`KeysError`] for each reason; the keys are then unchanged.
pub async fn rotate(
    store: &Store,
    directory: &Path,
    issuer: &str,
    overlap: TimeDelta,
    by: Actor,
    at: SigningTime,
) -> Result<(String, DateTime<Utc>), KeysError> {
    let change = &Change {
        by,
        at: at.instant(),
    };
    let known = key_record::load(store, directory).await?;
    let prepared = SigningKeys::prepare_next(known, change.at, overlap)?;
    let (kid, signs_from) = (prepared.kid.clone(), change.at + overlap);
    let details = json!({"signsFrom": signs_from});
    publish(store, prepared, issuer, Action::KeyMade, details, change).await?;
    record(store, directory).await;
    Ok((kid, signs_from))
}

/// Revokes a key at `at`; returns the version of the set with the revocation.
///
/// # Errors
/// One [`KeysError`] for each reason; the keys are then unchanged.
pub async fn revoke(
    store: &Store,
    directory: &Path,
    issuer: &str,
    kid: &str,
    by: Actor,
    at: SigningTime,
) -> Result<u64, KeysError> {
    let change = &Change {
        by,
        at: at.instant(),
    };
    let known = key_record::load(store, directory).await?;
    let prepared = SigningKeys::prepare_revocation(known, kid, change.at)?;
    let (action, details) = (Action::KeyRevoked, Value::Null);
    let version = publish(store, prepared, issuer, action, details, change).await?;
    record(store, directory).await;
    Ok(version)
}

/// Records the set that was just published. The change has happened: if recording fails now, a
/// running server records the set with its next check, or at the next start.
async fn record(store: &Store, directory: &Path) {
    if let Err(error) = key_record::load(store, directory).await {
        tracing::warn!(%error, "failed to record the new key set in the database");
    }
}

/// Loads the keys that were just changed. If that fails now, the job that watches the key directory
/// tries again.
async fn load_changed(app: &App) {
    if let Err(error) = known(app).await {
        tracing::warn!(%error, "the keys were changed, but cannot be loaded");
    }
}

/// Waits for the turn to change the keys of a running service: the files are read for each change.
async fn turn(app: &App) -> Result<Turn, KeysError> {
    Ok(app.key_changes.take(&()).await?)
}

/// The keys that the service uses, reloaded if their files have changed.
async fn known(app: &App) -> Result<Arc<SigningKeys>, KeysError> {
    let keys = app.keys.clone();
    in_background(move || keys.reload_if_changed()).await??;
    Ok(app.keys().clone())
}

/// Keys are files, and the log is a table, so they cannot be written together. The entry is
/// written first, so that every change has one; if the change certainly has not happened then,
/// another entry records that.
async fn publish(
    store: &Store,
    prepared: Prepared,
    issuer: &str,
    action: Action,
    details: Value,
    change: &Change,
) -> Result<u64, KeysError> {
    prepared.check_writable()?;
    let kid = prepared.kid.clone();
    let transaction = store.begin().await?;
    change
        .note_other(&transaction, action, &kid, details)
        .await?;
    transaction.commit().await.map_err(StoreError::from)?;
    let published = prepared.publish(issuer);
    if let Err(error) = &published
        && !matches!(error, SigningError::Unclear { .. })
    {
        let details = json!({"error": error.to_string()});
        let action = Action::KeysUnchanged;
        let noted = change.note_other(store.reader(), action, &kid, details);
        if let Err(error) = noted.await {
            tracing::error!(%error, kid, "the audit log records a key change that did not happen");
        }
        may_be_repeated(store.reader()).await;
    }
    Ok(published?)
}

/// The same in a running service, which loads the new key immediately. It runs to completion even
/// if the caller disconnects. One change is made at a time, and at most
/// [`MAX_KEYS_A_DAY`](crate::signing::rotate::MAX_KEYS_A_DAY) keys are created within 24 hours: each
/// makes the chain of sets longer, which every start and every change reads.
///
/// # Errors
/// One [`KeysError`] for each reason; nothing has changed then.
pub async fn rotate_in(
    app: &Arc<App>,
    overlap: TimeDelta,
    by: Actor,
) -> Result<(String, DateTime<Utc>), KeysError> {
    let rotating = app.clone();
    finish_even_if_disconnected(async move {
        let app = rotating;
        let _turn = turn(&app).await?;
        let at = app.signing_clock.permit(app.clock.now())?;
        known(&app).await?.check_rotation(at.instant())?;
        let issuer = &app.terms.issuer;
        let made = rotate(&app.store, app.keys_dir(), issuer, overlap, by, at).await?;
        load_changed(&app).await;
        Ok(made)
    })
    .await?
}

/// The same in a running service, with a key to revoke.
///
/// # Errors
/// One [`KeysError`] for each reason; nothing has changed then.
pub async fn revoke_in(app: &Arc<App>, kid: String, by: Actor) -> Result<u64, KeysError> {
    let revoking = app.clone();
    finish_even_if_disconnected(async move {
        let app = revoking;
        let _turn = turn(&app).await?;
        let at = app.signing_clock.permit(app.clock.now())?;
        known(&app).await?.check_published(&kid)?;
        let issuer = &app.terms.issuer;
        let version = revoke(&app.store, app.keys_dir(), issuer, &kid, by, at).await?;
        load_changed(&app).await;
        Ok(version)
    })
    .await?
}
