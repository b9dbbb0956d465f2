//! The keys with which licenses must be signed: their source, and the position of this service in
//! the vendor's chain of key sets.
//!
//! A vendor's build has its keys built in, and then no setting replaces or adds
//! one. Other builds read them from the file that `LICENSE_TRUSTED_KEYS` names.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::{ArcSwap, Guard};
use chrono::{DateTime, Utc};
use license_core::keyring::{Keyring, KeyringError};
use license_core::response::Trust;
use license_core::rotation::{Walk, walk};
use license_service::presentable_url::presentable_path;
use license_service::text_file;

/// The JWK Set of a vendor's build: the file that `LICENSE_EMBEDDED_KEYS` named
/// when this program was compiled.
const EMBEDDED: Option<&str> = option_env!("EMBEDDED_KEYS");
/// The time until which such a build adopts licenses that version 1.0.0 has cached, in seconds
/// since 1970.
const ADOPTION_ENDS: Option<&str> = option_env!("EMBEDDED_ADOPTION_ENDS");

/// The currently trusted keys, and their source.
pub struct TrustedKeys {
    /// The set with which this program started; `None` in unsigned mode.
    root: Option<Keyring>,
    trust: ArcSwap<Trust>,
    /// The signed sets that lead from the root to the trusted set.
    chain: Mutex<Vec<String>>,
    adoption_ends: Option<DateTime<Utc>>,
}

/// Why keys cannot be trusted.
#[derive(Debug, thiserror::Error)]
pub enum TrustedKeysError {
    /// The file cannot be read.
    #[error("LICENSE_TRUSTED_KEYS: the file '{file}' cannot be read: {error}")]
    File {
        /// The file.
        file: String,
        /// The cause.
        error: std::io::Error,
    },
    /// The file contains no keys to trust.
    #[error("LICENSE_TRUSTED_KEYS: {0}")]
    Setting(KeyringError),
    /// The keys built into the program cannot be used.
    #[error("the keys built into this program cannot be used: {0}")]
    Embedded(KeyringError),
}

impl TrustedKeys {
    /// Whether the process was started with these keys, or does not use a file.
    #[must_use]
    pub fn began_with(&self, keyring: &Keyring) -> bool {
        let ids = |keyring: &Keyring| {
            let ids = keyring.key_ids().map(str::to_owned);
            ids.collect::<BTreeSet<String>>()
        };
        EMBEDDED.is_some()
            || self
                .root
                .as_ref()
                .is_none_or(|root| ids(root) == ids(keyring))
    }

    /// The keys of this build, otherwise those of `file`, otherwise none.
    ///
    /// # Errors
    /// One [`TrustedKeysError`] for each reason.
    pub fn load(file: Option<&Path>) -> Result<Self, TrustedKeysError> {
        if let Some(embedded) = EMBEDDED {
            if let Some(file) = file {
                tracing::warn!(
                    file = presentable_path(file),
                    "LICENSE_TRUSTED_KEYS is ignored: the vendor's keys are built into this program"
                );
            }
            let root = Keyring::from_json(embedded).map_err(TrustedKeysError::Embedded)?;
            let ends = ADOPTION_ENDS.and_then(|seconds| seconds.parse().ok());
            let ends = ends.and_then(|seconds| DateTime::from_timestamp(seconds, 0));
            return Ok(Self::of(Some(root), Some(ends.unwrap_or_default())));
        }
        let Some(file) = file else {
            return Ok(Self::of(None, None));
        };
        let text = text_file::read(file).map_err(|error| TrustedKeysError::File {
            file: presentable_path(file),
            error,
        })?;
        let root = Keyring::from_json(&text);
        Ok(Self::of(
            Some(root.map_err(TrustedKeysError::Setting)?),
            None,
        ))
    }

    fn of(root: Option<Keyring>, adoption_ends: Option<DateTime<Utc>>) -> Self {
        let trust = root.clone().map_or(Trust::Unsigned, Trust::Keys);
        Self {
            root,
            trust: ArcSwap::from_pointee(trust),
            chain: Mutex::default(),
            adoption_ends,
        }
    }

    /// Whether the keys were built into this program.
    #[must_use]
    pub fn are_embedded() -> bool {
        EMBEDDED.is_some()
    }

    /// The currently trusted keys.
    #[must_use]
    pub fn trust(&self) -> Guard<Arc<Trust>> {
        self.trust.load()
    }

    /// Whether responses must be signed.
    #[must_use]
    pub fn are_required(&self) -> bool {
        self.root.is_some()
    }

    /// Version of the trusted key set; `None` in unsigned mode.
    #[must_use]
    pub fn version(&self) -> Option<u64> {
        match &**self.trust.load() {
            Trust::Unsigned => None,
            Trust::Keys(keyring) => Some(keyring.version()),
        }
    }

    /// Whether an unsigned license from version 1.0.0's cache is still adopted at `now`.
    #[must_use]
    pub fn adopt_unsigned(&self, now: DateTime<Utc>) -> bool {
        self.adoption_ends.is_none_or(|ends| now <= ends)
    }

    /// The signed sets that lead to the trusted set.
    #[must_use]
    pub fn chain(&self) -> Vec<String> {
        let chain = self.chain.lock().unwrap_or_else(PoisonError::into_inner);
        chain.clone()
    }

    /// Advances along the chain as far as `more` leads from the trusted set; returns the result.
    pub fn advance(&self, more: &[String]) -> Option<Walk> {
        let mut chain = self.chain.lock().unwrap_or_else(PoisonError::into_inner);
        let Trust::Keys(keyring) = &**self.trust.load() else {
            return None;
        };
        let walk = walk(keyring.clone(), more);
        if !walk.chain.is_empty() {
            chain.extend(walk.chain.iter().cloned());
            self.trust
                .store(Arc::new(Trust::Keys(walk.keyring.clone())));
        }
        Some(walk)
    }
}
