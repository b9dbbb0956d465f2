//! Signing keys, and the sets in which they are published.
//!
//! A key is a private JWK (RFC 8037) in a file of mode 0600. The sets are files in the same
//! directory: clients start with the first one, and each further set is signed by a key of the set
//! before it (`license_core::rotation`). Each key signs from its start time until that of the next
//! one.
//!
//! This file signs; `rotate.rs` creates and revokes keys, `files.rs` reads and writes them, and
//! `key_sets.rs` has the sets in the form in which sites receive them.

pub mod clock;
mod files;
pub mod key_sets;
pub mod loaded;
pub mod rotate;
mod signer;
mod turn;

use std::path::{Path, PathBuf};

use bytes::Bytes;
use chrono::{DateTime, Utc};
use ed25519_dalek::{Signer as _, SigningKey};
use license_core::document::{self, DocumentError, DocumentType};
use license_core::key_record::{KeyRecord, RecordDoubt};
use license_core::keyring::{JwkSet, KeyringError, MAX_KEYS};
use license_core::rotation::PathToNewest;
use license_core::signing_clock::{ClockDoubt, SigningTime};
use serde::Serialize;
use utoipa::ToSchema;

use files::{DirectoryState, directory_state, not_json, published, read_keys};
use key_sets::{KeySets, SignedSet};
use rotate::MAX_KEYS_A_DAY;

/// The keys of a directory.
#[derive(Clone)]
pub struct SigningKeys {
    /// The key with the latest start comes first; never empty.
    keys: Vec<Key>,
    /// The currently published set.
    set: JwkSet,
    /// The directory.
    directory: PathBuf,
    /// The state of its files before they were read, so that concurrent changes are noticed later.
    files: Option<DirectoryState>,
    /// Ids of all keys that were ever revoked; the set lists the newest of them, and the database
    /// also those of lost directories.
    revoked: Vec<String>,
    /// The sets in the form in which sites receive them.
    key_sets: KeySets,
}

#[derive(Clone)]
struct Key {
    kid: String,
    created: DateTime<Utc>,
    signs_from: DateTime<Utc>,
    secret: SigningKey,
}

