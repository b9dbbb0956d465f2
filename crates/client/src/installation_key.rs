//! The key with which this installation proves its calls to the License Server, created at the first
//! start. It is stored in the database, so that all replicas have the same one, and in `STATE_DIR`,
//! for a start without the database.

use chrono::{DateTime, Utc};
use license_core::installation_key::InstallationKey;
use license_core::thumbprint::Thumbprint;
use license_service::database::Database;

use crate::random;
use crate::state_file::StateFile;
use crate::store::{StoreError, system_config};

/// The key, and whether its row was changed by hand.
pub struct Settled {
    /// The key.
    pub key: InstallationKey,
    /// Whether the row was rewritten.
    pub is_repaired: bool,
}

/// The key in `STATE_DIR`, for a start without the database.
#[must_use]
pub fn of_file(file: &StateFile) -> Option<InstallationKey> {
    let text: String = file.read()?;
    InstallationKey::parse(&text).ok()
}

/// Determines the key, and stores it where it is missing.
///
/// `bound` is the key that the License Server has bound to the seat, according to the signed license:
/// others can write to the row, and a row with another key is then rewritten.
///
/// # Errors
/// If the database returns an error.
pub async fn settle(
    db: &Database,
    file: &StateFile,
    bound: Option<Thumbprint>,
    now: DateTime<Utc>,
) -> Result<Settled, StoreError> {
    let row = system_config::INSTALLATION_KEY;
    let local = of_file(file);
    let candidate = local
        .clone()
        .unwrap_or_else(|| InstallationKey::from_seed(&random::bytes()));
    let candidate_text = candidate.to_secret_text();
    system_config::insert_if_missing(db, row, &candidate_text, now).await?;
    let stored = system_config::get(db, row).await?.unwrap_or_default();
    let shared = InstallationKey::parse(&stored).ok();
    let is_bound = |key: &InstallationKey| Some(key.thumbprint()) == bound;
    let key = match shared {
        Some(shared) if is_bound(&shared) => shared,
        // Only this service writes to `STATE_DIR`.
        Some(_) if local.is_some() => candidate,
        Some(shared) => shared,
        None => candidate,
    };
    let text = key.to_secret_text();
    let is_repaired = stored.trim() != text;
    if is_repaired {
        tracing::error!(
            security = true,
            "the row with the installation key in system_config was changed by hand and is being \
             rewritten"
        );
        system_config::set(db, row, &text, now).await?;
    }
    if local.is_none_or(|local| local.thumbprint() != key.thumbprint()) {
        file.write(|| text).await;
    }
    Ok(Settled { key, is_repaired })
}
