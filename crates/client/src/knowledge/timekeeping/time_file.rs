//! `time.json`: the effective time for the next start, with a MAC.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use license_core::remembered::Remembered;
use license_core::time_guard::Believed;
use serde::{Deserialize, Serialize};

use crate::metrics::Metrics;
use crate::sealed_file::SealedFile;

/// The file, and what was there at the start.
pub(super) struct TimeFile {
    file: SealedFile,
    /// There was no file at the start, and it was not checked yet whether one was expected.
    was_missing: AtomicBool,
    /// `time.key` existed at the start.
    had_key: bool,
}

/// The content of the file.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct KeptTime {
    /// The effective time.
    #[serde(flatten)]
    pub believed: Believed,
    /// What is remembered about licenses, including former ones.
    #[serde(default)]
    pub remembered: Remembered,
}

impl TimeFile {
    pub(super) fn in_directory(state_dir: &Path) -> Self {
        let file = SealedFile::in_directory(state_dir, "time.json", "time.key");
        Self {
            was_missing: AtomicBool::new(!file.exists()),
            had_key: file.has_key(),
            file,
        }
    }

    /// What an earlier run has stored. A file that was edited counts as absent.
    pub(super) fn read(&self, metrics: &Metrics) -> Option<KeptTime> {
        self.file.read().unwrap_or_else(|error| {
            tracing::error!(security = true, %error, "ignoring the effective time in time.json");
            metrics.security_event();
            None
        })
    }

    /// Returns whether the next start can use what was written.
    pub(super) async fn write(&self, content: impl FnOnce() -> KeptTime) -> bool {
        self.file.write(content).await
    }

    /// For a site with a signed license: whether its file was removed. A new installation has no
    /// file, but an earlier run leaves other files behind. Reported only once.
    pub(super) fn was_removed(&self, remembered: &Remembered) -> bool {
        let was_here = self.had_key || remembered.has_signed();
        self.was_missing.swap(false, Ordering::SeqCst) && was_here
    }
}
