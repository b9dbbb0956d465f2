//! Verifies what a License Client says, with keys of the gateway's own.

use license_core::announcement::Signed;
use license_core::document::{DocumentError, VerifiedLicense, verify_license};
use license_core::keyring::Keyring;
use license_core::rotation::walk;

/// The keys that a gateway trusts, and what they have signed.
#[derive(Debug)]
pub(crate) struct TrustedKeys {
    root: Keyring,
    installation: Option<String>,
    /// The newest license that was verified. An older one is a replay.
    newest: Option<VerifiedLicense>,
}

/// Why a License Client is not believed.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unproven {
    /// Nothing signed has come.
    #[error("the License Client sends no signed license: it has no trusted keys, or no license")]
    Nothing,
    /// The document cannot be believed.
    #[error(transparent)]
    Document(#[from] DocumentError),
    /// The license is that of another installation.
    #[error("the signed license is for the installation '{0}'")]
    Foreign(String),
    /// An older license than the one that is known.
    #[error("the signed license is older than one that came before")]
    Older,
}

impl TrustedKeys {
    pub(crate) fn new(root: Keyring, installation: Option<String>) -> Self {
        Self {
            root,
            installation,
            newest: None,
        }
    }

    /// The license that `signed` proves; whether it is a newer one than was
    /// known.
    ///
    /// # Errors
    /// One [`Unproven`] for each reason not to believe it.
    pub(crate) fn verify(
        &mut self,
        signed: Option<&Signed>,
    ) -> Result<(&VerifiedLicense, bool), Unproven> {
        let signed = signed.ok_or(Unproven::Nothing)?;
        let trusted = walk(self.root.clone(), &signed.key_sets);
        let license = verify_license(&signed.license, &trusted.keyring)?;
        let installation = &license.claims().installation_id;
        if self
            .installation
            .as_ref()
            .is_some_and(|ours| ours != installation)
        {
            return Err(Unproven::Foreign(installation.clone()));
        }
        // What is known of another license says nothing about this one.
        let known = self.newest.as_ref().map(VerifiedLicense::claims);
        let known = known.filter(|known| known.sub == license.claims().sub);
        let is_newer = known.is_none_or(|known| known.seq < license.claims().seq);
        if known.is_some_and(|known| license.claims().seq < known.seq) {
            return Err(Unproven::Older);
        }
        Ok((self.newest.insert(license), is_newer))
    }
}
