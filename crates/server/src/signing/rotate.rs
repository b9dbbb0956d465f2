//! Create the first key and further ones, and revoke keys, each with a key set.
//!
//! The service and the commands change keys with `licensing::key_changes`, which also writes the
//! audit log and records the set in the database.

use std::fs;
use std::path::Path;

use chrono::{DateTime, TimeDelta, Utc};
use ed25519_dalek::{Signer as _, SigningKey};
use license_core::document::{self, DocumentType};
use license_core::keyring::{Jwk, JwkSet, Keyring, MAX_KEYS};
use license_core::rotation::{KeySetClaims, MAX_NAMED_REVOKED, follow};
use zeroize::Zeroizing;

use super::files::{
    KeyFile, base64url, check_writable, make_directory, not_json, set_file, write_key, write_new,
};
use super::{Key, SigningError, SigningKeys};

/// The margin that is added to the signing period of a published key, because the clocks of several
/// servers differ.
const SLACK: TimeDelta = TimeDelta::hours(1);

/// Maximum number of keys that are created over HTTP within 24 hours. Each makes the chain of key sets
/// longer, and so does its revocation.
pub const MAX_KEYS_A_DAY: usize = 20;

impl SigningKeys {
    /// Creates the first key, and its directory; returns its id.
    ///
    /// # Errors
    /// If a key already exists, or the directory cannot be written.
    pub fn create(directory: &Path, now: DateTime<Utc>) -> Result<String, SigningError> {
        make_directory(directory)?;
        check_writable(directory)?;
        let (file, kid) = new_key(now, None)?;
        let public = public(&file, None, None);
        let first = JwkSet {
            keys: vec![public],
            version: Some(1),
            revoked: Vec::new(),
        };
        // The key is written before the set that lists it, so if the set exists, its key exists
        // too.
        let path = write_key(directory, &file)?;
        let set = serde_json::to_vec_pretty(&first).map_err(not_json(directory))?;
        match write_new(&set_file(directory, 1), &set) {
            Ok(()) => Ok(kid),
            Err(error) => {
                remove_unpublished(&path, &error);
                if !matches!(error, SigningError::Raced) {
                    return Err(error);
                }
                Err(match Self::load(directory) {
                    Err(missing @ SigningError::KeysMissing(_)) => missing,
                    _ => SigningError::Exists(directory.display().to_string()),
                })
            }
        }
    }

    /// Creates the next key, which signs after `overlap`, and publishes it in a new set; returns
    /// its id and the time from which it signs.
    ///
    /// # Errors
    /// If no key may sign the set, or the directory cannot be written.
    pub fn rotate(
        directory: &Path,
        issuer: &str,
        now: DateTime<Utc>,
        overlap: TimeDelta,
    ) -> Result<(String, DateTime<Utc>), SigningError> {
        let signs_from = now + overlap;
        let prepared = Self::prepare_next(Self::load(directory)?, now, overlap)?;
        let kid = prepared.kid.clone();
        prepared.publish(issuer)?;
        Ok((kid, signs_from))
    }

    /// Publishes a set in which a key is revoked: everything it has signed becomes invalid.
    ///
    /// # Errors
    /// If the key does not exist, or no key would be left.
    pub fn revoke(
        directory: &Path,
        issuer: &str,
        kid: &str,
        now: DateTime<Utc>,
    ) -> Result<u64, SigningError> {
        Self::prepare_revocation(Self::load(directory)?, kid, now)?.publish(issuer)
    }

    /// The next key after these, not yet published. If no key may sign any more, because the files
    /// of later keys are lost, the last one signs the set if the next key signs immediately.
    ///
    /// # Errors
    /// If no key may sign the set, or the set is full.
    pub fn prepare_next(
        known: Self,
        now: DateTime<Utc>,
        overlap: TimeDelta,
    ) -> Result<Prepared, SigningError> {
        let (signer, dated) = match overlap.is_zero() {
            true => known.signer_of_set(now)?,
            false => (known.signer(now)?, now),
        };
        let signer = signer.kid.clone();
        if known.set.keys.len() >= MAX_KEYS {
            return Err(SigningError::TooManyKeys);
        }
        let signs_from = now + overlap;
        let (file, kid) = new_key(now, Some(signs_from))?;
        let mut keys = vec![public(&file, Some(signs_from - SLACK), None)];
        keys.extend(known.set.keys.iter().cloned());
        let mut turns = known.turns();
        turns.push((signs_from, kid.clone()));
        Ok(Prepared {
            kid,
            file: Some(file),
            keys: take_turns(keys, turns, now),
            revoked: known.set.revoked.clone(),
            signer,
            dated,
            known,
        })
    }

