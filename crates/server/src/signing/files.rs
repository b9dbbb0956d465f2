//! The directory of the keys.

use std::ffi::OsString;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use ed25519_dalek::SigningKey;
use license_core::document::DocumentError;
use license_core::keyring::{Jwk, JwkSet, Keyring, KeyringError};
use license_core::rotation::follow;
use license_service::durable_file;
use license_service::file_access::is_open_to_others;
use license_service::state_dir::{self, temporary_file};
use license_service::text_file::{self, MAX_FILE_BYTES};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::key_sets::{Published, SignedSet, believed};
use super::{Key, SigningError};

/// The keys of a directory, in no particular order; never empty.
pub(super) fn read_keys(directory: &Path) -> Result<Vec<Key>, SigningError> {
    let mut keys = Vec::new();
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(SigningError::None(directory.display().to_string()));
        }
        Err(error) => return Err(io(directory)(error)),
    };
    for entry in entries {
        let entry = entry.map_err(io(directory))?;
        // macOS writes a file with attributes beside each file that is copied.
        if entry.file_name().as_encoded_bytes().starts_with(b".") {
            continue;
        }
        let path = entry.path();
        if path.extension().is_some_and(|extension| extension == "jwk") {
            keys.push(Key::read(&path)?);
        }
    }
    if keys.is_empty() {
        let shown = directory.display().to_string();
        return Err(match newest_version(directory)? {
            0 => SigningError::None(shown),
            _ => SigningError::KeysMissing(shown),
        });
    }
    Ok(keys)
}

/// The currently published set, and the chain that leads to it.
pub(super) fn published(directory: &Path) -> Result<Published, SigningError> {
    let shown = || directory.display().to_string();
    let newest_version = newest_version(directory)?;
    let first = match read(&set_file(directory, 1)) {
        Ok(text) => {
            serde_json::from_str::<JwkSet>(&text).map_err(|error| SigningError::FirstSet {
                path: shown(),
                error: KeyringError::NotAJwkSet(error.to_string()),
            })?
        }
        // A key without a set was left behind by a process that was terminated in between.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && newest_version == 0 => {
            return Err(SigningError::None(shown()));
        }
        Err(error) => return Err(missing(directory, 1)(error)),
    };
    let mut chain = Vec::new();
    for version in 2..=newest_version {
        let jws = read(&set_file(directory, version));
        let jws = jws.map_err(missing(directory, version))?;
        chain.push(SignedSet::new(jws.trim().to_owned()));
    }
    let root = Keyring::from_jwk_set(&first).map_err(|error| SigningError::FirstSet {
        path: shown(),
        error,
    })?;
    let mut public: Vec<&str> = first
        .keys
        .iter()
        .filter_map(|key| key.x.as_deref())
        .collect();
    public.sort_unstable();
    let first_keys = public.join("\n");
    let mut believed_keys = vec![believed(&first.keys, None)];
    let mut set = first;
    let mut keyring = root;
    let mut newest = None;
    for (next_version, signed) in (2..).zip(&chain) {
        let broken = |error| SigningError::BrokenChain {
            path: shown(),
            error,
        };
        let (next, claims) = follow(&keyring, signed.as_ref()).map_err(broken)?;
        if claims.version != next_version {
            let (found, known) = (claims.version, keyring.version());
            return Err(broken(DocumentError::KeySetVersion { found, known }));
        }
        believed_keys.push(believed(&claims.keys, Some(claims.iat)));
        keyring = next;
        newest = Some(claims);
    }
    if let Some(claims) = &newest {
        set = JwkSet {
            keys: claims.keys.clone(),
            version: Some(claims.version),
            revoked: claims.revoked.clone(),
        };
    }
    let revoked = keyring.revoked().map(str::to_owned).collect();
    Ok(Published {
        first: first_keys,
        set,
        chain,
        newest,
        believed: believed_keys,
        revoked,
    })
}

fn read(file: &Path) -> std::io::Result<String> {
    text_file::read_regular(file, MAX_FILE_BYTES)
}

/// The version of the newest set in a directory, even if earlier ones are missing; 0 if it has
/// none.
fn newest_version(directory: &Path) -> Result<u64, SigningError> {
    let mut newest = 0;
    for entry in fs::read_dir(directory).map_err(io(directory))? {
        let name = entry.map_err(io(directory))?.file_name();
        newest = newest.max(name.to_str().and_then(version_of).unwrap_or(0));
    }
    Ok(newest)
}

/// The version of the set whose file has this name.
fn version_of(name: &str) -> Option<u64> {
    let (number, _) = name.strip_prefix("set-")?.split_once('.')?;
    let version = number.parse().ok()?;
    let is_its_name = set_file(Path::new(""), version) == Path::new(name);
    is_its_name.then_some(version)
}

/// A set that cannot be read must not be skipped: with only the sets before it, revoked keys would
/// sign again.
fn missing(directory: &Path, version: u64) -> impl FnOnce(std::io::Error) -> SigningError {
    let path = set_file(directory, version);
    move |error| match error.kind() {
        std::io::ErrorKind::NotFound => SigningError::SetMissing(path.display().to_string()),
        _ => io(&path)(error),
    }
}