/// Errors of signing keys.
#[derive(Debug, thiserror::Error)]
pub enum SigningError {
    /// A file or directory cannot be read or written.
    #[error("cannot use the key store '{path}': {error}")]
    Io {
        /// Which one.
        path: String,
        /// Why.
        error: std::io::Error,
    },
    /// There is no key.
    #[error("no signing key in '{0}'; create one with 'license-server keys create'")]
    None(String),
    /// There is already a key.
    #[error(
        "'{0}' already contains a signing key; create the next one with 'license-server keys \
         rotate'"
    )]
    Exists(String),
    /// No key may sign at present.
    #[error("no key may sign at present; create one with 'license-server keys rotate --at-once'")]
    NoneSignsNow,
    /// The clock is behind: all keys start later.
    #[error(
        "no key may sign before {}, when the first one starts; check the clock of this machine",
        from.format("%Y-%m-%d %H:%M UTC")
    )]
    NoneSignsYet {
        /// The earliest start.
        from: DateTime<Utc>,
    },
    /// There are sets, but no key that could sign the next one.
    #[error(
        "'{0}' contains key sets, but no key that may sign the next one. Restore the key directory \
         from a backup. If you have no backup, stop all servers, move the directory away, run \
         'license-server keys create' and 'license-server keys accept', and start the servers \
         again; sites then need the new public keys"
    )]
    KeysMissing(String),
    /// A file may have been written.
    #[error(
        "cannot find out whether '{path}' was written: {error}; check with 'license-server keys \
         list' before you try again"
    )]
    Unclear {
        /// Which file.
        path: String,
        /// Why writing it failed.
        error: std::io::Error,
    },
    /// The key is not in the published set.
    #[error("unknown key '{0}'; 'license-server keys list' shows the keys")]
    UnknownKey(String),
    /// No key for signing would be left.
    #[error(
        "'{0}' is the only key that may sign at present; create another one first: \
         license-server keys rotate --at-once"
    )]
    OnlyKey(String),
    /// The published sets do not follow each other.
    #[error("the key sets in '{path}' do not form an unbroken chain: {error}")]
    BrokenChain {
        /// Which directory.
        path: String,
        /// Why.
        error: DocumentError,
    },
    /// The first set contains no keys to trust.
    #[error("cannot use the first key set in '{path}': {error}")]
    FirstSet {
        /// Which directory.
        path: String,
        /// Why.
        error: KeyringError,
    },
    /// A set is missing, but later ones exist.
    #[error(
        "the key set '{0}' is missing; without it, no site can verify later key sets. Restore the key directory from a backup"
    )]
    SetMissing(String),
    /// The directory does not continue the sets that were used before.
    #[error(
        "the key directory '{path}' does not match the key sets that were used before: {doubt}. Restore the newest key directory from a backup, and check KEYS_DIR, STATE_DIR and DATABASE_URL. If this directory is the one to use from now on, stop all servers, run 'license-server keys accept', and start the servers again"
    )]
    Record {
        /// Which directory.
        path: String,
        /// What differs.
        doubt: RecordDoubt,
    },
    /// The keys were used with another database.
    #[error(
        "the key directory '{0}' contains keys, but the database is empty: the licenses that were \
         issued with these keys are missing. Restore the database from a backup, and check \
         DATABASE_URL, STATE_DIR and KEYS_DIR. To start over with an empty database and these \
         keys, stop all servers, run 'license-server keys accept', and start the servers again"
    )]
    EmptyDatabase(String),
    /// The set cannot contain more keys.
    #[error(
        "the published set contains {MAX_KEYS} keys, the maximum that clients accept; revoke a \
         retired key: license-server keys revoke KEY"
    )]
    TooManyKeys,
    /// [`MAX_KEYS_A_DAY`] keys were created within 24 hours.
    #[error(
        "{MAX_KEYS_A_DAY} keys were created within 24 hours, the maximum over HTTP; use \
         'license-server keys rotate'"
    )]
    TooManyToday,
    /// Clients would not accept the new set.
    #[error("the new key set was not published, because no client would accept it: {0}")]
    UnusableSet(DocumentError),
    /// Two commands tried to publish the same version.
    #[error(
        "the keys were changed by another process at the same time; check with 'license-server \
         keys list' and try again"
    )]
    Raced,
    /// Other users may read a private key.
    #[error(
        "other users can read the private key '{0}'; allow only its owner or the service's \
         group: chmod 400 '{0}'"
    )]
    ReadableByOthers(String),
    /// A file is not a key.
    #[error("the file '{path}' is not a signing key: {why}")]
    NotAKey {
        /// Which one.
        path: String,
        /// Why.
        why: String,
    },
    /// The operating system returned no random bytes.
    #[error("the operating system returned no random bytes: {0}")]
    NoRandomness(getrandom::Error),
}

impl SigningError {
    /// Whether the directory was read, but its content is wrong.
    #[must_use]
    pub fn is_about_content(&self) -> bool {
        !matches!(
            self,
            Self::Io { .. } | Self::Unclear { .. } | Self::NoRandomness(_)
        )
    }
}

/// Why something was not signed.
#[derive(Debug, thiserror::Error)]
pub enum SignError {
    /// No key may sign.
    #[error(transparent)]
    Key(#[from] SigningError),
    /// The clock may be wrong.
    #[error(transparent)]
    Clock(#[from] ClockDoubt),
    /// No site could read the document.
    #[error(
        "the document for the license {license} is {bytes} bytes long, and sites accept at most \
         {max}; amend the license to have fewer features", max = document::MAX_BYTES
    )]
    TooLong {
        /// The id of the license.
        license: String,
        /// Size of the document.
        bytes: usize,
    },
    /// The claims cannot be serialized as JSON.
    #[error("cannot serialize a document as JSON: {0}")]
    Json(#[from] serde_json::Error),
}

/// The information that `keys list` shows.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = SigningKey)]
pub struct KeyInfo {
    /// Key id.
    pub kid: String,
    /// When it was created.
    pub created: DateTime<Utc>,
    /// The time from which it signs.
    pub signs_from: DateTime<Utc>,
    /// `signs`, `next`, `retired` or `revoked`.
    pub state: &'static str,
}

impl SigningKeys {
    /// Reads the keys and sets of a directory.
    ///
    /// # Errors
    /// One [`SigningError`] for each reason not to use them.
    pub fn load(directory: &Path) -> Result<Self, SigningError> {
        let files = directory_state(directory);
        let mut keys = read_keys(directory)?;
        keys.sort_by(|a, b| (b.signs_from, &b.kid).cmp(&(a.signs_from, &a.kid)));
        let published = published(directory)?;
        let (set, revoked) = (published.set.clone(), published.revoked.clone());
        let key_sets = KeySets::new(&keys, published).map_err(not_json(directory))?;
        Ok(Self {
            keys,
            set,
            directory: directory.to_owned(),
            files,
            revoked,
            key_sets,
        })
    }

