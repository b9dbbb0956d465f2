//! Signing keys, and the sets in which they are published.
//!
//! A key is a private JWK (RFC 8037) in a file of mode 0600. The sets are files
//! beside it: the first one is what clients begin with, and each further one is
//! signed by a key of the set before it (`license_core::rotation`). A key signs
//! from an instant of its own on, until that of the next one.

use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use chrono::{DateTime, TimeDelta, Utc};
use ed25519_dalek::{Signer as _, SigningKey};
use license_core::document::{self, DocumentError, DocumentType};
use license_core::keyring::{Jwk, JwkSet, Keyring, KeyringError};
use license_core::rotation::{KeySetClaims, follow};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

/// By how much the times of a published key are wider than those at which it
/// signs: the clocks of several servers differ.
const SLACK: TimeDelta = TimeDelta::hours(1);

/// The keys of a directory.
#[derive(Clone)]
pub struct SigningKeys {
    /// The one that signs last comes first; never empty.
    keys: Vec<Key>,
    /// The set that is published now.
    set: JwkSet,
    /// The signed sets, from version 2 on.
    chain: Vec<String>,
}

#[derive(Clone)]
struct Key {
    kid: String,
    created: DateTime<Utc>,
    signs_from: DateTime<Utc>,
    secret: SigningKey,
}

/// A key's file.
#[derive(Serialize, Deserialize)]
struct KeyFile {
    kty: String,
    crv: String,
    x: String,
    d: Zeroizing<String>,
    kid: String,
    created: DateTime<Utc>,
    /// Absent for the first key, which signs from the beginning.
    #[serde(default, rename = "signsFrom", skip_serializing_if = "Option::is_none")]
    signs_from: Option<DateTime<Utc>>,
}

/// What can go wrong with keys.
#[derive(Debug, thiserror::Error)]
pub enum SigningError {
    /// A file or directory cannot be read or written.
    #[error("the key store '{path}' cannot be used: {error}")]
    Io {
        /// Which one.
        path: String,
        /// Why.
        error: std::io::Error,
    },
    /// There is no key.
    #[error("there is no signing key in '{0}'; make one with 'license-server keys create'")]
    None(String),
    /// There is a key already.
    #[error(
        "there is a signing key in '{0}' already; 'license-server keys rotate' makes the next one"
    )]
    Exists(String),
    /// No key may sign now.
    #[error("no key may sign now; make one with 'license-server keys rotate --at-once'")]
    NoneSignsNow,
    /// The key is not in the published set.
    #[error("there is no key '{0}'; 'license-server keys list' shows those that there are")]
    UnknownKey(String),
    /// Nothing would be left to sign with.
    #[error(
        "'{0}' is the only key that may sign now; make another one first: license-server keys rotate --at-once"
    )]
    OnlyKey(String),
    /// The published sets do not follow each other.
    #[error("the key sets in '{path}' do not follow each other: {error}")]
    BrokenChain {
        /// Which directory.
        path: String,
        /// Why.
        error: DocumentError,
    },
    /// The first set holds no keys to trust.
    #[error("the first key set in '{path}' cannot be used: {error}")]
    FirstSet {
        /// Which directory.
        path: String,
        /// Why.
        error: KeyringError,
    },
    /// Two commands wanted to publish the same version.
    #[error(
        "somebody else has changed the keys at the same moment; look with 'license-server keys list', and try again"
    )]
    Raced,
    /// Somebody else may read a private key.
    #[error("the private key '{0}' can be read by others; allow its owner only: chmod 600 '{0}'")]
    ReadableByOthers(String),
    /// A file is not a key.
    #[error("the file '{path}' is not a signing key: {why}")]
    NotAKey {
        /// Which one.
        path: String,
        /// Why.
        why: String,
    },
    /// The operating system gives no randomness.
    #[error("the operating system gives no random bytes: {0}")]
    NoRandomness(getrandom::Error),
}

