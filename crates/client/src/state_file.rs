//! A file in `STATE_DIR` with one value: the copy of the service's state, for a start while the
//! database is unavailable, or the time.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use license_service::durable_file;
use license_service::presentable_url::{presentable_path, reason_without_path};
use license_service::regular_file;
use license_service::state_dir::{make_directory, temporary_file};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::Mutex;

/// Maximum size of a file, in bytes: far more than the local copy of any license.
const MAX_STATE_BYTES: u64 = 64 * 1024 * 1024;

/// One file.
#[derive(Debug)]
pub struct StateFile {
    file: PathBuf,
    /// Held while writing; records whether the last attempt failed.
    failing: Mutex<bool>,
}

impl StateFile {
    /// Names the file, which need not exist.
    #[must_use]
    pub fn in_directory(directory: &Path, name: &str) -> Self {
        Self {
            file: directory.join(name),
            failing: Mutex::new(false),
        }
    }

    /// Whether the file exists, readable or not.
    #[must_use]
    pub fn exists(&self) -> bool {
        self.file.try_exists().unwrap_or(true)
    }

    /// The file's content. An unreadable file counts as missing.
    #[must_use]
    pub fn read<T: DeserializeOwned>(&self) -> Option<T> {
        let text = match regular_file::read(&self.file, MAX_STATE_BYTES) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return None,
            Err(error) => {
                let file = presentable_path(&self.file);
                tracing::warn!(file, %error, "cannot read a file in STATE_DIR");
                return None;
            }
        };
        serde_json::from_slice(&text)
            .inspect_err(|error| {
                let file = presentable_path(&self.file);
                tracing::warn!(file, %error, "ignoring a damaged file in STATE_DIR");
            })
            .ok()
    }

    /// Replaces the file with the result of `content`, completely or not at all. What could not be
    /// read back is not written. Repeated failures are logged only once, because the database is
    /// authoritative. Returns whether it was written.
    pub async fn write<T>(&self, content: impl FnOnce() -> T) -> bool
    where
        T: Serialize + DeserializeOwned + 'static,
    {
        let mut failing = self.failing.lock().await;
        let text = serde_json::to_vec(&content());
        let file = self.file.clone();
        let written = tokio::task::spawn_blocking(move || {
            let text = text?;
            require_readable::<T>(&text)?;
            replace(&file, &text)
        });
        let written = written.await;
        let written = written.unwrap_or_else(|error| Err(std::io::Error::other(error)));
        let is_written = written.is_ok();
        match written {
            Ok(()) => *failing = false,
            Err(error) if !*failing => {
                *failing = true;
                tracing::warn!(
                    file = presentable_path(&self.file),
                    error = reason_without_path(&error),
                    "cannot write a file in STATE_DIR; a restart without the database would lose \
                     the license state"
                );
            }
            Err(_) => {}
        }
        is_written
    }
}

fn require_readable<T: DeserializeOwned>(text: &[u8]) -> std::io::Result<()> {
    if u64::try_from(text.len()).is_ok_and(|bytes| bytes > MAX_STATE_BYTES) {
        return Err(std::io::Error::other("the content is too long"));
    }
    serde_json::from_slice::<T>(text)?;
    Ok(())
}

fn replace(file: &Path, text: &[u8]) -> std::io::Result<()> {
    let directory = file.parent().unwrap_or(Path::new("."));
    make_directory(directory)?;
    let mut new = temporary_file(directory)?;
    new.write_all(text)?;
    Ok(durable_file::replace(new, file)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_was_written_is_read_and_nonsense_is_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let copy = StateFile::in_directory(&directory.path().join("made on demand"), "file.json");
        assert_eq!(copy.read::<String>(), None);
        assert!(copy.write(|| "one".to_owned()).await);
        assert!(copy.write(|| "two".to_owned()).await);
        assert_eq!(copy.read::<String>().as_deref(), Some("two"));
        std::fs::write(&copy.file, "{").unwrap();
        assert_eq!(copy.read::<String>(), None);
        let fifo = std::process::Command::new("mkfifo")
            .arg(directory.path().join("fifo"))
            .status();
        assert!(fifo.unwrap().success());
        let fifo = StateFile::in_directory(directory.path(), "fifo");
        assert_eq!(fifo.read::<String>(), None);
        assert!(fifo.write(|| "three".to_owned()).await);
        assert_eq!(fifo.read::<String>().as_deref(), Some("three"));
        let names = std::fs::read_dir(copy.file.parent().unwrap()).unwrap();
        assert_eq!(names.count(), 1, "nothing is left behind");
    }

    #[tokio::test]
    async fn what_could_not_be_read_back_is_not_written() {
        let directory = tempfile::tempdir().unwrap();
        let file = StateFile::in_directory(directory.path(), "file.json");
        assert!(file.write(|| serde_json::json!(["one"])).await);
        let deep = (0..200).fold(serde_json::Value::Null, |inner, _| vec![inner].into());
        assert!(!file.write(|| deep).await);
        assert_eq!(file.read(), Some(serde_json::json!(["one"])));
    }
}
