//! The identity of this installation for the License Server.

use std::path::Path;

use chrono::{DateTime, Utc};
use license_service::database::Database;
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use crate::host::version_1;
use crate::random;
use crate::store::{
    StoreError, local_license_cache, local_license_validation_attempts, system_config,
};

/// The two ids, determined when the database is first reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// This installation: created at the first start.
    pub installation_id: String,
    /// This machine: computed once and stored, so that a new network card or container does not
    /// lose the license.
    pub hardware_id: String,
}

/// The ids that settings prescribe, instead of the stored ones.
#[derive(Clone, Debug, Default)]
pub struct Prescribed {
    /// `INSTALLATION_ID`.
    pub installation_id: Option<String>,
    /// `LICENSE_HARDWARE_ID`.
    pub hardware_id: Option<String>,
}

impl Prescribed {
    /// Whether two identities differ in an id that no setting prescribes.
    #[must_use]
    pub fn distinguish(&self, one: &Identity, other: &Identity) -> bool {
        (self.installation_id.is_none() && one.installation_id != other.installation_id)
            || (self.hardware_id.is_none() && one.hardware_id != other.hardware_id)
    }
}

/// The source of a hardware id that is not stored yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Origin {
    Setting,
    NewestSuccess,
    Version1,
    Random,
}

/// Maximum length of an id, in bytes: the width of its column.
const MAX_ID_BYTES: usize = 255;

/// Whether a text is a valid id, regardless of its source: it is sent in a header and stored in
/// columns.
#[must_use]
pub fn is_usable(id: &str) -> bool {
    (1..=MAX_ID_BYTES).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_graphic())
}

/// Determines both ids, and stores those that are not stored yet. Returns the number of rows that
/// were changed or removed by hand.
///
/// `known` is the identity in the local copy, with or without a license, or in the signed license:
/// others can write to the rows of the ids, and such a row is repaired. Settings take precedence.
///
/// # Errors
/// If the database returns an error.
pub async fn settle(
    db: &Database,
    prescribed: &Prescribed,
    known: Option<&Identity>,
    secret: &[u8; 64],
    root: &Path,
    now: DateTime<Utc>,
) -> Result<(Identity, usize), StoreError> {
    let key = system_config::INSTALLATION_ID;
    let setting = prescribed.installation_id.as_deref();
    let witness = known.map(|known| &*known.installation_id);
    let found = Found::read(db, key, setting, witness).await?;
    let mut repaired = usize::from(found.is_repaired());
    let installation_id = match found.clone() {
        Found::Good(stored) => prefer(key, setting, stored),
        Found::Other(right) => write_right(db, key, right, now).await?,
        Found::Unusable(_) | Found::Nothing => {
            let candidate = setting.map_or_else(|| Uuid::new_v4().to_string(), str::to_owned);
            found.keep_first(db, key, &candidate, now).await?
        }
    };

    let key = system_config::HARDWARE_ID;
    let setting = prescribed.hardware_id.as_deref();
    let witness = known.map(|known| &*known.hardware_id);
    let found = Found::read(db, key, setting, witness).await?;
    repaired += usize::from(found.is_repaired());
    let hardware_id = match found.clone() {
        Found::Good(stored) => prefer(key, setting, stored),
        Found::Other(right) => write_right(db, key, right, now).await?,
        Found::Unusable(_) | Found::Nothing => {
            let (candidate, origin) = match setting {
                Some(id) => (id.to_owned(), Origin::Setting),
                None => first_hardware_id(db, secret, root).await?,
            };
            tracing::info!(
                hardware_id = candidate,
                ?origin,
                "determined the hardware id"
            );
            found.keep_first(db, key, &candidate, now).await?
        }
    };
    let identity = Identity {
        installation_id,
        hardware_id,
    };
    Ok((identity, repaired))
}

/// The content of the row of an id.
#[derive(Clone)]
enum Found {
    /// An id that is not contradicted.
    Good(String),
    /// An id other than this one, which the row must contain.
    Other(String),
    /// Not a valid id, and the correct one is unknown.
    Unusable(String),
    /// There is no row, or it is empty.
    Nothing,
}

