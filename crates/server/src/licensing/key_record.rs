//! Compares the key directory with what the database records about it. The rules are
//! [`license_core::key_record`]'s.
//!
//! Files are written before the record, so a record that was read before the files is never newer
//! than its directory.

use std::path::Path;

use license_core::key_record::KeyRecord;
use license_service::unattended::Panicked;
use sea_orm::ConnectionTrait;
use serde_json::json;

use crate::app::App;
use crate::audit::{Action, Actor, Change};
use crate::licensing::keys_error::KeysError;
use crate::signing::SigningKeys;
use crate::store::{Store, StoreError, audit_log, coverage, key_record, licenses};
use license_core::signing_clock::SigningTime;

/// Reads the keys of a directory, and compares them with the record. A directory with newer sets is
/// recorded, and so is the first directory, unless the database is empty. Keys that the record lists
/// as revoked are not used.
///
/// # Errors
/// If the keys cannot be used, the directory is behind the record or another one, the database is
/// empty, or it fails.
pub async fn load(store: &Store, directory: &Path) -> Result<SigningKeys, KeysError> {
    let recorded = key_record::find(store.reader()).await?;
    let keys = read(directory).await?;
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

/// Reads the keys of a directory: all its files, which takes seconds if it has hundreds of sets.
async fn read(directory: &Path) -> Result<SigningKeys, KeysError> {
    let directory = directory.to_owned();
    Ok(in_background(move || SigningKeys::load(&directory)).await??)
}

/// Works on a thread that answers no calls.
pub(super) async fn in_background<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Panicked> {
    let working = tokio::task::spawn_blocking(work).await;
    working.map_err(|error| Panicked {
        what: error.to_string(),
    })
}

/// Records the newest set of these keys in place of what was read.
async fn write(
    store: &Store,
    recorded: Option<&KeyRecord>,
    keys: &SigningKeys,
) -> Result<(), KeysError> {
    let db = store.reader();
    match recorded {
        Some(recorded) => {
            let record = keys.record().with_revoked(&recorded.revoked);
            key_record::advance(db, recorded, &record).await?;
        }
        None if is_empty(db).await? => {
            return Err(keys.with_empty_database().into());
        }
        None => key_record::add(db, &keys.record()).await?,
    }
    Ok(())
}

/// Whether no server has ever used this database. Before it creates the first key, a server records
/// since when the database is complete.
async fn is_empty(db: &impl ConnectionTrait) -> Result<bool, StoreError> {
    Ok(coverage::find(db).await?.is_none()
        && !licenses::any(db).await?
        && !audit_log::any(db).await?)
}

/// Reloads changed key files in a running service, and compares the keys with the record. Returns
/// whether they were reloaded.
///
/// # Errors
/// If the files cannot be used: the previous keys stay in use. If the keys do not match the record:
/// nothing is signed until they do.
pub async fn watch(app: &App) -> Result<bool, KeysError> {
    let recorded = key_record::find(app.store.reader()).await;
    let keys = app.keys.clone();
    let (reloaded, compared) = in_background(move || {
        let reloaded = keys.reload_if_changed();
        let compared = recorded.map(|it| (keys.note_record(it.as_ref()), it));
        (reloaded, compared)
    })
    .await?;
    let (is_newer, recorded) = compared?;
    let is_newer = is_newer?;
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
    let keys = read(directory).await?;
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
