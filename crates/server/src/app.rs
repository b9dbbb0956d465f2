//! Everything that the use cases share.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use arc_swap::ArcSwap;
use chrono::{DateTime, Utc};
use license_core::document::DocumentType;
use license_core::signing_clock::ClockDoubt;
use license_service::clock::Clock;
use serde::Serialize;

use crate::audit::{Action, Actor, Change};
use crate::config::{Storage, Terms};
use crate::licensing::clock;
use crate::rates::Rates;
use crate::signing::clock::SigningClock;
use crate::signing::{self, SignError, SigningError, SigningKeys};
use crate::store::{Store, StoreError, seats};
use crate::traffic::Traffic;

/// The running service, shared by requests and jobs.
pub struct App {
    /// The database.
    pub store: Store,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// What is signed into a document.
    pub terms: Terms,
    /// Calls of sites that were counted.
    pub traffic: Traffic,
    /// How often sites may call.
    pub rates: Rates,
    /// Whether to sign by this machine's clock.
    pub signing_clock: SigningClock,
    keys_dir: PathBuf,
    keys: ArcSwap<SigningKeys>,
}

/// Why the service cannot start.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The database cannot be used.
    #[error("DATABASE_URL is {url}: {error}")]
    Store {
        /// The database, without its password.
        url: String,
        /// Why.
        error: StoreError,
    },
    /// The signing keys cannot be used.
    #[error(transparent)]
    Signing(#[from] SigningError),
    /// The first key would have a wrong date.
    #[error("no signing key was made: {0}")]
    Clock(#[from] ClockDoubt),
    /// Sites hold licenses that were signed with keys that are gone.
    #[error(
        "there is no signing key in '{directory}', but sites hold seats: a new key would sign what none of them believes; restore the directory from a backup, or begin anew with 'license-server keys create'"
    )]
    KeysLost {
        /// Where they should be.
        directory: String,
    },
}

impl App {
    /// Opens the database and the keys. The first start makes a key.
    ///
    /// # Errors
    /// When the database or the keys cannot be used, or keys are gone that
    /// there have been.
    pub async fn open(
        storage: &Storage,
        terms: Terms,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, OpenError> {
        let store = open_store(storage).await?;
        let signing_clock = clock::open(&store, clock.clone()).await;
        let signing_clock = signing_clock.map_err(|error| refused(storage, error))?;
        let keys_dir = storage.keys();
        let keys = match SigningKeys::load(&keys_dir) {
            Err(SigningError::None(directory)) if any_held(&store, storage).await? => {
                return Err(OpenError::KeysLost { directory });
            }
            Err(SigningError::None(_)) => {
                signing_clock.permit(clock.now())?;
                let change = Change {
                    by: Actor::Service,
                    at: clock.now(),
                };
                first_key(&store, storage, &change).await?;
                SigningKeys::load(&keys_dir)?
            }
            loaded => loaded?,
        };
        Ok(Self {
            store,
            clock,
            terms,
            traffic: Traffic::default(),
            rates: Rates::default(),
            signing_clock,
            keys_dir,
            keys: ArcSwap::from_pointee(keys),
        })
    }

    /// Somebody changes something, now.
    #[must_use]
    pub fn change(&self, by: Actor) -> Change {
        Change {
            by,
            at: self.clock.now(),
        }
    }

    /// Writes down the calls that were counted, if that can be done now.
    pub async fn write_traffic_down(&self) {
        if let Err(error) = self.traffic.write_down(&self.store).await {
            tracing::warn!(%error, "the counts of calls are not written down yet");
        }
    }

    /// Records that the clock is trusted now, if it is and that can be done.
    pub async fn record_clock(&self) {
        if let Err(error) = clock::record(&self.store, &self.signing_clock).await {
            tracing::warn!(%error, "failed to record that the clock is trusted");
        }
    }

    /// The directory of the keys.
    #[must_use]
    pub fn keys_dir(&self) -> &Path {
        &self.keys_dir
    }

    /// The keys that sign now.
    #[must_use]
    pub fn keys(&self) -> arc_swap::Guard<Arc<SigningKeys>> {
        self.keys.load()
    }

    /// When the directory of the keys changed last.
    #[must_use]
    pub fn keys_changed_at(&self) -> Option<SystemTime> {
        signing::changed_at(&self.keys_dir)
    }

    /// Signs claims at `now`, which was read from the clock within the request, with the
    /// key whose turn it is.
    ///
    /// # Errors
    /// While the clock may be wrong, and when no key may sign.
    pub fn sign(
        &self,
        document_type: DocumentType,
        claims: &impl Serialize,
        now: DateTime<Utc>,
    ) -> Result<String, SignError> {
        let at = self.signing_clock.permit(now)?;
        let signed = self.keys().sign(document_type, claims, at)?;
        self.signing_clock.note_signed();
        Ok(signed)
    }

    /// Whether documents are signed now.
    ///
    /// # Errors
    /// While the clock may be wrong, and when no key may sign.
    pub fn can_sign(&self) -> Result<(), SignError> {
        let at = self.signing_clock.permit(self.clock.now())?;
        Ok(self.keys().check(at.instant())?)
    }

    /// Reads the keys anew.
    ///
    /// # Errors
    /// When a key cannot be used; the keys from before then go on signing.
    pub fn reload_keys(&self) -> Result<(), SigningError> {
        self.keys
            .store(Arc::new(SigningKeys::load(&self.keys_dir)?));
        Ok(())
    }
}

/// Makes the first key, and notes it; another process may be faster. Answers
/// its id.
///
/// # Errors
/// When the directory or the database refuses.
pub async fn first_key(
    store: &Store,
    storage: &Storage,
    change: &Change,
) -> Result<Option<String>, OpenError> {
    let keys_dir = storage.keys();
    let refused = |error| refused(storage, error);
    let transaction = store.begin().await.map_err(refused)?;
    let kid = match SigningKeys::create(&keys_dir, change.at) {
        Ok(kid) => kid,
        Err(SigningError::Exists(_)) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let nothing = serde_json::Value::Null;
    let noted = change.note_key(&transaction, Action::KeyMade, &kid, nothing);
    noted.await.map_err(refused)?;
    let committed = transaction.commit().await;
    committed.map_err(|error| refused(error.into()))?;
    tracing::info!(
        kid,
        directory = %keys_dir.display(),
        "made the first signing key; back it up"
    );
    Ok(Some(kid))
}

async fn any_held(store: &Store, storage: &Storage) -> Result<bool, OpenError> {
    let held = seats::any_held(store.reader()).await;
    held.map_err(|error| refused(storage, error))
}

/// Opens the database alone, for commands that need no key.
///
/// # Errors
/// When the database cannot be used.
pub async fn open_store(storage: &Storage) -> Result<Store, OpenError> {
    let opened = Store::open(&storage.database()).await;
    opened.map_err(|error| refused(storage, error))
}

fn refused(storage: &Storage, error: StoreError) -> OpenError {
    OpenError::Store {
        url: storage.database().to_string(),
        error,
    }
}
