//! Signing keys: Ed25519, one file each.
//!
//! A key is a private JWK (RFC 8037) in a file of mode 0600. The newest key
//! signs; all of them are published, so that documents of an older key still
//! verify.

use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use chrono::{DateTime, Utc};
use ed25519_dalek::{Signer as _, SigningKey};
use license_core::document::{self, DocumentType};
use license_core::keyring::{Jwk, JwkSet};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

/// The keys of a directory.
#[derive(Clone)]
pub struct SigningKeys {
    /// Newest first; never empty.
    keys: Vec<Key>,
}

#[derive(Clone)]
struct Key {
    public: Jwk,
    created: DateTime<Utc>,
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

/// What `keys list` shows.
#[derive(Debug, Serialize)]
pub struct KeyInfo {
    /// Key id.
    pub kid: String,
    /// When it was made.
    pub created: DateTime<Utc>,
    /// Whether it is the one that signs.
    pub signs: bool,
}

impl SigningKeys {
    /// Reads all keys of a directory.
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
        keys.sort_by(|a, b| (b.created, &b.public.kid).cmp(&(a.created, &a.public.kid)));
        Ok(Self { keys })
    }

    /// Makes a key in a directory, which is made as well; answers its id.
    ///
    /// # Errors
    /// When the directory cannot be written.
    pub fn create(directory: &Path, now: DateTime<Utc>) -> Result<String, SigningError> {
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
        };
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(directory)
            .map_err(io(directory))?;
        let json = serde_json::to_vec_pretty(&file).map_err(|error| SigningError::NotAKey {
            path: directory.display().to_string(),
            why: error.to_string(),
        })?;
        write_secret(&directory.join(format!("{kid}.jwk")), &Zeroizing::new(json))?;
        Ok(kid)
    }

    /// Signs claims with the newest key.
    ///
    /// # Errors
    /// When the claims have no JSON form, which ours always have.
    pub fn sign<C: Serialize>(
        &self,
        document_type: DocumentType,
        claims: &C,
    ) -> Result<String, serde_json::Error> {
        let key = &self.keys[0];
        let kid = key.public.kid.as_deref().unwrap_or_default();
        document::encode(document_type, kid, claims, |input| {
            key.secret.sign(input).to_bytes()
        })
    }

    /// The public keys, newest first.
    #[must_use]
    pub fn public(&self) -> JwkSet {
        JwkSet {
            keys: self.keys.iter().map(|key| key.public.clone()).collect(),
            ..JwkSet::default()
        }
    }

    /// The keys, newest first, without what is secret.
    #[must_use]
    pub fn list(&self) -> Vec<KeyInfo> {
        self.keys
            .iter()
            .enumerate()
            .map(|(index, key)| KeyInfo {
                kid: key.public.kid.clone().unwrap_or_default(),
                created: key.created,
                signs: index == 0,
            })
            .collect()
    }
}

/// Without the secrets.
impl std::fmt::Debug for SigningKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.list()).finish()
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
            public,
            created: file.created,
            secret,
        })
    }
}

/// When the directory changed last, for noticing new keys cheaply.
#[must_use]
pub fn changed_at(directory: &Path) -> Option<SystemTime> {
    fs::metadata(directory).ok()?.modified().ok()
}

/// Whole or not at all, and never readable by others, not for an instant.
fn write_secret(path: &Path, bytes: &[u8]) -> Result<(), SigningError> {
    let unfinished: PathBuf = path.with_extension("unfinished");
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&unfinished)
        .map_err(io(&unfinished))?;
    file.write_all(bytes).map_err(io(&unfinished))?;
    file.sync_all().map_err(io(&unfinished))?;
    fs::rename(&unfinished, path).map_err(io(path))?;
    let directory = path.parent().unwrap_or(Path::new("."));
    File::open(directory)
        .and_then(|directory| directory.sync_all())
        .map_err(io(directory))
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
