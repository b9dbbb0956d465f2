//! The secret with which a site proves that it started a trial.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest as _, Sha256};

/// Minimum length, in characters: 32 bytes in base64url.
const MIN_CHARS: usize = 43;
/// Maximum length, in characters: 64 bytes in base64url.
pub const MAX_CHARS: usize = 86;

/// A random text that a site creates at its first start of a trial, keeps, and sends with every start.
/// The vendor stores its hash.
#[derive(Clone, PartialEq, Eq)]
pub struct TrialSecret(String);

/// The text is not a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected {MIN_CHARS} to {MAX_CHARS} characters in base64url")]
pub struct NotASecret;

impl TrialSecret {
    /// Reads a secret.
    ///
    /// # Errors
    /// [`NotASecret`].
    pub fn parse(text: &str) -> Result<Self, NotASecret> {
        let is_one = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
        match (MIN_CHARS..=MAX_CHARS).contains(&text.len()) && text.bytes().all(is_one) {
            true => Ok(Self(text.to_owned())),
            false => Err(NotASecret),
        }
    }

    /// The secret.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// SHA-256 of the secret, in base64url.
    #[must_use]
    pub fn hash(&self) -> String {
        URL_SAFE_NO_PAD.encode(Sha256::digest(&self.0))
    }
}

impl std::fmt::Debug for TrialSecret {
    fn fmt(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        to.write_str("TrialSecret(…)")
    }
}
