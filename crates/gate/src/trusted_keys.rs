//! Verifies announcements with the gateway's own keys.

use license_core::announcement::Signed;
use license_core::document::{DocumentError, VerifiedLicense, verify_license};
use license_core::keyring::Keyring;
use license_core::rotation::walk;

/// The keys that a gateway trusts, and the documents that they have signed.
pub(crate) struct TrustedKeys {
    trusted: Keyring,
    installation: Option<String>,
    /// The newest verified license.
    newest: Option<VerifiedLicense>,
}

/// Why a License Client is not trusted.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unproven {
    /// There is no signed license.
    #[error(
        "the License Client does not send a signed license: it has no trusted keys or no license"
    )]
    Nothing,
    /// The document is not valid.
    #[error(transparent)]
    Document(#[from] DocumentError),
    /// The license belongs to another installation.
    #[error("the signed license is for the installation '{0}'")]
    Foreign(String),
}

impl TrustedKeys {
    pub(crate) fn new(trusted: Keyring, installation: Option<String>) -> Self {
        Self {
            trusted,
            installation,
            newest: None,
        }
    }

    /// The newest verified license, including `signed`.
    ///
    /// # Errors
    /// [`Unproven`] if `signed` is not valid.
    pub(crate) fn verify(&mut self, signed: Option<&Signed>) -> Result<&VerifiedLicense, Unproven> {
        let signed = signed.ok_or(Unproven::Nothing)?;
        // Starts from the newest verified set: a key that it revokes stays revoked, even if
        // that set is now left out.
        self.trusted = walk(self.trusted.clone(), &signed.key_sets).keyring;
        let license = verify_license(&signed.license, &self.trusted)?;
        let installation = &license.claims().installation_id;
        if self
            .installation
            .as_ref()
            .is_some_and(|ours| ours != installation)
        {
            return Err(Unproven::Foreign(installation.clone()));
        }
        // A license with another id is unrelated to the known one. For the same id the newest
        // counts: another process of the site may be slightly behind, and a recording is far
        // behind.
        let known = self.newest.take().filter(|known| {
            let (known, new) = (known.claims(), license.claims());
            known.sub == new.sub && known.seq > new.seq
        });
        Ok(self.newest.insert(known.unwrap_or(license)))
    }
}
