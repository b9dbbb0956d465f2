//! The keys that a running process signs with, and what has become of their files since.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::{ArcSwap, Guard};

use super::files::{DirectoryState, directory_state};
use super::{SigningError, SigningKeys};

/// The keys of a directory, reloaded when its files change.
pub struct LoadedKeys {
    directory: PathBuf,
    keys: ArcSwap<SigningKeys>,
    last: Mutex<LastLoad>,
}

/// The newest attempt to load the keys.
struct LastLoad {
    /// The files before the last attempt that succeeded.
    files: Option<DirectoryState>,
    has_failed: bool,
}

impl LoadedKeys {
    /// Loads the keys of a directory.
    ///
    /// # Errors
    /// One [`SigningError`] for each reason not to use them.
    pub fn load(directory: &Path) -> Result<Self, SigningError> {
        // What changes while the keys are read is noticed later.
        let files = directory_state(directory);
        Ok(Self {
            directory: directory.to_owned(),
            keys: ArcSwap::from_pointee(SigningKeys::load(directory)?),
            last: Mutex::new(LastLoad {
                files,
                has_failed: false,
            }),
        })
    }

    /// The keys that sign now.
    #[must_use]
    pub fn current(&self) -> Guard<Arc<SigningKeys>> {
        self.keys.load()
    }

    /// The directory.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Whether the last reload failed: the keys that sign may be revoked by now.
    #[must_use]
    pub fn has_failed(&self) -> bool {
        self.lock().has_failed
    }

    /// Reloads the keys.
    ///
    /// # Errors
    /// When a key cannot be used; the keys from before then go on signing.
    pub fn reload(&self) -> Result<(), SigningError> {
        self.reload_as(&mut self.lock())
    }

    /// Reloads the keys if their files have changed since they were loaded, or the last
    /// reload failed. Answers whether they were reloaded.
    ///
    /// # Errors
    /// As [`LoadedKeys::reload`].
    pub fn reload_if_changed(&self) -> Result<bool, SigningError> {
        let mut last = self.lock();
        if !last.has_failed && last.files == directory_state(&self.directory) {
            return Ok(false);
        }
        self.reload_as(&mut last).map(|()| true)
    }

    fn reload_as(&self, last: &mut LastLoad) -> Result<(), SigningError> {
        let files = directory_state(&self.directory);
        last.has_failed = true;
        self.keys
            .store(Arc::new(SigningKeys::load(&self.directory)?));
        *last = LastLoad {
            files,
            has_failed: false,
        };
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, LastLoad> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
