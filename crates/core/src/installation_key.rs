//! The key pair with which an installation proves who it is.
//!
//! It is created at the first start, before the first call, and shared by all replicas of the
//! installation. Anyone who can read it can act as the installation: the administrator of the machine
//! can copy it.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek::{Signer as _, SigningKey};

use crate::thumbprint::Thumbprint;

/// An Ed25519 private key. It is never part of a log line.
#[derive(Clone)]
pub struct InstallationKey(SigningKey);

/// The text is not an installation key. The text itself is a secret, and not part of the error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an installation key: expected 43 characters in base64url")]
pub struct NotAnInstallationKey;

impl InstallationKey {
    /// The key that is made from 32 random bytes.
    #[must_use]
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        Self(SigningKey::from_bytes(seed))
    }

    /// Reads a key as it is stored: see [`Self::to_secret_text`]. Space around it is ignored.
    ///
    /// # Errors
    /// [`NotAnInstallationKey`].
    pub fn parse(text: &str) -> Result<Self, NotAnInstallationKey> {
        let seed = URL_SAFE_NO_PAD.decode(text.trim_ascii());
        let seed: [u8; 32] = seed
            .ok()
            .and_then(|seed| seed.try_into().ok())
            .ok_or(NotAnInstallationKey)?;
        Ok(Self::from_seed(&seed))
    }

    /// The key as it is stored: its 32 bytes in base64url.
    #[must_use]
    pub fn to_secret_text(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.0.as_bytes())
    }

    /// The thumbprint of the public key.
    #[must_use]
    pub fn thumbprint(&self) -> Thumbprint {
        Thumbprint::of(&self.0.verifying_key())
    }

    /// The public key, in base64url: `x` of its JWK (RFC 8037, section 2).
    pub(crate) fn public_x(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.0.verifying_key().as_bytes())
    }

    /// The signature of these bytes.
    pub(crate) fn sign(&self, input: &[u8]) -> [u8; 64] {
        self.0.sign(input).to_bytes()
    }
}

impl fmt::Debug for InstallationKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "InstallationKey({})", self.thumbprint())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 8037, appendix A.1 and A.3.
    const SECRET: &str = "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A";
    const THUMBPRINT: &str = "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k";

    #[test]
    fn a_stored_key_is_read_back_and_never_printed() {
        let key = InstallationKey::parse(&format!("{SECRET}\n")).unwrap();
        assert_eq!(key.thumbprint().to_string(), THUMBPRINT);
        assert_eq!(key.to_secret_text(), SECRET);
        assert_eq!(format!("{key:?}"), format!("InstallationKey({THUMBPRINT})"));
    }

    #[test]
    fn other_texts_are_no_keys() {
        for text in ["", "x", &SECRET[1..], &format!("{SECRET}{SECRET}"), "ä"] {
            let error = InstallationKey::parse(text).unwrap_err();
            assert_eq!(error, NotAnInstallationKey, "{text}");
        }
    }
}
