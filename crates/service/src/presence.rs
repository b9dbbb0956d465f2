//! Whether a path exists, where "permission denied" is not a no.

use std::io;
use std::path::Path;

use crate::presentable_url::{presentable_absolute, reason_without_path};

/// What is at a path, or who owns it, is not known.
#[derive(Debug, thiserror::Error)]
#[error("{what}: {}", self.advice())]
pub struct Unreadable {
    what: String,
    is_denied: bool,
}

impl Unreadable {
    /// The path, and why it cannot be read.
    #[must_use]
    pub fn new(path: &Path, error: &io::Error) -> Self {
        let user = rustix::process::geteuid().as_raw();
        let (path, reason) = (presentable_absolute(path), reason_without_path(error));
        Self {
            what: format!("'{path}' cannot be read as user {user} ({reason})"),
            is_denied: error.kind() == io::ErrorKind::PermissionDenied,
        }
    }

    /// What is wrong, without [`Self::advice`].
    #[must_use]
    pub fn what(&self) -> &str {
        &self.what
    }

    /// What to do.
    #[must_use]
    pub fn advice(&self) -> &'static str {
        match self.is_denied {
            true => "run the command as root (sudo), or as the user of the service",
            false => "correct the path, or check its file system",
        }
    }
}

/// Whether something is at the path.
///
/// # Errors
/// If this is not known, for example because this user may not look into a directory above it.
pub fn exists(path: &Path) -> Result<bool, Unreadable> {
    path.try_exists()
        .map_err(|error| Unreadable::new(path, &error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_path_that_the_system_does_not_find_is_missing() {
        let directory = tempfile::tempdir().unwrap();
        assert!(exists(directory.path()).unwrap());
        assert!(!exists(&directory.path().join("missing/below")).unwrap());
        let file = directory.path().join("file");
        std::fs::write(&file, "").unwrap();
        let error = exists(&file.join("below")).unwrap_err().to_string();
        assert!(
            error.contains("file/below' cannot be read as user"),
            "{error}"
        );
        assert!(error.contains("(Not a directory"), "{error}");
        let denied = io::Error::from(io::ErrorKind::PermissionDenied);
        let error = Unreadable::new(&file, &denied);
        assert!(
            error.to_string().contains("run the command as root (sudo)"),
            "{error}"
        );
    }
}
