//! Open the database and the keys, and create what is missing.

use std::sync::Arc;
use std::time::Duration;

use license_core::signing_clock::ClockDoubt;
use license_service::clock::Clock;
use license_service::database::ConnectError;
use license_service::state_dir;
use license_service::turns::{QueueBounds, Turns};

use crate::app::App;
use crate::audit::{Action, Actor, Change};
use crate::call_queues::CallQueues;
use crate::config::{Storage, Terms};
use crate::licensing::keys_error::KeysError;
use crate::licensing::{clock, key_record, restored};
use crate::metrics::Metrics;
use crate::rates::Rates;
use crate::signing::clock::SigningClock;
use crate::signing::loaded::LoadedKeys;
use crate::signing::{SigningError, SigningKeys};
use crate::store::{self, Store, StoreError, audit_log, seats};

/// Why the service cannot start.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The database cannot be used.
    #[error("DATABASE_URL is {url}: {error}")]
    Store {
        /// The database, without its password.
        url: String,
        /// The cause.
        error: StoreError,
    },
    /// The signing keys cannot be used.
    #[error(transparent)]
    Signing(#[from] SigningError),
    /// The first key would have a wrong date.
    #[error("no signing key was created: {0}")]
    Clock(#[from] ClockDoubt),
    /// Licenses were signed with keys that are gone.
    #[error(
        "there is no signing key in '{directory}', but there was one before: no site would trust \
         a new key; restore the directory from a backup, or start over with 'license-server keys \
         create' and 'license-server keys accept'"
    )]
    KeysLost {
        /// Where they should be.
        directory: String,
    },
}

/// Calls with the same `Idempotency-Key`.
const SAME_KEY_BOUNDS: QueueBounds = QueueBounds {
    at_a_time: 1,
    max_waiting: 8,
    timeout: Duration::from_secs(5),
};

/// Changes of signing keys, each of which reads all key sets.
const KEY_CHANGE_BOUNDS: QueueBounds = QueueBounds {
    at_a_time: 1,
    max_waiting: 4,
    timeout: Duration::from_secs(10),
};

impl OpenError {
    /// Whether the database may become available soon.
    #[must_use]
    pub fn is_database_away(&self) -> bool {
        let Self::Store { error, .. } = self else {
            return false;
        };
        matches!(error, StoreError::Connect(ConnectError::NotReached(_)))
    }
}