/// Why something was not signed.
#[derive(Debug, thiserror::Error)]
pub enum SignError {
    /// No key may sign.
    #[error(transparent)]
    Key(#[from] SigningError),
    /// The claims have no JSON form.
    #[error("a document has no JSON form: {0}")]
    Json(#[from] serde_json::Error),
}

/// What `keys list` shows.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct KeyInfo {
    /// Key id.
    pub kid: String,
    /// When it was made.
    pub created: DateTime<Utc>,
    /// From when on it signs.
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
        let mut keys = Vec::new();
        let entries = match fs::read_dir(directory) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(SigningError::None(directory.display().to_string()));
            }
            Err(error) => return Err(io(directory)(error)),
        };
        for entry in entries {
            let path = entry.map_err(io(directory))?.path();
            if path.extension().is_some_and(|extension| extension == "jwk") {
                keys.push(Key::read(&path)?);
            }
        }
        if keys.is_empty() {
            return Err(SigningError::None(directory.display().to_string()));
        }
        keys.sort_by(|a, b| (b.signs_from, &b.kid).cmp(&(a.signs_from, &a.kid)));
        let (set, chain) = published(directory)?;
        Ok(Self { keys, set, chain })
    }

    /// Reads them, and makes the first key where there is none.
    ///
    /// # Errors
    /// As [`SigningKeys::load`], and when the directory cannot be written.
    pub fn load_or_create(directory: &Path, now: DateTime<Utc>) -> Result<Self, SigningError> {
        match Self::load(directory) {
            Err(SigningError::None(_)) => {}
            loaded => return loaded,
        }
        match Self::create(directory, now) {
            Ok(kid) => tracing::info!(
                kid,
                directory = %directory.display(),
                "made the first signing key; back it up"
            ),
            // Another process was faster.
            Err(SigningError::Exists(_)) => {}
            Err(error) => return Err(error),
        }
        Self::load(directory)
    }

    /// Makes the first key of a directory, which is made as well; answers its
    /// id.
    ///
    /// # Errors
    /// When there is a key already, or the directory cannot be written.
    pub fn create(directory: &Path, now: DateTime<Utc>) -> Result<String, SigningError> {
        make_directory(directory)?;
        let (file, kid) = new_key(now, None)?;
        let public = public(&file, None, None);
        let first = JwkSet {
            keys: vec![public],
            version: Some(1),
            revoked: Vec::new(),
        };
        // The key comes before the set that names it: whoever finds the set
        // finds its key.
        let path = write_key(directory, &file)?;
        let set = serde_json::to_vec_pretty(&first).map_err(not_json(directory))?;
        match write_new(&set_file(directory, 1), &set) {
            Ok(()) => Ok(kid),
            Err(error) => {
                fs::remove_file(&path).map_err(io(&path))?;
                Err(match error {
                    SigningError::Raced => SigningError::Exists(directory.display().to_string()),
                    other => other,
                })
            }
        }
    }

    /// Makes the next key, which signs after `overlap`, and publishes it in a
    /// new set; answers its id and from when on it signs.
    ///
    /// # Errors
    /// When no key may sign the set, or the directory cannot be written.
    pub fn rotate(
        directory: &Path,
        issuer: &str,
        now: DateTime<Utc>,
        overlap: TimeDelta,
    ) -> Result<(String, DateTime<Utc>), SigningError> {
        let known = Self::load(directory)?;
        let signs_from = now + overlap;
        let (file, kid) = new_key(now, Some(signs_from))?;
        let ends = signs_from + SLACK;
        let mut keys = vec![public(&file, Some(signs_from - SLACK), None)];
        keys.extend(known.set.keys.iter().cloned().map(|key| Jwk {
            exp: Some(key.exp.map_or(ends, |exp| exp.min(ends))),
            ..key
        }));
        let path = write_key(directory, &file)?;
        let revoked = known.set.revoked.clone();
        let signer = known.signer(now)?;
        if let Err(error) = known.publish(directory, issuer, signer, keys, revoked, now) {
            fs::remove_file(&path).map_err(io(&path))?;
            return Err(error);
        }
        Ok((kid, signs_from))
    }

    /// Publishes a set in which a key is revoked: nothing that it has signed
    /// counts any more.
    ///
    /// # Errors
    /// When there is no such key, or none would be left.
    pub fn revoke(
        directory: &Path,
        issuer: &str,
        kid: &str,
        now: DateTime<Utc>,
    ) -> Result<u64, SigningError> {
        let known = Self::load(directory)?;
        let is_it = |key: &Jwk| key.kid.as_deref() == Some(kid);
        if !known.set.keys.iter().any(is_it) {
            return Err(SigningError::UnknownKey(kid.to_owned()));
        }
        let others = known.keys.iter().filter(|key| key.kid != kid);
        let signer = others.clone().find(|key| known.may_sign(key, now));
        let signer = signer.ok_or_else(|| SigningError::OnlyKey(kid.to_owned()))?;
        let keys = known.set.keys.iter().filter(|key| !is_it(key));
        let mut revoked = known.set.revoked.clone();
        revoked.push(kid.to_owned());
        known.publish(
            directory,
            issuer,
            signer,
            keys.cloned().collect(),
            revoked,
            now,
        )
    }

    /// Signs claims with the key whose turn it is at `now`.
    ///
    /// # Errors
    /// When there is none, or the claims have no JSON form, which ours always
    /// have.
    pub fn sign<C: Serialize>(
        &self,
        document_type: DocumentType,
        claims: &C,
        now: DateTime<Utc>,
    ) -> Result<String, SignError> {
        let key = self.signer(now)?;
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

    /// The signed sets after version `after`, in order.
    #[must_use]
    pub fn chain(&self, after: u64) -> &[String] {
        // The first document of the chain is version 2.
        let known = usize::try_from(after.saturating_sub(1)).unwrap_or(usize::MAX);
        self.chain.get(known..).unwrap_or_default()
    }

    /// The keys, without what is secret.
    #[must_use]
    pub fn list(&self, now: DateTime<Utc>) -> Vec<KeyInfo> {
        let signer = self.signer(now).ok().map(|key| key.kid.as_str());
        let state = |key: &Key| {
            if self.set.revoked.contains(&key.kid) {
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

    /// The key whose turn it is.
    fn signer(&self, now: DateTime<Utc>) -> Result<&Key, SigningError> {
        let mut keys = self.keys.iter();
        keys.find(|key| self.may_sign(key, now))
            .ok_or(SigningError::NoneSignsNow)
    }

    /// Whether clients believe what this key signs now.
    fn may_sign(&self, key: &Key, now: DateTime<Utc>) -> bool {
        let published = |jwk: &&Jwk| jwk.kid.as_deref() == Some(&key.kid);
        let published = self.set.keys.iter().find(published);
        key.signs_from <= now && published.is_some_and(|jwk| jwk.exp.is_none_or(|exp| now <= exp))
    }

    fn publish(
        &self,
        directory: &Path,
        issuer: &str,
        signer: &Key,
        keys: Vec<Jwk>,
        revoked: Vec<String>,
        now: DateTime<Utc>,
    ) -> Result<u64, SigningError> {
        let version = self.version() + 1;
        let claims = KeySetClaims {
            iss: issuer.to_owned(),
            iat: now,
            version,
            keys,
            revoked,
        };
        let sign = |input: &[u8]| signer.secret.sign(input).to_bytes();
        let jws = document::encode(DocumentType::KeySet, &signer.kid, &claims, sign)
            .map_err(not_json(directory))?;
        write_new(&set_file(directory, version), jws.as_bytes())?;
        Ok(version)
    }
}

/// The set that is published now, and the chain that leads to it.
fn published(directory: &Path) -> Result<(JwkSet, Vec<String>), SigningError> {
    let shown = || directory.display().to_string();
    let first = match fs::read(set_file(directory, 1)) {
        Ok(text) => serde_json::from_slice(&text).map_err(|error| SigningError::FirstSet {
            path: shown(),
            error: KeyringError::NotAJwkSet(error.to_string()),
        })?,
        // A key alone was left by a process that was ended in between.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(SigningError::None(shown()));
        }
        Err(error) => return Err(io(directory)(error)),
    };
    let mut chain = Vec::new();
    for version in 2.. {
        match fs::read_to_string(set_file(directory, version)) {
            Ok(jws) => chain.push(jws.trim().to_owned()),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => break,
            Err(error) => return Err(io(directory)(error)),
        }
    }
    let root = Keyring::from_jwk_set(&first).map_err(|error| SigningError::FirstSet {
        path: shown(),
        error,
    })?;
    let mut set = first;
    let mut keyring = root;
    for jws in &chain {
        let broken = |error| SigningError::BrokenChain {
            path: shown(),
            error,
        };
        let (next, claims) = follow(&keyring, jws).map_err(broken)?;
        set = JwkSet {
            keys: claims.keys,
            version: Some(claims.version),
            revoked: claims.revoked,
        };
        keyring = next;
    }
    Ok((set, chain))
}

/// Without the secrets.
impl std::fmt::Debug for SigningKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list()
            .entries(self.keys.iter().map(|key| &key.kid))
            .finish()
    }
}

