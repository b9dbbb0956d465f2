//! A [`StateFile`] whose content carries a MAC, so that a change by anyone who cannot read its key
//! is detected.
//!
//! The key is random, in a separate file that only the service's user and root can read. Root can
//! therefore change the content unnoticed, and anyone who can write to `STATE_DIR` can restore an
//! old file.

use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use license_service::presentable_url::{presentable_path, reason_without_path};
use license_service::regular_file;
use license_service::state_dir::{make_directory, temporary_file};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sha2::Sha256;

use crate::random;
use crate::state_file::StateFile;

/// One file with a MAC.
pub struct SealedFile {
    file: StateFile,
    key_file: PathBuf,
    /// Read or created on first use.
    key: OnceLock<Key>,
}

/// The key of a MAC.
struct Key {
    bytes: [u8; 64],
    /// The key is stored for the next start, too.
    is_stored: bool,
}

/// The file's content does not match its MAC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the file was changed by hand, or its key was replaced")]
pub struct Edited;

/// The content of the file.
#[derive(Serialize, Deserialize)]
struct Sealed {
    /// The content, as JSON in a string: the MAC is of these bytes.
    content: String,
    /// HMAC-SHA-256 of the content, in base64url.
    mac: String,
}

impl SealedFile {
    /// Names the file, and the file with its key; neither needs to exist.
    #[must_use]
    pub fn in_directory(directory: &Path, name: &str, key_name: &str) -> Self {
        Self {
            file: StateFile::in_directory(directory, name),
            key_file: directory.join(key_name),
            key: OnceLock::new(),
        }
    }

    /// Whether the file exists, readable or not.
    #[must_use]
    pub fn exists(&self) -> bool {
        self.file.exists()
    }

    /// Whether the file with its key exists.
    #[must_use]
    pub fn has_key(&self) -> bool {
        self.key_file.try_exists().unwrap_or(true)
    }

    /// The file's content; `None` if there is no file.
    ///
    /// # Errors
    /// [`Edited`] if its MAC is missing or does not match.
    pub fn read<T: DeserializeOwned>(&self) -> Result<Option<T>, Edited> {
        if !self.file.exists() {
            return Ok(None);
        }
        let sealed: Sealed = self.file.read().ok_or(Edited)?;
        let mac = URL_SAFE_NO_PAD.decode(&sealed.mac).map_err(|_| Edited)?;
        let expected = self.mac(sealed.content.as_bytes());
        expected.verify_slice(&mac).map_err(|_| Edited)?;
        serde_json::from_str(&sealed.content)
            .map(Some)
            .map_err(|_| Edited)
    }

    /// Replaces the file with the result of `content`, completely or not at all. Failures are
    /// logged. Returns whether the next start can use it, which requires that the key can be
    /// stored.
    pub async fn write<T: Serialize>(&self, content: impl FnOnce() -> T) -> bool {
        let seal = || {
            // One of our values can always be serialized as JSON.
            let content = serde_json::to_string(&content()).unwrap_or_default();
            let mac = self.mac(content.as_bytes()).finalize().into_bytes();
            let mac = URL_SAFE_NO_PAD.encode(mac);
            Sealed { content, mac }
        };
        self.file.write(seal).await && self.key().is_stored
    }

    fn key(&self) -> &Key {
        self.key.get_or_init(|| key(&self.key_file))
    }

    fn mac(&self, content: &[u8]) -> Hmac<Sha256> {
        let mut mac = Hmac::<Sha256>::new((&self.key().bytes).into());
        mac.update(content);
        mac
    }
}

/// The key in the file, or a new one. A key that cannot be read now is not overwritten.
fn key(file: &Path) -> Key {
    let new = random::secret();
    let of = |bytes, is_stored| Key { bytes, is_stored };
    let stored = match read_key(file) {
        Ok(Some(key)) => return of(key, true),
        Ok(None) => create_key(file, &new).and_then(|()| read_key(file)),
        Err(error) => Err(error),
    };
    match stored {
        // Another process may have been faster.
        Ok(key) => of(key.unwrap_or(new), key.is_some()),
        Err(error) => {
            let (file, error) = (presentable_path(file), reason_without_path(&error));
            tracing::warn!(
                file,
                error,
                "cannot use the stored MAC key; data sealed now will be ignored after a restart"
            );
            of(new, false)
        }
    }
}

/// Maximum size of the file with the key, in bytes.
const MAX_KEY_FILE_BYTES: u64 = 1024;

/// The key in the file; `None` where it is missing or not a key.
fn read_key(file: &Path) -> std::io::Result<Option<[u8; 64]>> {
    match regular_file::read(file, MAX_KEY_FILE_BYTES) {
        Ok(text) => Ok(URL_SAFE_NO_PAD
            .decode(text.trim_ascii())
            .ok()
            .and_then(|key| key.try_into().ok())),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Stores a key. A key that another process has stored in the meantime is kept; a file without a
/// key is replaced.
fn create_key(file: &Path, key: &[u8; 64]) -> std::io::Result<()> {
    let directory = file.parent().unwrap_or(Path::new("."));
    make_directory(directory)?;
    let mut new = temporary_file(directory)?;
    new.write_all(URL_SAFE_NO_PAD.encode(key).as_bytes())?;
    new.as_file().sync_all()?;
    match new.persist_noclobber(file) {
        Ok(_) => Ok(()),
        Err(error) => match read_key(file)? {
            Some(_) => Ok(()),
            None => error.file.persist(file).map(drop).map_err(Into::into),
        },
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn open(directory: &Path) -> SealedFile {
        SealedFile::in_directory(directory, "time.json", "time.key")
    }

    #[tokio::test]
    async fn what_was_written_is_read_by_whoever_has_the_key_and_nothing_else_is() {
        let directory = tempfile::tempdir().unwrap();
        let directory = directory.path().join("made on demand");
        let sealed = open(&directory);
        assert_eq!(sealed.read::<String>(), Ok(None));
        sealed.write(|| "one").await;
        let file = directory.join("time.json");
        let written = std::fs::read_to_string(&file).unwrap();
        let again = open(&directory);
        assert_eq!(again.read::<String>(), Ok(Some("one".to_owned())));
        let mode = |name: &str| {
            let metadata = std::fs::metadata(directory.join(name)).unwrap();
            metadata.permissions().mode() & 0o777
        };
        assert_eq!((mode("time.key"), mode("time.json")), (0o600, 0o600));

        // Every byte counts.
        for position in 0..written.len() {
            let mut changed = written.clone().into_bytes();
            changed[position] = changed[position].wrapping_add(1);
            std::fs::write(&file, &changed).unwrap();
            let read = again.read::<String>();
            assert_eq!(read, Err(Edited), "{:?}", String::from_utf8(changed));
        }
        for nonsense in ["", "{", "\"one\"", r#"{"content":"\"one\"","mac":""}"#] {
            std::fs::write(&file, nonsense).unwrap();
            assert_eq!(again.read::<String>(), Err(Edited), "{nonsense}");
        }
        // So does the key.
        std::fs::write(&file, &written).unwrap();
        assert_eq!(again.read::<String>(), Ok(Some("one".to_owned())));
        for key in ["", "00", &"00".repeat(64)] {
            std::fs::write(directory.join("time.key"), key).unwrap();
            assert_eq!(open(&directory).read::<String>(), Err(Edited), "{key}");
        }
        std::fs::remove_file(directory.join("time.key")).unwrap();
        assert_eq!(open(&directory).read::<String>(), Err(Edited));
    }
}
