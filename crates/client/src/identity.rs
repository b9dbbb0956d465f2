//! Who this installation is, towards the License Server.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::random;
use crate::store::{
    Store, StoreError, local_license_cache, local_license_validation_attempts, system_config,
};

/// Settled at start, and the same until the process ends.
#[derive(Clone, Debug)]
pub struct Identity {
    /// This installation: made once.
    pub installation_id: String,
    /// This machine: computed once, stored, never computed again, so that a
    /// new network card or container does not lose the license.
    pub hardware_id: String,
    /// What people call the installation.
    pub installation_name: String,
    /// Version of the VMS.
    pub app_version: String,
}

/// The installation id: the setting, else the stored one, else a new one.
///
/// # Errors
/// When the database refuses.
pub async fn installation_id(
    store: &Store,
    setting: Option<&str>,
    now: DateTime<Utc>,
) -> Result<String, StoreError> {
    let candidate = setting.map_or_else(|| Uuid::new_v4().to_string(), str::to_owned);
    settle(
        store,
        system_config::INSTALLATION_ID,
        setting,
        &candidate,
        now,
    )
    .await
}

/// The hardware id: the setting, else the stored one, else the one that the
/// License Server already knows this machine by, else a new one.
///
/// # Errors
/// When the database refuses.
pub async fn hardware_id(
    store: &Store,
    setting: Option<&str>,
    now: DateTime<Utc>,
) -> Result<String, StoreError> {
    let candidate = match setting {
        Some(id) => id.to_owned(),
        None => known_hardware_id(store)
            .await?
            .unwrap_or_else(random::hardware_id),
    };
    settle(store, system_config::HARDWARE_ID, setting, &candidate, now).await
}

async fn known_hardware_id(store: &Store) -> Result<Option<String>, StoreError> {
    let Some(cached) = local_license_cache::current(store.reader()).await? else {
        return Ok(None);
    };
    local_license_validation_attempts::newest_successful_hardware_id(
        store.reader(),
        &cached.license_key,
    )
    .await
}

/// Stores `candidate` unless there is a row, and answers the setting or what
/// is stored then.
async fn settle(
    store: &Store,
    key: &'static str,
    setting: Option<&str>,
    candidate: &str,
    now: DateTime<Utc>,
) -> Result<String, StoreError> {
    system_config::insert_if_missing(store.reader(), key, candidate, now).await?;
    let stored = system_config::get(store.reader(), key).await?;
    let stored = stored.unwrap_or_else(|| candidate.to_owned());
    match setting {
        Some(setting) if setting != stored => {
            tracing::warn!(
                key,
                setting,
                stored,
                "the setting differs from the stored id; the setting counts"
            );
            Ok(setting.to_owned())
        }
        _ => Ok(stored),
    }
}
