//! Verifies what a License Client says, with keys of the gateway's own.

use license_core::announcement::Signed;
use license_core::document::{DocumentError, VerifiedLicense, verify_license};
use license_core::keyring::Keyring;
use license_core::rotation::walk;

/// The keys that a gateway trusts, and what they have signed.
pub(crate) struct TrustedKeys {
    trusted: Keyring,
    installation: Option<String>,
    /// The newest license that was verified.
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
}

impl TrustedKeys {
    pub(crate) fn new(trusted: Keyring, installation: Option<String>) -> Self {
        Self {
            trusted,
            installation,
            newest: None,
        }
    }

    /// The newest license that is proven, with `signed`.
    ///
    /// # Errors
    /// One [`Unproven`] for each reason not to believe `signed`.
    pub(crate) fn verify(&mut self, signed: Option<&Signed>) -> Result<&VerifiedLicense, Unproven> {
        let signed = signed.ok_or(Unproven::Nothing)?;
        // From the newest set that was reached: a key that was revoked in it
        // stays so, whatever is left out now.
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
        // What is known of another license says nothing about this one. Of the
        // same one the newest counts: another process of the site may be a
        // little behind, and what somebody has recorded is far behind.
        let known = self.newest.take().filter(|known| {
            let (known, new) = (known.claims(), license.claims());
            known.sub == new.sub && known.seq > new.seq
        });
        Ok(self.newest.insert(known.unwrap_or(license)))
    }
}