impl Key {
    fn read(path: &Path) -> Result<Self, SigningError> {
        let shown = path.display().to_string();
        let mode = fs::metadata(path).map_err(io(path))?.permissions().mode();
        if mode & 0o077 != 0 {
            return Err(SigningError::ReadableByOthers(shown));
        }
        let not_a_key = |why: String| SigningError::NotAKey {
            path: shown.clone(),
            why,
        };
        let text = Zeroizing::new(fs::read(path).map_err(io(path))?);
        let file: KeyFile = serde_json::from_slice(&text).map_err(|e| not_a_key(e.to_string()))?;
        let seed = seed(&file.d).ok_or_else(|| not_a_key("'d' is not 32 bytes".to_owned()))?;
        let secret = SigningKey::from_bytes(&seed);
        let public = Jwk::from_verifying_key(&secret.verifying_key());
        if public.x.as_ref() != Some(&file.x) || public.kid.as_ref() != Some(&file.kid) {
            return Err(not_a_key("its public and private parts differ".to_owned()));
        }
        Ok(Self {
            kid: file.kid,
            created: file.created,
            signs_from: file.signs_from.unwrap_or(file.created),
            secret,
        })
    }
}

/// When the directory changed last, for noticing new keys cheaply.
#[must_use]
pub fn changed_at(directory: &Path) -> Option<SystemTime> {
    fs::metadata(directory).ok()?.modified().ok()
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

/// What is published of a key.
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

fn write_key(directory: &Path, file: &KeyFile) -> Result<PathBuf, SigningError> {
    let json = Zeroizing::new(serde_json::to_vec_pretty(file).map_err(not_json(directory))?);
    let path = directory.join(format!("{}.jwk", file.kid));
    write_new(&path, &json)?;
    Ok(path)
}

fn set_file(directory: &Path, version: u64) -> PathBuf {
    let extension = if version == 1 { "json" } else { "jws" };
    directory.join(format!("set-{version:06}.{extension}"))
}

fn make_directory(directory: &Path) -> Result<(), SigningError> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory)
        .map_err(io(directory))
}