    /// Checks whether another key may be created at `now` by someone who has no access to the
    /// directory: see [`MAX_KEYS_A_DAY`].
    ///
    /// # Errors
    /// [`SigningError::TooManyKeys`] and [`SigningError::TooManyToday`].
    pub fn check_rotation(&self, now: DateTime<Utc>) -> Result<(), SigningError> {
        if self.set.keys.len() >= MAX_KEYS {
            return Err(SigningError::TooManyKeys);
        }
        let today = now - TimeDelta::days(1);
        let made = self.keys.iter().filter(|key| key.created > today);
        match made.count() < MAX_KEYS_A_DAY {
            true => Ok(()),
            false => Err(SigningError::TooManyToday),
        }
    }

    /// Checks whether the newest set lists a key.
    ///
    /// # Errors
    /// [`SigningError::UnknownKey`].
    pub fn check_published(&self, kid: &str) -> Result<(), SigningError> {
        let is_it = |key: &Jwk| key.kid.as_deref() == Some(kid);
        match self.set.keys.iter().any(is_it) {
            true => Ok(()),
            false => Err(SigningError::UnknownKey(kid.to_owned())),
        }
    }

    /// The set in which one of these keys is revoked, not yet published.
    ///
    /// # Errors
    /// If the key does not exist, or no key would be left.
    pub fn prepare_revocation(
        known: Self,
        kid: &str,
        now: DateTime<Utc>,
    ) -> Result<Prepared, SigningError> {
        known.check_published(kid)?;
        let others = known.keys.iter().filter(|key| key.kid != kid);
        let signer = known.signer_of(others, now);
        let signer = signer.ok_or_else(|| SigningError::OnlyKey(kid.to_owned()))?;
        let is_it = |key: &Jwk| key.kid.as_deref() == Some(kid);
        let keys = known.set.keys.iter().filter(|key| !is_it(key));
        let mut turns = known.turns();
        turns.retain(|(_, other)| other != kid);
        let mut revoked = known.set.revoked.clone();
        revoked.push(kid.to_owned());
        Ok(Prepared {
            kid: kid.to_owned(),
            file: None,
            keys: take_turns(keys.cloned().collect(), turns, now),
            revoked,
            signer: signer.kid.clone(),
            dated: now,
            known,
        })
    }

    /// The time from which each published key signs.
    fn turns(&self) -> Vec<(DateTime<Utc>, String)> {
        let is_published = |key: &&Key| {
            let mut published = self.set.keys.iter();
            published.any(|jwk| jwk.kid.as_deref() == Some(&key.kid))
        };
        let turn = |key: &Key| (key.signs_from, key.kid.clone());
        self.keys.iter().filter(is_published).map(turn).collect()
    }

    fn publish(
        &self,
        issuer: &str,
        signer: &Key,
        keys: Vec<Jwk>,
        revoked: Vec<String>,
        dated: DateTime<Utc>,
    ) -> Result<u64, SigningError> {
        let (version, directory) = (self.version() + 1, &self.directory);
        // A revoked key stays revoked because it is not among the keys.
        let named = revoked.len().saturating_sub(MAX_NAMED_REVOKED);
        let revoked = revoked.into_iter().skip(named).collect();
        let claims = KeySetClaims {
            iss: issuer.to_owned(),
            iat: dated,
            version,
            keys,
            revoked,
        };
        let sign = |input: &[u8]| signer.secret.sign(input).to_bytes();
        let jws = document::encode(DocumentType::KeySet, &signer.kid, &claims, sign)
            .map_err(not_json(directory))?;
        // A set that clients would not accept must never be written: no later set could reach them.
        let unusable = |error| SigningError::UnusableSet(error);
        let known = Keyring::from_jwk_set(&self.set).map_err(|error| unusable(error.into()))?;
        follow(&known, &jws).map_err(unusable)?;
        write_new(&set_file(directory, version), jws.as_bytes())?;
        Ok(version)
    }
}

