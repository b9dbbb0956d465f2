//! Everything that the use cases share.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use arc_swap::ArcSwap;
use license_service::clock::Clock;

use crate::config::{Storage, Terms};
use crate::signing::{self, SigningError, SigningKeys};
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
        let keys_dir = storage.keys();
        let keys = match SigningKeys::load(&keys_dir) {
            Err(SigningError::None(directory)) if any_held(&store, storage).await? => {
                return Err(OpenError::KeysLost { directory });
            }
            Err(SigningError::None(_)) => SigningKeys::load_or_create(&keys_dir, clock.now())?,
            loaded => loaded?,
        };
        Ok(Self {
            store,
            clock,
            terms,
            traffic: Traffic::default(),
            keys_dir,
            keys: ArcSwap::from_pointee(keys),
        })
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

async fn any_held(store: &Store, storage: &Storage) -> Result<bool, OpenError> {
    let held = seats::any_held(store.reader()).await;
    held.map_err(|error| OpenError::Store {
        url: storage.database().to_string(),
        error,
    })
}

/// Opens the database alone, for commands that need no key.
///
/// # Errors
/// When the database cannot be used.
pub async fn open_store(storage: &Storage) -> Result<Store, OpenError> {
    let url = storage.database();
    Store::open(&url).await.map_err(|error| OpenError::Store {
        url: url.to_string(),
        error,
    })
}
