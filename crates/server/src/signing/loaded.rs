//! The keys that a running process uses for signing, and later changes to their files.
//!
//! Keys never go back: files that do not continue the loaded sets are refused, and while the
//! database has recorded other sets, nothing is signed.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::{ArcSwap, ArcSwapOption, Guard};
use license_core::key_record::{KeyRecord, RecordDoubt};

use super::files::directory_state;
use super::{SigningError, SigningKeys};

/// The keys of a directory, reloaded when its files change.
pub struct LoadedKeys {
    directory: PathBuf,
    keys: ArcSwap<SigningKeys>,
    /// Why the keys do not match what the database has recorded.
    doubt: ArcSwapOption<RecordDoubt>,
    /// Whether the last reload failed.
    has_failed: AtomicBool,
    /// Held while the files are read, which takes seconds if there are hundreds of sets.
    reloading: Mutex<()>,
}

impl LoadedKeys {
    /// Starts with these keys, which were loaded from the directory.
    #[must_use]
    pub fn new(directory: &Path, keys: SigningKeys) -> Self {
        Self {
            directory: directory.to_owned(),
            keys: ArcSwap::from_pointee(keys),
            doubt: ArcSwapOption::empty(),
            has_failed: AtomicBool::new(false),
            reloading: Mutex::new(()),
        }
    }

    /// The keys that are currently in use.
    #[must_use]
    pub fn current(&self) -> Guard<Arc<SigningKeys>> {
        self.keys.load()
    }

    /// The keys for signing.
    ///
    /// # Errors
    /// While they do not match the database's record.
    pub fn to_sign(&self) -> Result<Guard<Arc<SigningKeys>>, SigningError> {
        match self.doubt.load().as_deref() {
            Some(doubt) => Err(self.doubtful(*doubt)),
            None => Ok(self.keys.load()),
        }
    }

    /// Compares the keys with the database's record, which decides whether they are used from now
    /// on. Returns whether there is something newer to record.
    ///
    /// # Errors
    /// If they do not match.
    pub fn note_record(&self, recorded: Option<&KeyRecord>) -> Result<bool, SigningError> {
        let _not_reloading = self.lock();
        let keys = self.keys.load_full();
        let compared = keys.record_doubt(recorded);
        self.doubt.store(compared.err().map(Arc::new));
        let is_newer = compared.map_err(|doubt| self.doubtful(doubt))?;
        let revoked = recorded.map(|it| it.revoked.as_slice()).unwrap_or_default();
        if revoked.iter().any(|kid| !keys.is_revoked(kid)) {
            let keys = SigningKeys::clone(&keys).without(revoked.to_vec());
            self.keys.store(Arc::new(keys));
        }
        Ok(is_newer)
    }

    fn doubtful(&self, doubt: RecordDoubt) -> SigningError {
        let path = self.directory.display().to_string();
        SigningError::Record { path, doubt }
    }

    /// The directory.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Whether the last reload failed: the keys in use may have been revoked.
    #[must_use]
    pub fn has_failed(&self) -> bool {
        self.has_failed.load(Ordering::SeqCst)
    }

    /// Reloads the keys if their files have changed since they were loaded, or the last reload
    /// failed. Returns whether they were reloaded. This may read all files, so it does not belong on a
    /// thread that answers calls.
    ///
    /// # Errors
    /// If a key cannot be used; the previous keys then stay in use.
    pub fn reload_if_changed(&self) -> Result<bool, SigningError> {
        let _turn = self.lock();
        if !self.has_failed() && self.keys.load().files == directory_state(&self.directory) {
            return Ok(false);
        }
        let reloaded = self.reload();
        self.has_failed.store(reloaded.is_err(), Ordering::SeqCst);
        reloaded.map(|()| true)
    }

    fn reload(&self) -> Result<(), SigningError> {
        let loaded = SigningKeys::load(&self.directory)?;
        let before = self.keys.load_full().record();
        loaded.compare(Some(&before))?;
        self.keys.store(Arc::new(loaded.without(before.revoked)));
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, ()> {
        self.reloading
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}
