//! The signed document of the release that is installed, which the VMS ships as a file.
//!
//! Only such a document has any effect. A file that is missing or that cannot be used is the same
//! as no document, so that a damaged file never switches anything off.

use std::io::ErrorKind;
use std::path::Path;

use license_core::document::{DocumentError, MAX_BYTES, VerifiedRelease, verify_release};
use license_core::response::Trust;
use license_service::text_file;

/// What is known about the installed release.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ReleaseDocument {
    /// There is no document.
    #[default]
    Absent,
    /// Its document is genuine.
    Verified(VerifiedRelease),
    /// There is a file, which counts as absent.
    Unusable(UnusableDocument),
}

/// Why a document of a release is not used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnusableDocument {
    /// The file cannot be read.
    #[error("the file cannot be read: {0}")]
    Unreadable(String),
    /// No keys are trusted.
    #[error("the document cannot be verified, because LICENSE_TRUSTED_KEYS is not set")]
    Unsigned,
    /// The document is not one of the vendor about a release of this product.
    #[error(transparent)]
    Invalid(#[from] DocumentError),
}

impl ReleaseDocument {
    /// The verified release.
    #[must_use]
    pub fn verified(&self) -> Option<&VerifiedRelease> {
        match self {
            Self::Verified(release) => Some(release),
            Self::Absent | Self::Unusable(_) => None,
        }
    }
}

/// Reads the document in a file, and verifies it.
#[must_use]
pub fn read(file: &Path, trust: &Trust) -> ReleaseDocument {
    let text = match text_file::read_regular(file, MAX_BYTES as u64) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return ReleaseDocument::Absent,
        Err(error) => {
            let why = UnusableDocument::Unreadable(error.to_string());
            return ReleaseDocument::Unusable(why);
        }
    };
    verify(&text, trust).map_or_else(ReleaseDocument::Unusable, ReleaseDocument::Verified)
}

/// Verifies the text of a document.
///
/// # Errors
/// [`UnusableDocument`].
pub fn verify(text: &str, trust: &Trust) -> Result<VerifiedRelease, UnusableDocument> {
    match trust {
        Trust::Unsigned => Err(UnusableDocument::Unsigned),
        Trust::Keys(keyring) => Ok(verify_release(text.trim(), keyring)?),
    }
}