impl App {
    /// Opens the database and the keys. The first start creates a key.
    ///
    /// # Errors
    /// If the database or the keys cannot be used, or former keys are missing.
    pub async fn open(
        storage: &Storage,
        terms: Terms,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, OpenError> {
        state_dir::remove_left_over(&storage.state_dir, clock.now());
        state_dir::remove_left_over(&storage.keys(), clock.now());
        let store = create_store(storage).await?;
        let signing_clock = clock::open(&store, clock.clone()).await;
        let signing_clock = signing_clock.map_err(|error| refused(storage, error))?;
        let keys_dir = storage.keys();
        let loaded = match key_record::load(&store, &keys_dir).await {
            Err(KeysError::Signing(SigningError::None(_))) => None,
            loaded => Some(loaded.map_err(|error| unusable(storage, error))?),
        };
        let numbering = restored::open(&store, loaded.is_some(), clock.now()).await;
        let numbering = numbering.map_err(|error| refused(storage, error))?;
        let keys = match loaded {
            Some(keys) => keys,
            None => {
                let change = Change {
                    by: Actor::Service,
                    at: clock.now(),
                };
                make_missing_key(&store, storage, &signing_clock, &change).await?;
                let made = key_record::load(&store, &keys_dir).await;
                made.map_err(|error| unusable(storage, error))?
            }
        };
        Ok(Self {
            store,
            clock,
            terms,
            traffic: Arc::default(),
            rates: Rates::default(),
            queues: CallQueues::default(),
            keyed_calls: Turns::new(SAME_KEY_BOUNDS),
            signing_clock,
            numbering,
            metrics: Metrics::new(),
            keys: Arc::new(LoadedKeys::new(&keys_dir, keys)),
            key_changes: Turns::new(KEY_CHANGE_BOUNDS),
        })
    }
}

/// Creates the first key, and records it; another process may be faster. Returns its id.
///
/// # Errors
/// If the directory or the database returns an error.
pub async fn first_key(
    store: &Store,
    storage: &Storage,
    change: &Change,
) -> Result<Option<String>, OpenError> {
    let keys_dir = storage.keys();
    let refused = |error| refused(storage, error);
    // A server that finds the files before they are recorded, or after this one was interrupted,
    // must not mistake this database for one that was lost and created again.
    let begun = restored::begin(store, change.at).await;
    begun.map_err(refused)?;
    let transaction = store.begin().await.map_err(refused)?;
    let kid = match SigningKeys::create(&keys_dir, change.at) {
        Ok(kid) => kid,
        Err(SigningError::Exists(_)) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let nothing = serde_json::Value::Null;
    let noted = change.note_other(&transaction, Action::KeyMade, &kid, nothing);
    noted.await.map_err(refused)?;
    // If a different directory is recorded, this one is used for signing only after it has been
    // accepted.
    let record = SigningKeys::load(&keys_dir)?.record();
    let recorded = store::key_record::add(&transaction, &record);
    recorded.await.map_err(refused)?;
    let committed = transaction.commit().await;
    committed.map_err(|error| refused(error.into()))?;
    tracing::info!(
        kid,
        directory = %keys_dir.display(),
        "created the first signing key; back it up"
    );
    Ok(Some(kid))
}

/// Creates the first key if there has never been one; another process may be faster.
///
/// # Errors
/// [`OpenError::KeysLost`] where there was a key before, and as [`first_key`]; while the
/// clock may be wrong, too.
pub async fn make_missing_key(
    store: &Store,
    storage: &Storage,
    signing_clock: &SigningClock,
    change: &Change,
) -> Result<(), OpenError> {
    let had_keys = had_keys(store).await;
    if had_keys.map_err(|error| refused(storage, error))? {
        // A process that creates the first key writes its files before the entry.
        return match SigningKeys::load(&storage.keys()) {
            Err(SigningError::None(directory)) => Err(OpenError::KeysLost { directory }),
            loaded => Ok(loaded.map(|_| ())?),
        };
    }
    signing_clock.permit(change.at)?;
    first_key(store, storage, change).await?;
    Ok(())
}

/// Whether the database has any record of a key, or of anything signed with one.
async fn had_keys(store: &Store) -> Result<bool, StoreError> {
    let db = store.reader();
    Ok(audit_log::any_of(db, Action::KeyMade.as_str()).await?
        || seats::any(db).await?
        || store::key_record::find(db).await?.is_some())
}

/// Opens only the database, for commands that need no key. It is not created.
///
/// # Errors
/// If it does not exist or cannot be used.
pub async fn open_store(storage: &Storage) -> Result<Store, OpenError> {
    let opened = Store::open_existing(&storage.database()).await;
    opened.map_err(|error| refused(storage, error))
}

/// Opens the database, and creates it if it does not exist.
///
/// # Errors
/// If the database cannot be used.
pub async fn create_store(storage: &Storage) -> Result<Store, OpenError> {
    let timeouts = storage.database_timeouts.clone();
    let opened = Store::open_within(&storage.database(), timeouts).await;
    opened.map_err(|error| refused(storage, error))
}

/// The keys of a directory that has some cannot be used.
fn unusable(storage: &Storage, error: KeysError) -> OpenError {
    match error {
        KeysError::Store(error) => refused(storage, error),
        KeysError::Signing(error) => error.into(),
        KeysError::Clock(error) => error.into(),
        // Nothing is changed here, so the check can be interrupted.
        KeysError::Interrupted(_) | KeysError::Busy(_) => {
            OpenError::Signing(SigningError::NoneSignsNow)
        }
    }
}

fn refused(storage: &Storage, error: StoreError) -> OpenError {
    OpenError::Store {
        url: storage.database().to_string(),
        error,
    }
}