/// A prepared key change that is not yet published.
pub struct Prepared {
    /// The id of the affected key.
    pub kid: String,
    /// The new key to write, if there is one.
    file: Option<KeyFile>,
    keys: Vec<Jwk>,
    revoked: Vec<String>,
    signer: String,
    /// The date of the set, on which the signer may sign.
    dated: DateTime<Utc>,
    known: SigningKeys,
}

impl Prepared {
    /// Checks whether it can be written by this process for the owner of the directory.
    ///
    /// # Errors
    /// If it cannot.
    pub fn check_writable(&self) -> Result<(), SigningError> {
        check_writable(&self.known.directory)
    }

    /// Writes it; returns the version of the new set.
    ///
    /// # Errors
    /// If the directory cannot be written, or another process was faster; the keys are then
    /// unchanged, except after [`SigningError::Unclear`].
    pub fn publish(self, issuer: &str) -> Result<u64, SigningError> {
        let mut keys = self.known.keys.iter();
        let signer = keys.find(|key| key.kid == self.signer);
        let signer = signer.ok_or(SigningError::NoneSignsNow)?;
        // The key is written before the set that lists it, so if the set exists, its key exists
        // too.
        let path = match &self.file {
            Some(file) => Some(write_key(&self.known.directory, file)?),
            None => None,
        };
        let known = &self.known;
        let published = known.publish(issuer, signer, self.keys, self.revoked, self.dated);
        if let (Err(error), Some(path)) = (&published, path) {
            remove_unpublished(&path, error);
        }
        published
    }
}

/// Removes the file of a key whose set was not written because of `error`. It stays if the set may
/// exist: the key of a published set must never be lost.
fn remove_unpublished(path: &Path, error: &SigningError) {
    if matches!(error, SigningError::Unclear { .. }) {
        return;
    }
    if let Err(error) = fs::remove_file(path) {
        let file = path.display().to_string();
        tracing::warn!(%error, file, "cannot remove the file of a key that was not published");
    }
}

/// Each key is trusted until the next one has started to sign, and the last one without an end.
/// Ended periods stay ended.
fn take_turns(
    mut keys: Vec<Jwk>,
    mut turns: Vec<(DateTime<Utc>, String)>,
    now: DateTime<Utc>,
) -> Vec<Jwk> {
    turns.sort();
    for key in &mut keys {
        let is_it = |(_, kid): &(DateTime<Utc>, String)| key.kid.as_deref() == Some(kid);
        let has_ended = key.exp.is_some_and(|exp| exp < now);
        if let (Some(turn), false) = (turns.iter().position(is_it), has_ended) {
            key.exp = turns.get(turn + 1).map(|(next, _)| *next + SLACK);
        }
    }
    keys
}

fn new_key(
    now: DateTime<Utc>,
    signs_from: Option<DateTime<Utc>>,
) -> Result<(KeyFile, String), SigningError> {
    let mut seed = Zeroizing::new([0; 32]);
    getrandom::fill(&mut *seed).map_err(SigningError::NoRandomness)?;
    let public = Jwk::from_verifying_key(&SigningKey::from_bytes(&seed).verifying_key());
    let kid = public.kid.unwrap_or_default();
    let file = KeyFile {
        kty: public.kty,
        crv: "Ed25519".to_owned(),
        x: public.x.unwrap_or_default(),
        d: Zeroizing::new(base64url(&*seed)),
        kid: kid.clone(),
        created: now,
        signs_from,
    };
    Ok((file, kid))
}

/// The published part of a key.
fn public(file: &KeyFile, nbf: Option<DateTime<Utc>>, exp: Option<DateTime<Utc>>) -> Jwk {
    Jwk {
        kty: file.kty.clone(),
        crv: Some(file.crv.clone()),
        x: Some(file.x.clone()),
        d: None,
        kid: Some(file.kid.clone()),
        alg: Some("EdDSA".to_owned()),
        usage: Some("sig".to_owned()),
        nbf,
        exp,
    }
}