/// A key's file.
#[derive(Serialize, Deserialize)]
pub(super) struct KeyFile {
    pub(super) kty: String,
    pub(super) crv: String,
    pub(super) x: String,
    pub(super) d: Zeroizing<String>,
    pub(super) kid: String,
    pub(super) created: DateTime<Utc>,
    /// Absent for the first key, which signs from the beginning.
    #[serde(default, rename = "signsFrom", skip_serializing_if = "Option::is_none")]
    pub(super) signs_from: Option<DateTime<Utc>>,
}

impl Key {
    fn read(path: &Path) -> Result<Self, SigningError> {
        let shown = path.display().to_string();
        if is_open_to_others(path).map_err(io(path))? {
            return Err(SigningError::ReadableByOthers(shown));
        }
        let not_a_key = |why: String| SigningError::NotAKey {
            path: shown.clone(),
            why,
        };
        let text = Zeroizing::new(read(path).map_err(io(path))?);
        let file: KeyFile = serde_json::from_str(&text).map_err(|e| not_a_key(e.to_string()))?;
        let seed = seed(&file.d).ok_or_else(|| not_a_key("'d' is not 32 bytes".to_owned()))?;
        let secret = SigningKey::from_bytes(&seed);
        let public = Jwk::from_verifying_key(&secret.verifying_key());
        if public.x.as_ref() != Some(&file.x) || public.kid.as_ref() != Some(&file.kid) {
            return Err(not_a_key(
                "its public and private parts do not match".to_owned(),
            ));
        }
        Ok(Self {
            kid: file.kid,
            created: file.created,
            signs_from: file.signs_from.unwrap_or(file.created),
            secret,
        })
    }
}

/// Names, sizes, modes and times of the files in a directory: any change to a file changes one of
/// them.
pub(super) type DirectoryState = Vec<(OsString, u64, u32, [(i64, i64); 2])>;

/// The state of a directory; `None` if it cannot be read.
pub(super) fn directory_state(directory: &Path) -> Option<DirectoryState> {
    let mut state = DirectoryState::new();
    for entry in fs::read_dir(directory).ok()? {
        let entry = entry.ok()?;
        // A file that has disappeared was a temporary file.
        let Ok(file) = fs::metadata(entry.path()) else {
            continue;
        };
        let times = [
            (file.mtime(), file.mtime_nsec()),
            (file.ctime(), file.ctime_nsec()),
        ];
        state.push((entry.file_name(), file.len(), file.mode(), times));
    }
    state.sort();
    Some(state)
}

pub(super) fn write_key(directory: &Path, file: &KeyFile) -> Result<PathBuf, SigningError> {
    let json = Zeroizing::new(serde_json::to_vec_pretty(file).map_err(not_json(directory))?);
    let path = directory.join(format!("{}.jwk", file.kid));
    write_new(&path, &json)?;
    Ok(path)
}

pub(super) fn set_file(directory: &Path, version: u64) -> PathBuf {
    let extension = if version == 1 { "json" } else { "jws" };
    directory.join(format!("set-{version:06}.{extension}"))
}

pub(super) fn make_directory(directory: &Path) -> Result<(), SigningError> {
    state_dir::make_directory(directory).map_err(io(directory))
}

/// Whether a file can be created in the directory, for its owner.
pub(super) fn check_writable(directory: &Path) -> Result<(), SigningError> {
    let made = temporary_file(directory);
    made.map(drop).map_err(io(directory))
}

/// Writes a file completely or not at all, never over another file, and never readable by others,
/// not even for an instant.
///
/// # Errors
/// If the file was not written; [`SigningError::Unclear`] if it may have been.
pub(super) fn write_new(path: &Path, bytes: &[u8]) -> Result<(), SigningError> {
    let directory = path.parent().unwrap_or(Path::new("."));
    let mut file = temporary_file(directory).map_err(io(directory))?;
    file.write_all(bytes).map_err(io(path))?;
    let Err(failed) = durable_file::create(file, path) else {
        return Ok(());
    };
    let error = failed.error;
    // A network file system may report a rename that has happened as failed, for example if it
    // had to send the request again.
    match read(path).map(Zeroizing::new) {
        Ok(text) if text.as_bytes() == bytes => Ok(()),
        Ok(_) => Err(SigningError::Raced),
        Err(missing) if missing.kind() == std::io::ErrorKind::NotFound => Err(io(path)(error)),
        Err(_) => Err(SigningError::Unclear {
            path: path.display().to_string(),
            error,
        }),
    }
}

pub(super) fn not_json(directory: &Path) -> impl FnOnce(serde_json::Error) -> SigningError {
    let path = directory.display().to_string();
    move |error| SigningError::NotAKey {
        path,
        why: error.to_string(),
    }
}

pub(super) fn base64url(bytes: &[u8]) -> String {
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

pub(super) fn io(path: &Path) -> impl FnOnce(std::io::Error) -> SigningError {
    let path = path.display().to_string();
    move |error| SigningError::Io { path, error }
}