    /// The same keys without those with these ids, which were revoked in a directory that is lost.
    #[must_use]
    pub fn without(mut self, revoked: Vec<String>) -> Self {
        for kid in revoked {
            if !self.is_revoked(&kid) {
                self.revoked.push(kid);
            }
        }
        self
    }

    /// Whether a key was ever revoked.
    #[must_use]
    pub fn is_revoked(&self, kid: &str) -> bool {
        self.revoked.iter().any(|revoked| revoked == kid)
    }

    /// The record of these keys.
    #[must_use]
    pub fn record(&self) -> KeyRecord {
        let version = self.version();
        let record = KeyRecord {
            version,
            fingerprint: self.key_sets.fingerprint(version).unwrap_or_default(),
            revoked: Vec::new(),
        };
        record.with_revoked(&self.revoked)
    }

    /// Compares these keys with the record. Returns whether there is something newer to record.
    ///
    /// # Errors
    /// [`SigningError::Record`], if they do not match.
    pub fn compare(&self, recorded: Option<&KeyRecord>) -> Result<bool, SigningError> {
        let path = self.directory.display().to_string();
        let compared = self.record_doubt(recorded);
        compared.map_err(|doubt| SigningError::Record { path, doubt })
    }

    /// The error for keys that were used with another database than this empty one.
    #[must_use]
    pub fn with_empty_database(&self) -> SigningError {
        SigningError::EmptyDatabase(self.directory.display().to_string())
    }

    fn record_doubt(&self, recorded: Option<&KeyRecord>) -> Result<bool, RecordDoubt> {
        recorded.map_or(Ok(true), |recorded| {
            recorded.compare(self.version(), |version| self.key_sets.fingerprint(version))
        })
    }

    /// Signs claims with the key that signs at `at`.
    ///
    /// # Errors
    /// If no key signs at `at`, or the claims cannot be serialized as JSON.
    pub fn sign<C: Serialize>(
        &self,
        document_type: DocumentType,
        claims: &C,
        at: SigningTime,
    ) -> Result<String, SignError> {
        let key = self.signer(at.instant())?;
        Ok(document::encode(
            document_type,
            &key.kid,
            claims,
            |input| key.secret.sign(input).to_bytes(),
        )?)
    }

    /// The public keys as a set.
    #[must_use]
    pub fn public(&self) -> &JwkSet {
        &self.set
    }

    /// Version of the set.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.set.version.unwrap_or(1)
    }

    /// The signed sets that lead a site from version `known` to the newest one, as many as one
    /// response or license file may contain.
    #[must_use]
    pub fn path_from(&self, known: u64) -> PathToNewest<'_, SignedSet> {
        self.key_sets.after(known)
    }

    /// The published set as JSON, in parts that all callers share: with `after` also the
    /// documents of [`Self::path_from`], as `chain`.
    #[must_use]
    pub fn answer(&self, after: Option<u64>) -> Vec<Bytes> {
        self.key_sets.answer(after)
    }

    /// The keys, without private parts.
    #[must_use]
    pub fn list(&self, now: DateTime<Utc>) -> Vec<KeyInfo> {
        let signer = self.signer(now).ok().map(|key| key.kid.as_str());
        let state = |key: &Key| {
            if self.is_revoked(&key.kid) {
                "revoked"
            } else if signer == Some(&key.kid) {
                "signs"
            } else if key.signs_from > now {
                "next"
            } else {
                "retired"
            }
        };
        let info = |key: &Key| KeyInfo {
            kid: key.kid.clone(),
            created: key.created,
            signs_from: key.signs_from,
            state: state(key),
        };
        self.keys.iter().map(info).collect()
    }
}

/// Does not show the secrets.
impl std::fmt::Debug for SigningKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list()
            .entries(self.keys.iter().map(|key| &key.kid))
            .finish()
    }
}
