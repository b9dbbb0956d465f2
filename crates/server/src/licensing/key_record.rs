//! Compares the key directory with what the database records about it. The rules are
//! [`license_core::key_record`]'s.
//!
//! Files are written before the record, so a record that was read before the files is never newer
//! than its directory.

use std::path::Path;

use license_core::key_record::KeyRecord;
use serde_json::json;

use crate::app::App;
use crate::audit::{Action, Actor, Change};
use crate::licensing::keys_error::KeysError;
use crate::signing::SigningKeys;
use crate::store::{Store, StoreError, key_record};
use license_core::signing_clock::SigningTime;

/// Reads the keys of a directory, and compares them with the record. A directory with newer sets is
/// recorded, and so is the first directory. Keys that the record lists as revoked are not used.
///
/// # Errors
/// If the keys cannot be used, the directory is behind the record or another one, or the
/// database fails.
pub async fn load(store: &Store, directory: &Path) -> Result<SigningKeys, KeysError> {
    let recorded = key_record::find(store.reader()).await?;
    let keys = SigningKeys::load(directory)?;
    let is_newer = keys.compare(recorded.as_ref())?;
    let mut record = recorded;
    if is_newer {
        write(store, record.as_ref(), &keys).await?;
        // Another process may have recorded another directory at the same moment.
        record = key_record::find(store.reader()).await?;
        keys.compare(record.as_ref())?;
    }
    Ok(keys.without(record.map(|it| it.revoked).unwrap_or_default()))
}

/// Records the newest set of these keys in place of what was read.
async fn write(
    store: &Store,
    recorded: Option<&KeyRecord>,
    keys: &SigningKeys,
) -> Result<(), StoreError> {
    let db = store.reader();
    match recorded {
        Some(recorded) => {
            let record = keys.record().with_revoked(&recorded.revoked);
            key_record::advance(db, recorded, &record).await
        }
        None => key_record::add(db, &keys.record()).await,
    }
}

/// Reloads changed key files in a running service, and compares the keys with the record. Returns
/// whether they were reloaded.
///
/// # Errors
/// If the files cannot be used: the previous keys stay in use. If the keys do not match the record:
/// nothing is signed until they do.
pub async fn watch(app: &App) -> Result<bool, KeysError> {
    let recorded = key_record::find(app.store.reader()).await;
    let reloaded = app.keys.reload_if_changed();
    let recorded = recorded?;
    let is_newer = app.keys.note_record(recorded.as_ref())?;
    let reloaded = reloaded?;
    // Only the content of the directory is recorded, never its former content.
    if is_newer {
        let keys = app.keys().clone();
        write(&app.store, recorded.as_ref(), &keys).await?;
    }
    Ok(reloaded)
}

/// Records a directory that is behind the record or is a different one, because a person has
/// confirmed it, with an entry in the audit log. Returns the version of its newest set. Revoked
/// keys stay revoked.
///
/// # Errors
/// If the keys cannot be used, none may sign a new key set at `at`, or the database fails.
pub async fn accept(
    store: &Store,
    directory: &Path,
    by: Actor,
    at: SigningTime,
) -> Result<u64, KeysError> {
    let change = Change {
        by,
        at: at.instant(),
    };
    let keys = SigningKeys::load(directory)?;
    let transaction = store.begin().await?;
    let recorded = key_record::find(&transaction).await?;
    let revoked = recorded.as_ref().map(|it| it.revoked.clone());
    let keys = keys.without(revoked.unwrap_or_default());
    let kid = keys.signer_of_next(change.at)?;
    let record = keys.record();
    let details = json!({"keySet": record.version, "recorded": recorded.map(|it| it.version)});
    let noted = change.note_other(&transaction, Action::KeysAccepted, kid, details);
    noted.await?;
    key_record::replace(&transaction, &record).await?;
    transaction.commit().await.map_err(StoreError::from)?;
    Ok(record.version)
}