impl Found {
    async fn read(
        db: &Database,
        key: &str,
        setting: Option<&str>,
        witness: Option<&str>,
    ) -> Result<Self, StoreError> {
        // An id from a setting needs no confirmation.
        let right = witness.filter(|id| setting.is_none() && is_usable(id));
        let right = right.map(str::to_owned);
        let stored = stored(db, key).await?;
        let found = match (stored, right) {
            (None, None) => Self::Nothing,
            (Some(stored), Some(right)) if stored == right => Self::Good(stored),
            (_, Some(right)) => Self::Other(right),
            (Some(stored), None) if is_usable(&stored) => Self::Good(stored),
            (Some(stored), None) => Self::Unusable(stored),
        };
        if found.is_repaired() {
            tracing::error!(
                security = true,
                key,
                "a row with an id in system_config was changed or removed by hand and is being \
                 rewritten"
            );
        }
        Ok(found)
    }

    fn is_repaired(&self) -> bool {
        matches!(self, Self::Other(_) | Self::Unusable(_))
    }

    /// Stores `candidate` if there is no usable value, and returns the stored value: if two
    /// processes start together, both use the id of the first.
    async fn keep_first(
        &self,
        db: &Database,
        key: &str,
        candidate: &str,
        now: DateTime<Utc>,
    ) -> Result<String, StoreError> {
        if let Self::Unusable(stored) = self {
            system_config::replace(db, key, stored, candidate, now).await?;
        }
        keep_first(db, key, candidate, now).await
    }
}

async fn write_right(
    db: &Database,
    key: &str,
    right: String,
    now: DateTime<Utc>,
) -> Result<String, StoreError> {
    system_config::set(db, key, &right, now).await?;
    Ok(right)
}

/// The secret of this installation, created at the first start.
///
/// # Errors
/// If the database returns an error.
pub async fn secret(db: &Database, now: DateTime<Utc>) -> Result<[u8; 64], StoreError> {
    let candidate = hex(&random::secret());
    let kept = keep_first(db, system_config::SECRET, &candidate, now).await?;
    // An edited id is hashed to the right length.
    let mut secret = [0; 64];
    secret[..32].copy_from_slice(&Sha256::digest(&kept));
    Ok(secret)
}

/// The id by which the License Server knows a machine that ran version 1.0.0, or a new one.
async fn first_hardware_id(
    db: &Database,
    secret: &[u8; 64],
    root: &Path,
) -> Result<(String, Origin), StoreError> {
    if let Some(cached) = local_license_cache::current(db).await? {
        let key = &cached.license_key;
        let newest = local_license_validation_attempts::newest_successful_hardware_id(db, key);
        if let Some(id) = newest.await?.filter(|id| is_usable(id)) {
            return Ok((id, Origin::NewestSuccess));
        }
    }
    if !local_license_cache::is_empty(db).await?
        && let Some(id) = version_1::hardware_id(root)
    {
        return Ok((id, Origin::Version1));
    }
    Ok((hex(&Sha256::digest(secret)), Origin::Random))
}

/// Both ids in the database; `None` if one is missing.
///
/// # Errors
/// If the database returns an error.
pub async fn stored_ids(db: &Database) -> Result<Option<Identity>, StoreError> {
    let installation_id = stored(db, system_config::INSTALLATION_ID).await?;
    let hardware_id = stored(db, system_config::HARDWARE_ID).await?;
    Ok(installation_id
        .zip(hardware_id)
        .map(|(installation_id, hardware_id)| Identity {
            installation_id,
            hardware_id,
        }))
}

async fn stored(db: &Database, key: &str) -> Result<Option<String>, StoreError> {
    let value = system_config::get(db, key).await?;
    Ok(value.filter(|value| !value.trim().is_empty()))
}

/// Stores `candidate` unless there is a row, and returns the stored value: if two processes start
/// together, both use the id of the first.
async fn keep_first(
    db: &Database,
    key: &str,
    candidate: &str,
    now: DateTime<Utc>,
) -> Result<String, StoreError> {
    system_config::insert_if_missing(db, key, candidate, now).await?;
    match stored(db, key).await? {
        Some(stored) => Ok(stored),
        None => {
            system_config::set(db, key, candidate, now).await?;
            Ok(candidate.to_owned())
        }
    }
}

fn prefer(key: &str, setting: Option<&str>, stored: String) -> String {
    match setting {
        Some(setting) if setting != stored => {
            tracing::warn!(
                key,
                setting,
                stored,
                "the setting differs from the stored id; using the setting"
            );
            setting.to_owned()
        }
        _ => stored,
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
