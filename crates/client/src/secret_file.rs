//! A file in `STATE_DIR` with a random secret, which only the service's user and root can read.

use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use license_core::trial_secret::TrialSecret;
use license_service::durable_file;
use license_service::presentable_url::{presentable_path, reason_without_path};
use license_service::regular_file;
use license_service::state_dir::{make_directory, temporary_file};

use crate::random;

/// One file, which is created when its secret is first needed.
#[derive(Clone, Debug)]
pub struct SecretFile(PathBuf);

/// A secret.
pub struct Secret {
    /// The random bytes.
    pub bytes: [u8; 64],
    /// The secret is stored for the next start, too.
    pub is_stored: bool,
}

impl SecretFile {
    /// Names the file, which need not exist.
    #[must_use]
    pub fn in_directory(directory: &Path, name: &str) -> Self {
        Self(directory.join(name))
    }

    /// Whether the file exists, readable or not.
    #[must_use]
    pub fn exists(&self) -> bool {
        self.0.try_exists().unwrap_or(true)
    }

    /// The secret in the file, or a new one. A secret that cannot be read now is not overwritten.
    #[must_use]
    pub fn read_or_create(&self) -> Secret {
        let file = &self.0;
        let new = random::secret();
        let of = |bytes, is_stored| Secret { bytes, is_stored };
        let stored = match read(file) {
            Ok(Some(secret)) => return of(secret, true),
            Ok(None) => create(file, &new).and_then(|()| read(file)),
            Err(error) => Err(error),
        };
        match stored {
            // Another process may have been faster.
            Ok(secret) => of(secret.unwrap_or(new), secret.is_some()),
            Err(error) => {
                let (file, error) = (presentable_path(file), reason_without_path(&error));
                tracing::warn!(file, error, "cannot use the stored secret");
                of(new, false)
            }
        }
    }

    /// The secret with which this site proves that it started a trial; `None` if it cannot be stored:
    /// it would be another one after a restart.
    #[must_use]
    pub fn trial_secret(&self) -> Option<TrialSecret> {
        let secret = self.read_or_create();
        let text = URL_SAFE_NO_PAD.encode(secret.bytes);
        let parsed = TrialSecret::parse(&text).ok();
        parsed.filter(|_| secret.is_stored)
    }
}

/// Maximum size of the file, in bytes.
const MAX_FILE_BYTES: u64 = 1024;

/// The secret in the file; `None` where it is missing or not one.
fn read(file: &Path) -> std::io::Result<Option<[u8; 64]>> {
    match regular_file::read(file, MAX_FILE_BYTES) {
        Ok(text) => Ok(URL_SAFE_NO_PAD
            .decode(text.trim_ascii())
            .ok()
            .and_then(|secret| secret.try_into().ok())),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Stores a secret. One that another process has stored in the meantime is kept; a file without one
/// is replaced.
fn create(file: &Path, secret: &[u8; 64]) -> std::io::Result<()> {
    let directory = file.parent().unwrap_or(Path::new("."));
    make_directory(directory)?;
    let mut new = temporary_file(directory)?;
    new.write_all(URL_SAFE_NO_PAD.encode(secret).as_bytes())?;
    match durable_file::create(new, file) {
        Ok(()) => Ok(()),
        Err(error) => match read(file)? {
            Some(_) => Ok(()),
            None => Ok(durable_file::replace(error.file, file)?),
        },
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_secret_is_created_once_and_only_one_that_is_stored_is_sent() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("made on demand");
        let file = SecretFile::in_directory(&path, "trial.key");
        assert!(!file.exists());
        let first = file.trial_secret().unwrap();
        assert!(file.exists());
        let again = SecretFile::in_directory(&path, "trial.key").trial_secret();
        assert!(again.unwrap() == first);
        let mode = std::fs::metadata(path.join("trial.key"))
            .unwrap()
            .permissions();
        assert_eq!(mode.mode() & 0o777, 0o600);
        // A directory in its place cannot be read or replaced.
        std::fs::create_dir(path.join("other.key")).unwrap();
        let other = SecretFile::in_directory(&path, "other.key");
        assert!(other.trial_secret().is_none());
    }
}