/// Whole or not at all, never over another file, and never readable by others,
/// not for an instant.
fn write_new(path: &Path, bytes: &[u8]) -> Result<(), SigningError> {
    let directory = path.parent().unwrap_or(Path::new("."));
    let mut file = tempfile::Builder::new()
        .permissions(fs::Permissions::from_mode(0o600))
        .tempfile_in(directory)
        .map_err(io(directory))?;
    file.write_all(bytes).map_err(io(path))?;
    file.as_file().sync_all().map_err(io(path))?;
    file.persist_noclobber(path).map_err(|error| {
        if error.error.kind() == std::io::ErrorKind::AlreadyExists {
            SigningError::Raced
        } else {
            io(path)(error.error)
        }
    })?;
    File::open(directory)
        .and_then(|directory| directory.sync_all())
        .map_err(io(directory))
}

fn not_json(directory: &Path) -> impl FnOnce(serde_json::Error) -> SigningError {
    let path = directory.display().to_string();
    move |error| SigningError::NotAKey {
        path,
        why: error.to_string(),
    }
}

fn base64url(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes)
}

fn seed(d: &str) -> Option<Zeroizing<[u8; 32]>> {
    use base64::Engine as _;
    let bytes = Zeroizing::new(
        base64::engine::general_purpose::URL_SAFE_NO_PAD
            .decode(d)
            .ok()?,
    );
    <[u8; 32]>::try_from(bytes.as_slice())
        .ok()
        .map(Zeroizing::new)
}

fn io(path: &Path) -> impl FnOnce(std::io::Error) -> SigningError {
    let path = path.display().to_string();
    move |error| SigningError::Io { path, error }
}
